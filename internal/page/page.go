// Package page owns every byte of HTML a person sees. Its invariant: whatever
// a client, an MCP server or an identity provider wrote arrives on the page as
// bounded, inert, visible text. There is no script, no request to anybody else,
// and no link but the two that the operator or the redirect matcher produced.
//
// Texts live in messages/*.json, structure in templates/*.html, looks in
// style.css. The package knows no other package of ours.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed style.css
var style string

// Brand is what an operator may change. The zero value is fine. A value that
// could make the page fetch or run something is ignored, not rendered.
type Brand struct {
	// Name stands at the top of each page, for example the company's name.
	Name string
	// SupportURL is an https, http or mailto address, linked at the foot.
	SupportURL string
	// LogoDataURI is "data:image/…;base64,…": the pages never load a file.
	LogoDataURI string
}

// Renderer renders pages. It is safe for concurrent use.
type Renderer struct {
	brand  brand
	locale locale
	pages  map[string]*template.Template
}

type brand struct {
	Name       string
	SupportURL string
	Logo       template.URL
}

// New returns a renderer for the English texts.
func New(b Brand) *Renderer {
	return newRenderer(b, locales["en"])
}

func newRenderer(b Brand, l locale) *Renderer {
	r := &Renderer{brand: checkBrand(b), locale: l, pages: map[string]*template.Template{}}
	for _, name := range []string{"consent", "choose", "login", "error", "done"} {
		t := template.New("base.html").Funcs(l.funcs())
		r.pages[name] = template.Must(t.ParseFS(templateFiles, "templates/base.html", "templates/"+name+".html"))
	}
	return r
}

var imageData = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/]+=*$`)

func checkBrand(b Brand) brand {
	out := brand{Name: DisplayText(b.Name, maxName)}
	if u, err := url.Parse(b.SupportURL); err == nil {
		switch u.Scheme {
		case "https", "http", "mailto":
			out.SupportURL = b.SupportURL
		}
	}
	if imageData.MatchString(b.LogoDataURI) {
		out.Logo = template.URL(b.LogoDataURI)
	}
	return out
}

// frame is what base.html sees; View is the page's own part.
type frame struct {
	Lang, Dir string
	Style     template.CSS
	Brand     brand
	FlowID    string
	View      any
}

// A page with a form says same-origin, because under no-referrer browsers send
// "Origin: null" with the form's POST (Fetch, "append a request Origin header"),
// and the handlers of those forms check Origin. Nothing reaches another origin
// under either value.
const (
	referrerNone = "no-referrer"
	referrerForm = "same-origin"
)

// render writes nothing until the whole page exists, so that a failing
// template is a clean 500 and not half a page.
func (r *Renderer) render(w http.ResponseWriter, status int, name, referrer, flowID string, view any) {
	f := frame{
		Lang: r.locale.Lang, Dir: r.locale.Dir, Style: template.CSS(style),
		Brand: r.brand, FlowID: DisplayText(flowID, maxFlowID), View: view,
	}
	var buf bytes.Buffer
	if err := r.pages[name].Execute(&buf, f); err != nil {
		buf.Reset()
		buf.WriteString("<!doctype html><html lang=\"en\"><title>Error</title><h1>Something went wrong</h1><p>Please try again later.</p></html>\n")
		status = http.StatusInternalServerError
	}
	setHeaders(w.Header(), referrer)
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the reader may be gone; there is nobody left to tell
}

// contentPolicy has no form-action directive on purpose. Chromium enforces
// form-action along the whole redirect chain of a form's POST, so any list
// would have to name the identity provider, everything it redirects through,
// and the client's loopback or private-use redirect URI, which cannot be
// written as a source. The form's target is our own constant, base-uri
// is closed and no markup of others gets in, so the directive would guard nothing.
var contentPolicy = "default-src 'none'; style-src '" + styleHash(style) + "'; img-src data:; base-uri 'none'; frame-ancestors 'none'"

func styleHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func setHeaders(h http.Header, referrer string) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", referrer)
	h.Set("X-Content-Type-Options", "nosniff")
	// No Cross-Origin-Opener-Policy: a web client that opens us in a popup would
	// see it as closed at once, and its callback page could not answer it.
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("X-Robots-Tag", "noindex")
}
