package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

func TestAllow(t *testing.T) {
	now := start
	l := New(PerMinute(6), 100, func() time.Time { return now })
	for i := range 6 {
		if ok, _ := l.Allow("a"); !ok {
			t.Fatalf("event %d of the burst was refused", i+1)
		}
	}
	ok, wait := l.Allow("a")
	if ok || wait != 10*time.Second {
		t.Fatalf("after the burst: %v, wait %v; want refused, 10s", ok, wait)
	}
	if ok, _ := l.Allow("b"); !ok {
		t.Error("ATK-51: another key was refused for the first one's events")
	}
	now = now.Add(wait)
	if ok, _ := l.Allow("a"); !ok {
		t.Error("refused although the announced wait was over")
	}
	if ok, _ := l.Allow("a"); ok {
		t.Error("two events within one interval")
	}
	now = now.Add(time.Hour)
	for i := range 6 {
		if ok, _ := l.Allow("a"); !ok {
			t.Fatalf("event %d after a long rest was refused", i+1)
		}
	}
	if ok, _ := l.Allow("a"); ok {
		t.Error("a long rest gave more than the burst")
	}
}

func TestRefusedEventsCostNothing(t *testing.T) {
	now := start
	l := New(PerMinute(1), 100, func() time.Time { return now })
	l.Allow("a")
	for range 1000 {
		l.Allow("a")
	}
	now = now.Add(time.Minute)
	if ok, _ := l.Allow("a"); !ok {
		t.Error("events that were refused count against the key")
	}
}

func TestReturn(t *testing.T) {
	l := New(PerMinute(2), 100, func() time.Time { return start })
	for range 10 {
		if ok, _ := l.Allow("a"); !ok {
			t.Fatal("an event that was taken back counts")
		}
		l.Return("a")
	}
	l.Return("a")
	l.Return("unknown")
	l.Allow("a")
	l.Allow("a")
	if ok, _ := l.Allow("a"); ok {
		t.Error("more than the burst, by what was taken back once too often")
	}
}

func TestSpentCountsNothing(t *testing.T) {
	now := start
	l := New(PerMinute(2), 100, func() time.Time { return now })
	for i := range 2 {
		for range 10 {
			if spent, wait := l.Spent("a"); spent || wait != 0 {
				t.Fatalf("after %d events: %v, %v", i, spent, wait)
			}
		}
		l.Allow("a")
	}
	spent, wait := l.Spent("a")
	if _, same := l.Allow("a"); !spent || wait != same {
		t.Errorf("%v, %v, want %v", spent, wait, same)
	}
	if spent, _ := l.Spent("b"); spent {
		t.Error("another key is spent")
	}
	now = now.Add(wait)
	if spent, _ := l.Spent("a"); spent {
		t.Error("it is spent after the wait")
	}
	if spent, _ := (*Limiter)(nil).Spent("a"); spent {
		t.Error("no limiter is spent")
	}
	if spent, _ := New(Rate{}, 10, time.Now).Spent("a"); !spent {
		t.Error("the zero rate has something left")
	}
}

func TestNilAllowsEverything(t *testing.T) {
	var l *Limiter
	if ok, _ := l.Allow("a"); !ok {
		t.Error("no limiter refused an event")
	}
	l.Return("a")
}

func TestMemoryIsBounded(t *testing.T) {
	now := start
	l := New(PerMinute(60), 1600, func() time.Time { return now })
	for range 3 { // a client in the middle of an allowance
		l.Allow("victim")
	}
	for i := range 1_000_000 {
		l.Allow(fmt.Sprint("flood ", i))
		now = now.Add(time.Millisecond)
	}
	if n := l.Len(); n > 1600 {
		t.Errorf("%d keys are held, bound 1600", n)
	}
	if ok, _ := l.Allow("victim"); !ok {
		t.Error("a flood of other keys shut a key out")
	}
}

func TestZeroRateAllowsNothing(t *testing.T) {
	if ok, _ := New(Rate{}, 10, time.Now).Allow("a"); ok {
		t.Error("the zero rate allowed an event")
	}
}

func TestParallelEventsAreCountedOnce(t *testing.T) {
	l := New(PerMinute(50), 100, func() time.Time { return start })
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if ok, _ := l.Allow("a"); ok {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 50 {
		t.Errorf("%d events of 200 were allowed, want 50", allowed.Load())
	}
}

func BenchmarkAllow(b *testing.B) {
	l := New(PerMinute(600), 1<<16, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		l.Allow("client")
	}
}
