package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// firstPoll bounds how long a replica waits at start for what others revoked.
const firstPoll = 5 * time.Second

// clockPeriod is how often the clocks of the store and this replica are compared.
const clockPeriod = time.Minute

// sharedStore is a back end that replicas share.
type sharedStore interface {
	guard.Store
	revocation.Store
	// Try writes an entry that expires at once, and returns the store's own time.
	Try(ctx context.Context) (time.Time, error)
	Clean(ctx context.Context) error // removes what is dead
	CleanPeriod() time.Duration
	Close() error
}

// memory remembers what must not happen twice and what was revoked, in this process or
// in a shared store. While the shared store is down new sign-ins and refreshes are
// refused; requests with valid tokens pass, because they never ask it.
type memory struct {
	guard guard.Guard
	ended *revocation.List
	store sharedStore // nil for a memory of this process
	// advice says what to do about an error of store, "" if it knows nothing.
	advice func(error) string

	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	down    atomic.Bool
	// unsure: the next poll tries whether store accepts writes, at the start and after a
	// write failed. A read-only replica and a server with a full disk still answer reads,
	// but no one can sign in.
	unsure atomic.Bool
}

func newMemory(c config.GuardFile, opt Options, m *metrics) (*memory, error) {
	mem := &memory{log: opt.Logger, now: opt.Now, metrics: m}
	var err error
	if mem.store, mem.advice, err = openStore(c, opt.Now); err != nil {
		return nil, err
	}
	if mem.store == nil {
		mem.guard, mem.ended = guard.NewMemory(liveGuardIDs, opt.Now), revocation.New(liveRevocations, opt.Now)
		return mem, nil
	}
	m.guardUp.Set(1) // until it is asked
	mem.unsure.Store(true)
	mem.guard = &guard.Shared{Store: clockedStore{mem.store, opt.Now, m}, Now: opt.Now, Observe: mem.observe}
	mem.ended = revocation.NewShared(liveRevocations, opt.Now, observedStore{mem.store, mem.observe})
	return mem, nil
}

// openStore returns the back end that the section names, nil for none, and what to do
// about its errors. It connects when it is first asked.
func openStore(c config.GuardFile, now func() time.Time) (sharedStore, func(error) string, error) {
	switch c.Backend {
	case "redis":
		return redis.New(c.Redis, now), redis.Advice, nil
	case "postgres":
		store, err := postgres.New(c.Postgres)
		if err != nil {
			return nil, nil, err
		}
		return store, postgres.Advice, nil
	}
	return nil, nil, nil
}

// observe is told of each call of the store.
func (m *memory) observe(op guard.Operation, took time.Duration, err error) {
	m.metrics.guardCall(op, took, err)
	if err != nil && (op == guard.OpSwap || op == guard.OpRevoke) && !errors.Is(err, context.Canceled) {
		m.unsure.Store(true)
	}
}

// begin learns what other replicas revoked, if the store answers.
func (m *memory) begin(ctx context.Context) {
	if m.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstPoll)
	defer cancel()
	m.poll(ctx)
	m.compareClocks(ctx)
}

// run keeps this replica and the store in step until ctx ends.
func (m *memory) run(ctx context.Context) {
	if m.store == nil {
		return
	}
	go m.clean(ctx)
	tick, clock := time.NewTicker(revocation.PollPeriod), time.NewTicker(clockPeriod)
	defer tick.Stop()
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.poll(ctx)
		case <-clock.C:
			m.compareClocks(ctx)
		}
	}
}

// clean removes from the store what is dead, until ctx ends.
func (m *memory) clean(ctx context.Context) {
	tick := time.NewTicker(m.store.CleanPeriod())
	defer tick.Stop()
	for {
		_ = m.store.Clean(ctx) // the next call removes what this one left
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// compareClocks loads a missing key to read the store's clock; poll reports
// outages.
func (m *memory) compareClocks(ctx context.Context) {
	_, _, _ = clockedStore{m.store, m.now, m.metrics}.Load(ctx, "clock")
}

func (m *memory) poll(ctx context.Context) {
	err := m.ended.Poll(ctx)
	if err == nil && m.unsure.Swap(false) {
		if _, err = m.store.Try(ctx); err != nil {
			m.unsure.Store(true)
		}
	}
	if ctx.Err() != nil && err == nil {
		return
	}
	m.metrics.guardUp.Set(1)
	if err != nil {
		m.metrics.guardUp.Set(0)
	}
	switch was := m.down.Swap(err != nil); {
	case err != nil && !was:
		m.log.Error("the guard's back end does not answer or takes no writes: sign-ins and refreshes are refused until it does", "error", err, "do", cmp.Or(m.advice(err), "see whether it runs, and whether this service reaches it"))
	case err == nil && was:
		m.log.Info("the guard's back end answers again")
	}
}

func (m *memory) close() {
	if m.store != nil {
		m.store.Close()
	}
}

// degraded says what does not work, "" for nothing.
func (m *memory) degraded() string {
	if m.down.Load() {
		return "the guard's back end does not answer or takes no writes: sign-ins and refreshes get 503, requests with valid tokens pass"
	}
	return ""
}

// clockedStore compares the store's clock with ours. Replicas whose clocks
// differ refuse each other's tokens.
type clockedStore struct {
	guard.Store
	now     func() time.Time
	metrics *metrics
}

func (s clockedStore) Load(ctx context.Context, key string) (string, time.Time, error) {
	before := s.now()
	value, theirs, err := s.Store.Load(ctx, key)
	if err == nil {
		half := s.now().Sub(before) / 2
		s.metrics.skew.Set(theirs.Sub(before.Add(half)).Seconds())
	}
	return value, theirs, err
}

// observedStore counts and times what a revocation.Store is asked.
type observedStore struct {
	revocation.Store
	observe func(op guard.Operation, took time.Duration, err error)
}

func (s observedStore) Revoke(ctx context.Context, key string, expires time.Time) error {
	began := time.Now()
	err := s.Store.Revoke(ctx, key, expires)
	s.observe(guard.OpRevoke, time.Since(began), err)
	return err
}

func (s observedStore) Revoked(ctx context.Context, after string, each func(string, time.Time) error) (string, error) {
	began := time.Now()
	position, err := s.Store.Revoked(ctx, after, each)
	s.observe(guard.OpPoll, time.Since(began), err)
	return position, err
}
