package server

import (
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// exchanges makes the parts for token exchange, nil if no MCP server exchanges.
func (b *builder) exchanges() *grant.Exchanges {
	if !slices.ContainsFunc(b.table.All(), func(r *resource.Resource) bool { return r.Exchange != nil }) {
		return nil
	}
	return &grant.Exchanges{
		Resources: b.table, Person: personOf(b.cfg.Providers),
		Identities: &token.IdentityVerifier{Keys: b.keys, Tickets: token.NewTickets(b.sealing), Now: b.opt.Now},
	}
}

// personOf returns a function that finds the provider of a full subject: the one whose
// namespace the subject begins with. No namespace begins with another one and a colon.
func personOf(providers []connector.Config) func(string) (connector.Identity, bool) {
	type people struct{ id, namespace string }
	var all []people
	for i := range providers {
		p := &providers[i]
		all = append(all, people{p.PolicyID(), provider.Prefix(*p) + p.Settings.Namespace()})
	}
	slices.SortFunc(all, func(a, b people) int { return len(b.namespace) - len(a.namespace) })
	return func(full string) (connector.Identity, bool) {
		for _, p := range all {
			if subject, ok := strings.CutPrefix(full, p.namespace+":"); ok {
				return connector.Identity{Provider: p.id, Namespace: p.namespace, Subject: subject}, true
			}
		}
		return connector.Identity{}, false
	}
}
