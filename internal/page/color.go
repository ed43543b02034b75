package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// color is an sRGB colour, each part from 0 to 1.
type color [3]float64

var white, black = color{1, 1, 1}, color{}

func parseColor(s string) (color, bool) {
	if len(s) != 7 || s[0] != '#' {
		return color{}, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 24)
	if err != nil {
		return color{}, false
	}
	return color{float64(n>>16) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}, true
}

// mustColor is parseColor for our own constants.
func mustColor(s string) color {
	c, ok := parseColor(s)
	if !ok {
		panic("internal error: " + s + " is no colour")
	}
	return c
}

func (c color) String() string {
	byte := func(v float64) int { return int(math.Round(v * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", byte(c[0]), byte(c[1]), byte(c[2]))
}

// mix goes from c to other by share, and to a colour that can be written.
func (c color) mix(other color, share float64) color {
	for i := range c {
		c[i] = math.Round((c[i]+(other[i]-c[i])*share)*255) / 255
	}
	return c
}

// luminance: WCAG 2.2, "relative luminance".
func (c color) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast: WCAG 2.2, "contrast ratio", from 1 to 21.
func contrast(a, b color) float64 {
	l, m := a.luminance(), b.luminance()
	return (max(l, m) + 0.05) / (min(l, m) + 0.05)
}

// legible is the least contrast of text (WCAG 2.2, success criterion 1.4.3, AA).
const legible = 4.5

// scheme is a light or dark set of colours, with the values of style.css that
// text of the accent colour stands on.
type scheme struct {
	grounds []color
	away    color // where to go for more contrast
}

var (
	lightScheme = scheme{[]color{mustColor("#ffffff"), mustColor("#f4f5f7"), mustColor("#f6f7f9")}, black}
	darkScheme  = scheme{[]color{mustColor("#181b21"), mustColor("#0f1115"), mustColor("#1f232a")}, white}
)

// palette is what style.css calls --accent and so on.
type palette struct {
	fill, fillHover, onFill color // of the main button
	accent, soft            color // of links and marks, and the ground of marks
}

// palette fits an operator's colour in. The button is of that very colour,
// because black or white can be read on any; links and marks are of the nearest
// shade that can be read on every ground, so no colour has to be refused.
func (s scheme) palette(own color) palette {
	p := palette{fill: own, onFill: white, accent: own}
	if contrast(own, black) > contrast(own, white) {
		p.onFill = black
	}
	opposite := white
	if p.onFill == white {
		opposite = black
	}
	p.fillHover = own.mix(opposite, 0.15)
	for share := 0.0; ; share += 0.02 {
		p.accent = own.mix(s.away, share)
		p.soft = s.grounds[0].mix(p.accent, 0.1)
		if s.readable(p) || share >= 1 {
			return p
		}
	}
}

func (s scheme) readable(p palette) bool {
	for _, ground := range append([]color{p.soft}, s.grounds...) {
		if contrast(p.accent, ground) < legible {
			return false
		}
	}
	return true
}

func (p palette) css() string {
	return fmt.Sprintf("--fill: %s; --fill-hover: %s; --on-fill: %s; --accent: %s; --accent-soft: %s;", p.fill, p.fillHover, p.onFill, p.accent, p.soft)
}

// accentStyle is the end of the style sheet for an operator's colour, empty for none.
func accentStyle(accent string) string {
	own, ok := parseColor(strings.ToLower(accent))
	if !ok {
		return ""
	}
	return ":root { " + lightScheme.palette(own).css() + " }\n" +
		"@media (prefers-color-scheme: dark) { :root { " + darkScheme.palette(own).css() + " } }\n"
}
