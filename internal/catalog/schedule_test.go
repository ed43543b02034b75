package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is many servers: those whose endpoint begins with "hang" never answer,
// "fail" refuse after a while, "slow" need two seconds, others a moment.
type crowd struct {
	mu      sync.Mutex
	started []string
	now     int
	most    int
}

func (c *crowd) fetch(ctx context.Context, endpoint string) (*Catalogue, error) {
	c.mu.Lock()
	c.started = append(c.started, endpoint)
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.now--; c.mu.Unlock() }()
	delay := 20 * time.Millisecond
	kind, _, _ := strings.Cut(endpoint, " ")
	switch kind {
	case "hang":
		delay = time.Hour
	case "slow":
		delay = 2 * time.Second
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, &Error{Result: ResultTimeout, Err: ctx.Err()}
	}
	if kind == "fail" {
		return nil, &Error{Result: ResultUnreachable, Err: errors.New("refused")}
	}
	return &Catalogue{Declared: true, Scopes: []Scope{{Name: "r", Tools: []string{"a"}}}}, nil
}

func (c *crowd) cache(kinds map[string]int) *Cache {
	o := Options{Fetch: c.fetch}
	for kind, n := range kinds {
		for i := range n {
			name := fmt.Sprint(kind, " ", i)
			o.Targets = append(o.Targets, Target{Key: name, Endpoint: name})
		}
	}
	return New(o)
}

// known returns how many servers of a kind are known.
func known(c *Cache, kind string) (n int) {
	for key := range c.entries {
		if strings.HasPrefix(key, kind) && !c.Peek(key).Unavailable {
			n++
		}
	}
	return n
}

func TestWhatHangsTakesNoTurnOfOthers(t *testing.T) {
	for name, kinds := range map[string]map[string]int{
		"a fifth hangs":            {"well": 160, "hang": 40},
		"a fifth fails":            {"well": 160, "fail": 40},
		"more hang than have room": {"well": 300, "hang": 3 * (quickFetches + slowFetches)},
		"some are slow":            {"well": 160, "slow": 40, "hang": 20},
	} {
		t.Run("UP-12 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := new(crowd)
				c := servers.cache(kinds)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go c.Run(ctx)
				// What hangs holds each quick place for patience at most.
				rounds := 1 + (kinds["hang"]+kinds["slow"]+quickFetches-1)/quickFetches
				time.Sleep(time.Duration(rounds)*patience + time.Second)
				if n := known(c, "well"); n != kinds["well"] {
					t.Errorf("%d of %d healthy servers are known", n, kinds["well"])
				}
				time.Sleep(time.Minute)
				if n := known(c, "slow"); n != kinds["slow"] {
					t.Errorf("%d of %d slow servers are known", n, kinds["slow"])
				}
				time.Sleep(time.Hour) // and not while refreshing
				for key := range c.entries {
					if held := c.Peek(key); strings.HasPrefix(key, "well") && c.Now().Sub(held.FetchedAt) > 2*defaultRefresh {
						t.Fatalf("%s was last read %v ago", key, c.Now().Sub(held.FetchedAt))
					}
				}
				servers.mu.Lock()
				defer servers.mu.Unlock()
				if servers.most > quickFetches+slowFetches {
					t.Errorf("%d fetches at once", servers.most)
				}
			})
		})
	}
}

func TestAskedForIsFetchedFirst(t *testing.T) {
	for name, ask := range map[string]func(*Cache, string){
		"by a sign-in":  func(c *Cache, key string) { c.Get(context.Background(), key) },
		"by a decision": func(c *Cache, key string) { c.Want(key) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				servers := new(crowd)
				c := servers.cache(map[string]int{"well": 10_000, "hang": 500})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go c.Run(ctx)
				synctest.Wait()
				last := c.waiting("well")
				go ask(c, last)
				time.Sleep(patience + 50*time.Millisecond)
				if c.Peek(last).Unavailable {
					t.Errorf("%s waits for its turn", last)
				}
				servers.mu.Lock()
				defer servers.mu.Unlock()
				if n := len(servers.started); n > 2000 {
					t.Fatalf("%d fetches: the test shows nothing", n)
				}
			})
		})
	}
}

// waiting returns a server of a kind whose turn has not come.
func (c *Cache) waiting(kind string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.entries {
		if strings.HasPrefix(key, kind) && !e.turn.began {
			return key
		}
	}
	return ""
}

func TestWant(t *testing.T) {
	t.Run("a server that fails is not hammered by decisions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{err: errors.New("down")}
			c := oneTarget(s)
			ctx, cancel := context.WithCancel(t.Context())
			go c.Run(ctx)
			for range 60 * 60 {
				time.Sleep(time.Second)
				if !c.Want(key).Unavailable {
					t.Fatal("it is known")
				}
			}
			if n := s.count(); n > 60*60/int(signInRetry/time.Second)+10 {
				t.Errorf("%d fetches", n)
			}
			s.set(func() { s.err = nil })
			time.Sleep(signInRetry)
			c.Want(key)
			synctest.Wait()
			if c.Want(key).Unavailable {
				t.Error("it is not asked again")
			}
			cancel()
			synctest.Wait()
		})
	})
	t.Run("where nothing runs it asks nothing", func(t *testing.T) {
		s := &server{}
		if c := oneTarget(s); !c.Want(key).Unavailable || !c.Want("x").Unavailable || s.count() != 0 {
			t.Error("asked")
		}
	})
	t.Run("no allocation, whether the server is known or not", func(t *testing.T) {
		c := oneTarget(&server{})
		if n := testing.AllocsPerRun(100, func() { c.Want(key).ScopesForTool("a") }); n != 0 {
			t.Errorf("unknown: %v, want 0", n)
		}
		c.Get(t.Context(), key)
		if n := testing.AllocsPerRun(100, func() { c.Want(key).ScopesForTool("a") }); n != 0 {
			t.Errorf("known: %v, want 0", n)
		}
	})
}
