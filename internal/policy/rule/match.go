package rule

import "strings"

// Match reports whether pattern matches name: they are equal, or the pattern ends
// in an asterisk and name begins with what is before it.
func Match(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// InDomain reports whether pattern, a name or "*.example.com" for the names
// below example.com, matches the lower-case domain.
func InDomain(pattern, domain string) bool {
	if parent, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(domain, parent) && len(domain) > len(parent)
	}
	return pattern == domain
}

// LowerASCII maps A-Z to a-z and leaves the rest alone. Unicode knows letters
// whose lower case is an ASCII letter (the Kelvin sign), and an address
// with one is not the address with the other.
func LowerASCII(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + ('a' - 'A')
		}
		return c
	}, s)
}
