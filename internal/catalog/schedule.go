package catalog

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// Fetches run in two lanes, so that servers that hang or fail do not delay those that
// answer. A server starts in the quick lane. A fetch that takes longer than patience
// moves to the slow lane, and the server's next ones begin there until one is quick
// again.
const (
	quickFetches = 32
	slowFetches  = 64
	patience     = 500 * time.Millisecond
)

// errMoved ends a fetch in the quick lane if the slow lane has no place. It is queued
// again there. It says nothing about the server.
var errMoved = errors.New("catalog: the fetch waits for a turn in the slow lane")

// turn is one fetch of an entry, from the queue to its end.
type turn struct {
	ctx    context.Context // that of the caller that queued it
	done   chan struct{}   // closed when the fetch has ended
	lane   *lane
	wanted bool // a sign-in or a decision waits for it
	began  bool // it has left the queue
}

// lane is a queue of turns and a number of places for them. Wanted turns go first.
// Cache.mu guards it.
type lane struct {
	most, running  int // the places, and how many are taken
	wanted, others []*turnOf
}

// turnOf is a turn in a queue. It is stale if the turn has begun, or is in the other
// lane.
type turnOf struct {
	*entry
	turn *turn
}

func (l *lane) push(e *entry, t *turn) {
	t.lane = l
	if t.wanted {
		l.wanted = append(l.wanted, &turnOf{e, t})
	} else {
		l.others = append(l.others, &turnOf{e, t})
	}
}

// pop returns the next turn that is not stale, nil if there is none.
func (l *lane) pop() *turnOf {
	for _, queue := range []*[]*turnOf{&l.wanted, &l.others} {
		for len(*queue) > 0 {
			next := (*queue)[0]
			if *queue = (*queue)[1:]; !next.turn.began && next.turn.lane == l {
				return next
			}
		}
	}
	return nil
}

// schedule holds both lanes. Cache.mu guards it.
type schedule struct {
	quick, slow lane
	base        context.Context // that of Run; nil while it does not run
}

func newSchedule() schedule {
	return schedule{quick: lane{most: quickFetches}, slow: lane{most: slowFetches}}
}

// queue gives e a turn, or returns the one that it has. A turn that becomes wanted moves
// ahead. The caller holds c.mu.
func (c *Cache) queue(ctx context.Context, e *entry, wanted bool) *turn {
	t := e.turn
	switch {
	case t == nil:
		t = &turn{ctx: ctx, done: make(chan struct{}), wanted: wanted}
		e.turn = t
		c.laneOf(e).push(e, t)
	case wanted && !t.wanted && !t.began:
		t.wanted = true
		t.lane.push(e, t)
	}
	if wanted {
		e.restUntil.Store(math.MaxInt64)
	}
	c.dispatch()
	return t
}

func (c *Cache) laneOf(e *entry) *lane {
	if e.slow {
		return &c.schedule.slow
	}
	return &c.schedule.quick
}

// dispatch begins as many turns as there are places. The caller holds c.mu.
func (c *Cache) dispatch() {
	for _, l := range []*lane{&c.schedule.quick, &c.schedule.slow} {
		for l.running < l.most {
			next := l.pop()
			if next == nil {
				break
			}
			l.running++
			next.turn.began = true
			go c.take(next.entry, next.turn)
		}
	}
}

// take runs one turn to its end, or until it must leave the quick lane.
func (c *Cache) take(e *entry, t *turn) {
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	began := time.Now()
	if t.lane == &c.schedule.quick {
		overdue := time.AfterFunc(patience, func() { c.giveWay(t, cancel) })
		defer overdue.Stop()
	}
	end := c.fetch(ctx, e)

	c.mu.Lock()
	t.lane.running--
	if end == nil && context.Cause(ctx) == errMoved {
		e.slow, t.began = true, false
		c.schedule.slow.push(e, t)
		c.dispatch()
		c.mu.Unlock()
		return
	}
	before := 0
	if end != nil {
		before = c.count(e, end)
		e.slow = end.err != nil || time.Since(began) > patience
	}
	e.turn, t.lane = nil, nil
	c.rest(e)
	c.plan(e, c.pause(e))
	c.dispatch()
	c.mu.Unlock()

	if end != nil {
		c.Observe(result(end.got, end.err), end.took)
		c.log(e, end.got, end.err, before)
	}
	close(t.done)
}

// giveWay moves a fetch that takes too long to the slow lane, or ends it if that lane has
// no place.
func (c *Cache) giveWay(t *turn, cancel context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	quick, slow := &c.schedule.quick, &c.schedule.slow
	if t.lane != quick { // it has ended
		return
	}
	if slow.running >= slow.most {
		cancel(errMoved)
		return
	}
	quick.running--
	slow.running++
	t.lane = slow
	c.dispatch()
}

// rest sets until when callers cannot cause a fetch of e. The caller holds c.mu.
func (c *Cache) rest(e *entry) {
	if e.failures == 0 {
		e.restUntil.Store(0)
		return
	}
	e.restUntil.Store(e.failedAt.Add(min(c.backoff(e.failures), signInRetry)).UnixNano())
}

// wants queues a fetch for a caller that waits. It returns nil for a server that failed a
// moment ago. The caller does not hold c.mu.
func (c *Cache) wants(ctx context.Context, e *entry) *turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.turn == nil && c.resting(e) {
		return nil
	}
	return c.queue(ctx, e, true)
}

// resting reports whether callers cannot cause a fetch of e now.
func (c *Cache) resting(e *entry) bool { return c.Now().UnixNano() < e.restUntil.Load() }

// Want is Peek for a decision about a request: it does not wait, but a server of which
// nothing is known is fetched next.
func (c *Cache) Want(key string) *Catalogue {
	e, ok := c.entries[key]
	if !ok {
		return c.unknown
	}
	if held := c.held(e); held != nil {
		return held
	}
	if !c.resting(e) {
		c.mu.Lock()
		if base := c.schedule.base; base != nil && !c.resting(e) {
			c.queue(base, e, true)
		}
		c.mu.Unlock()
	}
	return e.baseline
}

// Run fetches every target and refreshes it until ctx ends. Targets with an adopted list
// are fetched when that list is due.
func (c *Cache) Run(ctx context.Context) {
	c.mu.Lock()
	c.schedule.base = ctx
	for _, e := range c.entries {
		c.plan(e, c.due(e))
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schedule.base = nil
	for _, e := range c.entries {
		e.next.Stop()
	}
}

// plan queues a fetch of e after a pause, if Run is running. The caller holds c.mu.
func (c *Cache) plan(e *entry, in time.Duration) {
	if c.schedule.base == nil {
		return
	}
	if e.next != nil {
		e.next.Stop()
	}
	e.next = time.AfterFunc(in, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if base := c.schedule.base; base != nil {
			c.queue(base, e, false)
		}
	})
}

// due returns how long the first fetch of e can wait, because of what was adopted. The
// caller holds c.mu.
func (c *Cache) due(e *entry) time.Duration {
	last := e.failedAt
	if held := e.held.Load(); e.failures == 0 && held != nil {
		last = held.FetchedAt
	}
	if last.IsZero() {
		return 0
	}
	return max(0, c.pause(e)-c.Now().Sub(last))
}

// pause returns the time to the next fetch, give or take a tenth, so that replicas do not
// ask at the same time. The caller holds c.mu.
func (c *Cache) pause(e *entry) time.Duration {
	d := c.Refresh
	if e.failures > 0 {
		d = c.backoff(e.failures)
	} else if held := e.held.Load(); held != nil {
		d = max(d, min(held.TTL, ttlRefreshes*c.Refresh))
	}
	return d - d/10 + rand.N(d/5+1)
}

func (c *Cache) backoff(failures int) time.Duration {
	d := firstRetry
	for range failures - 1 {
		if d >= retryRefreshes*c.Refresh {
			break
		}
		d *= 2
	}
	return min(d, retryRefreshes*c.Refresh)
}
