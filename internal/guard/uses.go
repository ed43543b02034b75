package guard

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// queuedUses bounds what waits to be told; a Use has some 60 bytes.
	queuedUses = 1 << 12
	// tellers bounds how many calls of Guard.Used run at once.
	tellers = 8
	// tellLimit bounds one of them.
	tellLimit = 5 * time.Second
)

// errTooManyUses: a Use was dropped because too many wait.
var errTooManyUses = errors.New("too many first uses wait for the guard")

// Uses tells a Guard of first uses in the background, for callers that must not
// wait. What cannot be told is dropped: the grace period then lasts as long as it
// does for a client that uses nothing.
type Uses struct {
	guard  Guard
	within time.Duration
	now    func() time.Time
	lost   func(error)

	queue   chan Use
	running atomic.Int32
}

// NewUses returns the Uses of guard. A use more than within after the token was
// issued is not told, because no grace period lasts that long. lost, if not nil,
// is called with the reason for each use that was dropped.
func NewUses(guard Guard, within time.Duration, now func() time.Time, lost func(error)) *Uses {
	if lost == nil {
		lost = func(error) {}
	}
	return &Uses{guard: guard, within: within, now: now, lost: lost, queue: make(chan Use, queuedUses)}
}

// Tell queues the first use of an access token that was issued, at issued, with
// the refresh token of this generation. It returns at once. Tokens of a sign-in
// itself (generation 0) have no exchange before them and are left out.
func (u *Uses) Tell(family string, generation int, issued time.Time) {
	now := u.now()
	if family == "" || generation <= 0 || now.Sub(issued) > u.within {
		return
	}
	select {
	case u.queue <- Use{Family: family, Generation: generation, At: now}:
		u.start()
	default:
		u.lost(errTooManyUses)
	}
}

// start begins another teller unless there are enough. None runs while there is
// nothing to tell.
func (u *Uses) start() {
	for n := u.running.Load(); n < tellers; n = u.running.Load() {
		if u.running.CompareAndSwap(n, n+1) {
			go u.tell()
			return
		}
	}
}

func (u *Uses) tell() {
	for {
		select {
		case use := <-u.queue:
			ctx, cancel := context.WithTimeout(context.Background(), tellLimit)
			if err := u.guard.Used(ctx, use); err != nil {
				u.lost(err)
			}
			cancel()
		default:
			u.running.Add(-1)
			if len(u.queue) > 0 { // one came after the look and before this one stopped
				u.start()
			}
			return
		}
	}
}
