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

// supplied is the token of the identity provider that comes with an access token. The
// zero value is none.
type supplied struct {
	providertoken.Token
	For *resource.ProviderToken // the configuration of the MCP server; nil if it gets no token
}

// provides returns the configuration of the provider's tokens for a resource, nil if it
// gets none of this provider.
func provides(host *resource.Host, uri, providerID string) *resource.ProviderToken {
	r, ok := host.ForSignIn(uri)
	if !ok || !r.ProviderToken.Of(providerID) {
		return nil
	}
	return r.ProviderToken
}

// supply returns the token of the identity provider for the first access token of a
// sign-in. It may have to ask the provider, so it must come before the code is spent.
func (e *Endpoint) supply(c *call, a authcode.Authorization) (supplied, error) {
	t := provides(c.host, a.Resource, a.Identity.Provider)
	if t == nil {
		return supplied{}, nil
	}
	p := e.Providers.Find(a.Identity.Provider)
	if p == nil { // the operator has removed it since the code was issued
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

// hold stores the session of a sign-in for the MCP server. If the code comes twice, the
// session is stored once.
func (e *Endpoint) hold(c *call, a authcode.Authorization, k providertoken.Token) error {
	sign := providertoken.SignIn{
		Family: a.ID, Resource: a.Resource, Provider: a.Identity.Provider, Client: policyClient(c),
		InGroups: inGroups(a.Identity), Until: e.familyDies(a.AuthTime),
	}
	return e.Held.Begin(c.Context(), sign, a.Identity, a.Policy, a.Session, k)
}

// inGroups reports whether the person is in any group, or may be.
func inGroups(id connector.Identity) bool { return len(id.Groups) > 0 || id.Unknown.Groups }

// issuerFor returns the issuer of g's access token. MCP servers with held sessions may
// have a lifetime of their own.
func (e *Endpoint) issuerFor(g grantee) *token.Issuer {
	if t := g.Provider.For; t != nil && t.Held && t.Lifetime > 0 {
		other := *e.Tokens
		other.Lifetime = t.Lifetime
		return &other
	}
	return e.Tokens
}

// longestLifetime returns the longest lifetime of any access token of this service.
func (e *Endpoint) longestLifetime() time.Duration {
	if e.Held == nil {
		return e.Tokens.Lifetime
	}
	return max(e.Tokens.Lifetime, e.Held.Longest())
}

// obtain returns the token that t names from the session s, if an access token can carry
// it.
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

// endWithProviderToken makes the access token expire before the provider's token that it
// carries.
func (e *Endpoint) endWithProviderToken(g *grantee) error {
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

// notSupplied returns what the client is told if there is no token for the MCP server. At
// a refresh (refresh is true), a new sign-in may bring one. At a sign-in, only the
// operator can help.
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
