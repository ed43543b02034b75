// Package providertoken owns the token of a person's identity provider that an MCP server
// gets, so that the server can act there as the person.
//
// The configuration (File) says which token an MCP server gets and in which form. In form
// "client" the token travels sealed inside the client's access token: package grant asks
// Obtain and Carried for it at each sign-in and refresh, and nothing is stored. In form
// "held" the session with the provider is sealed in the guard. Held renews it while it is
// used, gives credential kinds a View of it for each request, and supplies token
// exchange.
//
// Two things are always true. A token goes to one MCP server and into no log. And one
// replica at a time exchanges a session, because providers take a second use of a refresh
// token for theft.
package providertoken

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Token is a provider's token as an MCP server gets it.
type Token struct {
	Value   token.Provider `json:"v"`
	Expires int64          `json:"exp,omitempty"` // Unix seconds; 0 if it is unknown or there is none
}

// Errors of Obtain and Carried: there is no token to pass on. They last until the operator
// or the provider changes something.
var (
	// ErrMissing: the provider gave no such token at the sign-in or the refresh.
	ErrMissing = errors.New("the identity provider gave no such token")
	// ErrTooLarge: the token does not fit where it has to go.
	ErrTooLarge = errors.New("the identity provider's token is too large")
	// ErrTooShort: the token dies too soon.
	ErrTooShort = errors.New("the identity provider's token lives too short")
	// ErrUnfit: the token cannot be the value of a header.
	ErrUnfit = errors.New("the identity provider's token holds what no header can")
)

// Obtain returns the token that t names, from the session s at p. If t says so, it
// exchanges the session's access token at the provider. Errors are ErrMissing, ErrUnfit
// and those of connector.Exchanger.
func Obtain(ctx context.Context, p *provider.Provider, t *resource.ProviderToken, s connector.Session, now time.Time) (Token, error) {
	value, expires := s.Wanted()
	if value == "" {
		return Token{}, ErrMissing
	}
	if t.Token == "exchange" {
		exchanged, life, err := p.Exchange(ctx, value, connector.Exchange{OnBehalfOf: t.OnBehalfOf, Audience: t.Audience, Scopes: t.ExchangeScopes})
		if err != nil {
			return Token{}, err
		}
		value = exchanged
		if life > 0 {
			expires = now.Add(life).Unix()
		}
	}
	if !plain(value) {
		return Token{}, ErrUnfit
	}
	return Token{token.Provider(value), expires}, nil
}

// plain reports whether a token has only the characters of RFC 6749, appendix A.12,
// without the comma and the space: some gateways split headers at these.
func plain(value string) bool {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return false
		}
	}
	return value != ""
}

// margin is how long before its end a token is no longer handed out, so that the MCP
// server has time to use it: a sixth of its life, at most a minute.
func margin(life time.Duration) time.Duration { return min(life/6, time.Minute) }

// Carried returns how long an access token that carries k may live, 0 for no bound.
// Errors wrap ErrTooLarge or ErrTooShort.
func Carried(t *resource.ProviderToken, k Token, now time.Time) (time.Duration, error) {
	if n, most := len(t.Line(string(k.Value))), min(t.Room(), resource.MaxCarried); n > most {
		return 0, fmt.Errorf("%w: it has %d bytes, and %d can be carried; form held has room for %d", ErrTooLarge, n, most, maxHeld)
	}
	if k.Expires == 0 {
		return 0, nil
	}
	life := time.Unix(k.Expires, 0).Sub(now)
	if life -= margin(life); life < t.MinLifetime {
		return 0, fmt.Errorf("%w: an access token could live for %s, and providerToken.minLifetime is %s; let the provider's tokens live longer, or use form held",
			ErrTooShort, max(life, 0).Round(time.Second), t.MinLifetime)
	}
	return life, nil
}

// maxHeld bounds a token that is held here, in bytes.
const maxHeld = 8 << 10
