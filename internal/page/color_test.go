package page

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// variables reads the colours of style.css: the light ones, then the dark ones.
func variables(t *testing.T) [2]map[string]color {
	t.Helper()
	light, dark, found := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	dark, _, ended := strings.Cut(dark, "\n}\n")
	if !found || !ended {
		t.Fatal("style.css has no dark colours")
	}
	var out [2]map[string]color
	for i, text := range []string{light, dark} {
		out[i] = map[string]color{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(text, -1) {
			hex := m[2]
			if len(hex) == 3 {
				hex = fmt.Sprintf("%[1]c%[1]c%[2]c%[2]c%[3]c%[3]c", hex[0], hex[1], hex[2])
			}
			out[i][m[1]] = mustColor("#" + hex)
		}
	}
	return out
}

// What stands on what in style.css.
var pairs = map[string][]string{
	"text":  {"ground", "surface", "sunken", "warn-soft", "bad-soft"},
	"quiet": {"ground", "surface", "sunken"}, "accent": {"ground", "surface", "sunken", "accent-soft"},
	"warn": {"surface", "sunken", "warn-soft"}, "bad": {"surface", "bad-soft"}, "good": {"surface", "sunken", "good-soft"},
	"on-fill": {"fill", "fill-hover"},
}

func TestContrastOfOurColours(t *testing.T) {
	for i, vars := range variables(t) {
		for text, grounds := range pairs {
			for _, ground := range grounds {
				a, ok := vars[text]
				b, found := vars[ground]
				if !ok || !found {
					t.Fatalf("style.css lacks --%s or --%s", text, ground)
				}
				if got := contrast(a, b); got < legible {
					t.Errorf("scheme %d: --%s on --%s has %.2f", i, text, ground, got)
				}
			}
		}
		// The edges of boxes and fields: WCAG 2.2, success criterion 1.4.11.
		if got := contrast(vars["edge"], vars["surface"]); got < 3 {
			t.Errorf("scheme %d: --edge has %.2f", i, got)
		}
	}
}

func TestSchemesAreThoseOfTheStyle(t *testing.T) {
	for i, vars := range variables(t) {
		s := [2]scheme{lightScheme, darkScheme}[i]
		for j, name := range []string{"surface", "ground", "sunken"} {
			if s.grounds[j] != vars[name] {
				t.Errorf("--%s is %s, the scheme says %s", name, vars[name], s.grounds[j])
			}
		}
	}
}

func TestContrast(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#777777", "#ffffff", 4.48}, {"#0000ff", "#ffffff", 8.59}, {"#ffffff", "#ffffff", 1}} {
		if got := contrast(mustColor(tc.a), mustColor(tc.b)); got < tc.want-0.01 || got > tc.want+0.01 {
			t.Errorf("%s on %s: %.3f, want %.2f", tc.a, tc.b, got, tc.want)
		}
	}
}

// Whatever colour an operator chooses, everything of it can be read.
func TestEveryAccentIsLegible(t *testing.T) {
	for n := 0; n < 1<<24; n += 4099 { // a prime: all parts vary
		own := mustColor(fmt.Sprintf("#%06x", n))
		for i, s := range []scheme{lightScheme, darkScheme} {
			p := s.palette(own)
			if p.fill != own {
				t.Fatalf("%s: the button is %s", own, p.fill)
			}
			for _, on := range []color{p.fill, p.fillHover} {
				if contrast(p.onFill, on) < legible {
					t.Errorf("%s, scheme %d: %s on %s", own, i, p.onFill, on)
				}
			}
			for _, ground := range append(s.grounds, p.soft) {
				if contrast(p.accent, ground) < legible {
					t.Errorf("%s, scheme %d: %s on %s", own, i, p.accent, ground)
				}
			}
		}
	}
}

func TestAccentStyle(t *testing.T) {
	for _, bad := range []string{"", "red", "#fff", "#ffffff;}body{display:none", "#gggggg", "#1234567", "url(x)"} {
		if got := accentStyle(bad); got != "" {
			t.Errorf("%q: %q", bad, got)
		}
	}
	if got := accentStyle("#0A7D55"); !strings.Contains(got, "--fill: #0a7d55;") || strings.Count(got, "--accent:") != 2 {
		t.Error(got)
	}
	if a := lightScheme.palette(mustColor("#0a5d3f")); a.accent != a.fill {
		t.Errorf("a colour that can be read becomes %s", a.accent)
	}
}
