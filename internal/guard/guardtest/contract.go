package guardtest

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
)

// RunStore holds two connections to one store to what guard.Store promises.
func RunStore(t *testing.T, one, other guard.Store) {
	swap := func(t *testing.T, s guard.Store, key, old, value string, want bool) {
		t.Helper()
		if got, err := s.Swap(t.Context(), key, old, value, time.Hour); got != want || err != nil {
			t.Errorf("swap %q for %q: %v, %v", value, old, got, err)
		}
	}
	holds := func(t *testing.T, key, want string) {
		t.Helper()
		if got, now, err := other.Load(t.Context(), key); got != want || err != nil || time.Since(now).Abs() > time.Minute {
			t.Errorf("holds %q (%v) at %s, want %q", got, err, now, want)
		}
	}
	t.Run("swap compares", func(t *testing.T) {
		key := "test " + rand.Text()
		holds(t, key, "")
		swap(t, one, key, "a", "b", false) // there is nothing
		swap(t, one, key, "", "a", true)
		swap(t, other, key, "", "b", false)
		swap(t, other, key, "x", "b", false)
		holds(t, key, "a")
		swap(t, other, key, "a", "b", true)
		swap(t, one, key, "a", "c", false)
		holds(t, key, "b")
	})
	t.Run("the same swap again has succeeded", func(t *testing.T) {
		key := "test " + rand.Text()
		for range 2 {
			swap(t, one, key, "", "a", true)
		}
		for range 2 {
			swap(t, one, key, "a", "b", true)
		}
		holds(t, key, "b")
	})
	t.Run("values die", func(t *testing.T) {
		key := "test " + rand.Text()
		if ok, err := one.Swap(t.Context(), key, "", "a", 50*time.Millisecond); !ok || err != nil {
			t.Fatal(ok, err)
		}
		time.Sleep(150 * time.Millisecond)
		holds(t, key, "")
		swap(t, one, key, "a", "b", false)
		swap(t, one, key, "", "c", true)
		holds(t, key, "c")
	})
	for _, old := range []string{"", "a"} {
		t.Run(fmt.Sprintf("of twenty swaps of %q at once one succeeds", old), func(t *testing.T) {
			key := "test " + rand.Text()
			if old != "" {
				swap(t, one, key, "", old, true)
			}
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					ok, err := []guard.Store{one, other}[i%2].Swap(t.Context(), key, old, fmt.Sprint("new ", i), time.Hour)
					if err != nil {
						t.Error(err)
					}
					if ok {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d succeeded", won.Load())
			}
		})
	}
}
