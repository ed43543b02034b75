package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// session keeps the refresh token; the access token only where it is all there is,
// or where an MCP server wants it. A refresh that brings no ID token leaves the one of
// before, which is good until it expires.
func session(token *oauth2.Token, want connector.Wanted, before connector.Session) connector.Session {
	s := connector.Session{RefreshToken: token.RefreshToken, Want: want}
	if token.RefreshToken == "" || want == connector.WantAccess {
		s.Life = upstream.Life(token)
		if s.AccessToken = token.AccessToken; !token.Expiry.IsZero() {
			s.Expires = token.Expiry.Unix()
		}
	}
	if want == connector.WantID {
		s.IDToken, s.IDExpires = before.IDToken, before.IDExpires
		if raw := rawIDToken(token); raw != "" {
			s.IDToken, s.IDExpires = raw, expiryOf(raw)
		}
	}
	return s
}

// expiryOf reads exp of an ID token that was verified.
func expiryOf(raw string) int64 {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		Expires json.Number `json:"exp"`
	}
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(plain, &claims) != nil {
		return 0
	}
	seconds, _ := claims.Expires.Float64() // RFC 7519, section 2: it may have a fraction
	return int64(seconds)
}

// Recheck implements connector.Rechecker: with a refresh token by using it
// (OpenID Connect Core, section 12), else by asking the userinfo endpoint for
// as long as the access token lives.
func (c *Connector) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	now, token, err := c.recheck(ctx, id, s)
	if err == nil {
		return now, session(token, s.Want, s), nil
	}
	exchanged := s
	if token != nil {
		exchanged = unchecked(token, s)
	}
	return upstream.RecheckSession("re-check", err, s, exchanged)
}

// unchecked is the session that s was exchanged for, with the ID token of before: the new
// one may be what is wrong.
func unchecked(token *oauth2.Token, s connector.Session) connector.Session {
	exchanged := session(token, s.Want, s)
	exchanged.IDToken, exchanged.IDExpires = s.IDToken, s.IDExpires
	return exchanged
}

// recheck returns a token beside an error if s was exchanged for it before.
func (c *Connector) recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, *oauth2.Token, error) {
	if s.Size() == 0 {
		return connector.Identity{}, nil, upstream.SessionOver("the provider gave no token to ask with", nil)
	}
	p, err := c.provider(ctx)
	if err != nil {
		return connector.Identity{}, nil, err
	}
	if s.RefreshToken == "" {
		return c.recheckUserInfo(ctx, p, id, s)
	}
	token, err := c.refresh(ctx, p, s.RefreshToken)
	if err != nil {
		return connector.Identity{}, nil, err
	}
	connector.Exchanged(ctx, s, unchecked(token, s))
	now, err := c.refreshed(ctx, p, id, token)
	return now, token, err
}

// refreshed reads who the person is now from what a refresh gave.
func (c *Connector) refreshed(ctx context.Context, p *provider, id connector.Identity, token *oauth2.Token) (connector.Identity, error) {
	claims := Claims{}
	if raw := rawIDToken(token); raw != "" {
		idToken, refreshed, err := c.verifyIDToken(ctx, p, raw, token)
		if err != nil {
			return connector.Identity{}, err
		}
		// OpenID Connect Core, section 12.2: sub MUST be the same.
		subject, err := c.subject(idToken, refreshed)
		if err != nil {
			return connector.Identity{}, err
		}
		if subject != id.Subject {
			return connector.Identity{}, upstream.Gone("the refreshed ID token is about another subject", nil)
		}
		claims = refreshed
	} else if p.UserInfoEndpoint == "" {
		return connector.Identity{}, upstream.SessionOver("the refresh gave no ID token and there is no userinfo endpoint", nil)
	}
	return c.identity(ctx, p, token, id.Subject, answers{idToken: claims})
}

func (c *Connector) recheckUserInfo(ctx context.Context, p *provider, id connector.Identity, s connector.Session) (connector.Identity, *oauth2.Token, error) {
	token := &oauth2.Token{AccessToken: s.AccessToken}
	if s.Expires != 0 {
		token.Expiry = time.Unix(s.Expires, 0)
	}
	switch {
	case p.UserInfoEndpoint == "":
		return connector.Identity{}, nil, upstream.SessionOver("the provider has no userinfo endpoint", nil)
	case s.Expires != 0 && !c.options.Now().Before(token.Expiry):
		return connector.Identity{}, nil, upstream.SessionOver("the access token has expired", nil)
	}
	claims, err := c.userInfo(ctx, p, token, id.Subject, nil)
	if err != nil {
		return connector.Identity{}, nil, err
	}
	now, err := c.identity(ctx, p, token, id.Subject, answers{userInfo: claims})
	return now, token, err
}
