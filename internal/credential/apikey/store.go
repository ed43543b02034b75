package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Store holds the keys that are in force: those of the configuration and those
// of the file, found by their ids. It is safe for concurrent use. New makes one.
type Store struct {
	// Warn, if set, is told of each thing in the file that should be another way.
	Warn func(conf.Mistake)

	where Where
	now   func() time.Time

	applying sync.Mutex
	inline   []Key
	inForce  atomic.Pointer[map[string]*held]
}

// held is one hash of a key that is in force.
type held struct {
	*Key
	sum [sha256.Size]byte
	// withdrawn is set when the hash or anything about its key has changed, for
	// what was remembered of it.
	withdrawn *atomic.Bool
}

// NewStore holds the keys of the configuration, and none of a file yet.
func NewStore(c Config, now func() time.Time) *Store {
	s := &Store{where: c.Where, now: now, inline: c.Keys}
	s.inForce.Store(&map[string]*held{})
	s.put(nil)
	return s
}

// Apply puts the content of apiKeys.file in force, in place of what it held
// before, and returns how many keys there are in it.
func (s *Store) Apply(data []byte) (int, error) {
	list, warnings, err := Parse(data, s.inline, s.where, s.now())
	if err != nil {
		return 0, err
	}
	s.put(list)
	if s.Warn != nil {
		for _, m := range warnings {
			s.Warn(m)
		}
	}
	return len(list), nil
}

// put puts the keys of the configuration and of the file in force. A key that is
// what it was stays as it is; every other that was in force is withdrawn.
func (s *Store) put(list []Key) {
	s.applying.Lock()
	defer s.applying.Unlock()
	before := *s.inForce.Load()
	after := make(map[string]*held, len(s.inline)+len(list))
	add := func(keys []Key) {
		for i := range keys {
			for id, sum := range keys[i].Hashes {
				h := &held{Key: &keys[i], sum: sum, withdrawn: new(atomic.Bool)}
				if old := before[id]; old != nil && old.same(h) {
					h.withdrawn = old.withdrawn
				}
				after[id] = h
			}
		}
	}
	add(s.inline)
	add(list)
	s.inForce.Store(&after)
	for id, old := range before { // after the new ones are in force, so that no request finds the old ones again
		if h := after[id]; h == nil || h.withdrawn != old.withdrawn {
			old.withdrawn.Store(true)
		}
	}
}

// same reports whether nothing that a decision looks at differs. The other hashes
// of the key may.
func (h *held) same(o *held) bool {
	a, b := *h.Key, *o.Key
	a.Hashes, b.Hashes = nil, nil
	return h.sum == o.sum && reflect.DeepEqual(a, b)
}

// find returns what is known of a key, nil if that is nothing. The time it takes
// reveals only whether there is such an id, which is not secret.
func (s *Store) find(raw string) *held {
	h := (*s.inForce.Load())[idOf(raw)]
	if h == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(raw))
	if subtle.ConstantTimeCompare(sum[:], h.sum[:]) != 1 {
		return nil
	}
	return h
}

// unknown says of a well-formed key that find does not know what is known of it. The id of
// a key is not secret, and tells an operator which one a client still holds.
func (s *Store) unknown(raw string) string {
	if (*s.inForce.Load())[idOf(raw)] != nil {
		return "an entry has the id " + idOf(raw) + ", and the hash of another key"
	}
	return "no entry has a hash with the id " + idOf(raw)
}

// Len returns how many keys can be presented.
func (s *Store) Len() int { return len(*s.inForce.Load()) }
