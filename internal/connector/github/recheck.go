package github

import (
	"context"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// session keeps the access token, which for an OAuth app does not expire; a
// GitHub App may give one for eight hours and a refresh token with it.
func session(token *oauth2.Token) connector.Session {
	s := connector.Session{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken}
	if !token.Expiry.IsZero() {
		s.Expires = token.Expiry.Unix()
	}
	return s
}

// Recheck implements connector.Rechecker: it reads the account again. A token
// that no longer works was taken back, by the person, an administrator or GitHub.
func (c *Connector) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	fail := func(err error) (connector.Identity, connector.Session, error) {
		return connector.Identity{}, connector.Session{}, upstream.RecheckFailed("re-check", err)
	}
	if s.AccessToken == "" {
		return fail(upstream.SessionOver("there is no token to ask with", nil))
	}
	token := &oauth2.Token{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken}
	if s.Expires != 0 {
		token.Expiry = time.Unix(s.Expires, 0)
	}
	token, err := c.withSecret().TokenSource(ctx, token).Token() // refreshes an expired one only
	if err != nil {
		return fail(err)
	}
	now, err := c.identity(ctx, token.AccessToken)
	if err != nil {
		return fail(err)
	}
	if now.Subject != id.Subject {
		return fail(upstream.Gone("the token belongs to another account", nil))
	}
	return now, session(token), nil
}
