package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Session is what a connector needs to ask the identity provider about the same
// person again without a browser. It is a secret of the provider's: callers keep
// it sealed, hand it only to the connector, and never print it. The zero
// Session means that the provider gave nothing to ask with.
type Session struct {
	RefreshToken string `json:"rt,omitempty"`
	AccessToken  string `json:"at,omitempty"`
	Expires      int64  `json:"exp,omitempty"` // of AccessToken, in Unix seconds; 0: unknown
	// Life is how many seconds from now AccessToken lives by the word of the provider; 0
	// in a session that is older than the answer of this moment.
	Life int64 `json:"-"`
	// Want says which token the MCP server is to get. The session has it, and so
	// has every session that it is exchanged for.
	Want Wanted `json:"want,omitempty"`
	// IDToken is there if Want says so, IDExpires is its exp claim.
	IDToken   string `json:"id,omitempty"`
	IDExpires int64  `json:"idexp,omitempty"`
	// Client stands for the client of the provider that the tokens are bound to, see
	// package provider.
	Client string `json:"client,omitempty"`
	// ID is what the provider calls the person's session in its own browser (sid, see
	// Logout), "" where it does not say. Identify alone sets it, and it does not travel.
	ID string `json:"-"`
}

// Wanted is a token of the provider that an MCP server gets.
type Wanted string

// What may be wanted. The words are also those of the configuration.
const (
	WantNone   Wanted = ""
	WantAccess Wanted = "access"
	WantID     Wanted = "id"
)

// Size is about how many bytes the session takes when it travels.
func (s Session) Size() int { return len(s.RefreshToken) + len(s.AccessToken) + len(s.IDToken) }

// IsZero reports whether the session has no token.
func (s Session) IsZero() bool { return s.Size() == 0 }

// Wanted returns the token that the session was to bring, "" if the provider gave
// none, and when it expires, in Unix seconds; 0: unknown.
func (s Session) Wanted() (token string, expires int64) {
	switch s.Want {
	case WantAccess:
		return s.AccessToken, s.Expires
	case WantID:
		return s.IDToken, s.IDExpires
	}
	return "", 0
}

// Lean returns the session without what only an MCP server has a use for and a
// refresh token brings again. An ID token stays: a refresh may bring none.
func (s Session) Lean() Session {
	if s.Want == WantNone {
		return s
	}
	if s.RefreshToken != "" {
		s.AccessToken, s.Expires = "", 0
	}
	return s
}

// Format keeps the tokens out of every kind of print.
func (Session) Format(f fmt.State, _ rune) { io.WriteString(f, "[session]") }

// LogValue keeps the tokens out of logs.
func (Session) LogValue() slog.Value { return slog.StringValue("[session]") }

// Rechecker is what a connector can do besides: say later, without a browser,
// who the person is now.
type Rechecker interface {
	// Recheck asks the identity provider about id again. It returns the person
	// as they are now, with the same Namespace and Subject, and the session for
	// the next time, which replaces s: providers rotate their tokens, so a
	// session must not be used twice at once. Errors wrap ErrGone,
	// ErrNotAllowed or ErrSessionOver; any other error means that the provider
	// could not tell (it wraps ErrMisconfigured or ErrUnavailable). Then s is still good, unless
	// there is a session beside the error: s was exchanged for that one before
	// something failed, and the next try has to begin with it.
	Recheck(ctx context.Context, id Identity, s Session) (Identity, Session, error)
}

var (
	// ErrGone: the provider says that the person, or this service's access to them, no
	// longer exists.
	ErrGone = errors.New("the identity provider no longer vouches for this person")
	// ErrSessionOver: there is nothing left to ask with; only a new sign-in
	// can tell. It says nothing bad about the person.
	ErrSessionOver = errors.New("the session at the identity provider has ended")
)
