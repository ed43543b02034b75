package oauth

import (
	"slices"
	"strings"
)

// OfflineAccess asks for a refresh token; it never stands for a tool.
const OfflineAccess = "offline_access"

const maxScopeBytes = 4 << 10

// ValidScopeToken reports whether s is a scope-token of RFC 6749, section 3.3.
func ValidScopeToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Scopes is a set of scope-tokens in the order they were first named.
type Scopes []string

// ParseScopes reads a space-delimited scope parameter (RFC 6749, section 3.3).
func ParseScopes(s string) (Scopes, error) {
	if len(s) > maxScopeBytes {
		return nil, Errorf(InvalidScope, "scope is longer than %d bytes", maxScopeBytes)
	}
	var out Scopes
	seen := map[string]bool{}
	for token := range strings.SplitSeq(s, " ") {
		if token == "" {
			continue
		}
		if !ValidScopeToken(token) {
			return nil, Errorf(InvalidScope, "scope has a character outside RFC 6749, section 3.3")
		}
		if !seen[token] {
			seen[token] = true
			out = append(out, token)
		}
	}
	return out, nil
}

// String joins the scopes with spaces.
func (s Scopes) String() string { return strings.Join(s, " ") }

// Len returns the length of String.
func (s Scopes) Len() int {
	n := max(0, len(s)-1)
	for _, name := range s {
		n += len(name)
	}
	return n
}

// Contains reports whether name is in the set.
func (s Scopes) Contains(name string) bool { return slices.Contains(s, name) }

// Intersect returns the members of s that are also in other, in the order of s.
func (s Scopes) Intersect(other Scopes) Scopes {
	in := other.set()
	return slices.DeleteFunc(slices.Clone(s), func(name string) bool { return !in[name] })
}

// Union returns s followed by the members of other that s lacks.
func (s Scopes) Union(other Scopes) Scopes {
	in := s.set()
	out := slices.Clone(s)
	for _, name := range other {
		if !in[name] {
			in[name] = true
			out = append(out, name)
		}
	}
	return out
}

// Without returns s without name.
func (s Scopes) Without(name string) Scopes {
	if !s.Contains(name) {
		return slices.Clip(s)
	}
	return slices.DeleteFunc(slices.Clone(s), func(n string) bool { return n == name })
}

func (s Scopes) set() map[string]bool {
	m := make(map[string]bool, len(s))
	for _, name := range s {
		m[name] = true
	}
	return m
}
