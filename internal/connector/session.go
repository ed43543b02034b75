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
}

// Size is about how many bytes the session takes when it travels.
func (s Session) Size() int { return len(s.RefreshToken) + len(s.AccessToken) }

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
	// ErrGone: the provider says that the person, or this service's access to
	// them, exists no more.
	ErrGone = errors.New("the identity provider no longer vouches for this person")
	// ErrSessionOver: there is nothing left to ask with; only a new sign-in
	// can tell. It says nothing bad about the person.
	ErrSessionOver = errors.New("the session at the identity provider has ended")
)
