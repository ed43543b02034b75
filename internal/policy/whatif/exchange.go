package whatif

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// exchange is what a client that is an MCP server gets at another for its callers.
type exchange struct {
	client, at string // "proxy.hosts[0].tokenExchange"
	scopes     oauth.Scopes
	requires   []string // per target that has conditions, for people
}

// exchange returns what client gets at uri by token exchange, nil for nothing.
func (s Service) exchange(client, uri string) *exchange {
	for i, h := range s.Hosts {
		if h.Exchange == nil || client == "" || !slices.Contains(h.Exchange.Clients, client) {
			continue
		}
		x := &exchange{client: client, at: fmt.Sprintf("proxy.hosts[%d].tokenExchange", i)}
		for _, t := range h.Exchange.Targets {
			if t.Resource != uri {
				continue
			}
			x.scopes = x.scopes.Union(t.Scopes)
			if len(t.Requires) > 0 {
				x.requires = append(x.requires, fmt.Sprintf("%s only for a caller with %s there", t.Scopes, t.Requires))
			}
		}
		if len(x.scopes) > 0 {
			return x
		}
	}
	return nil
}

func (x *exchange) actors() []string { return []string{rule.ClientNamespace + ":" + x.client} }

// match is what the rules say of a person for whom the server acts.
func (x *exchange) match(rules *policy.Rules, p *connector.Config, id connector.Identity, c policy.Client) policy.Match {
	id.Provider = p.PolicyID()
	return rules.MatchOutsider(&policy.Outsider{Person: id, Client: c, ClientID: x.client, Actors: x.actors()})
}

func (x *exchange) note() string {
	text := "this is what the MCP server " + x.client + " gets here for the person, by " + x.at
	if len(x.requires) > 0 {
		text += ": " + strings.Join(x.requires, "; ")
	}
	return text
}
