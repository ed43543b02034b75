package guardtest

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Store is a guard.Store in memory, which several guards of one test share. It
// can be taken away.
type Store struct {
	mu      sync.Mutex
	down    bool
	entries map[string]entry
}

type entry struct {
	value   string
	expires time.Time
}

var errDown = errors.New("the store is down")

// SetDown takes the store away, or brings it back.
func (s *Store) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Keys returns everything that is held, keys and values, for tests of what a
// store gets to see.
func (s *Store) Keys() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for key, e := range s.entries {
		out[key] = e.value
	}
	return out
}

// Load implements guard.Store.
func (s *Store) Load(_ context.Context, key string) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return "", time.Time{}, errDown
	}
	return s.get(key), time.Now(), nil
}

// Swap implements guard.Store.
func (s *Store) Swap(_ context.Context, key, old, value string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errDown
	}
	if now := s.get(key); now != old && now != value {
		return false, nil
	}
	if s.entries == nil {
		s.entries = map[string]entry{}
	}
	s.entries[key] = entry{value, time.Now().Add(ttl)}
	return true, nil
}

func (s *Store) get(key string) string {
	e := s.entries[key]
	if time.Now().After(e.expires) {
		return ""
	}
	return e.value
}
