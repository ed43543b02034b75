package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// queuedNews bounds the queue, of some 100 bytes each.
	queuedNews = 1 << 12
	// tellers bounds how many calls of the guard run at once.
	tellers = 8
	// tellLimit bounds one of them.
	tellLimit = 5 * time.Second
)

// errTooMuchNews: something was dropped because too much waits.
var errTooMuchNews = errors.New("too much waits to be told to the guard")

// News tells a Guard in the background what /authenticate, which must not wait, has
// seen. If the queue is full, news is dropped: a grace period then lasts to its end,
// and a challenge has no effect.
type News struct {
	guard  Guard
	within time.Duration
	now    func() time.Time
	lost   func(error)

	queue   chan func(context.Context) error
	running atomic.Int32
}

// NewNews returns the News of guard. A use later than within after the token was issued
// is left out, because no grace period lasts that long. lost, if not nil, is called
// with the reason for each thing that was dropped.
func NewNews(guard Guard, within time.Duration, now func() time.Time, lost func(error)) *News {
	if lost == nil {
		lost = func(error) {}
	}
	return &News{guard: guard, within: within, now: now, lost: lost, queue: make(chan func(context.Context) error, queuedNews)}
}

// Used queues the first use of an access token that was issued, at issued, with
// the refresh token of this generation. It returns at once. Tokens of a sign-in
// itself (generation 0) have no exchange before them and are left out.
func (n *News) Used(family string, generation int, issued time.Time) {
	now := n.now()
	if family == "" || generation <= 0 || now.Sub(issued) > n.within {
		return
	}
	use := Use{Family: family, Generation: generation, At: now}
	n.add(func(ctx context.Context) error { return n.guard.Used(ctx, use) })
}

// challengeLife is how long Challenged knows of a challenge. Clients that answer
// one with a refresh do so at once.
const challengeLife = 5 * time.Second

// Challenge queues that a token of family was asked for more scopes. It returns at once.
func (n *News) Challenge(family string) {
	if family == "" {
		return
	}
	until := n.now().Add(challengeLife)
	n.add(func(ctx context.Context) error { return n.guard.Keep(ctx, challengeID(family), rand.Text(), until) })
}

// Challenged reports whether a token of family was asked for more scopes within
// the last five seconds. Errors wrap ErrUnavailable.
func Challenged(ctx context.Context, g Guard, family string) (bool, error) {
	mark, err := g.Kept(ctx, challengeID(family))
	return mark != "", err
}

func challengeID(family string) string { return "challenge " + family }

// add queues a call of the guard, unless too many wait.
func (n *News) add(tell func(context.Context) error) {
	select {
	case n.queue <- tell:
		n.start()
	default:
		n.lost(errTooMuchNews)
	}
}

// start begins another teller unless there are enough. None runs while the queue is
// empty.
func (n *News) start() {
	for running := n.running.Load(); running < tellers; running = n.running.Load() {
		if n.running.CompareAndSwap(running, running+1) {
			go n.tell()
			return
		}
	}
}

func (n *News) tell() {
	for {
		select {
		case tell := <-n.queue:
			ctx, cancel := context.WithTimeout(context.Background(), tellLimit)
			if err := tell(ctx); err != nil {
				n.lost(err)
			}
			cancel()
		default:
			n.running.Add(-1)
			if len(n.queue) > 0 { // one came after the look and before this one stopped
				n.start()
			}
			return
		}
	}
}
