//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pagesReport is the line that hack/e2e/gallery.mjs prints.
type pagesReport struct {
	browserReport
	Pages int `json:"pages"`
}

// looked are the frames that a browser looks at in every variant: English, and
// Arabic for right to left. German is as long as words get, and a brand of an
// operator's has colours of its own; a few of their pages show it.
var looked = regexp.MustCompile(`^(en|ar)/|^de/(consent-few|consent-long|login|error-other-browser)$|^(brand|yellow)/(consent-few|consent-stepup|login|done)$`)

// TestPages has Chromium look at every page in every state, light and dark, on
// a desktop and a phone, left to right and right to left. TestBrowser looks at
// some of them on their way through a real sign-in.
func TestPages(t *testing.T) {
	chromium := program(t, "chromium", "/usr/bin/chromium")
	server := httptest.NewServer(gallery(t, rendered(t), looked))
	defer server.Close()
	for frames, only := range map[string]string{
		"consent, left to right": "^en/consent", "consent, right to left": "^ar/consent", "left to right": "^en/(?!consent)", "right to left": "^ar/(?!consent)",
		"other brands and words": "^(de|brand|yellow)/",
	} {
		t.Run(frames, func(t *testing.T) {
			track(t)
			lookAtPages(t, chromium, server.URL+"/", only)
		})
	}
}

// rendered is a folder with every page of the gallery.
func rendered(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestGallery$", "./internal/page")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "PAGE_GALLERY="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the gallery: %v\n%s", err, out)
	}
	return dir
}

// everyLanguage are the frames of the languages.
var everyLanguage = regexp.MustCompile(`^(en|de|ar)/`)

// fitReport is the line that hack/e2e/fit.mjs prints.
type fitReport struct {
	Browser      string `json:"browser"`
	Looks, Boxes int
	Found        []struct{ Page, Variant, Kind, What string }
	Error        string
}

// TestPagesFit has Chromium measure every text and control of every page in every
// language: nothing is cut off, lies over something else, or reaches beyond a window of
// 320 pixels, and every control has a name.
func TestPagesFit(t *testing.T) {
	chromium := program(t, "chromium", "/usr/bin/chromium")
	measured := func(t *testing.T, from http.Handler) fitReport {
		t.Helper()
		track(t)
		server := httptest.NewServer(from)
		defer server.Close()
		got := drive[fitReport](t, "fit.mjs", []string{"CHROMIUM=" + chromium}, server.URL+"/")
		if got.Error != "" {
			t.Errorf("the browser ended early: %s", got.Error)
		}
		return got
	}
	t.Run("gallery", func(t *testing.T) {
		got := measured(t, gallery(t, rendered(t), everyLanguage))
		for _, f := range got.Found {
			t.Errorf("%s (%s): %s: %s", f.Page, f.Variant, f.Kind, f.What)
		}
		if got.Looks < 500 || got.Boxes < 20*got.Looks {
			t.Errorf("only %d looks at %d boxes", got.Looks, got.Boxes)
		}
		t.Logf("Chromium %s, %d looks, %d boxes", got.Browser, got.Looks, got.Boxes)
	})
	// Each fault that it looks for is found where it is.
	t.Run("faults", func(t *testing.T) {
		const word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
		faults := map[string]string{
			"beyond":   `<p style="white-space:nowrap">` + word + `</p>`,
			"cut":      `<p style="overflow:hidden;width:8em">` + word + `</p>`,
			"overlap":  `<p>One text</p><p style="margin-top:-2.2em">Another text</p>`,
			"nameless": `<button style="width:3em;height:2em"></button>`,
			"button":   `<button style="width:6em">` + word + `</button>`,
			"controls": `<a href="/x">One way</a><br><button style="position:relative;top:-1em">Another</button>`,
			"none":     `<p>A text</p><button>A button</button> <a href="/x">a link</a><p style="overflow:hidden;overflow-wrap:anywhere;width:8em">` + word + `</p>`,
		}
		kinds := map[string]string{"button": "cut", "controls": "overlap", "none": ""}
		mux := http.NewServeMux()
		var paths []string
		for name, body := range faults {
			paths = append(paths, name)
			mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				io.WriteString(w, `<!doctype html><html lang="en"><title>x</title><meta name="viewport" content="width=device-width"><body style="font:16px/1.4 sans-serif">`+body)
			})
		}
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(paths) })
		got := measured(t, mux)
		for name := range faults {
			want, ok := kinds[name]
			if !ok {
				want = name
			}
			seen := map[string]bool{}
			for _, f := range got.Found {
				if f.Page == name && f.Variant == "narrow" {
					seen[f.Kind] = true
				}
			}
			if want == "" && len(seen) > 0 || want != "" && !seen[want] {
				t.Errorf("%s: found %v", name, seen)
			}
		}
	})
}

func lookAtPages(t *testing.T, chromium, url, only string) {
	t.Helper()
	got := drive[pagesReport](t, "gallery.mjs", []string{"CHROMIUM=" + chromium, "OUT=" + screenshots(t), "ONLY=" + only}, url)
	if got.Error != "" {
		t.Errorf("the browser ended early: %s", got.Error)
	}
	for _, v := range got.Axe {
		t.Errorf("accessibility: %s (%s, %s): %s: %s %q", v.Page, v.Variant, v.Impact, v.ID, v.Help, v.Nodes)
	}
	for _, o := range got.Overflow {
		t.Errorf("%s (%s) is %d pixels too wide", o.Page, o.Variant, o.Pixels)
	}
	for _, line := range got.Console {
		t.Errorf("console: %s", line)
	}
	if got.Pages < 10 || len(got.Screenshots) < 4*got.Pages {
		t.Errorf("only %d pages and %d screenshots", got.Pages, len(got.Screenshots))
	}
	t.Logf("Chromium %s, %d pages, %d screenshots", got.Browser, got.Pages, len(got.Screenshots))
}

// gallery serves what TestGallery of internal/page has left in dir, with the
// headers it was sent with: /<frame>/<page>, and a list of those that match at /.
func gallery(t *testing.T, dir string, match *regexp.Regexp) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	var paths []string
	files, err := filepath.Glob(filepath.Join(dir, "*.html"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in %s: %v", dir, err)
	}
	for _, file := range files {
		name := strings.Replace(strings.TrimSuffix(filepath.Base(file), ".html"), "-", "/", 1)
		if !match.MatchString(name) {
			continue
		}
		paths = append(paths, name)
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			body, err := os.ReadFile(file)
			head, headErr := os.Open(strings.TrimSuffix(file, ".html") + ".head")
			if err != nil || headErr != nil {
				http.Error(w, "no such page", http.StatusNotFound)
				return
			}
			defer head.Close()
			// The file ends without the empty line that would end a header.
			header, _ := textproto.NewReader(bufio.NewReader(head)).ReadMIMEHeader()
			for key, values := range header {
				w.Header()[key] = values
			}
			w.Write(body)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(paths) })
	return mux
}
