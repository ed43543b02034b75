package page

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	used   = regexp.MustCompile(`\b(tn?|tx) "([a-z.]+)"`)
	places = regexp.MustCompile(`\{[a-z]*\}`)
)

func TestCatalogueIsComplete(t *testing.T) {
	want := map[string]bool{}
	files, _ := templateFiles.ReadDir("templates")
	for _, f := range files {
		raw, err := templateFiles.ReadFile("templates/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(raw), -1) {
			if m[1] == "tn" {
				want[m[2]+".one"], want[m[2]+".other"] = true, true
			} else {
				want[m[2]] = true
			}
		}
		// Text between tags that is not from the catalogue would stay English.
		text := regexp.MustCompile(`(?s)<style>.*</style>|<[^>]*>|\{\{.*?\}\}`).ReplaceAllString(string(raw), " ")
		if left := regexp.MustCompile(`[A-Za-z]{2,}`).FindString(text); left != "" {
			t.Errorf("%s: %q is not in the catalogue", f.Name(), left)
		}
	}
	if len(want) < 30 {
		t.Fatalf("only %d messages found in the templates", len(want))
	}
	for lang, l := range locales {
		if l.Lang == "" || (l.Dir != "ltr" && l.Dir != "rtl") {
			t.Errorf("%q: lang %q, dir %q", lang, l.Lang, l.Dir)
		}
		for id := range want {
			if strings.TrimSpace(l.Messages[id]) == "" {
				t.Errorf("%s lacks %q", lang, id)
			}
			got, en := places.FindAllString(l.Messages[id], -1), places.FindAllString(locales["en"].Messages[id], -1)
			slices.Sort(got)
			slices.Sort(en)
			if !slices.Equal(got, en) {
				t.Errorf("%s %q: places %q, want %q", lang, id, got, en)
			}
		}
		for id := range l.Messages {
			// A language may have more plural categories than English.
			base := id[:strings.LastIndexByte(id, '.')+1]
			if !want[id] && !want[base+"other"] {
				t.Errorf("%s: nothing uses %q", lang, id)
			}
		}
	}
}

func TestMessages(t *testing.T) {
	l := locale{Lang: "xx", Messages: map[string]string{
		"plain": "a < b", "name": "hello {who} & {who}", "open": "hello {who", "n.one": "{n} thing", "n.other": "{n} things",
	}}
	for _, tc := range []struct {
		id   string
		args []any
		want string // empty: an error
	}{
		{"plain", nil, "a &lt; b"},
		{"name", []any{"who", "<i>{x}"}, "hello <bdi>&lt;i&gt;{x}</bdi> &amp; <bdi>&lt;i&gt;{x}</bdi>"},
		{"name", nil, ""},
		{"name", []any{"who"}, ""},
		{"open", []any{"who", "x"}, ""},
		{"none", nil, ""},
	} {
		got, err := l.html(tc.id, tc.args...)
		if (err != nil) != (tc.want == "") || string(got) != tc.want && err == nil {
			t.Errorf("%s %v: %q, %v; want %q", tc.id, tc.args, got, err, tc.want)
		}
	}
	for n, want := range map[int]string{0: "things", 1: "thing", 2: "things"} {
		if got, err := l.count("n", n); err != nil || !strings.HasSuffix(string(got), " "+want) {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
	if !slices.Contains(slices.Collect(maps.Keys(locales)), "en") {
		t.Error("no English")
	}
}
