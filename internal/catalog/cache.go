package catalog

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
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
)

// ErrUnknownResource is returned for a key that is no target of the cache.
var ErrUnknownResource = errors.New("catalog: unknown resource")

// Target is one MCP server: Key names it to callers (its resource URI),
// Endpoint is the URL it is asked at, Scopes are those of the operator's own.
type Target struct {
	Key, Endpoint string
	Scopes        []rule.Scope
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
	// Secret is known to no MCP server; see Agree.
	Secret [SecretBytes]byte
	// Read, if set, is called with what a server was read to have and what it had before,
	// nil the first time, before the new list is in force. It must not wait for long.
	Read func(ctx context.Context, key string, now Snapshot, before *Snapshot)
	// Observe is told how each fetch ended (one of the constants Result…) and how long it took; may be nil.
	Observe func(result string, took time.Duration)
}

// Cache keeps the last good catalogue of each target. Get, Want and Peek take no
// lock when there is one, and always return a catalogue.
type Cache struct {
	Options
	entries map[string]*entry // not changed after New
	unknown *Catalogue

	mu       sync.Mutex // never held while something waits
	schedule schedule
}

type entry struct {
	Target
	held     atomic.Pointer[Catalogue]
	baseline *Catalogue
	// restUntil is until when nothing is gained by asking for a fetch, in Unix
	// nanoseconds: a caller waits for one already, or the last one failed.
	restUntil atomic.Int64

	// Cache.mu guards the rest.
	turn     *turn // the fetch that is queued or under way; nil if there is none
	failures int   // in a row
	failedAt time.Time
	slow     bool        // the last fetch failed or took long
	next     *time.Timer // makes it due; nil before Run
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
	c := &Cache{Options: o, entries: map[string]*entry{}, unknown: Baseline(), schedule: newSchedule()}
	for _, t := range o.Targets {
		c.entries[t.Key] = &entry{Target: t, baseline: Baseline().with(t.Scopes)}
	}
	return c
}

// Adopt takes over what another cache knows of servers that are targets of both,
// with the same endpoint and the same scopes of the operator's. It must be called
// before Run and before c is used.
func (c *Cache) Adopt(from *Cache) {
	from.mu.Lock()
	defer from.mu.Unlock()
	for key, e := range c.entries {
		if old := from.entries[key]; old != nil && reflect.DeepEqual(old.Target, e.Target) {
			e.held.Store(old.held.Load())
			e.failures, e.failedAt, e.slow = old.failures, old.failedAt, old.slow
			c.rest(e)
		}
	}
}

// Peek returns what is known now, the baseline if nothing is. It never waits
// and never causes a request.
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
	if t := c.wants(context.WithoutCancel(ctx), e); t != nil {
		timeout := time.NewTimer(c.Wait)
		defer timeout.Stop()
		select {
		case <-t.done:
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

// outcome is how a fetch ended; a fetch that this service ended has none.
type outcome struct {
	got  *Catalogue
	err  error
	took time.Duration
}

// fetch asks e's server and keeps what it says.
func (c *Cache) fetch(ctx context.Context, e *entry) *outcome {
	if ctx.Err() != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	begin := c.Now()
	got, err := c.Fetch(limited, e.Endpoint)
	now := c.Now()
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err == nil {
		if got.FetchedAt.IsZero() {
			got.FetchedAt = now
		}
		c.keep(ctx, e, got)
	}
	return &outcome{got, err, now.Sub(begin)}
}

// keep puts what a server says in force, and tells what is new about it.
func (c *Cache) keep(ctx context.Context, e *entry, got *Catalogue) {
	got.salt = c.Secret
	now := got.with(e.Scopes)
	if c.Read != nil {
		var before *Snapshot
		if held := e.held.Load(); held != nil {
			s := held.Snapshot()
			before = &s
		}
		c.Read(ctx, e.Key, now.Snapshot(), before)
	}
	e.held.Store(now)
}

// count notes an outcome and returns the failures before it. The caller holds c.mu.
func (c *Cache) count(e *entry, o *outcome) (before int) {
	before = e.failures
	if o.err == nil {
		e.failures = 0
	} else {
		e.failures++
		e.failedAt = c.Now()
	}
	return before
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

// remedies are what an operator can do about a failure that lasts, by result.
var remedies = map[string]string{
	ResultUnauthorized: "name a file with a credential for it in proxy.hosts[].serverCredential.file, let tools/list through without one, or name the tools in proxy.hosts[].scopes",
	ResultCertificate:  "name the file with its authority in proxy.hosts[].caFile, or its directory in SSL_CERT_DIR",
	ResultNoSuchHost:   "check the name in proxy.hosts[].endpoint, and the DNS of this machine",
	ResultRedirect:     "set proxy.hosts[].endpoint to the address that answers itself; a server of HTTP+SSE has to take messages at the same origin",
	ResultTooLarge:     "the list is longer than this service reads; name the tools in proxy.hosts[].scopes",
}

// log speaks when something changes: a server that stays dead is one warning,
// not one every few minutes.
func (c *Cache) log(e *entry, got *Catalogue, err error, failuresBefore int) {
	switch {
	case err != nil && failuresBefore == 0:
		said := []any{"resource", e.Key, "error", err}
		if what := remedies[result(nil, err)]; what != "" {
			said = append(said, "remedy", what)
		}
		c.Logger.Warn("MCP server does not list its tools; consent and tool policy use what is known", said...)
	case err != nil:
		c.Logger.Debug("MCP server still does not list its tools", "resource", e.Key, "error", err, "failures", failuresBefore+1)
	case failuresBefore > 0 || got.Dropped > 0:
		c.Logger.Info("MCP server lists its tools", "resource", e.Key, "tools", len(got.Tools), "scopes", len(got.Scopes), "declared", got.Declared, "dropped", got.Dropped)
	default:
		c.Logger.Debug("MCP server lists its tools", "resource", e.Key, "tools", len(got.Tools), "scopes", len(got.Scopes), "declared", got.Declared)
	}
}
