package page

import (
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Limits of what one piece of foreign text may take of the page, in runes.
const (
	maxName        = 64
	maxHeading     = 36 // of a name in a heading; the whole of it is elsewhere on the page
	maxHost        = 253
	maxURI         = 2048
	maxShortURI    = 120
	maxScope       = 128
	maxDescription = 320
	maxToolName    = 128
	maxToolTitle   = 80
	maxFlowID      = 64
	maxUserCode    = 16
	maxAccount     = 80
)

// maxMarks is how many combining marks may follow one letter: three are enough
// for Vietnamese, Thai and pointed Hebrew, and too few to climb over other lines.
const maxMarks = 3

// DisplayText makes text of unknown origin fit to stand on a page beside ours:
// one line, at most maxRunes runes, every rune visible and in its place. It drops
// controls, bidirectional and zero-width characters, blank letters and floods of
// combining marks, and turns each run of white space into one space. It does not
// escape HTML (templates do), and cannot tell one alphabet's "a" from another's:
// the host beside a name is what a person can trust.
func DisplayText(s string, maxRunes int) string {
	if maxRunes <= 0 {
		return ""
	}
	var out []rune
	space, marks := false, maxMarks // a mark with no letter before it is dropped
	for _, c := range s {
		switch {
		case unicode.IsSpace(c):
			space = len(out) > 0
			marks = maxMarks
			continue
		case !unicode.IsGraphic(c) || blank(c) || unicode.Is(unicode.Me, c):
			continue
		case unicode.IsMark(c):
			if marks >= maxMarks {
				continue
			}
			marks++
		default:
			marks = 0
		}
		if space {
			out = append(out, ' ')
			space = false
		}
		out = append(out, c)
		if len(out) > maxRunes {
			return strings.TrimRight(string(out[:maxRunes-1]), " ") + "…"
		}
	}
	return string(out)
}

// blank reports the graphic runes that draw nothing: fillers, variation
// selectors and the empty Braille cell.
func blank(c rune) bool {
	return c == '\u2800' || unicode.In(c, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// shortURI is displayURI, cut to what shows which URI it is and is no room for prose.
func shortURI(s string) string {
	shown := displayURI(s)
	if len(shown) > maxShortURI {
		return shown[:maxShortURI] + "…"
	}
	return shown
}

// abridged is shortURI of a URI that is too long to stand in full among short
// texts, "" of one that is not.
func abridged(s string) string {
	if len(displayURI(s)) <= maxShortURI {
		return ""
	}
	return shortURI(s)
}

// displayURI shows a URI as what it is on the wire: nothing is dropped, what is
// not visible ASCII, or no character of a URI, is percent-encoded, so that two URIs never look the same.
func displayURI(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if b.Len() >= maxURI {
			b.WriteString("…")
			break
		}
		if c := s[i]; c > ' ' && c < 0x7f && !strings.ContainsRune("\"<>\\^`{|}", rune(c)) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// displayHost shows a host, and its port if it has one, in the ASCII form that
// DNS is asked for, so that a look-alike letter shows as "xn--".
func displayHost(s string) string {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return s
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i:]
	}
	if a, err := idna.Punycode.ToASCII(host); err == nil {
		host = a
	}
	shown := displayURI(host + port)
	if len(shown) > maxHost+6 {
		// The end of a host names its owner.
		shown = "…" + shown[len(shown)-maxHost:]
	}
	return shown
}
