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

// exchanges makes what token exchange needs, nil where no MCP server exchanges.
func (b *builder) exchanges() *grant.Exchanges {
	if !slices.ContainsFunc(b.table.All(), func(r *resource.Resource) bool { return r.Exchange != nil }) {
		return nil
	}
	return &grant.Exchanges{
		Resources: b.table, Person: personOf(b.cfg.Providers),
		Identities: &token.IdentityVerifier{Keys: b.keys, Tickets: token.NewTickets(b.sealing), Now: b.opt.Now},
	}
}

// personOf returns what finds the provider of a full subject: the one whose namespace it
// begins with. No namespace is another's with a colon behind it.
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
