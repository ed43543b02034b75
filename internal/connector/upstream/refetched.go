package upstream

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Refetched is a value fetched when first needed and again when too old. At most
// one fetch is under way; after one that failed there is none for AfterError, and
// its error is the answer. A value past MaxAge is never used: without the
// provider no one could sign in anyway.
type Refetched[T any] struct {
	Fetch      func(context.Context) (T, error)
	Now        func() time.Time
	MaxAge     time.Duration
	AfterError time.Duration

	fetches singleflight.Group
	mu      sync.Mutex
	current Snapshot[T]
	err     error     // of the last fetch
	failed  time.Time // when err came
}

// Snapshot is one fetched value; Serial counts the successful fetches from 1.
type Snapshot[T any] struct {
	Value  T
	At     time.Time
	Serial int
}

// Get returns a snapshot with a Serial above after; 0 is content with any.
func (r *Refetched[T]) Get(ctx context.Context, after int) (Snapshot[T], error) {
	for {
		r.mu.Lock()
		now := r.Now()
		switch {
		case r.current.Serial > after && now.Sub(r.current.At) < r.MaxAge:
			defer r.mu.Unlock()
			return r.current, nil
		case r.err != nil && now.Sub(r.failed) < r.AfterError:
			defer r.mu.Unlock()
			return Snapshot[T]{}, r.err
		}
		// The fetch serves every caller that waits, so it does not end with the first
		// of them. It begins under the lock: one that ended since would make it needless.
		done := r.fetches.DoChan("", func() (any, error) { r.run(context.WithoutCancel(ctx)); return nil, nil })
		r.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return Snapshot[T]{}, ctx.Err()
		}
	}
}

// Adopt takes over what another that fetches the same knows. It must be called before r
// is used.
func (r *Refetched[T]) Adopt(from *Refetched[T]) {
	from.mu.Lock()
	defer from.mu.Unlock()
	r.current, r.err, r.failed = from.current, from.err, from.failed
}

func (r *Refetched[T]) run(ctx context.Context) {
	value, err := r.Fetch(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err != nil {
		r.failed = r.Now()
		return
	}
	r.current = Snapshot[T]{Value: value, At: r.Now(), Serial: r.current.Serial + 1}
}
