package oidc

import (
	"context"
	"encoding/json"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// logoutEvent is what makes a token a logout token (OpenID Connect Back-Channel
// Logout 1.0, section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// ReadLogout implements connector.LogoutReader. What holds for an ID token holds for a
// logout token, and it has the event, and no nonce, so that neither passes for the
// other (section 2.6).
func (c *Connector) ReadLogout(ctx context.Context, raw string) (connector.Logout, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return connector.Logout{}, err
	}
	token, claims, err := c.verifyIDToken(ctx, p, raw, &oauth2.Token{})
	if err != nil {
		return connector.Logout{}, upstream.Failed("logout token", err)
	}
	var events map[string]json.RawMessage
	_, nonce := claims["nonce"]
	_ = json.Unmarshal(claims["events"], &events)
	_, ends := events[logoutEvent]
	id := claims.String("jti")
	if nonce || !ends || id == "" {
		return connector.Logout{}, upstream.Rejected("this is no logout token: it has a nonce, or lacks the event or jti", nil)
	}
	said := connector.Logout{ID: id, Identity: connector.Identity{Namespace: c.options.Namespace}, Session: sessionID(claims), IssuedAt: token.IssuedAt}
	subject, err := c.subject(token, claims)
	if err == nil {
		said.Identity.Subject = claim.Subject(subject)
	}
	if said.Session == "" && said.Identity.Subject == "" {
		return connector.Logout{}, upstream.Rejected("the logout token says neither whose session ended (sub) nor which (sid)", err)
	}
	return said, nil
}

// sessionID is what the provider calls the person's session, "" if it does not say, or
// says it in a form that cannot be kept.
func sessionID(claims Claims) string { return claim.Subject(claims.String("sid")) }

// LogoutURL implements connector.Leaver. The provider knows by client_id whose
// browser comes, asks the person where it has to, and shows its own last page: an
// address to come back to would have to be registered there.
func (c *Connector) LogoutURL(ctx context.Context) (string, error) {
	p, err := c.provider(ctx)
	if err != nil || p.EndSessionEndpoint == "" {
		return "", err
	}
	u, err := url.Parse(p.EndSessionEndpoint)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("client_id", c.options.ClientID)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
