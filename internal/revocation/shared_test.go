package revocation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// memoryStore is a Store that lists of one test share.
type memoryStore struct {
	mu      sync.Mutex
	down    bool
	entries []struct {
		key     string
		expires time.Time
	}
}

func (s *memoryStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *memoryStore) Revoke(_ context.Context, key string, expires time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("down")
	}
	s.entries = append(s.entries, struct {
		key     string
		expires time.Time
	}{key, expires})
	return nil
}

func (s *memoryStore) Revoked(_ context.Context, after string, each func(string, time.Time) error) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return after, errors.New("down")
	}
	at, _ := strconv.Atoi(after)
	for ; at < len(s.entries); at++ {
		if err := each(s.entries[at].key, s.entries[at].expires); err != nil {
			return fmt.Sprint(at), err
		}
	}
	return fmt.Sprint(at), nil
}

func TestShared(t *testing.T) {
	poll := func(t *testing.T, l *List) {
		t.Helper()
		if err := l.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour)
	t.Run("what one replica ends the other ends too", func(t *testing.T) {
		store := &memoryStore{}
		one, other := NewShared(10, time.Now, store), NewShared(10, time.Now, store)
		if err := errors.Join(one.RevokeToken("t", later), one.RevokeFamily("f", later)); err != nil {
			t.Fatal(err)
		}
		before := other.Version()
		poll(t, other)
		if other.Check(Facts{TokenID: "t"}) != reasons.TokenRevoked || other.Check(Facts{Family: "f"}) != reasons.FamilyRevoked || other.Version() == before {
			t.Error("the other replica does not know")
		}
		before = other.Version()
		poll(t, other)
		poll(t, other)
		if other.Version() != before {
			t.Error("nothing new, and yet another version")
		}
		before = one.Version()
		poll(t, one)
		if one.Version() != before {
			t.Error("its own entries are news to it")
		}
		fresh := NewShared(10, time.Now, store)
		poll(t, fresh)
		if fresh.Check(Facts{TokenID: "t"}) != reasons.TokenRevoked {
			t.Error("a new replica does not know")
		}
	})
	t.Run("ended here at once though the store is down, and told later", func(t *testing.T) {
		store := &memoryStore{}
		one, other := NewShared(10, time.Now, store), NewShared(10, time.Now, store)
		store.setDown(true)
		if err := one.RevokeToken("t", later); !errors.Is(err, ErrUntold) {
			t.Errorf("got %v", err)
		}
		if one.Check(Facts{TokenID: "t"}) != reasons.TokenRevoked {
			t.Error("not ended here")
		}
		if one.Poll(t.Context()) == nil || other.Poll(t.Context()) == nil {
			t.Error("the store is down, and nobody says so")
		}
		store.setDown(false)
		poll(t, one)
		poll(t, other)
		if other.Check(Facts{TokenID: "t"}) != reasons.TokenRevoked {
			t.Error("the other replica was never told")
		}
		poll(t, one)
		if len(store.entries) != 1 {
			t.Errorf("told %d times", len(store.entries))
		}
	})
	t.Run("the dead are left out, and a full list says so and goes on later", func(t *testing.T) {
		store := &memoryStore{}
		one, other := NewShared(10, time.Now, store), NewShared(1, time.Now, store)
		for id, expires := range map[string]time.Time{"dead": time.Now().Add(-time.Hour)} {
			_ = one.RevokeToken(id, expires)
		}
		_, _ = one.RevokeToken("a", later), one.RevokeToken("b", later)
		if err := other.Poll(t.Context()); !errors.Is(err, ErrFull) || other.Len() != 1 {
			t.Errorf("%v, %d entries", err, other.Len())
		}
		if err := other.Poll(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("then %v", err)
		}
	})
}
