package grant

import (
	"errors"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// machine is who asks for a token without a sign-in in a browser. It gets what the
// configuration grants at once, without a consent page, and never a refresh token: it can
// ask again with what it proved itself with.
type machine struct {
	who policy.Outsider
	// client is the client_id of the token.
	client string
	// may returns the scopes that the machine may have at a resource, none if the
	// resource is closed to it.
	may func(*resource.Resource) oauth.Scopes
	// chosen, if set, is called with the resource that the token is for.
	chosen func(*resource.Resource)
	// until is when the token expires at the latest; zero is no bound.
	until time.Time
	// actor acts for the person; nil if no one does.
	actor *actor.Actor
	// context is the context that a workload acts in, see outbound.Headers.
	context string
	// key is the thumbprint of the key that the machine must prove, "" for none.
	key string
	// spend uses up what the machine showed, when everything else is in order; nil if it
	// may be shown again.
	spend func() error
}

// serveMachine checks what m asks for, uses up what it proved itself with, and mints the
// token.
func (e *Endpoint) serveMachine(c *call, m machine) (*Response, error) {
	c.entry.Subject, c.entry.Email = m.who.Person.FullSubject(), m.who.Person.Email
	res, err := m.resource(c)
	if err != nil {
		return nil, err
	}
	c.entry.Resource = res.URI
	if m.chosen != nil {
		m.chosen(res)
	}
	if _, err := c.bind(res, m.key); err != nil {
		return nil, err
	}
	scopes, err := m.scopes(c, res)
	if err != nil {
		return nil, err
	}
	match := e.Policy.For(res.URI).MatchOutsider(&m.who)
	if scopes, err = e.machinePolicy(c, match, scopes); err != nil {
		return nil, err
	}
	person := &m.who.Person
	facts := revocation.Facts{Subject: person.FullSubject(), Email: person.Email, EmailUnknown: person.Unknown.Email, Client: revocation.Client(m.client)}
	if err := e.checkFacts(facts); err != nil {
		return nil, err
	}
	for _, spend := range []func() error{c.spend, m.spend} {
		if spend == nil {
			continue
		}
		if err := spend(); err != nil {
			return nil, err
		}
	}
	c.entry.Scope = scopes.String()
	resp, err := e.mint(c, grantee{
		Resource: res.URI, Scopes: scopes, Identity: *person, Policy: match.String(), Client: m.client, Until: m.until,
		Key: m.key, Actor: m.actor, Roles: m.who.Roles, Context: m.context,
	})
	if errors.Is(err, token.ErrTooLarge) {
		return nil, &oauth.Error{Code: oauth.InvalidGrant, Description: "what is said of this caller does not fit an access token", Reason: reasons.InvalidAssertion, Cause: err}
	}
	return resp, err
}

// resource returns the resource that the request names (RFC 8707, section 2.2). If it
// names none, it returns the only one of the host that is open to m.
func (m *machine) resource(c *call) (*resource.Resource, error) {
	var found *resource.Resource
	for _, uri := range c.params.All("resource") {
		res, ok := c.host.ForSignIn(uri)
		switch {
		case !ok || len(m.may(res)) == 0:
			return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "resource is not an MCP server of this host that is open to this caller", Reason: reasons.ResourceNotForMachine}
		case found != nil && found != res:
			return nil, oauth.Errorf(oauth.InvalidTarget, "one token is for one MCP server; name one resource")
		}
		found = res
	}
	if found != nil {
		return found, nil
	}
	open := slices.DeleteFunc(slices.Clone(c.host.Resources), func(r *resource.Resource) bool { return r.OwnTokensOff || len(m.may(r)) == 0 })
	switch len(open) {
	case 0:
		return nil, &oauth.Error{Code: oauth.InvalidTarget, Description: "no MCP server of this host is open to this caller", Reason: reasons.ResourceNotForMachine}
	case 1:
		return open[0], nil
	}
	return nil, oauth.Errorf(oauth.InvalidTarget, "several MCP servers of this host are open to this caller; name one with the parameter resource")
}

// scopes returns the scopes that are asked for and that m may have, all of these if none
// are asked for. Unknown scopes are ignored (RFC 6749, section 3.3); the answer names the
// scopes of the token.
func (m *machine) scopes(c *call, res *resource.Resource) (oauth.Scopes, error) {
	asked, err := oauth.ParseScopes(c.params.Get("scope"))
	if err != nil {
		return nil, err
	}
	may := m.may(res)
	if len(asked) == 0 {
		return may, nil
	}
	scopes := asked.Intersect(may)
	if len(scopes) == 0 {
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "none of the scopes is one that this caller may have", Reason: reasons.ScopeNotGranted}
	}
	return scopes, nil
}

// machinePolicy returns what the rules leave of scopes. It writes an audit entry if they
// take any away.
func (e *Endpoint) machinePolicy(c *call, match policy.Match, scopes oauth.Scopes) (oauth.Scopes, error) {
	left := match.Narrow(scopes)
	if len(left) == len(scopes) {
		return left, nil
	}
	if len(left) == 0 {
		c.entry.Withheld = scopes.String()
		return nil, &oauth.Error{Code: oauth.InvalidScope, Description: "the policy gives this caller none of these scopes", Reason: reasons.NotAllowedByPolicy}
	}
	narrowed := c.entry
	narrowed.Event, narrowed.Reason = audit.PolicyNarrowed, reasons.NarrowedByPolicy
	narrowed.Scope, narrowed.Withheld = left.String(), slices.DeleteFunc(slices.Clone(scopes), left.Contains).String()
	e.Audit.Write(c.Context(), narrowed)
	return left, nil
}
