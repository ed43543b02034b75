package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
)

// Bounds keep strangers, and people with a grudge, from filling the log. An entry
// counts for its event, reason, host and subject. What is more than the allowance
// of these is counted, and written once a minute as one entry with the count.
// Operators' own events are always written.
const (
	// linesOfRefusal and linesOfStep are entries a minute about no known person, for
	// each event and reason at a host: refusals, and steps of sign-ins.
	linesOfRefusal = 60
	linesOfStep    = 600
	// linesOfStrangers are all of these together, about 50 KB a second.
	linesOfStrangers = 6000
	// linesOfPerson are entries a minute about one person, for each event and reason at a host.
	linesOfPerson = 600

	boundedKeys = 1 << 14 // that allowances are remembered of
	heldKeys    = 1 << 12 // that counts are kept of; what is more is counted without its host and subject
	heldPeriod  = time.Minute
)

// Bounds are the allowances of a Log. They are safe for concurrent use.
type Bounds struct {
	refusals, steps, strangers, persons *limit.Limiter

	mu   sync.Mutex
	held map[heldKey]int
}

// heldKey is what held entries have in common.
type heldKey struct {
	event                 Event
	reason, host, subject string
}

// NewBounds returns bounds by the clock now.
func NewBounds(now func() time.Time) *Bounds {
	return &Bounds{
		refusals: limit.New(limit.PerMinute(linesOfRefusal), boundedKeys, now), steps: limit.New(limit.PerMinute(linesOfStep), boundedKeys, now),
		strangers: limit.New(limit.PerMinute(linesOfStrangers), 1, now), persons: limit.New(limit.PerMinute(linesOfPerson), boundedKeys, now),
		held: map[heldKey]int{},
	}
}

// ofOperator are events that no request can cause as often as it likes.
var ofOperator = map[Event]bool{KeyGenerated: true, DenyListLoaded: true, DenyListBroken: true, UsersLoaded: true, UsersBroken: true}

// admit reports whether e is within its allowance. If not it is counted. Nil
// bounds admit everything.
func (b *Bounds) admit(e *Entry) bool {
	if b == nil || ofOperator[e.Event] {
		return true
	}
	of := b.persons
	if e.Subject == "" {
		if of = b.refusals; e.Reason == "" {
			of = b.steps
		}
	}
	if ok, _ := of.Allow(string(e.Event) + "\x00" + e.Reason + "\x00" + e.Host + "\x00" + e.Subject); ok {
		if e.Subject != "" {
			return true
		}
		if ok, _ = b.strangers.Allow(""); ok {
			return true
		}
	}
	b.hold(heldKey{e.Event, e.Reason, e.Host, e.Subject})
	return false
}

func (b *Bounds) hold(key heldKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.held[key]; !known && len(b.held) >= heldKeys {
		key.host, key.subject = "", "" // events and reasons are closed sets
	}
	b.held[key]++
}

// take returns the counts since the last time.
func (b *Bounds) take() map[heldKey]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held = map[heldKey]int{}
	return held
}

// Run writes once a minute how many entries were counted, until ctx ends.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(heldPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.Flush(ctx)
		}
	}
}

// Flush writes how many entries were counted since the last time.
func (l *Log) Flush(ctx context.Context) {
	if l.Bounds == nil {
		return
	}
	for key, n := range l.Bounds.take() {
		l.write(ctx, slog.LevelInfo, &Entry{Event: key.event, Reason: key.reason, Host: key.host, Subject: key.subject, count: n})
	}
}
