package catalog

import (
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// with returns c with the operator's scopes. A tool that they name is opened by them
// alone, whatever the server declares. So an operator can close what a server leaves
// open, and can give scopes to a server that declares none.
func (c *Catalogue) with(rules []rule.Scope) *Catalogue {
	if len(rules) == 0 {
		return c
	}
	out := &Catalogue{
		Tools: c.Tools, FetchedAt: c.FetchedAt, Declared: c.Declared, Unavailable: c.Unavailable, Dropped: c.Dropped, TTL: c.TTL,
		operator: rules, salt: c.salt,
	}
	for _, s := range c.Scopes {
		before := len(s.Tools)
		s.Tools = slices.DeleteFunc(slices.Clone(s.Tools), out.governed)
		if before > 0 && len(s.Tools) == 0 && !slices.ContainsFunc(rules, func(r rule.Scope) bool { return r.Name == s.Name }) {
			continue // nothing is left that it opens
		}
		out.Scopes = append(out.Scopes, s)
	}
	for _, r := range rules {
		i := slices.IndexFunc(out.Scopes, func(s Scope) bool { return s.Name == r.Name })
		if i < 0 {
			i = len(out.Scopes)
			out.Scopes = append(out.Scopes, Scope{Name: r.Name})
		}
		s := &out.Scopes[i]
		if r.Description != "" {
			s.Description = plainText(r.Description, maxDescription)
		}
		for _, t := range c.Tools {
			if slices.ContainsFunc(r.Tools, func(p string) bool { return rule.Match(p, t.Name) }) {
				s.Tools = append(s.Tools, t.Name)
			}
		}
		slices.Sort(s.Tools)
	}
	out.index.Do(out.buildIndex)
	return out
}

// governed reports whether the operator's scopes name the tool.
func (c *Catalogue) governed(tool string) bool { return len(c.operatorScopes(tool)) > 0 }

// operatorScopes returns the operator's scopes that open the tool.
func (c *Catalogue) operatorScopes(tool string) []string {
	var names []string
	for _, r := range c.operator {
		if slices.ContainsFunc(r.Tools, func(p string) bool { return rule.Match(p, tool) }) {
			names = append(names, r.Name)
		}
	}
	return names
}

// operatorPatterns returns the patterns of tools of an operator's scope.
func (c *Catalogue) operatorPatterns(scope string) []string {
	for _, r := range c.operator {
		if r.Name == scope {
			return r.Tools
		}
	}
	return nil
}

// Knows reports whether the server or the operator has said which scopes open the tool.
// It is false if the server has not been read and the operator does not name the tool,
// which is then closed.
func (c *Catalogue) Knows(tool string) bool { return !c.Unavailable || c.governed(tool) }
