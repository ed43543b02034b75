package catalog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

const (
	defaultRefresh  = 5 * time.Minute
	defaultMaxStale = 24 * time.Hour
	defaultWait     = 3 * time.Second
	// firstRetry is the pause after one failure; it doubles with each further
	// one, up to retryRefreshes times the refresh interval.
	firstRetry     = 5 * time.Second
	retryRefreshes = 4
	// signInRetry is how soon at the latest a sign-in may cause a new attempt, so that a
	// server that came back is noticed.
	signInRetry = 30 * time.Second
	// ttlRefreshes bounds what a server's ttl hint can do: it may ask to be
	// left alone for that many refresh intervals, and never to be asked more often.
	ttlRefreshes = 12
	refreshers   = 4
	// maxAsked bounds the fetches that sign-ins cause, besides those of Run.
	maxAsked = 16
)

// ErrUnknownResource is returned for a key that is no target of the cache.
var ErrUnknownResource = errors.New("catalog: unknown resource")

// Target is one MCP server: Key names it to callers (its resource URI),
// Endpoint is the URL it is asked at, Scopes are those of the operator's own.
type Target struct {
	Key, Endpoint string
	Scopes        []config.ScopeRule
}

// Options are the dependencies and settings of a Cache. Zero durations mean
// the defaults.
type Options struct {
	Targets []Target
	// Fetch asks one server, normally (*Fetcher).Fetch.
	Fetch func(ctx context.Context, endpoint string) (*Catalogue, error)
	// Refresh is the background interval; 5 minutes.
	Refresh time.Duration
	// MaxStale is how long the last good answer serves while the server fails; 24 hours.
	MaxStale time.Duration
	// Wait is how long a Get waits for a server nothing is known about; 3 seconds.
	Wait time.Duration
	// Now is time.Now if nil.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Observe is told how each fetch ended (one of Results) and how long it took; may be nil.
	Observe func(result string, took time.Duration)
}

// Cache keeps the last good catalogue of each target. Get and Peek take no
// lock when there is one, and always return a catalogue.
type Cache struct {
	Options
	entries map[string]*entry // not changed after New
	unknown *Catalogue
	asked   chan struct{} // places for fetches that a sign-in caused
}

type entry struct {
	Target
	held     atomic.Pointer[Catalogue]
	baseline *Catalogue

	mu       sync.Mutex
	flight   chan struct{} // closed when the fetch under way is done; nil if there is none
	failures int           // in a row
	failedAt time.Time
}

// New returns a cache that holds nothing yet. Run fills and refreshes it.
func New(o Options) *Cache {
	if o.Refresh <= 0 {
		o.Refresh = defaultRefresh
	}
	if o.MaxStale <= 0 {
		o.MaxStale = defaultMaxStale
	}
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration) {}
	}
	c := &Cache{Options: o, entries: map[string]*entry{}, unknown: Baseline(), asked: make(chan struct{}, maxAsked)}
	for _, t := range o.Targets {
		c.entries[t.Key] = &entry{Target: t, baseline: Baseline().with(t.Scopes)}
	}
	return c
}

// Peek returns what is known now, the baseline if nothing is. It never waits
// and never causes a request: it is for the forward-auth decision.
func (c *Cache) Peek(key string) *Catalogue {
	e, ok := c.entries[key]
	if !ok {
		return c.unknown
	}
	if held := c.held(e); held != nil {
		return held
	}
	return e.baseline
}

// Get returns the catalogue at once if one is held, and else waits a bounded
// time for the server. A failing server yields the baseline, not an error: a dead
// MCP server never breaks a sign-in. The only error is ErrUnknownResource, and
// even then the catalogue is the baseline.
func (c *Cache) Get(ctx context.Context, key string) (*Catalogue, error) {
	e, ok := c.entries[key]
	if !ok {
		return c.unknown, ErrUnknownResource
	}
	if held := c.held(e); held != nil {
		return held, nil
	}
	// The fetch outlives this caller: the next one finds its result.
	if done := c.start(context.WithoutCancel(ctx), e, false); done != nil {
		timeout := time.NewTimer(c.Wait)
		defer timeout.Stop()
		select {
		case <-done:
		case <-timeout.C:
		case <-ctx.Done():
		}
	}
	return c.Peek(key), nil
}

func (c *Cache) held(e *entry) *Catalogue {
	held := e.held.Load()
	if held == nil || c.Now().Sub(held.FetchedAt) > c.MaxStale {
		return nil
	}
	return held
}

// Run refreshes every target until ctx ends, at most a few at a time.
func (c *Cache) Run(ctx context.Context) {
	turns := make(chan struct{}, refreshers)
	var all sync.WaitGroup
	for _, e := range c.entries {
		all.Go(func() { c.keep(ctx, e, turns) })
	}
	all.Wait()
}

func (c *Cache) keep(ctx context.Context, e *entry, turns chan struct{}) {
	for {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case <-c.start(ctx, e, true):
		case <-ctx.Done():
		}
		<-turns
		pause := time.NewTimer(c.pause(e))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// pause is the time to the next refresh, give or take a tenth, so that
// replicas do not ask in step.
func (c *Cache) pause(e *entry) time.Duration {
	e.mu.Lock()
	failures := e.failures
	e.mu.Unlock()
	d := c.Refresh
	if failures > 0 {
		d = c.backoff(failures)
	} else if held := e.held.Load(); held != nil {
		d = max(d, min(held.TTL, ttlRefreshes*c.Refresh))
	}
	return d - d/10 + rand.N(d/5+1)
}

func (c *Cache) backoff(failures int) time.Duration {
	d := firstRetry
	for range failures - 1 {
		if d >= retryRefreshes*c.Refresh {
			break
		}
		d *= 2
	}
	return min(d, retryRefreshes*c.Refresh)
}

// start begins a fetch, or joins the one under way, and returns what is closed
// at its end. Unless it must, it begins none soon after a failure, and none
// beside maxAsked others; then it returns nil. A server that fails is so asked by
// one request at a time, ever more seldom.
func (c *Cache) start(ctx context.Context, e *entry, must bool) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight != nil {
		return e.flight
	}
	if !must && e.failures > 0 && c.Now().Sub(e.failedAt) < min(c.backoff(e.failures), signInRetry) {
		return nil
	}
	if !must {
		select {
		case c.asked <- struct{}{}:
		default:
			return nil
		}
	}
	done := make(chan struct{})
	e.flight = done
	go func() {
		defer close(done)
		if !must {
			defer func() { <-c.asked }()
		}
		c.fetch(ctx, e)
	}()
	return done
}

func (c *Cache) fetch(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	begin := c.Now()
	got, err := c.Fetch(ctx, e.Endpoint)
	now := c.Now()
	if err == nil {
		if got.FetchedAt.IsZero() {
			got.FetchedAt = now
		}
		e.held.Store(got.with(e.Scopes))
	}
	stopped := errors.Is(context.Cause(ctx), context.Canceled) // we are going down: says nothing about the server

	e.mu.Lock()
	e.flight = nil
	before := e.failures
	switch {
	case err == nil:
		e.failures = 0
	case !stopped:
		e.failures++
		e.failedAt = now
	}
	e.mu.Unlock()

	if err != nil && stopped {
		return
	}
	c.Observe(result(got, err), now.Sub(begin))
	c.log(e, got, err, before)
}

func result(got *Catalogue, err error) string {
	switch fetchErr, ok := errors.AsType[*Error](err); {
	case err == nil && got.Declared:
		return ResultOK
	case err == nil:
		return ResultUndeclared
	case ok:
		return fetchErr.Result
	case errors.Is(err, context.DeadlineExceeded):
		return ResultTimeout
	}
	return ResultInvalid
}

// log speaks when something changes: a server that stays dead is one warning,
// not one every few minutes.
func (c *Cache) log(e *entry, got *Catalogue, err error, failuresBefore int) {
	switch {
	case err != nil && failuresBefore == 0:
		c.Logger.Warn("MCP server does not list its tools; consent and tool policy use what is known", "resource", e.Key, "error", err)
	case err != nil:
		c.Logger.Debug("MCP server still does not list its tools", "resource", e.Key, "error", err, "failures", failuresBefore+1)
	case failuresBefore > 0 || got.Dropped > 0:
		c.Logger.Info("MCP server lists its tools", "resource", e.Key, "tools", len(got.Tools), "scopes", len(got.Scopes), "declared", got.Declared, "dropped", got.Dropped)
	default:
		c.Logger.Debug("MCP server lists its tools", "resource", e.Key, "tools", len(got.Tools), "scopes", len(got.Scopes), "declared", got.Declared)
	}
}
