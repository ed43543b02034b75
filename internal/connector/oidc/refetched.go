package oidc

import (
	"context"
	"sync"
	"time"
)

// refetched is a value fetched when first needed and again when too old. At most
// one fetch is under way; after one that failed there is none for afterError, and
// its error is the answer. A value past maxAge is never used: without the
// provider nobody could sign in anyway.
type refetched[T any] struct {
	fetch      func(context.Context) (T, error)
	now        func() time.Time
	maxAge     time.Duration
	afterError time.Duration

	mu       sync.Mutex
	current  snapshot[T]
	err      error     // of the last fetch
	failed   time.Time // when err came
	inflight chan struct{}
}

// snapshot is one fetched value; serial counts the successful fetches from 1.
type snapshot[T any] struct {
	value  T
	at     time.Time
	serial int
}

// get returns a snapshot with a serial above after; 0 is content with any.
func (r *refetched[T]) get(ctx context.Context, after int) (snapshot[T], error) {
	for {
		r.mu.Lock()
		now := r.now()
		switch {
		case r.current.serial > after && now.Sub(r.current.at) < r.maxAge:
			defer r.mu.Unlock()
			return r.current, nil
		case r.inflight == nil && r.err != nil && now.Sub(r.failed) < r.afterError:
			defer r.mu.Unlock()
			return snapshot[T]{}, r.err
		case r.inflight == nil:
			r.inflight = make(chan struct{})
			// The fetch serves everybody who waits, so it does not end with the first of them.
			go r.run(context.WithoutCancel(ctx), r.inflight)
		}
		done := r.inflight
		r.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return snapshot[T]{}, ctx.Err()
		}
	}
}

func (r *refetched[T]) run(ctx context.Context, done chan struct{}) {
	value, err := r.fetch(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err == nil {
		r.current = snapshot[T]{value: value, at: r.now(), serial: r.current.serial + 1}
	} else {
		r.failed = r.now()
	}
	r.inflight = nil
	close(done)
}
