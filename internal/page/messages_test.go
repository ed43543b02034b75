package page

import (
	"context"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/a-h/templ"
)

var (
	used     = regexp.MustCompile(`\bl\.(tn?|page|wayOn|Messages)[([](?:f, )?"([a-z.]+)"[,)\]]`)
	computed = regexp.MustCompile(`\bl\.(t|page)\((?:f, )?"([a-z.]+\.)" ?\+ ?string\(v\.[A-Z][A-Za-z]+\)( ?\+ ?"(\.[a-z]+)")?\)`)
	places   = regexp.MustCompile(`\{[a-z]*\}`)
)

// variants are the ends of message ids that templates put together.
var variants = map[string][]string{
	"error.":          words(Problems...),
	"login.problem.":  words(LoginRejected, LoginThrottled, LoginBusy),
	"consent.held.":   words(HeldRecent, HeldNone),
	"consent.notice.": words(NothingChosen, TooMuchChosen, ScopesChanged),
	"consent.risk.":   {riskDestructive, riskOther, riskReadOnly},
	"done.":           words(Outcomes...),
	"account.notice.": words(AccountNotices...),
	"device.problem.": words(DeviceUnknown, DeviceThrottled),
}

func words[T ~string](list ...T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// usedMessages finds what the templates ask the catalogue for: ids, and the
// ids of messages that count.
func usedMessages(t *testing.T) (plain, counting map[string]bool) {
	plain, counting = map[string]bool{}, map[string]bool{}
	files, _ := filepath.Glob("*.templ")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(raw), -1) {
			if m[1] == "tn" {
				counting[m[2]] = true
			} else {
				plain[m[2]] = true
			}
		}
		for _, m := range computed.FindAllStringSubmatch(string(raw), -1) {
			if len(variants[m[2]]) == 0 {
				t.Errorf("%s: what can follow %q?", name, m[2])
			}
			for _, v := range variants[m[2]] {
				plain[m[2]+v+m[4]] = true
			}
		}
	}
	if len(plain) < 80 || len(counting) < 5 {
		t.Fatalf("only %d and %d messages found in the templates", len(plain), len(counting))
	}
	return plain, counting
}

// TestEveryWordIsFromTheCatalogue: any other word would stay English. Words of
// others are in <bdi> or <code>.
func TestEveryWordIsFromTheCatalogue(t *testing.T) {
	message, word := regexp.MustCompile(`\x{200f}[^⟩]*⟩`), regexp.MustCompile(`[A-Za-z]{2,}`)
	r := newRenderer(Brand{Name: "1"}, rtl())
	for _, name := range slices.Sorted(maps.Keys(gallery)) {
		doc := parse(t, record(r, name).Body)
		for _, n := range slices.Concat(elements(doc, "bdi"), elements(doc, "code"), elements(doc, "style")) {
			n.Parent.RemoveChild(n)
		}
		if left := word.FindString(message.ReplaceAllString(innerText(doc), "")); left != "" {
			t.Errorf("%s: %q is not in the catalogue", name, left)
		}
	}
}

// categories are the plural categories of a language, found by trying.
func categories(l locale) []string {
	var out []string
	for n := range 1001 {
		if c := l.plural()(n); !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

func TestCatalogueIsComplete(t *testing.T) {
	plain, counting := usedMessages(t)
	for lang, l := range locales {
		if l.Lang == "" || (l.Dir != "ltr" && l.Dir != "rtl") {
			t.Errorf("%q: lang %q, dir %q", lang, l.Lang, l.Dir)
		}
		known := map[string]bool{}
		check := func(id, english string, countLess bool) {
			known[id] = true
			text := l.Messages[id]
			if text == "" || strings.TrimSpace(text) != text || strings.ContainsAny(text, "<>&\u202a\u202b\u202d\u202e") {
				t.Errorf("%s %q: %q", lang, id, text)
			}
			got, want := places.FindAllString(text, -1), places.FindAllString(locales["en"].Messages[english], -1)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) && !(countLess && len(got) == 0) {
				t.Errorf("%s %q: places %q, want %q", lang, id, got, want)
			}
		}
		for id := range plain {
			check(id, id, false)
		}
		for id := range counting {
			for _, c := range categories(l) {
				// "zero", "one" and "two" may say the number in words where nothing else is of that category.
				exact := lang == "ar" && (c == "zero" || c == "one" || c == "two")
				check(id+"."+c, id+".other", exact)
			}
		}
		for id := range l.Messages {
			if !known[id] {
				t.Errorf("%s: nothing uses %q", lang, id)
			}
		}
	}
}

// The gallery has every state of every page: each text of the catalogue is somewhere
// in it, so that the tests in a browser see it. A message that counts is there in one of
// its forms.
func TestGalleryShowsEveryMessage(t *testing.T) {
	marked := locale{Lang: "en", Dir: "ltr", Messages: map[string]string{}}
	for id, m := range locales["en"].Messages {
		marked.Messages[id] = "⟨" + id + "⟩" + strings.Join(places.FindAllString(m, -1), "")
	}
	r := newRenderer(Brand{LogoDataURI: logo, SupportURL: "https://x.example/", PrivacyURL: "https://x.example/", TermsURL: "https://x.example/"}, marked)
	shown := map[string]bool{}
	for name := range gallery {
		for _, m := range regexp.MustCompile(`⟨([^⟩]*)⟩`).FindAllStringSubmatch(record(r, name).Body.String(), -1) {
			shown[m[1]] = true
		}
	}
	_, counting := usedMessages(t)
	for id := range marked.Messages {
		stem := id[:max(0, strings.LastIndexByte(id, '.'))]
		if counting[stem] && (shown[stem+".one"] || shown[stem+".other"]) {
			continue
		}
		if !shown[id] {
			t.Errorf("no page of the gallery shows %q", id)
		}
	}
}

// sameInEnglish are messages of which another language has the same word.
var sameInEnglish = map[string][]string{"de": {"consent.app", "device.code", "account.apps"}}

func TestEveryLanguageIsTranslated(t *testing.T) {
	for lang, l := range locales {
		for id, m := range l.Messages {
			same := m == locales["en"].Messages[id] && places.ReplaceAllString(m, "") != ""
			if lang != "en" && same != slices.Contains(sameInEnglish[lang], id) {
				t.Errorf("%s %q: %q, in English %q", lang, id, m, locales["en"].Messages[id])
			}
		}
	}
}

func TestPlurals(t *testing.T) {
	for lang, want := range map[string]map[int]string{
		"en": {0: "other", 1: "one", 2: "other", 11: "other"},
		"de": {0: "other", 1: "one", 2: "other"},
		"ar": {0: "zero", 1: "one", 2: "two", 3: "few", 10: "few", 11: "many", 99: "many", 100: "other", 102: "other", 103: "few", 111: "many"},
	} {
		for n, category := range want {
			if got := locales[lang].plural()(n); got != category {
				t.Errorf("%s %d: %s, want %s", lang, n, got, category)
			}
		}
	}
}

func TestPreferredLanguage(t *testing.T) {
	for _, tc := range []struct {
		want   string
		header []string
	}{
		{"en", nil},
		{"en", []string{""}},
		{"de", []string{"de"}},
		{"de", []string{"de-AT, en;q=0.8"}},
		{"de", []string{"DE-de"}},
		{"ar", []string{"fr-CH, fr;q=0.9, ar-EG;q=0.8, en;q=0.7, *;q=0.5"}},
		{"en", []string{"fr, ja"}},
		{"en", []string{"*"}},
		{"en", []string{"en;q=0.5, de;q=0.4"}},
		{"de", []string{"en;q=0.5, de;q=0.6"}},
		{"en", []string{"de;q=0"}},
		{"en", []string{"de;q=2", "de;q=-1", "de;q=NaN", "de;q=x", "de;x=1"}},
		{"de", []string{"en;q=0.1", "de ; q=0.9"}},
		{"en", []string{"../../de", "d\x00e", "deutsch"}},
		{"en", []string{strings.Repeat("fr,", 20) + "de"}},
		{"en", []string{strings.Repeat("x", 1<<20) + ",de"}},
	} {
		if got := preferred(tc.header); got != tc.want {
			t.Errorf("%.60q: %s, want %s", tc.header, got, tc.want)
		}
	}
}

func TestPagesSpeakTheBrowsersLanguage(t *testing.T) {
	pages := New(Brand{})
	for lang, want := range map[string]string{"de": `<html lang="de" dir="ltr">`, "ar-SA": `<html lang="ar" dir="rtl">`, "fr": `<html lang="en" dir="ltr">`} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		pages.For(r).Done(w, Done{})
		if !strings.Contains(w.Body.String(), want) || w.Header().Get("Vary") != "Accept-Language" {
			t.Errorf("%s: %v %.80s", lang, w.Header(), w.Body)
		}
	}
}

func TestMessages(t *testing.T) {
	l := locale{Lang: "xx", Messages: map[string]string{
		"plain": "a < b", "name": "hello {who} & {who}", "open": "hello {who", "n.one": "{n} thing", "n.other": "{n} things",
	}}
	for _, tc := range []struct {
		id   string
		args []string
		want string // empty: an error
	}{
		{"plain", nil, "a &lt; b"},
		{"name", []string{"who", "<i>{x}"}, "hello <bdi>&lt;i&gt;{x}</bdi> &amp; <bdi>&lt;i&gt;{x}</bdi>"},
		{"name", nil, ""},
		{"name", []string{"who"}, ""},
		{"open", []string{"who", "x"}, ""},
		{"none", nil, ""},
	} {
		got, err := markup(l.t(tc.id, tc.args...))
		if (err != nil) != (tc.want == "") || got != tc.want && err == nil {
			t.Errorf("%s %v: %q, %v; want %q", tc.id, tc.args, got, err, tc.want)
		}
	}
	for n, want := range map[int]string{0: "things", 1: "thing", 2: "things"} {
		if got, err := markup(l.tn("n", n)); err != nil || !strings.HasSuffix(got, " "+want) {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
	if !slices.Contains(slices.Collect(maps.Keys(locales)), "en") {
		t.Error("no English")
	}
}

func markup(c templ.Component) (string, error) {
	var b strings.Builder
	err := c.Render(context.Background(), &b)
	return b.String(), err
}
