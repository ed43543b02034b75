package upstream

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Session keeps a token for the re-check at a refresh. One without expiry, as
// GitHub gives OAuth apps, lives until it is taken back.
func Session(token *oauth2.Token) connector.Session {
	s := connector.Session{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken}
	if !token.Expiry.IsZero() {
		s.Expires = token.Expiry.Unix()
	}
	return s
}

// RecheckSession is what Rechecker returns after err: where the provider could
// not tell, that is with the session that s was exchanged for, if it was.
func RecheckSession(what string, err error, s, exchanged connector.Session) (connector.Identity, connector.Session, error) {
	err = RecheckFailed(what, err)
	if exchanged == s || !errors.Is(err, connector.ErrUnavailable) && !errors.Is(err, connector.ErrMisconfigured) {
		exchanged = connector.Session{}
	}
	return connector.Identity{}, exchanged, err
}

// Token is the way back from Session.
func Token(s connector.Session) *oauth2.Token {
	token := &oauth2.Token{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken}
	if s.Expires != 0 {
		token.Expiry = time.Unix(s.Expires, 0)
	}
	return token
}

// AskAgain is the re-check at a provider without ID tokens: ask says whose an access
// token is, and gets the token of s for as long as it lives, then a refreshed one.
func (c *Client) AskAgain(ctx context.Context, config *oauth2.Config, id connector.Identity, s connector.Session, ask func(ctx context.Context, accessToken string) (connector.Identity, error)) (connector.Identity, connector.Session, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	exchanged := s
	fail := func(err error) (connector.Identity, connector.Session, error) {
		return RecheckSession("re-check", err, s, exchanged)
	}
	token := Token(s)
	switch {
	case s.AccessToken == "":
		return fail(SessionOver("there is no token to ask with", nil))
	case !token.Valid() && s.RefreshToken == "":
		return fail(SessionOver("the access token has expired", nil))
	}
	token, err := config.TokenSource(ctx, token).Token() // refreshes an expired one only
	if err != nil {
		return fail(err)
	}
	exchanged = Session(token)
	now, err := ask(ctx, token.AccessToken)
	if err != nil {
		return fail(err)
	}
	if now.Subject != id.Subject {
		return fail(Gone("the token belongs to another account", nil))
	}
	return now, exchanged, nil
}
