package policy

import (
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Bound is what the rules leave of granted scopes, prepared once for many
// decisions. It must not be changed.
type Bound struct {
	open  bool
	match Match
	// Scopes are those of the granted ones that the rules still allow.
	Scopes oauth.Scopes
	// LimitsTools is true if some tool that the scopes open may not be used. Then a
	// request whose tool is not known cannot be allowed.
	LimitsTools bool
	// ByCatalogue is true if the result depends on which tools the scopes open. Then
	// it has to be made again when that changes.
	ByCatalogue bool

	scopes   []boundScope
	notTools []string
	only     []string // patterns; nil for every tool
}

// boundScope is one granted scope with what it includes.
type boundScope struct {
	opens oauth.Scopes
	tools []string // patterns; nil for every tool
}

// Bound returns what the rules leave of granted.
func (m Match) Bound(granted oauth.Scopes) Bound {
	if m.rules != nil && m.rules.open {
		return Bound{open: true, Scopes: granted}
	}
	b := Bound{match: m}
	if m.rules == nil {
		return b
	}
	for rule := range m.held(false) {
		b.notTools = append(b.notTools, rule.Tools...)
	}
	b.LimitsTools = len(b.notTools) > 0
	b.ByCatalogue = b.LimitsTools
	for rule := range m.held(true) {
		b.ByCatalogue = b.ByCatalogue || len(rule.Tools) > 0
	}
	for _, scope := range granted {
		v := m.Verdict(scope)
		if !v.Allowed {
			continue
		}
		b.Scopes = append(b.Scopes, scope)
		b.scopes = append(b.scopes, boundScope{m.rules.scopes.WithIncluded([]string{scope}), v.Tools})
		b.LimitsTools = b.LimitsTools || v.Tools != nil
	}
	return b
}

// Only returns b for a credential that may call no other tools than those that
// patterns match, whatever the rules allow; without patterns it is b.
func (b Bound) Only(patterns []string) Bound {
	if len(patterns) > 0 {
		b.only, b.LimitsTools = patterns, true
	}
	return b
}

// Empty reports whether the rules leave nothing.
func (b *Bound) Empty() bool { return !b.open && len(b.Scopes) == 0 }

// MayCall reports whether a tool may be called by virtue of the granted scopes,
// where any one of openers opens it.
func (b *Bound) MayCall(tool string, openers []string) bool {
	if b.only != nil && !matchesName(b.only, tool) {
		return false
	}
	if b.open {
		return true
	}
	if matchesName(b.notTools, tool) {
		return false
	}
	for i := range b.scopes {
		s := &b.scopes[i]
		if (s.tools == nil || matchesName(s.tools, tool)) && slices.ContainsFunc(openers, s.opens.Contains) {
			return true
		}
	}
	return false
}

// Obtainable returns those of openers that the same person may have through the
// same client and that would open the tool; tool is "" for a request that names none.
func (b *Bound) Obtainable(tool string, openers []string) []string {
	if b.open {
		return openers
	}
	if tool != "" && matchesName(b.notTools, tool) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(openers), func(scope string) bool {
		v := b.match.Verdict(scope)
		return !v.Allowed || tool != "" && v.Tools != nil && !matchesName(v.Tools, tool)
	})
}

// matchesName reports whether one of patterns matches name, without allocating.
func matchesName(patterns []string, name string) bool {
	for _, p := range patterns {
		if rule.Match(p, name) {
			return true
		}
	}
	return false
}
