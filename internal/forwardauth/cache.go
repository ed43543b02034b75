package forwardauth

import "sync"

// cache remembers verified tokens by a fingerprint of their bytes. It is bounded,
// and only good tokens get in, so a flood of bad ones pushes nothing out. Shards
// keep readers of different tokens off each other's locks.
type cache struct {
	limit  int // per shard
	shards [shardCount]shard
}

const shardCount = 64

type shard struct {
	sync.RWMutex
	entries map[fingerprint]*Token
	_       [32]byte // neighbours do not share a cache line
}

func newCache(limit int) *cache {
	c := &cache{limit: max(1, limit/shardCount)}
	for i := range c.shards {
		c.shards[i].entries = map[fingerprint]*Token{}
	}
	return c
}

func (c *cache) get(key fingerprint) *Token {
	s := &c.shards[key[0]%shardCount]
	s.RLock()
	v := s.entries[key]
	s.RUnlock()
	return v
}

// put remembers v, and returns the value that it replaces, nil if there is none. A full
// shard forgets expired entries, or else one that is alive, which costs one signature
// check more.
func (c *cache) put(key fingerprint, v *Token, now int64) (before *Token) {
	s := &c.shards[key[0]%shardCount]
	s.Lock()
	defer s.Unlock()
	before = s.entries[key]
	if before == nil {
		s.makeRoom(now, c.limit)
	}
	s.entries[key] = v
	return before
}

// makeRoom forgets expired entries before another comes in. It looks at a few in
// the map's random order, not at all of them, so that a put costs the same
// however full the cache is. Checking four entries per put keeps dead entries
// below half the number of live ones.
func (s *shard) makeRoom(now int64, limit int) {
	look := 4
	if len(s.entries) >= limit {
		look = 32
	}
	var spare fingerprint
	for k, v := range s.entries {
		if v.Expires <= now {
			delete(s.entries, k)
		}
		spare = k
		if look--; look == 0 {
			break
		}
	}
	if len(s.entries) >= limit {
		delete(s.entries, spare)
	}
}

func (c *cache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.Lock()
		s.entries = map[fingerprint]*Token{}
		s.Unlock()
	}
}

func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.RLock()
		n += len(s.entries)
		s.RUnlock()
	}
	return n
}
