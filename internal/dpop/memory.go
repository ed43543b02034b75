package dpop

import (
	"sync"
	"time"
)

// Memory remembers the proofs that were used, so that each is good for one request
// (RFC 9449, section 11.1). It is one process's own and bounded: with more proofs
// than it has room for, the oldest are forgotten first.
type Memory struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[int64]map[ID]struct{} // by the minute in which their proofs expire
	held    int
}

// NewMemory returns a Memory of at most limit proofs, in some 40 bytes each.
func NewMemory(limit int, now func() time.Time) *Memory {
	return &Memory{limit: limit, now: now, buckets: map[int64]map[ID]struct{}{}}
}

// First reports whether a proof is used for the first time, and remembers it until
// it expires.
func (m *Memory) First(p *Proof) bool {
	minute := p.Expires.Unix()/60 + 1
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seen := m.buckets[minute][p.ID]; seen {
		return false
	}
	m.makeRoom()
	if m.buckets[minute] == nil {
		m.buckets[minute] = map[ID]struct{}{}
	}
	m.buckets[minute][p.ID] = struct{}{}
	m.held++
	return true
}

// makeRoom forgets expired proofs, and if there are still too many those that
// expire first. There are never more buckets than minutes in which a proof can expire.
func (m *Memory) makeRoom() {
	now := m.now().Unix() / 60
	first := int64(0)
	for minute, proofs := range m.buckets {
		if minute < now {
			m.held -= len(proofs)
			delete(m.buckets, minute)
		} else if first == 0 || minute < first {
			first = minute
		}
	}
	if m.held >= m.limit && first != 0 {
		m.held -= len(m.buckets[first])
		delete(m.buckets, first)
	}
}

// Len returns how many proofs are remembered.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}
