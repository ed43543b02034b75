// Package expiring is a bounded map whose entries expire. Its invariant: an entry is
// not forgotten before it expires unless the caller says so, and the map never holds
// more than its bound; when it is full of entries that have not expired, Set fails.
package expiring

import (
	"container/heap"
	"errors"
	"time"
)

// ErrFull: every place is taken by an entry that is still alive.
var ErrFull = errors.New("full of live entries")

// Map holds at most limit entries. It is not safe for concurrent use.
type Map[V any] struct {
	limit   int
	entries map[string]*entry[V]
	order   byExpiry[V]
}

type entry[V any] struct {
	key     string
	value   V
	expires time.Time
	index   int
}

// New returns an empty map.
func New[V any](limit int) *Map[V] {
	return &Map[V]{limit: limit, entries: map[string]*entry[V]{}}
}

// Get returns what is held under key.
func (m *Map[V]) Get(key string) (V, bool) {
	e, ok := m.entries[key]
	if !ok {
		return *new(V), false
	}
	return e.value, true
}

// Set holds value under key until expires, in place of what was there.
func (m *Map[V]) Set(key string, value V, expires time.Time) error {
	if e, ok := m.entries[key]; ok {
		e.value, e.expires = value, expires
		heap.Fix(&m.order, e.index)
		return nil
	}
	if len(m.entries) >= m.limit {
		return ErrFull
	}
	e := &entry[V]{key: key, value: value, expires: expires}
	m.entries[key] = e
	heap.Push(&m.order, e)
	return nil
}

// Expires returns when the entry under key dies.
func (m *Map[V]) Expires(key string) (time.Time, bool) {
	e, ok := m.entries[key]
	if !ok {
		return time.Time{}, false
	}
	return e.expires, true
}

// Sweep forgets what died before now.
func (m *Map[V]) Sweep(now time.Time) {
	for len(m.order) > 0 && m.order[0].expires.Before(now) {
		m.Evict()
	}
}

// Evict forgets the entry that would die first.
func (m *Map[V]) Evict() {
	if len(m.order) > 0 {
		delete(m.entries, heap.Pop(&m.order).(*entry[V]).key)
	}
}

// Len returns how many entries are held.
func (m *Map[V]) Len() int { return len(m.entries) }

type byExpiry[V any] []*entry[V]

func (h byExpiry[V]) Len() int           { return len(h) }
func (h byExpiry[V]) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }
func (h byExpiry[V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *byExpiry[V]) Push(x any) {
	e := x.(*entry[V])
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *byExpiry[V]) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
