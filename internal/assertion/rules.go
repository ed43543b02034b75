package assertion

import (
	"fmt"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// holds reports whether every condition of the rule holds for g, shown by client ("" for
// none that proved itself).
func (r *Rule) holds(g *Grantee, client string) bool {
	if r.Anyone {
		return true
	}
	has := func(want []string, have ...string) bool {
		return len(want) == 0 || slices.ContainsFunc(have, func(v string) bool { return v != "" && slices.Contains(want, v) })
	}
	for name, value := range r.Claims {
		if g.claims.String(name) != value {
			return false
		}
	}
	return has(r.Subjects, g.claims.String("sub")) && has(r.Namespaces, g.Namespace) && has(r.ServiceAccounts, g.ServiceAccount) &&
		has(r.Groups, g.Person.Groups...) && has(r.Roles, g.Roles...) && has(r.Contexts, g.Context) && has(r.Clients, client)
}

// rule names a rule for people: "trustedIssuers[0].rules[1] (builders)".
func (c *Config) rule(i int) string {
	name := fmt.Sprintf("%s.rules[%d]", c.At, i)
	if c.Rules[i].Name != "" {
		name += " (" + c.Rules[i].Name + ")"
	}
	return name
}

// May returns the scopes that the rules of the issuer give g at a resource, of those
// scopes that the assertion itself has, and the rules that gave them. client is the one
// that showed the assertion and proved itself, "" for none.
func (g *Grantee) May(resource, client string) (scopes oauth.Scopes, rules []string) {
	for i := range g.config.Rules {
		rule := &g.config.Rules[i]
		if slices.Contains(rule.Resources, resource) && rule.holds(g, client) {
			scopes, rules = scopes.Union(oauth.Scopes(rule.Scopes)), append(rules, g.config.rule(i))
		}
	}
	if g.Scopes != nil {
		scopes = scopes.Intersect(g.Scopes)
	}
	return scopes, rules
}

// Issuer is the entry of the issuer.
func (g *Grantee) Issuer() *Config { return g.config }
