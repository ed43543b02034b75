package registration

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

// Bounds on what is fetched from clients' URLs and kept.
const (
	maxFetched = 1000
	// maxAge is how long a document is used after it was fetched, whatever its publisher
	// says and however long the publisher is down.
	maxAge = 24 * time.Hour
	// defaultAge is how long a document is fresh if its publisher does not say.
	defaultAge = 5 * time.Minute
	// retryAfter is the time between two fetches while an older copy is used.
	retryAfter = 30 * time.Second
	// A publisher that failed maxFailures times in a row is not asked for the time of
	// pause, and then once. Meanwhile requests that need it fail at once.
	maxFailures = 3
	pause       = 15 * time.Second
	// maxFailing bounds how many failing publishers are remembered.
	maxFailing = 1000
	// maxWaiting bounds the requests that wait for URLs that were never good, and
	// maxWaitingKnown those for URLs that were: anyone can make requests wait for a
	// server of their own, also for one that was quick before. For documents and key sets
	// together, they are fewer than limits.requestsInFlight.
	maxWaiting      = 128
	maxWaitingKnown = 64
)

// ErrUnavailable is the error while what the client publishes cannot be fetched. The
// client may be fine, so it must not be told that it is unknown.
var ErrUnavailable = errors.New("what the client publishes cannot be fetched right now")

// ErrUnfetchable is an ErrUnavailable that lasts until an operator acts. It wraps an
// *egress.Fault.
var ErrUnfetchable = fmt.Errorf("%w, and waiting does not help", ErrUnavailable)

// Unfetchable describes an ErrUnfetchable for anyone to read, as a clause about what the
// client publishes.
func Unfetchable(err error) string {
	fault, ok := errors.AsType[*egress.Fault](err)
	if !ok {
		return "it cannot be fetched from here"
	}
	return "its host " + fault.Public()
}

// ErrDocument is the error if what the client publishes is not valid. It is an
// ErrUnknown.
var ErrDocument = fmt.Errorf("%w: what it publishes is not valid", ErrUnknown)

// fetched is a cache of what clients publish, by URL: a shared cache of RFC 9111 with
// further bounds. Requests for one URL at the same time share a fetch. If the publisher
// fails, a good copy is used for a while longer (RFC 5861, section 4). Failures and
// invalid documents are not kept; the budgets of package egress bound how often they are
// fetched.
type fetched[T any] struct {
	client *egress.Client
	accept string
	limit  int
	// parse reads a document. Its errors complete the sentence "the document …".
	parse func(url string, resp *egress.Response) (T, error)
	now   func() time.Time
	// network, if set, is told how fetches end.
	network *reach

	flights singleflight.Group
	mu      sync.Mutex
	entries map[string]*list.Element // of *copied[T]
	recent  *list.List               // most recently used first
	failing map[string]trouble
	waiting queue // for URLs that were never good
	known   queue // for URLs that were good once
}

// trouble is what is known of a publisher that fails.
type trouble struct {
	failures int
	until    time.Time // when it may be asked again
	why      error     // the error of requests until then
}

// copied is one good document.
type copied[T any] struct {
	url     string
	value   T
	etag    string
	said    http.Header // of the answer, about caching
	fetched time.Time
	failed  time.Time // when the last fetch of a newer one failed
	lifetime
}

func newFetched[T any](client *egress.Client, now func() time.Time, accept string, limit int, parse func(string, *egress.Response) (T, error)) *fetched[T] {
	return &fetched[T]{
		client: client, accept: accept, limit: limit, parse: parse, now: now,
		entries: map[string]*list.Element{}, recent: list.New(), failing: map[string]trouble{},
		waiting: queue{most: maxWaiting}, known: queue{most: maxWaitingKnown},
	}
}

// queue counts requests that wait, up to a bound.
type queue struct{ most, now int }

// get returns the document at url. If refresh is true, a copy must be younger than
// retryAfter. Errors wrap ErrUnavailable or ErrDocument.
func (f *fetched[T]) get(ctx context.Context, url string, refresh bool) (T, error) {
	f.mu.Lock()
	var old *copied[T]
	if el := f.entries[url]; el != nil {
		f.recent.MoveToFront(el)
		old = el.Value.(*copied[T])
		if old.usable(f.now(), refresh) {
			f.mu.Unlock()
			return old.value, nil
		}
	}
	if t := f.failing[url]; t.failures >= maxFailures && f.now().Before(t.until) {
		f.mu.Unlock()
		return f.instead(old, t.why)
	}
	q := &f.waiting
	if old != nil || f.client.Known(url) {
		q = &f.known
	}
	if q.now >= q.most {
		f.mu.Unlock()
		return f.instead(old, errCrowded)
	}
	q.now++
	defer f.leave(q)
	// The fetch goes on when this request ends, because others may wait for it too. It
	// begins under the lock, so that no other fetch can have ended since the copy was
	// looked at.
	flight := f.flights.DoChan(url, func() (any, error) { return f.fly(context.WithoutCancel(ctx), url, old) })
	f.mu.Unlock()
	select {
	case done := <-flight:
		value, _ := done.Val.(T)
		return value, done.Err
	case <-ctx.Done():
		return *new(T), fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// instead is the answer without a fetch: an older copy that may still be used, or err.
func (f *fetched[T]) instead(old *copied[T], err error) (T, error) {
	if old != nil && f.now().Before(old.staleUntil) {
		return old.value, nil
	}
	return *new(T), err
}

func (f *fetched[T]) leave(q *queue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q.now--
}

var (
	errLeftAlone = fmt.Errorf("%w: its publisher has not answered for a while", ErrUnavailable)
	errCrowded   = fmt.Errorf("%w: too many wait for documents", ErrUnavailable)
)

// usable reports whether the copy can be used without a fetch.
func (c *copied[T]) usable(now time.Time, refresh bool) bool {
	if now.Before(c.failed.Add(retryAfter)) && now.Before(c.staleUntil) {
		return true
	}
	return now.Before(c.freshUntil) && !(refresh && now.After(c.fetched.Add(retryAfter)))
}

// fly makes one fetch, and then replaces, keeps or drops the copy.
func (f *fetched[T]) fly(ctx context.Context, url string, old *copied[T]) (value T, err error) {
	next, err := f.fetch(ctx, url, old)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered(url, err)
	switch {
	case err == nil:
		f.keep(next)
		return next.value, nil
	case errors.Is(err, ErrUnavailable) && old != nil && f.now().Before(old.staleUntil):
		old.failed = f.now()
		return old.value, nil
	case !errors.Is(err, ErrUnavailable):
		f.drop(url)
	}
	return value, err
}

func (f *fetched[T]) fetch(ctx context.Context, url string, old *copied[T]) (*copied[T], error) {
	req := egress.Request{URL: url, Accept: f.accept, Limit: f.limit}
	if old != nil {
		req.Repeat, req.IfNoneMatch = true, old.etag
	}
	resp, err := f.client.Get(ctx, req)
	switch {
	case errors.Is(err, egress.ErrRefused), errors.Is(err, egress.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	case err != nil:
		f.heard(url, err)
		return nil, unfetched(err)
	}
	f.heard(url, nil)
	now := f.now()
	next := &copied[T]{url: url, etag: resp.Header.Get("ETag"), said: resp.Header, fetched: now}
	if resp.Status == http.StatusNotModified && old != nil && next.said.Get("Cache-Control") == "" && next.said.Get("Expires") == "" {
		next.said = old.said // RFC 9111, section 4.3.4
	}
	next.lifetime = lifetimeOf(next.said, now)
	switch {
	case resp.Status == http.StatusOK:
		if next.value, err = f.parse(url, resp); err != nil {
			return nil, fmt.Errorf("%w: the document %w", ErrDocument, err)
		}
		f.client.Good(url)
		return next, nil
	case resp.Status == http.StatusNotModified && old != nil && old.etag != "":
		next.value, next.etag = old.value, old.etag
		return next, nil
	case resp.Status >= 500, resp.Status == http.StatusTooManyRequests, resp.Status == http.StatusRequestTimeout, resp.Status == http.StatusTooEarly:
		return nil, fmt.Errorf("%w: status %d", ErrUnavailable, resp.Status)
	}
	// "If the response is not 200 OK, the authorization server MUST treat it as
	// an error", and redirects are not followed.
	return nil, fmt.Errorf("%w: status %d", ErrDocument, resp.Status)
}

// unfetched returns the error of a fetch: an ErrUnfetchable if it lasts, else an
// ErrUnavailable.
func unfetched(err error) error {
	if _, ok := errors.AsType[*egress.Fault](err); ok {
		return fmt.Errorf("%w: %w", ErrUnfetchable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// answered counts the failures of a publisher. That our own budget was used up does not
// count.
func (f *fetched[T]) answered(url string, err error) {
	switch {
	case errors.Is(err, egress.ErrBudget):
	case errors.Is(err, ErrUnavailable):
		if _, there := f.failing[url]; !there && len(f.failing) >= maxFailing {
			for other := range f.failing { // any one
				delete(f.failing, other)
				break
			}
		}
		t := f.failing[url]
		if f.now().After(t.until.Add(pause)) {
			t.failures = 0 // older than the pause: start counting again
		}
		why := errLeftAlone
		if errors.Is(err, ErrUnfetchable) {
			why = err // waiting does not help
		}
		f.failing[url] = trouble{t.failures + 1, f.now().Add(pause), why}
	default:
		delete(f.failing, url)
	}
}

func (f *fetched[T]) keep(c *copied[T]) {
	f.drop(c.url)
	if !c.store {
		return
	}
	f.entries[c.url] = f.recent.PushFront(c)
	for len(f.entries) > maxFetched {
		f.drop(f.recent.Back().Value.(*copied[T]).url)
	}
}

func (f *fetched[T]) drop(url string) {
	if el := f.entries[url]; el != nil {
		f.recent.Remove(el)
		delete(f.entries, url)
	}
}

// lifetime is how long a document may be used, by its headers.
type lifetime struct {
	store      bool
	freshUntil time.Time
	staleUntil time.Time // until then it may be used while the publisher fails
}

// lifetimeOf applies RFC 9111 for a shared cache: sections 3 (storing), 4.2.1 (freshness)
// and 4.2.4 (stale answers).
func lifetimeOf(h http.Header, now time.Time) lifetime {
	d := directives(h)
	if d.has("no-store") || d.has("private") || slices.ContainsFunc(strings.Split(strings.Join(h.Values("Vary"), ","), ","), isAny) {
		return lifetime{freshUntil: now, staleUntil: now}
	}
	age := defaultAge
	if seconds, ok := d.seconds("s-maxage"); ok {
		age = seconds
	} else if seconds, ok := d.seconds("max-age"); ok {
		age = seconds
	} else if h.Get("Expires") != "" {
		age = expires(h, now)
	}
	// A number that is too large counts as the largest (RFC 9111, section 1.2.2).
	if spent, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		age -= min(time.Duration(spent)*time.Second, maxAge)
	}
	if d.has("no-cache") {
		age = 0
	}
	l := lifetime{store: true, freshUntil: now.Add(min(max(age, 0), maxAge)), staleUntil: now.Add(maxAge)}
	if d.has("no-cache") || d.has("must-revalidate") || d.has("proxy-revalidate") {
		l.staleUntil = l.freshUntil
	}
	return l
}

func isAny(s string) bool { return strings.TrimSpace(s) == "*" }

// expires returns the time until Expires. An invalid date counts as passed (RFC 9111,
// section 5.3).
func expires(h http.Header, now time.Time) time.Duration {
	at, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return at.Sub(now)
}

// cacheControl holds the directives of Cache-Control, in lower case.
type cacheControl map[string][]string

func directives(h http.Header) cacheControl {
	out := cacheControl{}
	for _, line := range h.Values("Cache-Control") {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			name = strings.ToLower(strings.TrimSpace(name))
			out[name] = append(out[name], strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	return out
}

func (d cacheControl) has(name string) bool { return d[name] != nil }

// seconds returns the smallest value of a directive. A value that is not a number counts
// as zero.
func (d cacheControl) seconds(name string) (time.Duration, bool) {
	if !d.has(name) {
		return 0, false
	}
	least := maxAge
	for _, v := range d[name] {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			n = 0
		}
		least = min(least, time.Duration(n)*time.Second)
	}
	return least, true
}
