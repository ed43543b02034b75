package page

import (
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDisplayText(t *testing.T) {
	for _, tc := range []struct {
		name, give string
		max        int
		want       string
	}{
		{"plain", "Claude Code", 64, "Claude Code"},
		{"other alphabets stay", "Zoë 東京 Київ مرحبا שָׁלוֹם ไม่ได้ हिन्दी", 64, "Zoë 東京 Київ مرحبا שָׁלוֹם ไม่ได้ हिन्दी"},
		{"emoji", "Notes 📝", 64, "Notes 📝"},
		{"ATK-41 bidi override", "Safe\u202egnp.exe\u2066x\u2069\u200f", 64, "Safegnp.exex"},
		{"ATK-41 zero width", "Cl\u200bau\u200dde\ufeff\u2060\u00ad", 64, "Claude"},
		{"ATK-41 tag characters", "a\U000E0041\U000E0042b", 64, "ab"},
		{"ATK-41 variation selectors", "a\ufe0f\U000E0100b", 64, "ab"},
		{"ATK-41 blank letters", "\u3164\u115f\uffa0\u2800", 64, ""},
		{"ATK-41 controls", "a\x00\x1b[31mb\u0085\x7f", 64, "a[31mb"},
		{"ATK-41 new lines", "\r\nAllow\n\n\u2028all\t\u00a0\u3000now \n", 64, "Allow all now"},
		{"ATK-41 combining flood", "a" + strings.Repeat("\u0301", 500) + "b", 64, "a\u0301\u0301\u0301b"},
		{"ATK-41 mixed flood", "a" + strings.Repeat("\u0301\u0489\u200d", 500), 64, "a\u0301\u0301\u0301"},
		{"ATK-41 mark with no letter", "\u0301a \u0301b", 64, "a b"},
		{"ATK-41 10 kB name", strings.Repeat("x", 10<<10), 8, "xxxxxxx…"},
		{"cut after a space", "abc def", 5, "abc…"},
		{"just fits", "abcde", 5, "abcde"},
		{"invalid UTF-8", "a\xff\xc0\xbcb", 64, "a\ufffd\ufffd\ufffdb"},
		{"private use", "a\ue000b", 64, "ab"},
		{"no room", "abc", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := DisplayText(tc.give, tc.max); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzDisplayText(f *testing.F) {
	f.Add("Claude\u202e\u0301\u0301 \n x", 5)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit %= 100
		got := DisplayText(s, limit)
		if n := utf8.RuneCountInString(got); n > max(limit, 0) || !utf8.ValidString(got) {
			t.Fatalf("%d runes of %d in %q", n, limit, got)
		}
		for _, c := range got {
			if c != ' ' && (!unicode.IsGraphic(c) || unicode.IsSpace(c) || blank(c)) {
				t.Fatalf("%q holds %U", got, c)
			}
		}
		if strings.TrimSpace(got) != got || strings.Contains(got, "  ") {
			t.Fatalf("loose space in %q", got)
		}
		if again := DisplayText(got, limit); again != got {
			t.Fatalf("%q becomes %q", got, again)
		}
	})
}

func TestDisplayHostAndURI(t *testing.T) {
	for give, want := range map[string]string{
		"claude.ai":              "claude.ai",
		"claude.ai:8443":         "claude.ai:8443",
		"127.0.0.1:53682":        "127.0.0.1:53682",
		"[::1]:53682":            "[::1]:53682",
		"[::1]":                  "[::1]",
		"com.example.app:":       "com.example.app:",
		"":                       "",
		"cl\u0430ude.ai":         "xn--clude-5ve.ai", // Cyrillic а
		"cl\u0430ude.ai:8443":    "xn--clude-5ve.ai:8443",
		"claude.ai\u202e/x":      "",
		"good.example\u2044evil": "",
	} {
		got := displayHost(give)
		if want != "" && got != want || strings.ContainsFunc(got, func(c rune) bool { return c > 0x7e || c < '!' }) {
			t.Errorf("%q: %q, want %q", give, got, want)
		}
	}
	if got := displayHost(strings.Repeat("claude.ai.", 60) + "evil.example"); !strings.HasSuffix(got, "evil.example") || len(got) > 300 {
		t.Errorf("the owner's end is lost: %q", got)
	}
	for give, want := range map[string]string{
		"https://a/b?c=d#e":      "https://a/b?c=d#e",
		"https://a/\u202egpj":    "https://a/%E2%80%AEgpj",
		"https://a/ \r\n\x00":    "https://a/%20%0D%0A%00",
		"https://cl\u0430ude/":   "https://cl%D0%B0ude/",
		strings.Repeat("a", 1e4): strings.Repeat("a", maxURI) + "…",
	} {
		if got := displayURI(give); got != want {
			t.Errorf("%.40q: %.80q, want %.80q", give, got, want)
		}
	}
}

func TestUnicodeDeceptionOnThePage(t *testing.T) {
	v := loopback()
	v.ClientName = "Claude\u202e\u200b" + strings.Repeat("\u0301", 50) + strings.Repeat("A", 10<<10)
	v.RedirectURI, v.RedirectHost = "https://cl\u0430ude.ai/cb", "cl\u0430ude.ai"
	v.Scopes[0].Description = "Read\u2028only\u202e"
	w := httptest.NewRecorder()
	english(Brand{}).Consent(w, 200, v)
	body := w.Body.String()
	for _, bad := range []string{"\u202e", "\u200b", "\u0430", "\u2028", strings.Repeat("\u0301", 4), strings.Repeat("A", 100)} {
		if strings.Contains(body, bad) {
			t.Errorf("ATK-41 the page holds %q", bad[:min(8, len(bad))])
		}
	}
	for _, want := range []string{"xn--clude-5ve.ai", "https://cl%D0%B0ude.ai/cb"} {
		if !strings.Contains(body, want) {
			t.Errorf("ATK-41 the page lacks %q", want)
		}
	}
}
