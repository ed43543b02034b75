// Package limit bounds how often something may happen per key: a client id, a
// host, an address. Its memory is fixed however many keys there are, and it
// limits clients that share an address no more than its caller asks.
package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Rate allows Burst events at once and one more every Interval after. The zero
// Rate allows nothing.
type Rate struct {
	Interval time.Duration
	Burst    int
}

// PerMinute is n events a minute, which may all come at once.
func PerMinute(n int) Rate { return Rate{Interval: time.Minute / time.Duration(n), Burst: n} }

// Limiter applies one Rate to many keys. For each key it keeps one instant: when
// the key's allowance will be whole again (the generic cell rate algorithm).
// A key whose instant has passed is as good as unknown, so such keys are
// forgotten first. When even that does not make room the table is under attack
// by more keys than it holds, and a random one is forgotten: that key starts again with a full allowance.
type Limiter struct {
	rate   Rate
	now    func() time.Time
	limit  int // keys per shard
	seed   maphash.Seed
	shards [shards]shard
}

const shards = 16

type shard struct {
	sync.Mutex
	whole map[uint64]int64 // hash of the key → Unix nanoseconds
}

// New returns a limiter for at most keys keys at a time, about 40 bytes each.
func New(rate Rate, keys int, now func() time.Time) *Limiter {
	l := &Limiter{rate: rate, now: now, limit: max(1, keys/shards), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].whole = map[uint64]int64{}
	}
	return l
}

// Allow counts one event for key and reports whether it may happen; if not,
// wait says when the next one may. The seed of the hash is secret, so no one can
// choose a key that shares another's allowance. A nil limiter allows everything.
func (l *Limiter) Allow(key string) (ok bool, wait time.Duration) {
	if l == nil {
		return true, 0
	}
	if l.rate.Burst <= 0 || l.rate.Interval <= 0 {
		return false, time.Minute
	}
	hash := maphash.String(l.seed, key)
	now := l.now().UnixNano()
	s := &l.shards[hash%shards]
	s.Lock()
	defer s.Unlock()

	whole, known := s.whole[hash]
	whole = max(whole, now)
	if over := l.over(whole, now); over > 0 {
		return false, over
	}
	if !known && len(s.whole) >= l.limit {
		s.makeRoom(now)
	}
	s.whole[hash] = whole + int64(l.rate.Interval)
	return true, 0
}

// Spent reports whether Allow would refuse an event for key now, and when not any
// more. It counts nothing.
func (l *Limiter) Spent(key string) (spent bool, wait time.Duration) {
	if l == nil {
		return false, 0
	}
	if l.rate.Burst <= 0 || l.rate.Interval <= 0 {
		return true, time.Minute
	}
	hash := maphash.String(l.seed, key)
	now := l.now().UnixNano()
	s := &l.shards[hash%shards]
	s.Lock()
	defer s.Unlock()
	over := l.over(max(s.whole[hash], now), now)
	return over > 0, max(over, 0)
}

// over is how long after now one more event may happen for a key that is whole
// again at whole; not positive if at once.
func (l *Limiter) over(whole, now int64) time.Duration {
	return time.Duration(whole + int64(l.rate.Interval) - now - int64(l.rate.Burst)*int64(l.rate.Interval))
}

// Return takes back one event that Allow let happen for key, for events that
// turn out to be none of those that are to be few.
func (l *Limiter) Return(key string) {
	if l == nil {
		return
	}
	hash := maphash.String(l.seed, key)
	s := &l.shards[hash%shards]
	s.Lock()
	defer s.Unlock()
	if whole, known := s.whole[hash]; known {
		s.whole[hash] = whole - int64(l.rate.Interval)
	}
}

// makeRoom looks at a few keys in the map's random order and forgets those that
// are whole again, or else one of them.
func (s *shard) makeRoom(now int64) {
	const look = 16
	seen, forgot := 0, false
	var last uint64
	for key, whole := range s.whole {
		if whole <= now {
			delete(s.whole, key)
			forgot = true
		}
		last = key
		if seen++; seen == look {
			break
		}
	}
	if !forgot {
		delete(s.whole, last)
	}
}

// Len returns how many keys are held.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		l.shards[i].Lock()
		n += len(l.shards[i].whole)
		l.shards[i].Unlock()
	}
	return n
}
