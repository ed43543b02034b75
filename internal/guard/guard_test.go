package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	testGrace = 2 * time.Minute
	testIdle  = 30 * 24 * time.Hour
)

// rotation is the use of a generation by a token made at issued.
func rotation(generation int, issued time.Time) Rotation {
	return Rotation{Family: "f", Generation: generation, Issued: issued, Grace: testGrace, Expires: time.Now().Add(testIdle)}
}

// next returns the answer of a generation's exchange.
func next(generation int) Next {
	return func(context.Context, func(string)) (string, error) { return fmt.Sprintf("answer %d", generation), nil }
}

func mustRotate(t *testing.T, m *Memory, generation int, issued time.Time) {
	t.Helper()
	if got, err := m.Rotate(t.Context(), rotation(generation, issued), next(generation)); err != nil || got != fmt.Sprintf("answer %d", generation) {
		t.Fatalf("generation %d: %q, %v", generation, got, err)
	}
}

func mustBeReuse(t *testing.T, m *Memory, generation int, issued time.Time) {
	t.Helper()
	if got, err := m.Rotate(t.Context(), rotation(generation, issued), next(generation)); !errors.Is(err, ErrReused) || got != "" {
		t.Fatalf("generation %d: %q, %v, want ErrReused", generation, got, err)
	}
}

func TestRotate(t *testing.T) {
	never := func(context.Context, func(string)) (string, error) { return "", errors.New("called") }
	t.Run("AS-RT-04 the same answer within the grace period", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			start := time.Now()
			mustRotate(t, m, 0, start)
			time.Sleep(testGrace)
			if got, err := m.Rotate(t.Context(), rotation(0, start), never); err != nil || got != "answer 0" {
				t.Errorf("at the end of the grace period: %q, %v", got, err)
			}
			mustRotate(t, m, 1, start)
		})
	})
	t.Run("AS-RT-03 after the grace period the family ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			start := time.Now()
			mustRotate(t, m, 0, start)
			time.Sleep(testGrace + time.Second)
			mustBeReuse(t, m, 0, start)
			mustBeReuse(t, m, 1, start) // the newest one
			mustBeReuse(t, m, 2, time.Now())
		})
	})
	t.Run("AS-RT-03 only the generation before has a grace period", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			mustRotate(t, m, 0, time.Now())
			mustRotate(t, m, 1, time.Now())
			mustBeReuse(t, m, 0, time.Now())
		})
	})
	t.Run("AS-RT-03 a fork that began before a restart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			newest := time.Now() // generation 5, the client's
			time.Sleep(time.Hour)
			mustRotate(t, m, 2, newest.Add(-time.Hour)) // a thief's old one: nothing is known of it
			time.Sleep(time.Hour)
			mustBeReuse(t, m, 5, newest)
			mustBeReuse(t, m, 3, time.Now()) // the thief's newest
		})
	})
	t.Run("AS-RT-03 a clock that was set back does not prolong the grace period", func(t *testing.T) {
		now := time.Now()
		m := NewMemory(10, func() time.Time { return now })
		start := now
		mustRotate(t, m, 0, start)
		now = start.Add(-testGrace)
		if got, err := m.Rotate(t.Context(), rotation(0, start), never); err != nil || got != "answer 0" {
			t.Errorf("by a little: %q, %v", got, err)
		}
		now = now.Add(-time.Second)
		mustBeReuse(t, m, 0, start)
	})
	t.Run("another replica did some of the exchanges", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			for _, generation := range []int{0, 3, 4, 9} {
				mustRotate(t, m, generation, time.Now())
				time.Sleep(time.Hour)
			}
		})
	})
	t.Run("AS-RT-06 a failed exchange changes nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			start, failure := time.Now(), errors.New("provider down")
			for range 3 {
				if _, err := m.Rotate(t.Context(), rotation(0, start), func(context.Context, func(string)) (string, error) { return "", failure }); err != failure {
					t.Fatalf("got %v", err)
				}
				time.Sleep(time.Hour)
			}
			mustRotate(t, m, 0, start)
		})
	})
	t.Run("a panic leaves nothing locked", func(t *testing.T) {
		m := NewMemory(10, time.Now)
		func() {
			defer func() { _ = recover() }()
			_, _ = m.Rotate(t.Context(), rotation(0, time.Now()), func(context.Context, func(string)) (string, error) { panic("x") })
		}()
		mustRotate(t, m, 0, time.Now())
	})
	t.Run("a client that hangs up finds the answer later", func(t *testing.T) {
		m := NewMemory(10, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := m.Rotate(ctx, rotation(0, time.Now()), func(ctx context.Context, _ func(string)) (string, error) {
			cancel()
			return "kept", ctx.Err()
		})
		if got, err2 := m.Rotate(t.Context(), rotation(0, time.Now()), never); err != nil || err2 != nil || got != "kept" {
			t.Errorf("%v, then %q, %v", err, got, err2)
		}
	})
	t.Run("a full guard forgets the family unused for longest", func(t *testing.T) {
		m := NewMemory(2, time.Now)
		for i := range 5 {
			r := rotation(0, time.Now())
			r.Family, r.Expires = fmt.Sprint(i), time.Now().Add(time.Duration(i+1)*time.Hour)
			if _, err := m.Rotate(t.Context(), r, next(0)); err != nil {
				t.Fatal(err)
			}
		}
		if m.families.Len() != 2 || m.answers.Len() > 2 || len(m.running.byFamily) != 0 {
			t.Errorf("%d families, %d answers", m.families.Len(), m.answers.Len())
		}
		if _, ok := m.families.Get("4"); !ok {
			t.Error("the newest family was forgotten")
		}
	})
}

func TestRotateTogether(t *testing.T) {
	t.Run("AS-RT-04 ATK-34 fifty at once are one exchange", func(t *testing.T) {
		m := NewMemory(10, time.Now)
		var calls atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				got, err := m.Rotate(t.Context(), rotation(0, time.Now()), func(context.Context, func(string)) (string, error) {
					calls.Add(1)
					time.Sleep(20 * time.Millisecond)
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
	})
	// Each waits for the exchange of generation 1 that is under way.
	for name, tt := range map[string]struct {
		generation int
		panics     bool
		answer     string
		err        error
	}{
		"AS-RT-03 an older token gets nothing of the exchange under way": {0, false, "", ErrReused},
		"AS-RT-04 the same token gets its answer":                        {1, false, "answer 1", nil},
		"nor does a newer one":                                           {2, false, "answer 2", nil},
		"a panic is no answer":                                           {1, true, "", errPanic},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(10, time.Now)
				start := time.Now()
				mustRotate(t, m, 0, start)
				go func() {
					defer func() { _ = recover() }()
					_, _ = m.Rotate(context.Background(), rotation(1, start), func(context.Context, func(string)) (string, error) {
						time.Sleep(time.Minute)
						if tt.panics {
							panic("x")
						}
						return "answer 1", nil
					})
				}()
				synctest.Wait()
				issued := start
				if tt.generation > 1 {
					issued = start.Add(time.Minute)
				}
				if got, err := m.Rotate(t.Context(), rotation(tt.generation, issued), next(tt.generation)); got != tt.answer || !errors.Is(err, tt.err) {
					t.Errorf("%q, %v, want %q, %v", got, err, tt.answer, tt.err)
				}
			})
		})
	}
	t.Run("who gives up waiting is told so", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(10, time.Now)
			go func() {
				_, _ = m.Rotate(context.Background(), rotation(0, time.Now()), func(context.Context, func(string)) (string, error) {
					time.Sleep(time.Minute)
					return "late", nil
				})
			}()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := m.Rotate(ctx, rotation(0, time.Now()), next(0)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			time.Sleep(time.Minute)
		})
	})
}

func TestRedeem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(2, time.Now)
		redeem := func(id string, want bool, wantErr error) {
			t.Helper()
			if got, err := m.Redeem(t.Context(), id, time.Now().Add(time.Minute)); got != want || !errors.Is(err, wantErr) {
				t.Errorf("%s: %v, %v", id, got, err)
			}
		}
		redeem("a", true, nil)
		redeem("a", false, nil)
		redeem("b", true, nil)
		redeem("c", false, ErrUnavailable)
		redeem("a", false, nil)
		time.Sleep(2*time.Minute + time.Second)
		redeem("c", true, nil)
		if m.Len() != 1 {
			t.Errorf("%d ids are held", m.Len())
		}
	})
}
