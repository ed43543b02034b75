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
	// firstRetry is the pause after the first failure. It doubles with each further one,
	// up to retryRefreshes times the refresh interval.
	firstRetry     = 5 * time.Second
	retryRefreshes = 4
	// signInRetry bounds the time after a failure for which a sign-in does not cause
	// another fetch, so that people notice soon that a server is back.
	signInRetry = 30 * time.Second
	// ttlRefreshes bounds the effect of a server's ttl hint: it can stretch the refresh
	// interval up to so many times, and never shorten it.
	ttlRefreshes = 12
)

// ErrUnknownResource is the error for a key that is not a target of the cache.
var ErrUnknownResource = errors.New("catalog: unknown resource")

// Target is one MCP server. Key names it to callers (the resource URI), Endpoint is the
// URL that is fetched, and Scopes are the operator's.
type Target struct {
	Key, Endpoint string
	Scopes        []rule.Scope
}

// Options are the dependencies and settings of a Cache. A zero duration means the
// default.
type Options struct {
	Targets []Target
	// Fetch asks one server; it is usually (*Fetcher).Fetch.
	Fetch func(ctx context.Context, endpoint string) (*Catalogue, error)
	// Refresh is the interval of background fetches; the default is 5 minutes.
	Refresh time.Duration
	// MaxStale is how long the last good answer is used while the server fails; the
	// default is 24 hours.
	MaxStale time.Duration
	// Wait is how long Get waits for a server of which nothing is known; the default is 3
	// seconds.
	Wait time.Duration
	// Now is time.Now if it is nil.
	Now func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
	// Secret must be unknown to MCP servers, see Agree.
	Secret [SecretBytes]byte
	// Read, if set, is called with a new list of a server before it is used, and with the
	// list before, nil if there was none. It must not wait for long.
	Read func(ctx context.Context, key string, now Snapshot, before *Snapshot)
	// Observe, if set, is called with the result of each fetch (one of the constants
	// Result…) and its duration.
	Observe func(result string, took time.Duration)
}

// Cache keeps the last good catalogue of each target. If there is one, Get, Want and Peek
// take no lock. They always return a catalogue.
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
	// restUntil is until when asking for a fetch gains nothing, in Unix nanoseconds: one
	// is wanted already, or the last one failed a moment ago.
	restUntil atomic.Int64

	// Cache.mu guards the rest.
	turn     *turn // the fetch that is queued or under way; nil if none is
	failures int   // in a row
	failedAt time.Time
	slow     bool        // the last fetch failed or took long
	next     *time.Timer // queues the next fetch; nil before Run
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

// Adopt takes over what another cache knows of the servers that are targets of both, with
// the same endpoint and the same scopes of the operator. It must be called before Run and
// before c is used.
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

// Peek returns the catalogue that is known now, or the baseline. It never waits and never
// causes a fetch.
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

// Get returns the catalogue at once if one is known. Otherwise it waits for the server
// for at most Options.Wait. If the server fails, it returns the baseline and no error, so
// that a dead MCP server never breaks a sign-in. The only error is ErrUnknownResource;
// the catalogue is then a baseline too.
func (c *Cache) Get(ctx context.Context, key string) (*Catalogue, error) {
	e, ok := c.entries[key]
	if !ok {
		return c.unknown, ErrUnknownResource
	}
	if held := c.held(e); held != nil {
		return held, nil
	}
	// The fetch goes on when this caller leaves: the next one finds its result.
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

// outcome is how a fetch ended. A fetch that this service itself ended has none.
type outcome struct {
	got  *Catalogue
	err  error
	took time.Duration
}

// fetch asks the server of e and keeps its answer. It returns nil if ctx has ended.
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

// keep makes a server's answer the one that is used, after it told Read.
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

// count notes an outcome, and returns how many failures in a row came before it. The
// caller holds c.mu.
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

// result returns the Result… constant of a fetch.
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

// remedies say what an operator can do about a failure that lasts, by result.
var remedies = map[string]string{
	ResultUnauthorized: "name a file with a credential for it in proxy.hosts[].serverCredential.file, let tools/list through without one, or name the tools in proxy.hosts[].scopes",
	ResultCertificate:  "name the file with its authority in proxy.hosts[].caFile, or its directory in SSL_CERT_DIR",
	ResultNoSuchHost:   "check the name in proxy.hosts[].endpoint, and the DNS of this machine",
	ResultRedirect:     "set proxy.hosts[].endpoint to the address that answers itself; a server of HTTP+SSE has to take messages at the same origin",
	ResultTooLarge:     "the list is longer than this service reads; name the tools in proxy.hosts[].scopes",
}

// log warns once when a server begins to fail, and says when it works again. Failures in
// between are debug messages.
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
