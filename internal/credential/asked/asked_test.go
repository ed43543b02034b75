package asked

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const at = "https://mcp.example.com/mcp"

var inactive = credential.Refused{Reason: reasons.InactiveToken}

func reasonOf(err error) reasons.Reason {
	refused, _ := errors.AsType[credential.Refused](err)
	return refused.Reason
}

func TestOneQuestionForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		var asked atomic.Int32
		ask := func(context.Context) (string, time.Time, error) {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			return "jane", time.Time{}, nil
		}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if v, _, err := a.Ask(t.Context(), KeyOf("key", ""), at, ask); v != "jane" || err != nil {
					t.Errorf("%q %v", v, err)
				}
			})
		}
		all.Wait()
		for range 29 {
			time.Sleep(time.Second)
			if v, _, err := a.Known(KeyOf("key", "")); v != "jane" || err != nil {
				t.Errorf("%q %v", v, err)
			}
		}
		// One that found no answer just before there was one does not ask again.
		if got, err := a.ask(t.Context(), KeyOf("key", ""), at, ask); got.value != "jane" || err != nil {
			t.Errorf("%+v %v", got, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d questions", n)
		}
		time.Sleep(2 * time.Second)
		if _, _, err := a.Known(KeyOf("key", "")); !errors.Is(err, credential.ErrUnknown) {
			t.Errorf("an answer counts beyond its time: %v", err)
		}
	})
}

// An answer ends with the credential, a refusal after its own time, and a failure
// is not remembered at all.
func TestHowLongAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		soon := time.Now().Add(2 * time.Second)
		late := soon.Add(time.Hour)
		_, until, err := a.Ask(t.Context(), KeyOf("long", ""), at, func(context.Context) (string, time.Time, error) { return "x", late, nil })
		if err != nil || !until.Equal(time.Now().Add(30*time.Second)) {
			t.Errorf("of a credential that ends later: %v %v", until, err)
		}
		_, until, err = a.Ask(t.Context(), KeyOf("short", ""), at, func(context.Context) (string, time.Time, error) { return "x", soon, nil })
		if err != nil || !until.Equal(soon) {
			t.Errorf("%v %v", until, err)
		}
		time.Sleep(2 * time.Second)
		if a.wasGood(KeyOf("short", "")) {
			t.Error("it is preferred beyond its end")
		}
		if _, _, err := a.Known(KeyOf("short", "")); !errors.Is(err, credential.ErrUnknown) {
			t.Errorf("beyond its end: %v", err)
		}

		questions := 0
		no := func(context.Context) (string, time.Time, error) { questions++; return "", time.Time{}, inactive }
		for range 2 {
			if _, _, err := a.Ask(t.Context(), KeyOf("no", ""), at, no); reasonOf(err) != reasons.InactiveToken || questions != 1 {
				t.Errorf("%v after %d questions", err, questions)
			}
		}
		time.Sleep(6 * time.Second)
		if _, _, err := a.Known(KeyOf("no", "")); !errors.Is(err, credential.ErrUnknown) {
			t.Errorf("a refusal counts for ever: %v", err)
		}

		for _, failure := range []error{errors.New("status 500"), credential.Refused{Reason: reasons.VerifierUnavailable}} {
			down := func(context.Context) (string, time.Time, error) { return "", time.Time{}, failure }
			if _, _, err := a.Ask(t.Context(), KeyOf("down", ""), at, down); reasonOf(err) != reasons.VerifierUnavailable {
				t.Error(err)
			}
			if _, _, err := a.Known(KeyOf("down", "")); !errors.Is(err, credential.ErrUnknown) {
				t.Errorf("a failure is remembered: %v", err)
			}
		}
	})
}

// A credential that was good and is refused now is forgotten as a good one.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		key := KeyOf("key", "")
		a.Ask(t.Context(), key, at, func(context.Context) (string, time.Time, error) { return "x", time.Time{}, nil })
		time.Sleep(31 * time.Second)
		no := func(context.Context) (string, time.Time, error) { return "", time.Time{}, inactive }
		if _, _, err := a.Ask(t.Context(), key, at, no); reasonOf(err) != reasons.InactiveToken {
			t.Error(err)
		}
		if a.wasGood(key) || a.yes.Len() != 0 {
			t.Error("it is preferred still")
		}
		long := KeyOf("not used for long", "")
		a.keep(long, "x", time.Time{})
		if time.Sleep(remembered); a.wasGood(long) {
			t.Error("it is preferred for ever")
		}
	})
}

// Only refusals of credentials that were never good count against the bound of their
// resource, and what the bound turns away takes no place.
func TestWhatCountsAsRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		many := func(n int, name string, answer error, want reasons.Reason) {
			t.Helper()
			for i := range n {
				_, _, err := a.Ask(t.Context(), KeyOf(fmt.Sprint(name, i), ""), at, func(context.Context) (string, time.Time, error) { return "x", time.Time{}, answer })
				if reasonOf(err) != want {
					t.Fatalf("%s %d: %v", name, i, err)
				}
			}
		}
		many(maxRefusals+1, "good", nil, "")
		many(maxRefusals+1, "no answer", errors.New("status 500"), reasons.VerifierUnavailable)
		time.Sleep(31 * time.Second) // the good ones have to be asked about again
		many(maxRefusals, "no good", inactive, reasons.InactiveToken)
		many(maxRefusals, "good", nil, "")
		many(2*maxFirst, "one too many", inactive, reasons.TooManyWaiting)
		time.Sleep(time.Minute)
		many(1, "later", nil, "")
	})
}

// Made-up credentials are asked about at a bounded rate, and one that was good is
// asked about again in between.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		good := KeyOf("good", "")
		yes := func(context.Context) (string, time.Time, error) { return "x", time.Time{}, nil }
		a.Ask(t.Context(), good, at, yes)
		time.Sleep(31 * time.Second) // it has to be asked about again

		var asked, under, most atomic.Int32
		no := func(context.Context) (string, time.Time, error) {
			asked.Add(1)
			if n := under.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(50 * time.Millisecond)
			under.Add(-1)
			return "", time.Time{}, inactive
		}
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				_, _, err := a.Ask(t.Context(), KeyOf(fmt.Sprint("made up ", i), ""), at, no)
				if r := reasonOf(err); r != reasons.InactiveToken && r != reasons.TooManyWaiting {
					t.Errorf("%v", err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		before := time.Now()
		if _, _, err := a.Ask(t.Context(), good, at, yes); err != nil || time.Since(before) > 0 {
			t.Errorf("a good one waits: %v", err)
		}
		all.Wait()
		if n := asked.Load(); n > maxRefusals+20 || most.Load() > maxFirst {
			t.Errorf("%d questions, %d at once", n, most.Load())
		}
		time.Sleep(time.Minute)
		if _, _, err := a.Ask(t.Context(), KeyOf("late", ""), at, yes); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

// One that stops waiting does not end the question for the others.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New[string](30*time.Second, 5*time.Second, time.Now)
		slow := func(ctx context.Context) (string, time.Time, error) {
			time.Sleep(time.Second)
			return "x", time.Time{}, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := a.Ask(ctx, KeyOf("key", ""), at, slow); reasonOf(err) != reasons.VerifierUnavailable {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if v, _, err := a.Known(KeyOf("key", "")); v != "x" || err != nil {
			t.Errorf("%q %v", v, err)
		}
	})
}

// More answers than there is room for push out none that is newer, and never fail.
func TestMemoryIsBounded(t *testing.T) {
	a := New[int](30*time.Second, 5*time.Second, time.Now)
	for i := range maxGood + 100 {
		a.keep(KeyOf(fmt.Sprint(i), ""), i, time.Time{})
	}
	for i := range maxRefused + 100 {
		a.refuse(KeyOf(fmt.Sprint("no ", i), ""), inactive)
	}
	if a.yes.Len() > maxGood || a.noes.Len() > maxRefused {
		t.Errorf("%d and %d answers", a.yes.Len(), a.noes.Len())
	}
	for v := maxGood; v < maxGood+100; v++ {
		if got, _, err := a.Known(KeyOf(fmt.Sprint(v), "")); got != v || err != nil {
			t.Fatalf("answer %d of %d is not there: %v", v, maxGood+100, err)
		}
	}
}
