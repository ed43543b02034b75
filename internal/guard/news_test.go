package guard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// told is a Guard that remembers what it was told.
type told struct {
	Guard
	mu   sync.Mutex
	uses []Use
	hang chan struct{} // Used returns when it is closed; nil for at once
	most atomic.Int32
	now  atomic.Int32
	err  error
}

func (g *told) Used(ctx context.Context, u Use) error {
	g.most.Store(max(g.most.Load(), g.now.Add(1)))
	defer g.now.Add(-1)
	if g.hang != nil {
		<-g.hang
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uses = append(g.uses, u)
	return g.err
}

func TestNews(t *testing.T) {
	t.Run("AS-RT-03 a first use is told once, soon and with its time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := &told{}
			u := NewNews(g, 20*time.Second, time.Now, nil)
			issued := time.Now()
			u.Used("f", 3, issued)
			synctest.Wait()
			if len(g.uses) != 1 || g.uses[0] != (Use{Family: "f", Generation: 3, At: issued}) {
				t.Errorf("told of %v", g.uses)
			}
			if n := u.running.Load(); n != 0 {
				t.Errorf("%d tellers run with nothing to do", n)
			}
		})
	})
	t.Run("what ends no grace period is not told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := &told{}
			u := NewNews(g, 20*time.Second, time.Now, nil)
			u.Used("", 3, time.Now())
			u.Used("f", 0, time.Now())
			u.Used("f", 3, time.Now().Add(-21*time.Second))
			synctest.Wait()
			if len(g.uses) != 0 {
				t.Errorf("told of %v", g.uses)
			}
		})
	})
	t.Run("a guard that hangs holds up no caller, and memory is bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var lost atomic.Int32
			g := &told{hang: make(chan struct{}), err: errors.New("down")}
			u := NewNews(g, 20*time.Second, time.Now, func(error) { lost.Add(1) })
			const over = 100
			for i := range tellers {
				u.Used("f", i+1, time.Now())
			}
			synctest.Wait() // each teller has one
			for i := range queuedNews + over {
				u.Used("f", i+1, time.Now())
			}
			if n := lost.Load(); n != over {
				t.Errorf("%d were dropped, want %d", n, over)
			}
			close(g.hang)
			synctest.Wait()
			if len(g.uses) != queuedNews+tellers || g.most.Load() != tellers {
				t.Errorf("%d told, %d at once", len(g.uses), g.most.Load())
			}
			if n := lost.Load(); int(n) != over+queuedNews+tellers {
				t.Errorf("%d failures were said", n)
			}
		})
	})
}
