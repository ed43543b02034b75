package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server is a scripted Options.Fetch.
type server struct {
	mu    sync.Mutex
	calls []time.Time
	err   error
	ttl   time.Duration
	delay time.Duration
	now   atomic.Int32
	most  atomic.Int32
}

func (s *server) fetch(ctx context.Context, _ string) (*Catalogue, error) {
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	defer s.now.Add(-1)
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	err, delay := s.err, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, &Error{Result: ResultTimeout, Err: ctx.Err()}
	}
	if err != nil {
		return nil, err
	}
	return &Catalogue{Declared: true, Scopes: []Scope{{Name: "r", Tools: []string{"a"}}}, TTL: s.ttl}, nil
}

func (s *server) set(f func()) { s.mu.Lock(); f(); s.mu.Unlock() }

func (s *server) count() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.calls) }

func oneTarget(s *server) *Cache {
	return New(Options{Targets: []Target{{Key: "https://r.example", Endpoint: "http://r"}}, Fetch: s.fetch})
}

const key = "https://r.example"

func TestGet(t *testing.T) {
	t.Run("UP-12 one flight for many callers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{delay: time.Second}
			c := oneTarget(s)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if got, err := c.Get(t.Context(), key); err != nil || !got.Declared {
						t.Errorf("%v %v", got, err)
					}
				})
			}
			all.Wait()
			if s.count() != 1 {
				t.Errorf("%d fetches, want 1", s.count())
			}
			if got, _ := c.Get(t.Context(), key); got != c.Peek(key) || s.count() != 1 {
				t.Error("not held")
			}
		})
	})
	t.Run("sign-ins at many servers that hang hold a bounded number of fetches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{delay: time.Minute}
			var targets []Target
			for i := range 3 * (quickFetches + slowFetches) {
				targets = append(targets, Target{Key: fmt.Sprint(i), Endpoint: "http://r"})
			}
			c := New(Options{Targets: targets, Fetch: s.fetch})
			for _, target := range targets {
				go c.Get(t.Context(), target.Key)
			}
			time.Sleep(2 * time.Minute)
			if s.most.Load() != quickFetches+slowFetches {
				t.Errorf("%d at once", s.most.Load())
			}
			s.set(func() { s.delay = 0 })
			if got, _ := c.Get(t.Context(), targets[len(targets)-1].Key); !got.Declared {
				t.Error("no place is free again")
			}
		})
	})
	t.Run("AS-CONS-16 dead server gives the baseline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{err: &Error{ResultUnauthorized, errors.New("401")}}
			var results []string
			c := New(Options{Targets: []Target{{Key: key, Endpoint: "u"}}, Fetch: s.fetch, Observe: func(r string, _ time.Duration) { results = append(results, r) }})
			for range 10 { // a sign-in does not hammer it either
				got, err := c.Get(t.Context(), key)
				if err != nil || !got.Unavailable || fmt.Sprint(got.ScopeNames()) != "[mcp]" {
					t.Errorf("%v %v", got, err)
				}
			}
			if s.count() != 1 || !slices.Equal(results, []string{ResultUnauthorized}) {
				t.Errorf("%d fetches, %v", s.count(), results)
			}
			s.set(func() { s.err = nil })
			time.Sleep(signInRetry)
			if got, _ := c.Get(t.Context(), key); got.Unavailable {
				t.Error("not asked again")
			}
		})
	})
	t.Run("UP-12 slow server: bounded wait, later result kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := oneTarget(&server{delay: 7 * time.Second})
			begin := time.Now()
			got, err := c.Get(t.Context(), key)
			if d := time.Since(begin); err != nil || !got.Unavailable || d != defaultWait {
				t.Errorf("%v %v after %v", got, err, d)
			}
			time.Sleep(5 * time.Second)
			if c.Peek(key).Unavailable {
				t.Error("result lost")
			}
		})
	})
	t.Run("UP-12 hanging server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := oneTarget(&server{delay: time.Hour})
			c.Get(t.Context(), key)
			time.Sleep(fetchTimeout)
			synctest.Wait() // the flight has ended: the bubble would else not end
		})
	})
	t.Run("caller that leaves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := oneTarget(&server{delay: time.Second})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if got, err := c.Get(ctx, key); err != nil || !got.Unavailable {
				t.Errorf("%v %v", got, err)
			}
			time.Sleep(2 * time.Second)
			if c.Peek(key).Unavailable {
				t.Error("the fetch ended with its caller")
			}
		})
	})
	t.Run("UP-06 last good answer serves for a day", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{}
			c := oneTarget(s)
			c.Get(t.Context(), key)
			s.set(func() { s.err = errors.New("down") })
			time.Sleep(24 * time.Hour)
			if got, _ := c.Get(t.Context(), key); !got.Declared || s.count() != 1 {
				t.Error("dropped too soon")
			}
			time.Sleep(time.Second)
			if got, _ := c.Get(t.Context(), key); !got.Unavailable || !c.Peek(key).Unavailable || s.count() != 2 {
				t.Error("kept too long")
			}
		})
	})
	t.Run("unknown resource", func(t *testing.T) {
		c := oneTarget(&server{})
		if got, err := c.Get(t.Context(), "x"); !errors.Is(err, ErrUnknownResource) || !got.Unavailable || !c.Peek("x").Unavailable {
			t.Errorf("%v %v", got, err)
		}
	})
	t.Run("Peek never asks", func(t *testing.T) {
		s := &server{}
		c := oneTarget(s)
		if !c.Peek(key).Unavailable || s.count() != 0 {
			t.Error("asked")
		}
		if n := testing.AllocsPerRun(10, func() { c.Peek(key).ScopesForTool("a") }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}

// run runs the cache for a while of fake time and returns the pauses between
// fetches of its one server.
func run(t *testing.T, s *server, d time.Duration) (pauses []time.Duration) {
	c := oneTarget(s)
	ctx, cancel := context.WithCancel(t.Context())
	go c.Run(ctx)
	time.Sleep(d)
	cancel()
	synctest.Wait()
	for i := range s.calls[1:] {
		pauses = append(pauses, s.calls[i+1].Sub(s.calls[i]))
	}
	return pauses
}

func about(d, want time.Duration) bool { return d >= want-want/10 && d <= want+want/10+1 }

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name      string
		ttl, want time.Duration
	}{
		{"no ttl", 0, 5 * time.Minute},
		{"UP-06 short ttl is not polled by", time.Millisecond, 5 * time.Minute},
		{"UP-06 longer ttl", 20 * time.Minute, 20 * time.Minute},
		{"UP-06 bounded ttl", 24 * time.Hour, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pauses := run(t, &server{ttl: tc.ttl}, 10*time.Hour)
				if len(pauses) < 8 || !about(pauses[0], tc.want) || slices.Max(pauses) == slices.Min(pauses) {
					t.Errorf("%d: %v", len(pauses), pauses)
				}
			})
		})
	}
	t.Run("UP-12 failing server is backed off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			pauses := run(t, &server{err: errors.New("down")}, 10*time.Hour)
			want := firstRetry
			for i, p := range pauses {
				if !about(p, want) {
					t.Errorf("pause %d is %v, not about %v", i, p, want)
				}
				want = min(2*want, retryRefreshes*defaultRefresh)
			}
			if len(pauses) > 45 {
				t.Errorf("%d fetches", len(pauses))
			}
		})
	})
	t.Run("recovers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{err: errors.New("down")}
			time.AfterFunc(20*time.Second, func() { s.set(func() { s.err = nil }) })
			pauses := run(t, s, time.Hour)
			if last := pauses[len(pauses)-1]; !about(last, defaultRefresh) {
				t.Errorf("%v", pauses)
			}
		})
	})
	t.Run("few at a time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{delay: patience / 2}
			o := Options{Fetch: s.fetch}
			for i := range 10 * quickFetches {
				o.Targets = append(o.Targets, Target{Key: fmt.Sprint(i), Endpoint: "u"})
			}
			c := New(o)
			ctx, cancel := context.WithCancel(t.Context())
			go c.Run(ctx)
			time.Sleep(6 * time.Second)
			cancel()
			synctest.Wait()
			if s.count() != 10*quickFetches || s.most.Load() != quickFetches {
				t.Errorf("%d fetches, %d at once", s.count(), s.most.Load())
			}
		})
	})
	t.Run("ends at once and blames nobody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			c := New(Options{
				Targets: []Target{{Key: key, Endpoint: "u"}}, Fetch: (&server{delay: time.Hour}).fetch,
				Logger:  slog.New(slog.NewTextHandler(&log, nil)),
				Observe: func(r string, _ time.Duration) { t.Errorf("observed %s", r) },
			})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			c.Run(ctx)
			synctest.Wait()
			if time.Since(begin) != time.Second || log.Len() != 0 {
				t.Errorf("%v, %s", time.Since(begin), &log)
			}
		})
	})
	t.Run("a warning about what lasts says what to do", func(t *testing.T) {
		for _, result := range Results {
			var log bytes.Buffer
			s := &server{err: &Error{result, errors.New("down")}}
			c := New(Options{Targets: []Target{{Key: key, Endpoint: "u"}}, Fetch: s.fetch, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c.Get(t.Context(), key)
			passes := slices.Contains([]string{ResultOK, ResultUndeclared, ResultTimeout, ResultUnreachable, ResultInvalid}, result)
			if strings.Contains(log.String(), "remedy=") == passes {
				t.Errorf("%s: %s", result, &log)
			}
		}
	})
	t.Run("one warning for a dead server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := &server{err: errors.New("down")}
			c := New(Options{Targets: []Target{{Key: key, Endpoint: "u"}}, Fetch: s.fetch, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			time.AfterFunc(30*time.Minute, func() { s.set(func() { s.err = nil }) })
			c.Run(ctx)
			if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN") {
				t.Error(got)
			}
		})
	})
}

func TestResult(t *testing.T) {
	for want, err := range map[string]error{
		ResultTimeout:  fmt.Errorf("x: %w", context.DeadlineExceeded),
		ResultInvalid:  errors.New("x"),
		ResultRedirect: &Error{ResultRedirect, errors.New("x")},
	} {
		if got := result(nil, err); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
	if result(&Catalogue{}, nil) != ResultUndeclared || result(&Catalogue{Declared: true}, nil) != ResultOK {
		t.Error("wrong result for success")
	}
}

// Operators are told of a change before it is in force.
func TestReadComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tool atomic.Value
		tool.Store("a")
		var c *Cache
		var said []string
		c = New(Options{
			Targets: []Target{{Key: key, Endpoint: "http://r"}}, Refresh: time.Minute,
			Fetch: func(context.Context, string) (*Catalogue, error) {
				return listed(0, toolNamed(tool.Load().(string))), nil
			},
			Read: func(_ context.Context, _ string, now Snapshot, before *Snapshot) {
				d := Difference{}
				if before != nil {
					d = now.Since(*before)
				}
				said = append(said, fmt.Sprint(before == nil, d, " in force: ", c.Peek(key).ToolNames()))
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Run(ctx)
		time.Sleep(30 * time.Second)
		tool.Store("b")
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"true {[] [] [] []} in force: []", "false {[b] [] [a] [s]} in force: [a]"}
		if !slices.Equal(said, want) {
			t.Errorf("%q", said)
		}
	})
}
