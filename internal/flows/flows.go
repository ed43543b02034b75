// Package flows remembers, for a while, how far each sign-in came, so that an
// operator who is told the reference of an error page sees where it ended. It is
// fed by the audit log and holds less: no person, no cause, no token. It is a
// bounded memory of this process alone; nothing is decided by it.
package flows

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Bounds: some 20 MB when full of long flows.
const (
	// Capacity is how many flows are remembered; the oldest is forgotten first.
	Capacity = 10_000
	// maxTrail is how many entries of a flow are kept: the first half and the last.
	maxTrail = 16
	maxField = 200 // bytes of what a client says of itself
)

// Flow is what is known of one sign-in.
type Flow struct {
	ID string `json:"flow"`
	// Step is the furthest that it came.
	Step audit.Step `json:"step,omitempty"`
	// Reason says why it was refused; "" if it was not, or went on since.
	Reason   reasons.Reason `json:"reason,omitempty"`
	First    time.Time      `json:"first"`
	Last     time.Time      `json:"last"`
	Host     string         `json:"host,omitempty"`
	Resource string         `json:"resource,omitempty"`
	Client   string         `json:"client,omitempty"`
	// ClientName is what the client calls itself.
	ClientName string `json:"client_name,omitempty"`
	// Redirect is the host of the redirect URI.
	Redirect string  `json:"redirect,omitempty"`
	Trail    []Event `json:"trail"`
	// Omitted counts the entries between the first and the last of a long trail.
	Omitted int `json:"omitted,omitempty"`
}

// Event is one audit entry of a flow.
type Event struct {
	At     time.Time      `json:"at"`
	Event  audit.Event    `json:"event"`
	Step   audit.Step     `json:"step,omitempty"`
	Reason reasons.Reason `json:"reason,omitempty"`
}

// Log is the memory. New makes one.
type Log struct {
	now func() time.Time

	mu   sync.Mutex
	byID map[string]*Flow
	ring []*Flow // in the order of their first entry
	next int     // where the next one goes
}

// New returns an empty memory.
func New(now func() time.Time) *Log {
	return &Log{now: now, byID: map[string]*Flow{}, ring: make([]*Flow, Capacity)}
}

// later events are of a sign-in that ended long ago: they are noted if it is
// remembered, and push no other out.
var later = []audit.Event{
	audit.TokenRefreshed, audit.TokenRevoked, audit.FamilyEnded, audit.PolicyNarrowed, audit.FirstUse, audit.AccessDenied, audit.AccessAdvised,
}

// Add notes an audit entry. Entries without a flow are left out.
func (l *Log) Add(e audit.Entry) {
	if e.Flow == "" {
		return
	}
	now := l.now().UTC()
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.byID[e.Flow]
	if f == nil {
		if slices.Contains(later, e.Event) {
			return
		}
		f = l.begin(e.Flow, now)
	}
	f.add(e, now)
}

func (l *Log) begin(id string, now time.Time) *Flow {
	if old := l.ring[l.next]; old != nil {
		delete(l.byID, old.ID)
	}
	f := &Flow{ID: id, First: now}
	l.ring[l.next], l.byID[id] = f, f
	l.next = (l.next + 1) % len(l.ring)
	return f
}

func (f *Flow) add(e audit.Entry, now time.Time) {
	f.Last = now
	over := f.Reason != "" || slices.Index(audit.Steps, f.Step) >= slices.Index(audit.Steps, audit.StepCodeIssued)
	if e.Reason != reasons.UsedTwice || !over { // else a page was opened again, which says nothing of how it went
		f.Reason = e.Reason
	}
	if slices.Index(audit.Steps, e.Step) > slices.Index(audit.Steps, f.Step) {
		f.Step = e.Step
	}
	for _, known := range []struct {
		to   *string
		what string
	}{{&f.Host, e.Host}, {&f.Resource, e.Resource}, {&f.Client, e.Client}, {&f.ClientName, e.Name}, {&f.Redirect, e.Redirect}} {
		if known.what != "" {
			*known.to = clip(known.what)
		}
	}
	if len(f.Trail) == maxTrail {
		f.Trail = slices.Delete(f.Trail, maxTrail/2, maxTrail/2+1)
		f.Omitted++
	}
	f.Trail = append(f.Trail, Event{At: now, Event: e.Event, Step: e.Step, Reason: e.Reason})
}

// Find returns what is remembered of a flow.
func (l *Log) Find(id string) (Flow, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.byID[id]
	if f == nil {
		return Flow{}, false
	}
	return f.copy(), true
}

// Latest returns up to limit flows that match, the ones begun last first.
func (l *Log) Latest(limit int, match func(*Flow) bool) []Flow {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Flow{}
	for i := range l.ring {
		f := l.ring[(l.next-1-i+2*len(l.ring))%len(l.ring)]
		if f == nil || len(out) == limit {
			break
		}
		if match(f) {
			out = append(out, f.copy())
		}
	}
	return out
}

// Len returns how many flows are remembered.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID)
}

func (f *Flow) copy() Flow {
	c := *f
	c.Trail = slices.Clone(f.Trail)
	return c
}

func clip(s string) string {
	if len(s) > maxField {
		return strings.ToValidUTF8(s[:maxField], "") + "…"
	}
	return s
}
