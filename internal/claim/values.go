package claim

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Bounds of what an Identity may hold, in bytes. They end up in tokens and in
// request headers, so they are tight.
const (
	maxSubject = 255 // OpenID Connect Core, section 2
	maxEmail   = 254 // RFC 5321, section 4.5.3.1.3
	maxName    = 256
	maxGroup   = 256
)

// Subject returns s, or "" if it is no usable identifier.
func Subject(s string) string { return plain(s, maxSubject) }

// Email returns s, or "" if it is not of the form local@domain.
func Email(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 || strings.ContainsFunc(s, unicode.IsSpace) {
		return ""
	}
	return plain(s, maxEmail)
}

// Name returns s without control characters and cut to a bounded length: it is
// for show only.
func Name(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return strings.TrimSpace(s)
}

// Groups keeps the usable ones among the first of groups that filter, patterns
// for rule.Match, lets through; an empty filter lets all through. The problem
// says that an unusable one was left out, which a rule may be about.
func Groups(groups, filter []string) (kept []string, problem string) {
	for _, g := range groups {
		wanted := func(pattern string) bool { return rule.Match(pattern, g) }
		if g == "" || len(filter) > 0 && !slices.ContainsFunc(filter, wanted) {
			continue
		}
		if plain(g, maxGroup) == "" {
			problem = "it holds a name of more than 256 bytes or with control characters"
		} else if len(kept) < connector.MaxGroups {
			kept = append(kept, g)
		}
	}
	return kept, problem
}

// plain returns s, or "" if it is too long or could break out of a header line.
func plain(s string, limit int) string {
	if len(s) > limit || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}
