package revocation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// PollPeriod is how often the store is asked what other replicas ended.
const PollPeriod = 2 * time.Second

// Store is a list that replicas share. Its methods return within a few seconds.
type Store interface {
	// Revoke appends an entry; the same entry twice does no harm.
	Revoke(ctx context.Context, key string, expires time.Time) error
	// Revoked calls each with the entries after a position, "" being the
	// beginning, and returns the position after the last that each took.
	Revoked(ctx context.Context, after string, each func(key string, expires time.Time) error) (position string, err error)
}

// ErrUntold: what was to be ended is ended at this replica, and the others do
// not know of it yet.
var ErrUntold = errors.New("the other replicas could not be told of a revocation")

// NewShared returns a list like New, whose Poll shares it through store.
func NewShared(limit int, now func() time.Time, store Store) *List {
	l := New(limit, now)
	l.store, l.unsaid = store, map[string]time.Time{}
	return l
}

// tell writes an entry to the store.
func (l *List) tell(ctx context.Context, key string, expires time.Time) error {
	if err := l.store.Revoke(ctx, key, expires); err != nil {
		return fmt.Errorf("%w: %w", ErrUntold, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if until, ok := l.unsaid[key]; ok && !until.After(expires) {
		delete(l.unsaid, key)
	}
	return nil
}

// Poll tells the other replicas what they could not be told before, and takes
// over what they ended.
func (l *List) Poll(ctx context.Context) error {
	l.polling.Lock()
	defer l.polling.Unlock()
	dead := l.now().Add(-grace)
	l.mu.Lock()
	maps.DeleteFunc(l.unsaid, func(_ string, expires time.Time) bool { return expires.Before(dead) })
	unsaid := maps.Clone(l.unsaid)
	l.mu.Unlock()
	for key, expires := range unsaid {
		if err := l.tell(ctx, key, expires); err != nil {
			return err
		}
	}
	var err error
	l.read, err = l.store.Revoked(ctx, l.read, func(key string, expires time.Time) error {
		if expires.Before(dead) {
			return nil
		}
		return l.end(key, expires, false)
	})
	return err
}
