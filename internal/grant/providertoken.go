package grant

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// supplied is the token of the identity provider that an access token carries; the
// zero value is none.
type supplied struct {
	providertoken.Token
	For *resource.ProviderToken // nil where there is none
}

// provides returns what the resource gets of the provider's tokens, nil for nothing.
func provides(host *resource.Host, uri, providerID string) *resource.ProviderToken {
	r, ok := host.ForSignIn(uri)
	if !ok || !r.ProviderToken.Of(providerID) {
		return nil
	}
	return r.ProviderToken
}

// supply returns the token of the identity provider for the first access token of a
// sign-in. It may ask the provider, so it comes before the code is spent.
func (e *Endpoint) supply(c *call, a authcode.Authorization) (supplied, error) {
	t := provides(c.host, a.Resource, a.Identity.Provider)
	if t == nil {
		return supplied{}, nil
	}
	p := e.Providers.Find(a.Identity.Provider)
	if p == nil { // the operator has removed it within the minute
		return supplied{}, invalidGrant(reasons.ProviderRemoved)
	}
	if !t.Held {
		got, err := obtain(c.Context(), p, t, a.Session, e.Now())
		return got, notSupplied(err, false)
	}
	k, err := providertoken.Obtain(c.Context(), p, t, a.Session, e.Now())
	if err == nil {
		err = e.hold(c, a, k)
	}
	return supplied{For: t}, notSupplied(err, false)
}

// hold keeps the session of a sign-in here. A code that comes twice holds nothing
// twice.
func (e *Endpoint) hold(c *call, a authcode.Authorization, k providertoken.Token) error {
	sign := providertoken.SignIn{
		Family: a.ID, Resource: a.Resource, Provider: a.Identity.Provider, Client: policyClient(c),
		InGroups: inGroups(a.Identity), Until: e.familyDies(a.AuthTime),
	}
	return e.Held.Begin(c.Context(), sign, a.Identity, a.Policy, a.Session, k)
}

// inGroups reports whether a person is in some group, or may be.
func inGroups(id connector.Identity) bool { return len(id.Groups) > 0 || id.Unknown.Groups }

// issuer mints tokens for what g is for.
func (e *Endpoint) issuer(g grantee) *token.Issuer {
	if t := g.Provider.For; t != nil && t.Held && t.Lifetime > 0 {
		other := *e.Tokens
		other.Lifetime = t.Lifetime
		return &other
	}
	return e.Tokens
}

// longest is how long an access token of this service may live.
func (e *Endpoint) longest() time.Duration {
	if e.Held == nil {
		return e.Tokens.Lifetime
	}
	return max(e.Tokens.Lifetime, e.Held.Longest())
}

// obtain returns the token of t in the session s, if an access token can carry it.
func obtain(ctx context.Context, p *provider.Provider, t *resource.ProviderToken, s connector.Session, now time.Time) (supplied, error) {
	k, err := providertoken.Obtain(ctx, p, t, s, now)
	if err == nil {
		_, err = providertoken.Carried(t, k, now)
	}
	if err != nil {
		return supplied{}, err
	}
	return supplied{k, t}, nil
}

// bound lets an access token die before the token that it carries.
func (e *Endpoint) bound(g *grantee) error {
	if g.Provider.For == nil || g.Provider.For.Held {
		return nil
	}
	now := e.Tokens.Now()
	life, err := providertoken.Carried(g.Provider.For, g.Provider.Token, now)
	if err != nil {
		return notSupplied(err, g.Generation > 0)
	}
	if end := now.Add(life); life > 0 && (g.Until.IsZero() || end.Before(g.Until)) {
		g.Until = end
	}
	return nil
}

// notSupplied says what a client is told where there is no token for the MCP server.
// At a refresh a new sign-in may bring one; at a sign-in only the operator can help.
func notSupplied(err error, refresh bool) error {
	if err == nil {
		return nil
	}
	oe := &oauth.Error{
		Code: oauth.ServerError, Description: "the identity provider's token for this server cannot be had until the operator of this service has changed something",
		Reason: reasons.ProviderTokenMissing, Cause: err,
	}
	switch {
	case errors.Is(err, guard.ErrUnavailable):
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the session with the identity provider cannot be kept right now", Reason: reasons.GuardUnavailable, Cause: err}
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the identity provider does not answer", Reason: reasons.ProviderUnavailable, Cause: err}
	case errors.Is(err, connector.ErrMisconfigured):
		oe.Reason = reasons.ProviderMisconfigured
		return oe
	case errors.Is(err, providertoken.ErrTooLarge):
		oe.Reason = reasons.ProviderTokenTooLarge
	case errors.Is(err, providertoken.ErrTooShort):
		oe.Reason = reasons.ProviderTokenTooShort
	}
	if refresh {
		return invalidRefresh(oe.Reason, err)
	}
	return oe
}
