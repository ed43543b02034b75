package personal

import (
	"context"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/asked"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Vouched returns when the identity provider last vouched for a person, by the full
// subject; the zero time is never. An error says that it cannot be found out now.
type Vouched func(ctx context.Context, subject string) (time.Time, error)

// SignIns knows which people the identity provider vouched for lately. It looks only
// for keys that are old enough to rest, and remembers what it found.
type SignIns struct {
	every   time.Duration
	vouched Vouched
	now     func() time.Time
	answers *asked.Answers[time.Time]
}

const (
	// lookAgain is how long the answer counts that a key is good.
	lookAgain = 5 * time.Minute
	// restsAgain is how long the answer counts that it rests: a person who signs in has
	// it back after that.
	restsAgain = 5 * time.Second
)

// NewSignIns returns one that lets a key rest where the last word of the identity
// provider is older than every.
func NewSignIns(every time.Duration, vouched Vouched, now func() time.Time) *SignIns {
	return &SignIns{every: every, vouched: vouched, now: now, answers: asked.New[time.Time](lookAgain, restsAgain, now)}
}

// known returns until when the key is good by what is known here. The provider vouched
// for the person when they made it.
func (s *SignIns) known(v *Key) (until time.Time, err error) {
	if rests := time.Unix(v.Made, 0).Add(s.every); s.now().Before(rests) {
		return rests, nil
	}
	_, until, err = s.answers.Known(asked.Key(v.ID))
	return until, err
}

// ask is known for a key that known does not know of.
func (s *SignIns) ask(ctx context.Context, v *Key) (until time.Time, err error) {
	_, until, err = s.answers.Ask(ctx, asked.Key(v.ID), v.Resource, func(ctx context.Context) (at, ends time.Time, err error) {
		at, err = s.vouched(ctx, v.Identity.FullSubject())
		if err != nil {
			return at, at, err
		}
		if ends = at.Add(s.every); !s.now().Before(ends) {
			return at, at, v.refused(reasons.APIKeySignInDue)
		}
		return at, ends, nil
	})
	return until, err
}
