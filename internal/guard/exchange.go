package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// exchanges are those that this process runs now: one of each family at a time.
type exchanges struct {
	mu       sync.Mutex
	byFamily map[string]*exchange
}

// exchange is one that has not ended.
type exchange struct {
	generation int
	done       chan struct{}
	answer     string
	err        error
}

// rotate calls do for the first request, to its end even if ctx does not last.
// Requests for the same generation meanwhile get its answer; others wait for its end.
func (e *exchanges) rotate(ctx context.Context, r Rotation, do func(context.Context) (string, error)) (string, error) {
	for {
		x, mine := e.join(r)
		if mine {
			e.run(context.WithoutCancel(ctx), r.Family, x, do)
			return x.answer, x.err
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		if x.generation == r.Generation {
			return x.answer, x.err
		}
	}
}

// join returns the exchange of the family that runs now, or, with mine, a new one
// for the caller to run.
func (e *exchanges) join(r Rotation) (x *exchange, mine bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.byFamily[r.Family]; x != nil {
		return x, false
	}
	if e.byFamily == nil {
		e.byFamily = map[string]*exchange{}
	}
	x = &exchange{generation: r.Generation, done: make(chan struct{})}
	e.byFamily[r.Family] = x
	return x, true
}

// errPanic is for those who wait for an exchange that panics.
var errPanic = errors.New("internal error: the exchange ended in a panic")

func (e *exchanges) run(ctx context.Context, family string, x *exchange, do func(context.Context) (string, error)) {
	x.err = errPanic
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.byFamily, family)
		close(x.done)
	}()
	x.answer, x.err = do(ctx)
}
