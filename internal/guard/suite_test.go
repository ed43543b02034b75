package guard_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
)

func TestMemorySuite(t *testing.T) {
	memory := guard.NewMemory(10_000, time.Now)
	guardtest.Run(t, guardtest.Backend{Open: func(*testing.T) guard.Guard { return memory }})
}

func TestSharedSuite(t *testing.T) {
	store := &guardtest.Store{}
	guardtest.RunStore(t, store, store)
	guardtest.Run(t, guardtest.Backend{
		Open:  func(*testing.T) guard.Guard { return &guard.Shared{Store: store, Now: time.Now} },
		Stop:  func(*testing.T) { store.SetDown(true) },
		Start: func(*testing.T) { store.SetDown(false) },
	})
}

func shared(store guard.Store) *guard.Shared { return &guard.Shared{Store: store, Now: time.Now} }

func use(generation int) guard.Rotation {
	return guard.Rotation{Family: "family-id", Generation: generation, Issued: time.Now(), Grace: time.Minute, Expires: time.Now().Add(time.Hour)}
}

func answer(text string) guard.Next {
	return func(context.Context, func(string)) (string, error) { return text, nil }
}

func TestSharedLease(t *testing.T) {
	t.Run("a replica that died delays the family, and no longer than its lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &guardtest.Store{}
			dead, goOn := shared(store), make(chan struct{})
			var late string
			var lateErr error
			go func() {
				late, lateErr = dead.Rotate(context.Background(), use(0), func(context.Context, func(string)) (string, error) {
					<-goOn // longer than any lease
					return "from the dead", nil
				})
			}()
			synctest.Wait()
			other := shared(store)
			if _, err := other.Rotate(t.Context(), use(0), answer("x")); !errors.Is(err, guard.ErrUnavailable) {
				t.Errorf("while the lease runs: %v", err)
			}
			time.Sleep(25 * time.Second)
			if got, err := other.Rotate(t.Context(), use(0), answer("second")); got != "second" || err != nil {
				t.Errorf("after the lease: %q, %v", got, err)
			}
			close(goOn) // it comes back: its answer is discarded
			synctest.Wait()
			if late != "" || !errors.Is(lateErr, guard.ErrUnavailable) {
				t.Errorf("the replica that came back answered %q, %v", late, lateErr)
			}
			if got, err := dead.Rotate(t.Context(), use(0), answer("third")); got != "second" || err != nil {
				t.Errorf("the replica that came back says %q, %v", got, err)
			}
		})
	})
	t.Run("what a replica that died has kept is there for the one that takes over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store, goOn := &guardtest.Store{}, make(chan struct{})
			dies := func(value string) {
				go func() {
					_, _ = shared(store).Rotate(context.Background(), use(0), func(_ context.Context, keep func(string)) (string, error) {
						if value != "" {
							keep(value)
						}
						<-goOn
						return "from the dead", nil
					})
				}()
				synctest.Wait()
				time.Sleep(26 * time.Second)
			}
			dies("first")
			dies("") // the second takes over, and dies before it keeps anything
			told, r := "", use(0)
			r.Resume = func(kept string) { told = kept }
			if got, err := shared(store).Rotate(t.Context(), r, answer("second")); got != "second" || err != nil || told != "first" {
				t.Errorf("%q, %v, told %q", got, err, told)
			}
			close(goOn)
			synctest.Wait()
		})
	})
	for _, reached := range []bool{false, true} {
		t.Run(fmt.Sprintf("an exchange goes on if it is not known whether what it kept was written; it was: %v", reached), func(t *testing.T) {
			store := &flaky{Store: &guardtest.Store{}, reached: reached}
			got, err := shared(store).Rotate(t.Context(), use(0), func(_ context.Context, keep func(string)) (string, error) {
				store.fail = true
				keep("what the provider gave")
				return "answer", nil
			})
			if got != "answer" || err != nil || store.fail {
				t.Errorf("%q, %v", got, err)
			}
			if got, err := shared(store).Rotate(t.Context(), use(0), answer("again")); got != "answer" || err != nil {
				t.Errorf("then %q, %v", got, err)
			}
		})
	}
	t.Run("next is bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := shared(&guardtest.Store{}).Rotate(t.Context(), use(0), func(ctx context.Context, _ func(string)) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
	for _, away := range []time.Duration{300 * time.Millisecond, 3 * time.Second, 40 * time.Second} {
		t.Run("the store is away for "+away.String()+" when the answer is to be written", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &guardtest.Store{}
				one := shared(store)
				got, err := one.Rotate(t.Context(), use(0), func(context.Context, func(string)) (string, error) {
					store.SetDown(true)
					time.AfterFunc(away, func() { store.SetDown(false) })
					return "kept", nil
				})
				if got != "kept" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				if got, err := shared(store).Rotate(t.Context(), use(0), answer("again")); got != "kept" || err != nil {
					t.Errorf("then %q, %v", got, err)
				}
			})
		})
	}
	t.Run("an answer that could not be written is given to nobody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &guardtest.Store{}
			got, err := shared(store).Rotate(t.Context(), use(0), func(context.Context, func(string)) (string, error) {
				store.SetDown(true)
				return "lost", nil
			})
			if got != "" || !errors.Is(err, guard.ErrUnavailable) {
				t.Errorf("%q, %v", got, err)
			}
		})
	})
}

// flaky is a store whose next Swap fails, after it took effect or before.
type flaky struct {
	guard.Store
	fail, reached bool
}

func (f *flaky) Swap(ctx context.Context, key, old, value string, ttl time.Duration) (bool, error) {
	if !f.fail {
		return f.Store.Swap(ctx, key, old, value, ttl)
	}
	f.fail = false
	if f.reached {
		if _, err := f.Store.Swap(ctx, key, old, value, ttl); err != nil {
			return false, err
		}
	}
	return false, errors.New("the connection broke")
}

// overtaken is a store at which another replica is quicker to write once.
type overtaken struct {
	*guardtest.Store
	first func()
}

func (o *overtaken) Swap(ctx context.Context, key, old, value string, ttl time.Duration) (bool, error) {
	if first := o.first; first != nil {
		o.first = nil
		first()
	}
	return o.Store.Swap(ctx, key, old, value, ttl)
}

func TestSharedClocks(t *testing.T) {
	t.Run("replicas whose clocks differ by a minute", func(t *testing.T) {
		store := &guardtest.Store{}
		ahead := &guard.Shared{Store: store, Now: func() time.Time { return time.Now().Add(time.Minute) }}
		behind := &guard.Shared{Store: store, Now: func() time.Time { return time.Now().Add(-time.Minute) }}
		for generation, g := range []*guard.Shared{ahead, behind, ahead, behind} {
			r := use(generation)
			r.Issued = time.Now().Add(-time.Minute)
			if _, err := g.Rotate(t.Context(), r, answer("x")); err != nil {
				t.Errorf("generation %d: %v", generation, err)
			}
		}
	})
	t.Run("a first use, by replicas whose clocks differ by two minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &guardtest.Store{}
			ahead := &guard.Shared{Store: store, Now: func() time.Time { return time.Now().Add(time.Minute) }}
			behind := &guard.Shared{Store: store, Now: func() time.Time { return time.Now().Add(-time.Minute) }}
			r := use(0)
			r.Grace = time.Hour
			if _, err := ahead.Rotate(t.Context(), r, answer("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			used := time.Now()
			for range 2 { // the second time is no news
				if err := behind.Used(t.Context(), guard.Use{Family: r.Family, Generation: 1, At: behind.Now()}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
			}
			for _, g := range []*guard.Shared{ahead, behind} {
				r.Arrived = g.Now().Add(time.Until(used) - time.Second)
				if got, err := g.Rotate(t.Context(), r, answer("another")); got != "x" || err != nil {
					t.Errorf("a request of a second before: %q, %v", got, err)
				}
			}
			r.Arrived = behind.Now().Add(time.Until(used) + time.Second)
			if got, err := behind.Rotate(t.Context(), r, answer("another")); !errors.Is(err, guard.ErrReused) {
				t.Errorf("a request of a second after: %q, %v", got, err)
			}
		})
	})
	t.Run("AS-RT-03 what ended stays ended as long as a token of it could live", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, start := shared(&guardtest.Store{}), time.Now()
			old, newest := use(0), use(1)
			old.Expires, newest.Expires = start.Add(time.Hour), start.Add(48*time.Hour)
			for _, r := range []guard.Rotation{old, newest} {
				if _, err := g.Rotate(t.Context(), r, answer("x")); err != nil {
					t.Fatal(err)
				}
			}
			for _, wait := range []time.Duration{10 * time.Minute, 47 * time.Hour} {
				time.Sleep(wait)
				if got, err := g.Rotate(t.Context(), old, answer("again")); !errors.Is(err, guard.ErrReused) {
					t.Errorf("after %s: %q, %v", time.Since(start), got, err)
				}
			}
			newest.Generation, newest.Issued = 2, time.Now()
			if got, err := g.Rotate(t.Context(), newest, answer("again")); !errors.Is(err, guard.ErrReused) {
				t.Errorf("the newest: %q, %v", got, err)
			}
		})
	})
	t.Run("what an attempt left is there as long as its token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g, told := shared(&guardtest.Store{}), ""
			r := use(0)
			r.Expires, r.Resume = time.Now().Add(48*time.Hour), func(kept string) { told = kept }
			failure := errors.New("failed half way")
			if _, err := g.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) {
				return "", &guard.Unfinished{Keep: "left", Err: failure}
			}); !errors.Is(err, failure) {
				t.Fatal(err)
			}
			time.Sleep(47 * time.Hour)
			if got, err := g.Rotate(t.Context(), r, answer("x")); got != "x" || err != nil || told != "left" {
				t.Errorf("%q, %v, told %q", got, err, told)
			}
		})
	})
	t.Run("a replica that comes second to the lease exchanges nothing", func(t *testing.T) {
		store := &guardtest.Store{}
		late := &guard.Shared{Now: time.Now, Store: &overtaken{Store: store, first: func() {
			if _, err := shared(store).Rotate(t.Context(), use(0), answer("the first")); err != nil {
				t.Error(err)
			}
		}}}
		if got, err := late.Rotate(t.Context(), use(0), answer("the second")); got != "the first" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("AS-RT-03 a replica that sees a reuse ends the family, whatever another writes at the time", func(t *testing.T) {
		store := &guardtest.Store{}
		g := shared(store)
		for generation := range 2 {
			if _, err := g.Rotate(t.Context(), use(generation), answer("x")); err != nil {
				t.Fatal(err)
			}
		}
		late := &guard.Shared{Now: time.Now, Store: &overtaken{Store: store, first: func() {
			if _, err := g.Rotate(t.Context(), use(2), answer("x")); err != nil {
				t.Error(err)
			}
		}}}
		for _, r := range []guard.Rotation{use(0), use(3)} {
			if got, err := late.Rotate(t.Context(), r, answer("y")); !errors.Is(err, guard.ErrReused) {
				t.Errorf("generation %d: %q, %v", r.Generation, got, err)
			}
		}
	})
	t.Run("a value that another replica changes at the time", func(t *testing.T) {
		store := &guardtest.Store{}
		add := func(text string) guard.Edit {
			return func(old string, _ time.Time) (string, time.Duration, error) { return old + text, time.Minute, nil }
		}
		for name, tt := range map[string]struct {
			write func(g guard.Guard, text string) error
			want  string
		}{
			"change": {func(g guard.Guard, text string) error { return g.Change(t.Context(), "change", add(text)) }, "first second"},
			"keep": {func(g guard.Guard, text string) error {
				return g.Keep(t.Context(), "keep", text, time.Now().Add(time.Minute))
			}, " second"},
		} {
			late := &guard.Shared{Now: time.Now, Store: &overtaken{Store: store, first: func() {
				if err := tt.write(shared(store), "first"); err != nil {
					t.Error(err)
				}
			}}}
			if err := tt.write(late, " second"); err != nil {
				t.Error(err)
			}
			if got, err := late.Kept(t.Context(), name); got != tt.want || err != nil {
				t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
			}
		}
	})
	t.Run("answers that two replicas give at the time are two", func(t *testing.T) {
		store := &guardtest.Store{}
		g := shared(store)
		again := func(g guard.Guard) (string, error) { return g.Rotate(t.Context(), use(0), answer("x")) }
		if _, err := again(g); err != nil {
			t.Fatal(err)
		}
		late := &guard.Shared{Now: time.Now, Store: &overtaken{Store: store, first: func() {
			if got, err := again(g); got != "x" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}}}
		for i := range guard.MaxRepeats - 1 {
			if got, err := again(late); got != "x" || err != nil {
				t.Fatalf("answer %d: %q, %v", i+2, got, err)
			}
		}
		if got, err := again(late); !errors.Is(err, guard.ErrReused) {
			t.Errorf("one too many: %q, %v", got, err)
		}
	})
	t.Run("nothing is edited while the store is away", func(t *testing.T) {
		store := &guardtest.Store{}
		store.SetDown(true)
		err := shared(store).Change(t.Context(), "id", func(string, time.Time) (string, time.Duration, error) {
			t.Error("it is")
			return "x", time.Minute, nil
		})
		if !errors.Is(err, guard.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("an answer that cannot be counted is not given", func(t *testing.T) {
		store := &flaky{Store: &guardtest.Store{}}
		g := shared(store)
		if _, err := g.Rotate(t.Context(), use(0), answer("x")); err != nil {
			t.Fatal(err)
		}
		store.fail = true
		if got, err := g.Rotate(t.Context(), use(0), answer("y")); got != "" || !errors.Is(err, guard.ErrUnavailable) {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := g.Rotate(t.Context(), use(0), answer("y")); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("a value that an edit leaves as it is dies when it would have", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, g := range []guard.Guard{shared(&guardtest.Store{}), guard.NewMemory(10, time.Now)} {
				for _, life := range []time.Duration{time.Minute, time.Hour} {
					if err := g.Change(t.Context(), "id", func(string, time.Time) (string, time.Duration, error) { return "x", life, nil }); err != nil {
						t.Fatal(err)
					}
					time.Sleep(40 * time.Second)
				}
				if got, err := g.Kept(t.Context(), "id"); got != "" || err != nil {
					t.Errorf("%T: %q, %v", g, got, err)
				}
			}
		})
	})
	t.Run("ids are forgotten some time after their death", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := shared(&guardtest.Store{})
			expires := time.Now().Add(time.Minute)
			for _, step := range []struct {
				sleep time.Duration
				first bool
			}{{0, true}, {time.Minute + time.Second, false}, {3 * time.Minute, true}} {
				time.Sleep(step.sleep)
				if first, err := g.Redeem(t.Context(), "id", expires); first != step.first || err != nil {
					t.Errorf("after %s: %v, %v", step.sleep, first, err)
				}
			}
		})
	})
}

func TestSharedHides(t *testing.T) {
	store := &guardtest.Store{}
	g := shared(store)
	if _, err := g.Redeem(t.Context(), "code secret-id", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Rotate(t.Context(), use(0), answer("sealed")); err != nil {
		t.Fatal(err)
	}
	held := store.Keys()
	for key, value := range held {
		if strings.Contains(key+value, "secret-id") || strings.Contains(key+value, "family-id") || len(key) > 60 {
			t.Errorf("the store sees %s: %s", key, value)
		}
	}
	if len(held) != 3 { // the code, the family, the answer
		t.Errorf("%d entries", len(held))
	}
}

func TestSharedForeignValue(t *testing.T) {
	store := &guardtest.Store{}
	if _, err := shared(store).Rotate(t.Context(), use(0), answer("x")); err != nil {
		t.Fatal(err)
	}
	for key, value := range store.Keys() {
		if _, err := store.Swap(t.Context(), key, value, "{broken", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shared(store).Rotate(t.Context(), use(1), answer("x")); !errors.Is(err, guard.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
