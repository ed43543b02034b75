// Package asked remembers what another server said of credentials, for kinds that
// have to ask. Its invariants: one question about a credential is under way at a
// time; a good answer counts no longer than it may, and a failure is no answer; and
// credentials that were made up, however many, are asked about at a bounded rate and
// never keep one that was good before from being asked about again.
package asked

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/expiring"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Bounds of the memory and of the questions.
const (
	maxGood    = 1 << 16 // answers, of some 1 KB each
	maxRefused = 1 << 15
	// maxFirst is how many questions about credentials that are seen for the first
	// time are under way at once; one more is refused.
	maxFirst = 32
	// maxRefusals is how many credentials of one resource may turn out to be no good
	// in a minute; then those seen for the first time are refused for a while.
	maxRefusals = 600
	// remembered is how long a credential that was good is known to have been, so that
	// another question about it goes before those about others.
	remembered = time.Hour
)

// Answers are those of one server. New makes one.
type Answers[V any] struct {
	good, refused time.Duration
	now           func() time.Time
	flight        singleflight.Group
	first         chan struct{}
	refusals      *limit.Limiter

	mu   sync.Mutex
	yes  *expiring.Map[answer[V]]
	noes *expiring.Map[error]
}

type answer[V any] struct {
	value V
	until time.Time // when it is to be asked again
}

// New returns the answers of a server. A good one counts for good, and a refusal
// for refused.
func New[V any](good, refused time.Duration, now func() time.Time) *Answers[V] {
	return &Answers[V]{
		good: good, refused: refused, now: now, first: make(chan struct{}, maxFirst),
		refusals: limit.New(limit.PerMinute(maxRefusals), 1<<12, now),
		yes:      expiring.New[answer[V]](maxGood), noes: expiring.New[error](maxRefused),
	}
}

// Key is what an answer is remembered by: a hash of the whole credential, and what
// else the answer depends on.
type Key string

// KeyOf returns the key of a credential.
func KeyOf(raw, more string) Key {
	sum := sha256.Sum256([]byte(raw))
	return Key(string(sum[:]) + more)
}

// Known returns what is remembered: the value and until when it counts, or the
// error of a refusal. It is credential.ErrUnknown if the server has to be asked.
func (a *Answers[V]) Known(key Key) (value V, until time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if yes, ok := a.yes.Get(string(key)); ok && now.Before(yes.until) {
		return yes.value, yes.until, nil
	}
	if end, ok := a.noes.Expires(string(key)); ok && now.Before(end) {
		no, _ := a.noes.Get(string(key))
		return value, time.Time{}, no
	}
	return value, time.Time{}, credential.ErrUnknown
}

// Question asks the server. It returns when the answer ends at the latest, zero if
// it does not say. A refusal of the server's own is an error that wraps a
// credential.Refused; every other error says that there was no answer.
type Question[V any] func(ctx context.Context) (value V, ends time.Time, err error)

// Ask returns what is remembered under key, or asks. Resource is where the
// credential came. The question goes on when ctx ends, since others may wait for it;
// it has to bound itself.
func (a *Answers[V]) Ask(ctx context.Context, key Key, resource string, ask Question[V]) (value V, until time.Time, err error) {
	if value, until, err = a.Known(key); !errors.Is(err, credential.ErrUnknown) {
		return value, until, err
	}
	done := a.flight.DoChan(string(key), func() (any, error) {
		return a.ask(context.WithoutCancel(ctx), key, resource, ask)
	})
	select {
	case result := <-done:
		if result.Err != nil {
			return value, time.Time{}, result.Err
		}
		yes := result.Val.(answer[V])
		return yes.value, yes.until, nil
	case <-ctx.Done():
		return value, time.Time{}, unavailable(ctx.Err())
	}
}

// ask asks once, unless a question before this one has been answered meanwhile.
func (a *Answers[V]) ask(ctx context.Context, key Key, resource string, ask Question[V]) (answer[V], error) {
	if value, until, err := a.Known(key); !errors.Is(err, credential.ErrUnknown) {
		return answer[V]{value, until}, err
	}
	wasGood := a.wasGood(key)
	if !wasGood {
		leave, err := a.enter(resource)
		if err != nil {
			return answer[V]{}, err
		}
		defer leave()
	}
	value, ends, err := ask(ctx)
	if !wasGood && !isRefusal(err) {
		a.refusals.Return(resource)
	}
	switch {
	case err == nil:
		return a.keep(key, value, ends), nil
	case isRefusal(err):
		a.refuse(key, err)
		return answer[V]{}, err
	}
	return answer[V]{}, unavailable(err)
}

// enter takes a place for a question about a credential that was never good.
func (a *Answers[V]) enter(resource string) (leave func(), err error) {
	tooMany := credential.Refused{Reason: reasons.TooManyWaiting}
	select {
	case a.first <- struct{}{}:
	default:
		return nil, tooMany
	}
	if ok, _ := a.refusals.Allow(resource); !ok {
		<-a.first
		return nil, tooMany
	}
	return func() { <-a.first }, nil
}

func (a *Answers[V]) wasGood(key Key) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	end, ok := a.yes.Expires(string(key))
	return ok && a.now().Before(end)
}

// keep remembers a good answer.
func (a *Answers[V]) keep(key Key, value V, ends time.Time) answer[V] {
	now := a.now()
	yes := answer[V]{value, now.Add(a.good)}
	known := now.Add(remembered)
	if !ends.IsZero() && ends.Before(yes.until) {
		yes.until = ends
	}
	if !ends.IsZero() && ends.Before(known) {
		known = ends
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	put(a.yes, string(key), yes, known, now)
	return yes
}

func (a *Answers[V]) refuse(key Key, err error) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.yes.Set(string(key), answer[V]{}, now.Add(-time.Nanosecond)) // it is good no more
	a.yes.Sweep(now)
	put(a.noes, string(key), err, now.Add(a.refused), now)
}

// put makes room by what would be forgotten first: that costs one more question.
func put[V any](m *expiring.Map[V], key string, value V, expires, now time.Time) {
	m.Sweep(now)
	if m.Set(key, value, expires) != nil {
		m.Evict()
		_ = m.Set(key, value, expires) // there is room now
	}
}

func isRefusal(err error) bool {
	refused, ok := errors.AsType[credential.Refused](err)
	return ok && refused.Reason != reasons.VerifierUnavailable
}

// unavailable is the error for a server that gave no answer.
func unavailable(cause error) error {
	return fmt.Errorf("%w: %w", credential.Refused{Reason: reasons.VerifierUnavailable}, cause)
}
