package upstream

import (
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
