package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const (
	heldKeys   = 1 << 12 // that counts are kept of; what is more is counted without its host and subject
	heldPeriod = time.Minute
)

// Allowance says whether one more event of a key may happen now.
type Allowance interface {
	Allow(key string) (ok bool, wait time.Duration)
}

// Bounds keep strangers, and people with a grudge, from filling the log. An entry
// counts for its event, reason, host and subject. What is beyond their allowance
// is counted, and written once a minute as one entry with the number. Operators'
// own events are always written. Bounds are safe for concurrent use.
type Bounds struct {
	// Of what no known person stands behind: entries with a reason, the others, and
	// all together.
	Refusals, Steps, Strangers Allowance
	// Persons is of entries about a known person.
	Persons Allowance

	mu   sync.Mutex
	held map[heldKey]int
}

// heldKey is what held entries have in common.
type heldKey struct {
	event         Event
	reason        reasons.Reason
	host, subject string
}

// ofOperator are events that no request can cause as often as it likes.
var ofOperator = map[Event]bool{KeyGenerated: true, DenyListLoaded: true, DenyListBroken: true, UsersLoaded: true, UsersBroken: true, APIKeysLoaded: true, APIKeysBroken: true, ConfigLoaded: true, ConfigBroken: true, ToolsChanged: true}

// admit reports whether e is within its allowance. If not it is counted. Nil
// bounds admit everything.
func (b *Bounds) admit(e *Entry) bool {
	if b == nil || ofOperator[e.Event] {
		return true
	}
	of := b.Persons
	if e.Subject == "" {
		if of = b.Refusals; e.Reason == "" {
			of = b.Steps
		}
	}
	if ok, _ := of.Allow(string(e.Event) + "\x00" + string(e.Reason) + "\x00" + e.Host + "\x00" + e.Subject); ok {
		if e.Subject != "" {
			return true
		}
		if ok, _ = b.Strangers.Allow(""); ok {
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
	if b.held == nil {
		b.held = map[heldKey]int{}
	}
	b.held[key]++
}

// take returns the counts since the last time.
func (b *Bounds) take() map[heldKey]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held = nil
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
