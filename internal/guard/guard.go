// Package guard remembers what must not happen twice: a code redeemed, an
// assertion used. It is the service's only memory of single events; everything
// else travels sealed.
package guard

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// Guard is asked before a single-use value is honoured.
type Guard interface {
	// Redeem reports whether id is used for the first time. The guard forgets
	// id after expires, when the value it belongs to is dead by itself. An
	// error means it could not tell; the caller refuses (ErrUnavailable wraps
	// every such error).
	Redeem(ctx context.Context, id string, expires time.Time) (first bool, err error)
}

// ErrUnavailable: the guard cannot tell; nothing may be honoured on it.
var ErrUnavailable = errors.New("replay guard is unavailable")

// Memory is the guard of a single process: it holds ids until they expire, up
// to a bound. When full it fails closed with ErrUnavailable, because to forget
// a live id would let it be used again.
type Memory struct {
	limit int
	now   func() time.Time

	mu     sync.Mutex
	seen   map[string]struct{}
	expiry expiryHeap
	grace  time.Duration
}

// NewMemory returns a guard for at most limit live ids.
func NewMemory(limit int, now func() time.Time) *Memory {
	return &Memory{limit: limit, now: now, seen: map[string]struct{}{}, grace: time.Minute}
}

// Redeem implements Guard.
func (m *Memory) Redeem(_ context.Context, id string, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Keep ids a little past their death, so that a clock set back does not revive them.
	for now := m.now(); len(m.expiry) > 0 && m.expiry[0].at.Add(m.grace).Before(now); {
		delete(m.seen, heap.Pop(&m.expiry).(expiring).id)
	}
	if _, used := m.seen[id]; used {
		return false, nil
	}
	if len(m.seen) >= m.limit {
		return false, ErrUnavailable
	}
	m.seen[id] = struct{}{}
	heap.Push(&m.expiry, expiring{id, expires})
	return true, nil
}

// Len returns how many ids are held.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

type expiring struct {
	id string
	at time.Time
}

type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
