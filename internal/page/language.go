package page

import (
	"strconv"
	"strings"
)

// Bounds on what is read of Accept-Language, which can be of any length.
const (
	maxLanguageBytes = 512
	maxLanguages     = 16
)

// fallback is the language where none that is asked for is here.
const fallback = "en"

// preferred picks the language of the pages (RFC 9110, section 12.5.4): the one
// of highest weight, of equals the first. Only the language itself counts, not
// its region or script.
func preferred(header []string) string {
	list := strings.Join(header, ",")
	list = list[:min(len(list), maxLanguageBytes)]
	best, weight, seen := fallback, 0.0, 0
	for entry := range strings.SplitSeq(list, ",") {
		if seen++; seen > maxLanguages {
			break
		}
		tag, params, _ := strings.Cut(entry, ";")
		lang, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if _, ok := locales[lang]; !ok {
			continue
		}
		if q := quality(params); q > weight {
			best, weight = lang, q
		}
	}
	return best
}

// quality is the weight of an entry, from 0 to 1; 0 also for one that is none.
func quality(params string) float64 {
	text, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(params, " ", "")), "q=")
	if !ok {
		if strings.TrimSpace(params) == "" {
			return 1
		}
		return 0
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
