// Package guard remembers what must not happen twice: a code redeemed, an
// assertion used, a refresh token exchanged. It is the service's only memory of
// single events; everything else travels sealed.
//
// Memory serves one process; Shared serves every replica that reaches the same Store.
// Where several replicas run without a shared guard, each sees only the events it
// served itself: a code is single-use per replica, two replicas may exchange the same
// refresh token at the same time, and the use of a superseded one is noticed once any
// replica sees both it and its successor, which happens at a later use of either. After
// a restart the memory is empty, with the same consequence.
package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/expiring"
)

// Guard is asked before a single-use value is honoured.
type Guard interface {
	// Redeem reports whether id is used for the first time. The guard forgets id after
	// expires, when the value it belongs to has itself expired. An error means it could
	// not tell; the caller refuses (ErrUnavailable wraps every such error).
	Redeem(ctx context.Context, id string, expires time.Time) (first bool, err error)

	// Rotate exchanges one generation of a family for the next by calling next, and
	// returns what next returned. However many ask for the same exchange at once or within
	// the grace period, next succeeds once and all get that answer. If next fails nothing
	// was exchanged, and its error is returned unchanged, or the one inside an Unfinished.
	// A generation that had already been superseded gives ErrReused and ends the family:
	// from then on all its generations give ErrReused. Errors of the guard itself wrap
	// ErrUnavailable.
	//
	// The grace period ends early: with the next exchange, with Used, and after MaxRepeats.
	Rotate(ctx context.Context, r Rotation, next Next) (string, error)
	// Used ends the grace period of the exchange that u belongs to: the client has the
	// answer, so a lost answer is no longer a reason to ask again. Requests that arrived
	// before u.At still get it. Errors wrap ErrUnavailable.
	Used(ctx context.Context, u Use) error
	// Keep holds value, which is sealed or reveals nothing, under id until expires. It
	// replaces the value that was there. A guard may lose it sooner. Errors wrap
	// ErrUnavailable.
	Keep(ctx context.Context, id, value string, expires time.Time) error
	// Kept returns what is held under id, "" for nothing. Errors wrap ErrUnavailable.
	Kept(ctx context.Context, id string) (string, error)
	// Change replaces the value under id by the result of edit, in one step: of several
	// concurrent changes, each sees the result of the one before. An error of edit is
	// returned unchanged, and nothing is written. Others wrap ErrUnavailable, except
	// ErrTooLarge.
	Change(ctx context.Context, id string, edit Edit) error
	// Replace is Change for a caller that knows the value under id because it wrote it. It
	// replaces old by value for life, and reports false if another value is there. It
	// takes one step; Change takes two.
	Replace(ctx context.Context, id, old, value string, life time.Duration) (bool, error)
}

// Next exchanges a generation. It calls keep to store at once what cannot be done
// again. If next does not finish, the next attempt at the same exchange, at any
// replica, gets that value, and no other exchange does. keep does not fail if the guard
// cannot write, because the result of next is stored as well.
type Next func(ctx context.Context, keep func(value string)) (answer string, err error)

// Edit makes a new value of old, which is "" for nothing. now is the time by the clock
// that all replicas share, for leases in the value. The new value dies after life. ""
// removes the value, and returning old leaves it unchanged, with its lifetime. Edit may
// run more than once, and must not be slow. Two concurrent callers must not produce the
// same value, which sealing ensures.
type Edit func(old string, now time.Time) (value string, life time.Duration, err error)

// apply returns the new value and its life, which is 0 for "". old is no change.
func (edit Edit) apply(old string, now time.Time) (value string, life time.Duration, err error) {
	value, life, err = edit(old, now)
	switch {
	case err != nil:
		return "", 0, err
	case value == "":
		return "", 0, nil
	case value != old && len(value) > MaxKept:
		return "", 0, ErrTooLarge
	}
	return value, life, nil
}

// MaxKept bounds a value that is held, in bytes.
const MaxKept = 32 << 10

// ErrTooLarge: the value has more than MaxKept bytes.
var ErrTooLarge = fmt.Errorf("a value for the guard has more than %d bytes", MaxKept)

// Rotation is one use of a refresh token.
type Rotation struct {
	Family     string
	Generation int       // of the token presented; the first is 0
	Issued     time.Time // when that token was made
	// Arrived is when the request arrived. The zero time counts as later than every Use.
	Arrived time.Time
	// Grace is how long the same answer is given again.
	Grace time.Duration
	// Expires is when the last token of the family expires.
	Expires time.Time
	// Resume, if set, is called before next with what an earlier attempt at this exchange
	// kept before it failed or was cut off.
	Resume func(kept string)
}

// Use is the first use of an access token that an exchange was answered with.
type Use struct {
	Family string
	// Generation is that of the refresh token that came with the access token.
	Generation int
	At         time.Time
}

// MaxRepeats is how often an exchange gives the same answer again to requests
// that come after it. It leaves room for a client of many processes that all
// refresh at once.
const MaxRepeats = 64

// Unfinished is the error of a next that has done something that cannot be done again.
// Keep replaces what next kept before, see Next. A guard may lose it, as it may lose a
// family's history.
type Unfinished struct {
	Keep string
	Err  error
}

func (u *Unfinished) Error() string { return u.Err.Error() }
func (u *Unfinished) Unwrap() error { return u.Err }

// ErrUnavailable: the guard cannot tell; the caller must refuse.
var ErrUnavailable = errors.New("replay guard is unavailable")

// ErrReused: the token was exchanged before; two parties hold the family.
var ErrReused = errors.New("a superseded refresh token was used")

// Memory is the guard of a single process: it holds ids until they expire, up to a
// bound. When full Redeem fails closed with ErrUnavailable, because a forgotten live id
// could be used again. Rotate then forgets the family that has gone unused for longest:
// refusing every refresh to keep one family's history would do more harm, and a restart
// forgets it as well.
type Memory struct {
	now   func() time.Time
	grace time.Duration

	mu       sync.Mutex
	seen     *expiring.Map[struct{}]
	families *expiring.Map[family]
	answers  *expiring.Map[string]
	kept     *expiring.Map[kept]
	held     *expiring.Map[string] // for Keep and Change

	running exchanges
}

// family is what is kept of a family's history.
type family struct {
	current int       // the generation that is to be used next
	since   time.Time // when it was made
	// issuedBy is the same moment by the clock of Rotation.Issued, minus the difference
	// that replicas' clocks may have.
	issuedBy time.Time
	ended    bool
	used     time.Time // when an access token that came with it was first used; zero for not yet
	repeats  int       // how often the answer was given again
}

// kept is what a failed exchange of one generation left.
type kept struct {
	generation int
	value      string
}

// verdict is the outcome of judging a use of a family.
type verdict int

const (
	fresh    verdict = iota // to be exchanged
	repeated                // exchanged a moment ago: the same answer again
	reused                  // superseded: the family ends, or has ended
)

// judge returns the verdict on r. For the zero family everything is fresh: the token
// itself proves the rest.
func (f family) judge(r Rotation, now time.Time) verdict {
	switch {
	case f.ended:
		return reused
	case r.Generation == f.current-1 && f.inGrace(r, now):
		return repeated
	case r.Generation < f.current, r.Issued.Before(f.issuedBy):
		// Or it is newer by number but older by time than what an earlier one
		// was exchanged for: the family has forked, on another replica or
		// before a restart.
		return reused
	}
	return fresh
}

// inGrace reports whether the answer of the last exchange is still given again.
func (f family) inGrace(r Rotation, now time.Time) bool {
	age := now.Sub(f.since)
	return age <= r.Grace && age >= -r.Grace && // a clock that was set back does not prolong it
		f.repeats < MaxRepeats &&
		(f.used.IsZero() || !r.Arrived.IsZero() && r.Arrived.Before(f.used))
}

// errAnswerLost: the exchange succeeded, but its stored result is gone.
var errAnswerLost = fmt.Errorf("%w: the last answer is lost", ErrUnavailable)

// maxHeld bounds the values of Keep and Change, which have some kilobytes each.
const maxHeld = 1 << 14

// NewMemory returns a guard for at most limit live ids and as many families.
func NewMemory(limit int, now func() time.Time) *Memory {
	return &Memory{
		now: now, grace: time.Minute,
		seen: expiring.New[struct{}](limit), families: expiring.New[family](limit), answers: expiring.New[string](limit),
		kept: expiring.New[kept](limit),
		held: expiring.New[string](min(limit, maxHeld)),
	}
}

// Redeem implements Guard.
func (m *Memory) Redeem(_ context.Context, id string, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Keep ids a little past their expiry: a clock that is set back must not revive them.
	m.seen.Sweep(m.now().Add(-m.grace))
	if _, used := m.seen.Get(id); used {
		return false, nil
	}
	if err := m.seen.Set(id, struct{}{}, expires); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, nil
}

// Rotate implements Guard. next runs to its end even if ctx does not: a client
// that hangs up and comes back finds the answer waiting.
func (m *Memory) Rotate(ctx context.Context, r Rotation, next Next) (string, error) {
	return m.running.rotate(ctx, r, func(ctx context.Context) (string, error) {
		answer, left, verdict, err := m.judge(r)
		if verdict != fresh {
			return answer, err
		}
		if left != "" && r.Resume != nil {
			r.Resume(left)
		}
		answer, err = next(ctx, func(value string) { m.leave(r, value) })
		return answer, m.finish(r, answer, err)
	})
}

// judge returns the earlier answer, an error, or, if r is fresh, what an earlier
// attempt left.
func (m *Memory) judge(r Rotation) (answer, left string, v verdict, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.families.Sweep(now.Add(-m.grace))
	m.answers.Sweep(now)
	m.kept.Sweep(now)
	f, _ := m.families.Get(r.Family) // the zero family if this is the first use or the history is lost
	until, _ := m.families.Expires(r.Family)
	switch v = f.judge(r, now); v {
	case repeated:
		answer, ok := m.answers.Get(r.Family)
		if !ok {
			return "", "", v, errAnswerLost
		}
		f.repeats++
		set(m.families, r.Family, f, until)
		return answer, "", v, nil
	case reused:
		f.ended = true
		set(m.families, r.Family, f, later(until, r.Expires))
		return "", "", v, ErrReused
	}
	if k, ok := m.kept.Get(r.Family); ok && k.generation == r.Generation {
		left = k.value
	}
	return "", left, v, nil
}

// leave keeps value for the next attempt at r.
func (m *Memory) leave(r Rotation, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	set(m.kept, r.Family, kept{r.Generation, value}, r.Expires)
}

// finish remembers how an exchange ended, and returns its error.
func (m *Memory) finish(r Rotation, answer string, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if unfinished, ok := errors.AsType[*Unfinished](err); ok {
		set(m.kept, r.Family, kept{r.Generation, unfinished.Keep}, r.Expires)
		return unfinished.Err
	}
	if err != nil {
		return err
	}
	now := m.now()
	set(m.families, r.Family, family{current: r.Generation + 1, since: now, issuedBy: now.Add(-margin)}, r.Expires)
	set(m.answers, r.Family, answer, now.Add(r.Grace))
	if _, left := m.kept.Get(r.Family); left {
		set(m.kept, r.Family, kept{generation: -1}, now) // swept soon
	}
	return nil
}

// Used implements Guard.
func (m *Memory) Used(_ context.Context, u Use) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, known := m.families.Get(u.Family)
	if known && !f.ended && f.current == u.Generation && f.used.IsZero() {
		f.used = u.At
		until, _ := m.families.Expires(u.Family)
		set(m.families, u.Family, f, until)
	}
	return nil
}

// Keep implements Guard. When full it drops the value that expires first.
func (m *Memory) Keep(_ context.Context, id, value string, expires time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held.Sweep(m.now())
	set(m.held, id, value, expires)
	return nil
}

// Kept implements Guard.
func (m *Memory) Kept(_ context.Context, id string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held.Sweep(m.now())
	value, _ := m.held.Get(id)
	return value, nil
}

// Change implements Guard. When full it drops the value that expires first.
func (m *Memory) Change(_ context.Context, id string, edit Edit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.held.Sweep(now)
	old, _ := m.held.Get(id)
	value, life, err := edit.apply(old, now)
	if err != nil || value == old {
		return err
	}
	set(m.held, id, value, now.Add(life))
	return nil
}

// Replace implements Guard.
func (m *Memory) Replace(_ context.Context, id, old, value string, life time.Duration) (bool, error) {
	if len(value) > MaxKept {
		return false, ErrTooLarge
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.held.Sweep(now)
	if is, _ := m.held.Get(id); is != old && is != value {
		return false, nil
	}
	set(m.held, id, value, now.Add(life))
	return true, nil
}

// set drops the value that expires first to make room.
func set[V any](m *expiring.Map[V], key string, value V, expires time.Time) {
	if m.Set(key, value, expires) != nil {
		m.Evict()
		_ = m.Set(key, value, expires) // there is room now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Len returns how many ids are held.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen.Len()
}
