package github

import (
	"context"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Recheck implements connector.Rechecker: it reads the account again. A token
// that no longer works was taken back, by the person, an administrator or GitHub.
func (c *Connector) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	exchanged := s
	fail := func(err error) (connector.Identity, connector.Session, error) {
		return upstream.RecheckSession("re-check", err, s, exchanged)
	}
	if s.AccessToken == "" {
		return fail(upstream.SessionOver("there is no token to ask with", nil))
	}
	token := upstream.Token(s)
	token, err := c.withSecret().TokenSource(ctx, token).Token() // refreshes an expired one only
	if err != nil {
		return fail(err)
	}
	exchanged = upstream.Session(token)
	now, err := c.identity(ctx, token.AccessToken)
	if err != nil {
		return fail(err)
	}
	if now.Subject != id.Subject {
		return fail(upstream.Gone("the token belongs to another account", nil))
	}
	return now, exchanged, nil
}
