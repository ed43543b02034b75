package whatif

import (
	"fmt"
	"slices"
	"strings"
)

// readAs reads "key=value,key=value". A backslash takes its meaning from the
// character after it.
func readAs(as string) (map[string]string, error) {
	given := map[string]string{}
	for pair := range split(as, ',') {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		_, twice := given[key]
		switch {
		case !ok || !slices.Contains([]string{"user", "email", "groups", "provider", "client"}, key):
			return nil, fmt.Errorf(`--as: %q is not one of user=…, email=…, groups=a|b, provider=…, client=…`, pair)
		case twice:
			return nil, fmt.Errorf("--as: %s comes twice", key)
		}
		given[key] = value
	}
	return given, nil
}

// split yields the parts of s between separators that have no backslash before
// them. Backslashes stay.
func split(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for start, i := 0, 0; ; i++ {
			switch {
			case i >= len(s):
				yield(s[start:])
				return
			case s[i] == '\\':
				i++
			case s[i] == separator:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

// plain takes the backslashes away.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
