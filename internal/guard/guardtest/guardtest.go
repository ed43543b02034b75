// Package guardtest is the one suite that every guard passes, whatever it keeps
// its memory in.
package guardtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
)

// Backend is one memory and the guards on it.
type Backend struct {
	// Open returns another guard on the same memory, as another replica has.
	// A memory of one process returns the same guard.
	Open func(t *testing.T) guard.Guard
	// Stop takes the memory away and Start brings it back, with what it held.
	// Nil where that cannot happen.
	Stop, Start func(t *testing.T)
}

// Grace is the grace period of the tests, which pass it in real time.
const Grace = 2 * time.Second

// quick is how long a guard may take to say that it cannot tell.
const quick = 6 * time.Second

// Run runs the suite. Ids are random, so that runs may share one memory.
func Run(t *testing.T, b Backend) {
	t.Run("together", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*testing.T, Backend)
		}{
			{"AS-TOK-04 an id is redeemed once, at whichever replica", redeemOnce},
			{"AS-TOK-04 fifty at once redeem once", redeemTogether},
			{"an id that is long dead is still refused or forgotten, never an error", redeemDead},
			{"AS-RT-04 the same answer within the grace period, at either replica", sameAnswer},
			{"AS-RT-03 after the grace period the family ends, at both replicas", reuseEnds},
			{"AS-RT-03 only the generation before has a grace period", onlyTheOneBefore},
			{"AS-RT-03 the first use of what came of an exchange ends its grace period, at both replicas", usedEnds},
			{"AS-RT-04 a request that arrived before the first use gets the answer", arrivedBefore},
			{"what was used of another exchange ends nothing", usedElsewhere},
			{"AS-RT-03 an answer is given again so many times", repeatsEnd},
			{"AS-RT-03 a fork that began before the memory was lost", fork},
			{"generations that another memory has seen", skipped},
			{"AS-RT-06 a failed exchange changes nothing", failedExchange},
			{"AS-RT-06 what a failed exchange leaves is there for the next try, at either replica", unfinished},
			{"AS-RT-06 what an exchange keeps is there for the next try if it fails or panics, at either replica", keptAtOnce},
			{"a value is replaced by who knows it, at either replica", replace},
			{"AS-RT-04 ATK-34 fifty at once at two replicas are one exchange", rotateTogether},
			{"a failure is nobody else's success", failTogether},
			{"a client that hangs up finds the answer later", hangUp},
			{"what is kept is there at either replica, until it is replaced or dead", keep},
			{"a value changes in one step, at either replica", change},
			{"thirty changes at once at two replicas lose nothing", changeTogether},
			{"who gives up waiting is told so", giveUp},
			{"a panic leaves nothing locked", panics},
			{"families do not touch one another", families},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t, b)
			})
		}
	})
	if b.Stop != nil {
		t.Run("the memory goes away and comes back", func(t *testing.T) { loss(t, b) })
	}
}

func unfinished(t *testing.T, b Backend) {
	one, other, family := b.Open(t), b.Open(t), rand.Text()
	failure := errors.New("failed half way")
	try := func(g guard.Guard, generation int, keep string) (told string, err error) {
		r := rotation(family, generation, time.Now())
		r.Resume = func(kept string) { told += cmp.Or(kept, "nothing") }
		_, err = g.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) {
			if keep == "" {
				return "done", nil
			}
			if keep == "nothing" {
				return "", failure
			}
			return "", fmt.Errorf("wrapped: %w", &guard.Unfinished{Keep: keep, Err: failure})
		})
		return told, err
	}
	for i, step := range []struct {
		generation int
		keep, told string
	}{
		{0, "first", ""}, {0, "nothing", "first"}, {0, "second", "first"}, {0, "", "second"},
		{1, "third", ""}, {1, "", "third"}, {2, "", ""},
	} {
		g := []guard.Guard{one, other}[i%2]
		told, err := try(g, step.generation, step.keep)
		want := failure
		if step.keep == "" {
			want = nil
		}
		if told != step.told || err != want {
			t.Errorf("step %d: told %q, %v, want %q, %v", i, told, err, step.told, want)
		}
	}
	if _, err := try(one, 3, "fourth"); err != failure {
		t.Error(err)
	}
	must(t, other, rotation(family, 3, time.Now())) // and has no use for what was kept
	if _, err := try(one, 4, "fifth"); err != failure {
		t.Error(err)
	}
	if told, err := try(other, 5, ""); told != "" || err != nil {
		t.Errorf("the exchange of another generation: told %q, %v", told, err)
	}
}

// keptAtOnce: an exchange keeps what must not be lost, and then fails without an
// Unfinished, with one, or by a panic. A successful exchange leaves nothing.
func keptAtOnce(t *testing.T, b Backend) {
	one, other, family := b.Open(t), b.Open(t), rand.Text()
	failure := errors.New("failed half way")
	for i, step := range []struct {
		generation      int
		keep, end, told string
	}{
		{0, "first", "fails", ""}, {0, "", "fails", "first"}, {0, "second", "panics", "first"}, {0, "third", "unfinished", "second"},
		{0, "fifth", "succeeds", "fourth"}, {1, "", "fails", ""}, {1, "sixth", "fails", ""}, {1, "", "succeeds", "sixth"}, {2, "", "succeeds", ""},
	} {
		told, r := "", rotation(family, step.generation, time.Now())
		r.Resume = func(kept string) { told += kept }
		func() {
			defer func() { _ = recover() }()
			_, _ = []guard.Guard{one, other}[i%2].Rotate(t.Context(), r, func(_ context.Context, keep func(string)) (string, error) {
				if step.keep != "" {
					keep(step.keep)
				}
				switch step.end {
				case "fails":
					return "", failure
				case "panics":
					panic("x")
				case "unfinished":
					return "", &guard.Unfinished{Keep: "fourth", Err: failure}
				}
				return "done", nil
			})
		}()
		if told != step.told {
			t.Errorf("step %d: told %q, want %q", i, told, step.told)
		}
	}
}

func replace(t *testing.T, b Backend) {
	one, other, id := b.Open(t), b.Open(t), rand.Text()
	for i, step := range []struct {
		old, value string
		done       bool
	}{{"", "a", true}, {"", "b", false}, {"a", "b", true}, {"a", "b", true}, {"a", "c", false}, {"b", "c", true}} {
		done, err := []guard.Guard{one, other}[i%2].Replace(t.Context(), id, step.old, step.value, time.Minute)
		if done != step.done || err != nil {
			t.Errorf("step %d: %v %v", i, done, err)
		}
	}
	for _, g := range []guard.Guard{one, other} {
		if held, err := g.Kept(t.Context(), id); held != "c" || err != nil {
			t.Errorf("held is %q %v", held, err)
		}
	}
	if _, err := one.Replace(t.Context(), id, "c", strings.Repeat("x", guard.MaxKept+1), time.Minute); !errors.Is(err, guard.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func redeemOnce(t *testing.T, b Backend) {
	one, other, id := b.Open(t), b.Open(t), "code "+rand.Text()
	for i, g := range []guard.Guard{one, other, one} {
		first, err := g.Redeem(t.Context(), id, time.Now().Add(time.Minute))
		if err != nil || first != (i == 0) {
			t.Errorf("use %d: %v, %v", i+1, first, err)
		}
	}
	if first, err := other.Redeem(t.Context(), id+"x", time.Now().Add(time.Minute)); !first || err != nil {
		t.Errorf("another id: %v, %v", first, err)
	}
}

func redeemTogether(t *testing.T, b Backend) {
	guards, id := []guard.Guard{b.Open(t), b.Open(t)}, "code "+rand.Text()
	var firsts atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			first, err := guards[i%2].Redeem(t.Context(), id, time.Now().Add(time.Minute))
			if err != nil {
				t.Error(err)
			}
			if first {
				firsts.Add(1)
			}
		})
	}
	wg.Wait()
	if firsts.Load() != 1 {
		t.Errorf("redeemed %d times", firsts.Load())
	}
}

func redeemDead(t *testing.T, b Backend) {
	g, id := b.Open(t), rand.Text()
	for range 2 {
		if _, err := g.Redeem(t.Context(), id, time.Now().Add(-time.Hour)); err != nil {
			t.Error(err)
		}
	}
}

func rotation(family string, generation int, issued time.Time) guard.Rotation {
	return guard.Rotation{Family: family, Generation: generation, Issued: issued, Grace: Grace, Expires: time.Now().Add(24 * time.Hour)}
}

func never(context.Context, func(string)) (string, error) {
	return "", errors.New("called though there was nothing to exchange")
}

func must(t *testing.T, g guard.Guard, r guard.Rotation) {
	t.Helper()
	want := fmt.Sprintf("answer %d of %s", r.Generation, rand.Text())
	if got, err := g.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) { return want, nil }); err != nil || got != want {
		t.Fatalf("generation %d: %q, %v", r.Generation, got, err)
	}
}

func mustBeReuse(t *testing.T, g guard.Guard, r guard.Rotation) {
	t.Helper()
	if got, err := g.Rotate(t.Context(), r, never); !errors.Is(err, guard.ErrReused) || got != "" {
		t.Fatalf("generation %d: %q, %v, want ErrReused", r.Generation, got, err)
	}
}

func sameAnswer(t *testing.T, b Backend) {
	one, other := b.Open(t), b.Open(t)
	r := rotation(rand.Text(), 0, time.Now())
	first, err := one.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) { return "sealed " + rand.Text(), nil })
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	for range 3 {
		for _, g := range []guard.Guard{one, other} {
			if got, err := g.Rotate(t.Context(), r, never); err != nil || got != first {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
	must(t, other, rotation(r.Family, 1, time.Now()))
}

func reuseEnds(t *testing.T, b Backend) {
	one, other, family, start := b.Open(t), b.Open(t), rand.Text(), time.Now()
	must(t, one, rotation(family, 0, start))
	time.Sleep(Grace + Grace/4)
	mustBeReuse(t, other, rotation(family, 0, start))
	mustBeReuse(t, one, rotation(family, 1, time.Now())) // the newest one
	mustBeReuse(t, one, rotation(family, 2, time.Now()))
	mustBeReuse(t, other, rotation(family, 1, time.Now()))
}

func onlyTheOneBefore(t *testing.T, b Backend) {
	g, family := b.Open(t), rand.Text()
	must(t, g, rotation(family, 0, time.Now()))
	must(t, g, rotation(family, 1, time.Now()))
	mustBeReuse(t, g, rotation(family, 0, time.Now()))
}

func usedEnds(t *testing.T, b Backend) {
	one, other, family := b.Open(t), b.Open(t), rand.Text()
	again := func() guard.Rotation {
		r := rotation(family, 0, time.Now())
		r.Grace, r.Arrived = time.Minute, time.Now()
		return r
	}
	must(t, one, again())
	if _, err := other.Rotate(t.Context(), again(), never); err != nil {
		t.Fatalf("before the first use: %v", err)
	}
	for range 2 { // the second time is no news
		if err := other.Used(t.Context(), guard.Use{Family: family, Generation: 1, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond) // the store counts milliseconds
	mustBeReuse(t, one, again())
	mustBeReuse(t, other, rotation(family, 1, time.Now()))
}

func arrivedBefore(t *testing.T, b Backend) {
	one, other, family, before := b.Open(t), b.Open(t), rand.Text(), time.Now()
	r := rotation(family, 0, before)
	r.Grace = time.Minute
	must(t, one, r)
	if err := one.Used(t.Context(), guard.Use{Family: family, Generation: 1, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r.Arrived = before.Add(-10 * time.Millisecond)
	for _, g := range []guard.Guard{one, other} {
		if got, err := g.Rotate(t.Context(), r, never); err != nil || got == "" {
			t.Errorf("%q, %v", got, err)
		}
	}
	r.Arrived = time.Time{} // it is not known when
	mustBeReuse(t, other, r)
}

func usedElsewhere(t *testing.T, b Backend) {
	one, other, family := b.Open(t), b.Open(t), rand.Text()
	must(t, one, rotation(family, 0, time.Now()))
	r := rotation(family, 1, time.Now())
	r.Grace, r.Arrived = time.Minute, time.Now().Add(time.Second)
	must(t, one, r)
	for _, u := range []guard.Use{{Family: family, Generation: 1}, {Family: family, Generation: 3}, {Family: "other " + family, Generation: 2}} {
		u.At = time.Now()
		if err := one.Used(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := other.Rotate(t.Context(), r, never); err != nil || got == "" {
		t.Errorf("%q, %v", got, err)
	}
}

func repeatsEnd(t *testing.T, b Backend) {
	guards, r := []guard.Guard{b.Open(t), b.Open(t)}, rotation(rand.Text(), 0, time.Now())
	r.Grace = time.Minute
	must(t, guards[0], r)
	for i := range guard.MaxRepeats {
		if got, err := guards[i%2].Rotate(t.Context(), r, never); err != nil || got == "" {
			t.Fatalf("repeat %d: %q, %v", i+1, got, err)
		}
	}
	mustBeReuse(t, guards[1], r)
	mustBeReuse(t, guards[0], rotation(r.Family, 1, time.Now()))
}

func fork(t *testing.T, b Backend) {
	g, family, newest := b.Open(t), rand.Text(), time.Now().Add(-time.Hour)
	must(t, g, rotation(family, 2, newest.Add(-time.Hour))) // a thief's old one, not seen before
	mustBeReuse(t, g, rotation(family, 5, newest))
	mustBeReuse(t, g, rotation(family, 3, time.Now())) // the thief's newest
}

func skipped(t *testing.T, b Backend) {
	g, family := b.Open(t), rand.Text()
	for _, generation := range []int{0, 3, 4, 9} {
		must(t, g, rotation(family, generation, time.Now()))
	}
}

func failedExchange(t *testing.T, b Backend) {
	one, other, r, failure := b.Open(t), b.Open(t), rotation(rand.Text(), 0, time.Now()), errors.New("provider down")
	for _, g := range []guard.Guard{one, other, one} {
		if _, err := g.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) { return "", failure }); err != failure {
			t.Fatalf("got %v", err)
		}
	}
	must(t, other, r)
	must(t, one, rotation(r.Family, 1, time.Now()))
	failing := rotation(r.Family, 2, time.Now())
	if _, err := one.Rotate(t.Context(), failing, func(context.Context, func(string)) (string, error) { return "", failure }); err != failure {
		t.Fatalf("got %v", err)
	}
	must(t, other, failing)
}

func rotateTogether(t *testing.T, b Backend) {
	guards, r := []guard.Guard{b.Open(t), b.Open(t)}, rotation(rand.Text(), 7, time.Now())
	r.Grace = time.Minute // the machine may be slow
	var calls atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			got, err := guards[i%2].Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) {
				calls.Add(1)
				time.Sleep(100 * time.Millisecond)
				return "one", nil
			})
			if got != "one" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if calls.Load() != 1 {
		t.Errorf("%d exchanges", calls.Load())
	}
}

func failTogether(t *testing.T, b Backend) {
	guards, r := []guard.Guard{b.Open(t), b.Open(t)}, rotation(rand.Text(), 0, time.Now())
	failure := errors.New("provider down")
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			got, err := guards[i%2].Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) { return "", failure })
			if got != "" || err != failure {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	must(t, guards[0], r)
}

func hangUp(t *testing.T, b Backend) {
	g, r := b.Open(t), rotation(rand.Text(), 0, time.Now())
	r.Grace = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	_, err := g.Rotate(ctx, r, func(ctx context.Context, _ func(string)) (string, error) {
		cancel()
		return "kept", ctx.Err()
	})
	if got, err2 := g.Rotate(t.Context(), r, never); err != nil || err2 != nil || got != "kept" {
		t.Errorf("%v, then %q, %v", err, got, err2)
	}
}

func keep(t *testing.T, b Backend) {
	one, other, id := b.Open(t), b.Open(t), rand.Text()
	want := func(value string) {
		t.Helper()
		for _, g := range []guard.Guard{one, other} {
			if got, err := g.Kept(t.Context(), id); err != nil || got != value {
				t.Errorf("%q, %v, want %q", got, err, value)
			}
		}
	}
	want("")
	long := strings.Repeat("x", 8<<10)
	for _, value := range []string{"first", long, "last"} {
		if err := one.Keep(t.Context(), id, value, time.Now().Add(Grace)); err != nil {
			t.Fatal(err)
		}
		want(value)
	}
	if err := other.Keep(t.Context(), id+"x", "dead", time.Now().Add(-time.Second)); err != nil {
		t.Error(err)
	}
	if got, err := one.Kept(t.Context(), id+"x"); err != nil || got != "" {
		t.Errorf("dead before it was kept: %q, %v", got, err)
	}
	time.Sleep(Grace + Grace/4)
	want("")
}

func change(t *testing.T, b Backend) {
	one, other, id := b.Open(t), b.Open(t), rand.Text()
	to := func(g guard.Guard, sees, value string, life time.Duration) {
		t.Helper()
		err := g.Change(t.Context(), id, func(old string, now time.Time) (string, time.Duration, error) {
			if old != sees || time.Since(now).Abs() > time.Minute {
				t.Errorf("sees %q at %s, want %q", old, now, sees)
			}
			return value, life, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	to(one, "", "", time.Hour) // nothing of nothing
	to(one, "", "first", time.Hour)
	to(other, "first", "second", time.Hour)
	failure := errors.New("no")
	if err := one.Change(t.Context(), id, func(string, time.Time) (string, time.Duration, error) { return "lost", time.Hour, failure }); err != failure {
		t.Errorf("the error of an edit: %v", err)
	}
	big := strings.Repeat("x", guard.MaxKept+1)
	if err := one.Change(t.Context(), id, func(string, time.Time) (string, time.Duration, error) { return big, time.Hour, nil }); !errors.Is(err, guard.ErrTooLarge) {
		t.Errorf("a value that is too large: %v", err)
	}
	if got, err := one.Kept(t.Context(), id); err != nil || got != "second" {
		t.Errorf("%q, %v", got, err)
	}
	to(one, "second", "second", time.Nanosecond) // unchanged, with its lifetime
	to(one, "second", "", time.Hour)
	time.Sleep(10 * time.Millisecond)
	to(other, "", big[1:], Grace)
	to(one, big[1:], "short", Grace/4)
	time.Sleep(Grace / 2)
	to(other, "", "again", time.Hour)
}

func changeTogether(t *testing.T, b Backend) {
	guards, id := []guard.Guard{b.Open(t), b.Open(t)}, rand.Text()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := guards[i%2].Change(t.Context(), id, func(old string, _ time.Time) (string, time.Duration, error) {
				return fmt.Sprintf("%s %d.", old, i), time.Hour, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := guards[0].Kept(t.Context(), id)
	for i := range 30 {
		if n := strings.Count(got, fmt.Sprintf(" %d.", i)); n != 1 || err != nil {
			t.Errorf("change %d is there %d times, %v", i, n, err)
		}
	}
}

func giveUp(t *testing.T, b Backend) {
	g, r := b.Open(t), rotation(rand.Text(), 0, time.Now())
	running, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = g.Rotate(context.Background(), r, func(context.Context, func(string)) (string, error) {
			close(running)
			<-goOn
			return "late", nil
		})
	}()
	<-running
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := g.Rotate(ctx, r, never); !errors.Is(err, guard.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	close(goOn)
	<-done
}

func panics(t *testing.T, b Backend) {
	one, other, r := b.Open(t), b.Open(t), rotation(rand.Text(), 0, time.Now())
	func() {
		defer func() { _ = recover() }()
		_, _ = one.Rotate(t.Context(), r, func(context.Context, func(string)) (string, error) { panic("x") })
	}()
	must(t, other, r)
}

func families(t *testing.T, b Backend) {
	g := b.Open(t)
	one, other := rand.Text(), rand.Text()
	must(t, g, rotation(one, 0, time.Now()))
	must(t, g, rotation(one, 1, time.Now()))
	must(t, g, rotation(other, 0, time.Now()))
	mustBeReuse(t, g, rotation(one, 0, time.Now()))
	must(t, g, rotation(other, 1, time.Now()))
}

// loss stops the back end: every answer is ErrUnavailable, soon, and nothing is lost.
func loss(t *testing.T, b Backend) {
	one, other, used := b.Open(t), b.Open(t), rand.Text()
	before := rotation(rand.Text(), 0, time.Now())
	before.Grace = time.Hour
	must(t, one, before)
	if first, err := one.Redeem(t.Context(), used, time.Now().Add(time.Hour)); !first || err != nil {
		t.Fatalf("%v, %v", first, err)
	}
	during := rotation(rand.Text(), 0, time.Now())

	b.Stop(t)
	for _, g := range []guard.Guard{one, other, b.Open(t)} {
		unavailable(t, "kept", func() error {
			_, err := g.Kept(t.Context(), used)
			return err
		})
		unavailable(t, "change", func() error {
			return g.Change(t.Context(), used, func(string, time.Time) (string, time.Duration, error) { return "x", time.Hour, nil })
		})
		unavailable(t, "redeem", func() error {
			first, err := g.Redeem(t.Context(), used, time.Now().Add(time.Hour))
			if first {
				t.Error("redeemed without a memory")
			}
			return err
		})
		for _, r := range []guard.Rotation{before, during} {
			unavailable(t, "rotate", func() error {
				_, err := g.Rotate(t.Context(), r, never)
				return err
			})
		}
	}

	b.Start(t)
	recovered(t, other)
	if first, err := other.Redeem(t.Context(), used, time.Now().Add(time.Hour)); first || err != nil {
		t.Errorf("after the return: %v, %v", first, err)
	}
	if got, err := other.Rotate(t.Context(), before, never); err != nil || got == "" {
		t.Errorf("after the return: %q, %v", got, err)
	}
	must(t, one, during)
}

func unavailable(t *testing.T, what string, ask func() error) {
	t.Helper()
	began := time.Now()
	if err := ask(); !errors.Is(err, guard.ErrUnavailable) {
		t.Errorf("%s: %v, want ErrUnavailable", what, err)
	}
	if took := time.Since(began); took > quick {
		t.Errorf("%s: it took %s to say so", what, took)
	}
}

// recovered waits until g works again.
func recovered(t *testing.T, g guard.Guard) {
	t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		if _, err = g.Redeem(t.Context(), rand.Text(), time.Now().Add(time.Minute)); err == nil {
			return
		}
	}
	t.Fatalf("it never recovered: %v", err)
}

// Silent checks that a guard whose memory accepts connections and never answers,
// or is not there, says so soon.
func Silent(t *testing.T, g guard.Guard) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		unavailable(t, "redeem", func() error {
			_, err := g.Redeem(t.Context(), rand.Text(), time.Now().Add(time.Hour))
			return err
		})
	})
	wg.Go(func() {
		unavailable(t, "rotate", func() error {
			_, err := g.Rotate(t.Context(), rotation(rand.Text(), 0, time.Now()), never)
			return err
		})
	})
	wg.Wait()
}
