package grant

import (
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// jwtBearerType is the value of grant_type (RFC 7523, section 2.1).
const jwtBearerType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// OffersAssertions reports whether an assertion of this kind, "" for any, can get a token at a
// host.
func (e *Endpoint) OffersAssertions(h *resource.Host, kind string) bool {
	return slices.ContainsFunc(h.Resources, func(r *resource.Resource) bool { return !r.OwnTokensOff && e.Assertions.Offers(kind, r.URI) })
}

// jwtBearer is the grant for assertions that another server signed (RFC 7523, section
// 2.1): about a machine, or about a person for whom a client acts.
func (e *Endpoint) jwtBearer(c *call) (*Response, error) {
	raw := c.params.Get("assertion")
	if raw == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "assertion is missing")
	}
	needsClient := e.Assertions.NeedsClient(raw)
	if err := mayShow(c, needsClient); err != nil {
		return nil, err
	}
	at := assertion.Place{Issuer: c.host.Issuer, TokenEndpoint: c.host.Issuer + Path}
	if c.client != nil {
		at.Client = c.client.ID
	}
	g, err := e.Assertions.Read(c.Context(), raw, at)
	if err != nil {
		return nil, err
	}
	c.entry.Subject = g.Person.FullSubject()
	c.entry.Actor = g.Actor.String()
	if needsClient && !proven(c.client) && !g.Issuer().PublicClients {
		return nil, invalidClient(reasons.AssertionWithoutClient, nil)
	}
	if c.client == nil {
		if err := e.count(c, g.Person.FullSubject()); err != nil {
			return nil, err
		}
	}
	m, err := e.bearer(c, g)
	if err != nil {
		return nil, err
	}
	return e.serveMachine(c, m)
}

// mayShow checks which client shows an assertion that needs one. Clients that registered
// themselves may not: they could have any name.
func mayShow(c *call, needsClient bool) error {
	switch {
	case !needsClient:
		return nil
	case c.client == nil:
		return invalidClient(reasons.AssertionWithoutClient, nil)
	case c.client.Kind() == rule.KindDynamic:
		return oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", jwtBearerType)
	}
	return nil
}

// proven reports whether a client has authenticated with a secret or a key.
func proven(c *registration.Client) bool { return c != nil && c.AuthMethod != registration.AuthNone }

// bearer returns the machine that g is about, with what the rules of its issuer grant it.
func (e *Endpoint) bearer(c *call, g *assertion.Grantee) (machine, error) {
	id, proved := g.Person.FullSubject(), "" // proved: the id of a client that has authenticated
	client := policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindWorkload}
	if c.client != nil {
		id, client = c.client.ID, policyClient(c)
		if proven(c.client) {
			proved = id
		}
	}
	named, err := namedResource(c, g, proved)
	if err != nil {
		return machine{}, err
	}
	may := func(r *resource.Resource) oauth.Scopes {
		if named != nil && r != named || c.client != nil && !c.client.MayReach(r.URI) {
			return nil
		}
		scopes, _ := g.May(r.URI, proved)
		if c.client != nil {
			scopes = c.client.Narrow(scopes)
		}
		return scopes
	}
	if !slices.ContainsFunc(c.host.Resources, func(r *resource.Resource) bool { return !r.OwnTokensOff && len(may(r)) > 0 }) {
		return machine{}, &oauth.Error{Code: oauth.InvalidGrant, Description: "the assertion gives nothing here", Reason: reasons.NoRuleForAssertion}
	}
	m := machine{
		who: policy.Outsider{
			Person: g.Person, SameAs: g.Issuer().SameAs, Client: client, ClientID: id, Actors: g.Actor.Names(), Roles: g.Roles,
		},
		client: id, may: may, actor: g.Actor, key: g.Key, context: g.Context, until: e.Now().Add(g.Issuer().TokenLifetime),
	}
	m.chosen = func(r *resource.Resource) {
		_, rules := g.May(r.URI, proved)
		c.entry.Rules = strings.Join(rules, ", ")
	}
	if g.Used == "" && g.Expires.Before(m.until) { // the token must not outlive an assertion that may be shown again
		m.until = g.Expires
	}
	if g.Used != "" {
		m.spend = func() error { return e.spendGrant(c, g.Used, g.Expires) }
	}
	return m, nil
}

// namedResource returns the one resource of this host that an assertion is for, nil if it
// names none. If it names several, the rules must leave exactly one.
func namedResource(c *call, g *assertion.Grantee, proved string) (*resource.Resource, error) {
	if len(g.Named) == 0 {
		return nil, nil
	}
	var open []*resource.Resource
	for _, uri := range g.Named {
		r, ok := c.host.ForSignIn(uri)
		if !ok || slices.Contains(open, r) {
			continue
		}
		if scopes, _ := g.May(r.URI, proved); len(scopes) > 0 {
			open = append(open, r)
		}
	}
	if len(open) != 1 {
		return nil, &oauth.Error{Code: oauth.InvalidGrant, Description: "the assertion is not for one MCP server of this host", Reason: reasons.NoRuleForAssertion}
	}
	return open[0], nil
}

// spendGrant uses an assertion up, for every replica that shares the guard.
func (e *Endpoint) spendGrant(c *call, id string, expires time.Time) error {
	first, err := e.Guard.Redeem(c.Context(), id, expires)
	switch {
	case err != nil:
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "assertions cannot be checked right now", Reason: reasons.GuardUnavailable, Cause: err}
	case !first:
		return &oauth.Error{Code: oauth.InvalidGrant, Description: "the assertion was used before", Reason: reasons.AssertionUsedTwice}
	}
	return nil
}
