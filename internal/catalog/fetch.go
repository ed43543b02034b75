package catalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What one fetch may cost.
const (
	maxPages     = 50
	maxBytes     = 2 << 20 // over all answers of one fetch, errors included
	fetchTimeout = 10 * time.Second
	// probeTimeout bounds the attempt in the modern era, so that a server that
	// never answers what it does not know leaves time for the older handshake.
	probeTimeout = 4 * time.Second
	closeTimeout = time.Second
	// eraMemory is how long a server counts as an older one without asking.
	eraMemory = time.Hour
	// Of all fetches under way, largeFetches may read more than smallBytes; others
	// wait for them. This bounds the memory of lists that are being read.
	smallBytes   = 256 << 10
	largeFetches = 8
	// Connections that are kept for the next fetch, of all servers together.
	idleConnections = 64
)

// Protocol revisions (the go-sdk's client turns them into a whole negotiation).
const (
	modern = "2026-07-28" // stateless: no handshake, discovery instead
	legacy = "2025-11-25" // initialize handshake, any older revision may result
	// httpSSE is the transport of revision 2024-11-05, which listens on one URL and
	// sends to another. It is no revision; it stands beside them in what is tried.
	httpSSE = "HTTP+SSE"
)

// The ways a fetch can end: a closed set, fit for a metric label.
const (
	ResultOK           = "ok"
	ResultUndeclared   = "undeclared"   // an answer, but no _meta.scopes
	ResultTimeout      = "timeout"      // no whole answer in time
	ResultUnreachable  = "unreachable"  // no connection
	ResultNoSuchHost   = "no_such_host" // the endpoint's name does not exist in DNS
	ResultCertificate  = "certificate"  // the server's certificate is not trusted
	ResultUnauthorized = "unauthorized" // 401 or 403: the server wants a credential we do not have
	ResultRedirect     = "redirect"     // an answer that points elsewhere; never followed
	ResultTooLarge     = "too_large"    // more than one of the limits
	ResultInvalid      = "invalid"      // anything else that is not a tools/list answer
)

// Error is a fetch that gave no catalogue. Result is one of the constants. The text
// of Err may quote the server: for an operator's log, never for a client.
type Error struct {
	Result string
	Err    error
}

func (e *Error) Error() string {
	text := "tools/list: " + e.Result + ": " + plainText(e.Err.Error(), 500)
	switch e.Result {
	case ResultCertificate:
		text += "; name the file with its authority in caFile of the entry of proxy.hosts, or in SSL_CERT_FILE or SSL_CERT_DIR"
	case ResultNoSuchHost:
		text += "; check the name in endpoint, and the DNS of this machine"
	}
	return text
}
func (e *Error) Unwrap() error { return e.Err }

var (
	errTooManyPages = fmt.Errorf("the list has more than %d pages", maxPages)
	errTooManyBytes = fmt.Errorf("the answers are longer than %d bytes", maxBytes)
	errCursorLoop   = errors.New("the server repeats a cursor")
	errCrowded      = errors.New("too many long lists are being read")
	errForeign      = errors.New("the server names a message endpoint at another origin")
)

// Fetcher asks MCP servers for their tools. The zero value is ready for use.
// It sends no credential but that of FetchWith, uses no proxy of the environment, keeps no cookie and follows no
// redirect: the operator names the endpoint, and nothing the server says
// leads anywhere else.
type Fetcher struct {
	// TLS is for servers with a private certificate authority; may be nil.
	TLS *tls.Config
	// Proxy is what requests go through; nil for none.
	Proxy *url.URL
	// Dial, if set, reaches servers in place of the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Version is what the client calls itself besides its name; may be empty.
	Version string
	// Now is time.Now if nil.
	Now func() time.Time

	transport func() http.RoundTripper // for tests
	once      sync.Once
	base      http.RoundTripper
	large     chan struct{} // places of fetches that read more than smallBytes
	olderEra  sync.Map      // endpoint → older
}

// older is what is remembered of a server of an older revision.
type older struct {
	era   string // legacy or httpSSE
	until time.Time
}

// Fetch asks the server at endpoint and returns what it advertises. It takes
// at most ten seconds. The error is an *Error.
//
// Nothing partial is returned: half a list would silently close tools.
func (f *Fetcher) Fetch(ctx context.Context, endpoint string) (*Catalogue, error) {
	return f.FetchWith(ctx, endpoint, "", "")
}

// FetchWith is Fetch with a credential in this header, which goes to the endpoint's
// origin alone.
func (f *Fetcher) FetchWith(ctx context.Context, endpoint, header, credential string) (*Catalogue, error) {
	f.once.Do(f.init)
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	w := &wire{base: f.base, endpoint: endpoint, places: f.large, header: header, credential: credential}
	w.left.Store(maxBytes)
	defer w.leave()

	c, err := f.fetch(ctx, w, endpoint)
	if err != nil && restartable(err) {
		// The session or the cursor was lost on the way (a restart, another
		// replica): begin again, once.
		c, err = f.fetch(ctx, w, endpoint)
	}
	if err != nil {
		f.olderEra.Delete(endpoint)
		return nil, &Error{Result: w.result(ctx, err), Err: err}
	}
	c.FetchedAt = f.now()
	return c, nil
}

func (f *Fetcher) init() {
	f.large = make(chan struct{}, largeFetches)
	if f.transport != nil {
		f.base = f.transport()
		return
	}
	dial := f.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 3 * time.Second}).DialContext
	}
	f.base = &http.Transport{
		Proxy:                  http.ProxyURL(f.Proxy), // never the environment's
		DialContext:            dial,
		TLSClientConfig:        f.TLS,
		TLSHandshakeTimeout:    3 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           idleConnections,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        10 * time.Second, // a fetch's own; the next is minutes away
		DisableCompression:     true,             // so that the bytes counted are the bytes sent
		ForceAttemptHTTP2:      true,
	}
}

func (f *Fetcher) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

func (f *Fetcher) fetch(ctx context.Context, w *wire, endpoint string) (*Catalogue, error) {
	// Ending this context ends every request, also those the client sends of
	// its own accord.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	session, err := f.connect(ctx, w, endpoint)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	return list(ctx, session)
}

// connect opens a session in the newest era the server knows. The client falls
// back to the initialize handshake by itself where the server refuses with an
// error; an older server that answers what it does not know with a page, an
// empty 202 or not at all breaks the client's connection, so the older
// handshake is tried on a fresh one, too. A server that takes no POST at all is
// asked by HTTP+SSE (MCP 2025-11-25, "Backwards Compatibility").
func (f *Fetcher) connect(ctx context.Context, w *wire, endpoint string) (*mcp.ClientSession, error) {
	eras := []string{modern, legacy}
	if known, ok := f.olderEra.Load(endpoint); ok && f.now().Before(known.(older).until) {
		eras = []string{known.(older).era, modern, legacy}
	}
	var errs []error
	for i, era := range eras {
		if i > 0 && slices.Contains(eras[:i], era) {
			continue
		}
		limit := fetchTimeout
		if i == 0 {
			limit = probeTimeout
		}
		session, err := f.dial(ctx, w, endpoint, era, limit)
		if err == nil {
			f.learn(endpoint, session, era, eras[0])
			return session, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || w.final() {
			return nil, errors.Join(errs...)
		}
	}
	if w.noPost.Load() && !slices.Contains(eras, httpSSE) {
		session, err := f.dial(ctx, w, endpoint, httpSSE, probeTimeout)
		if err == nil {
			f.learn(endpoint, session, httpSSE, eras[0])
			return session, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial makes one attempt; its session lives until ctx ends. Where the attempt
// takes longer than limit its requests end too, because the client tells the
// server that it gave up, and would wait five seconds more for one that hangs.
func (f *Fetcher) dial(ctx context.Context, w *wire, endpoint, era string, limit time.Duration) (*mcp.ClientSession, error) {
	connecting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	requests, end := context.WithCancel(ctx)
	overdue := time.AfterFunc(limit, end)
	defer overdue.Stop()
	client := mcp.NewClient(
		&mcp.Implementation{Name: "mcp-forward-auth", Version: f.Version},
		&mcp.ClientOptions{
			Capabilities:   &mcp.ClientCapabilities{}, // a server may ask nothing of us
			MultiRoundTrip: &mcp.MultiRoundTripOptions{Disabled: true},
		})
	if era == httpSSE {
		// The stream that this opens is the session, so it must outlive connecting.
		return client.Connect(requests, &mcp.SSEClientTransport{
			Endpoint: endpoint, HTTPClient: w.client(requests), MaxEventSize: maxBytes,
		}, &mcp.ClientSessionOptions{ProtocolVersion: legacy})
	}
	return client.Connect(connecting, &mcp.StreamableClientTransport{
		Endpoint:             endpoint,
		HTTPClient:           w.client(requests),
		MaxRetries:           -1,
		DisableStandaloneSSE: true,
		MaxEventSize:         maxBytes,
	}, &mcp.ClientSessionOptions{ProtocolVersion: era})
}

// learn keeps an older server's era for a while, to spare it the question it
// cannot answer. The time runs from the last real question, which is one that
// began with the modern era.
func (f *Fetcher) learn(endpoint string, session *mcp.ClientSession, era, asked string) {
	r := session.InitializeResult()
	switch {
	case r != nil && r.ProtocolVersion >= modern:
		f.olderEra.Delete(endpoint)
	case asked == modern:
		if era != httpSSE {
			era = legacy
		}
		f.olderEra.Store(endpoint, older{era, f.now().Add(eraMemory)})
	}
}

// list reads all pages. An empty cursor ends the list: the client does not
// tell it from an absent one.
func list(ctx context.Context, session *mcp.ClientSession) (*Catalogue, error) {
	c := newCollector()
	var ttl time.Duration
	cursor, seen := "", map[string]bool{"": true}
	for page := range maxPages {
		res, err := session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if page == 0 && hasCode(err, jsonrpc.CodeMethodNotFound) {
			break // an MCP server of prompts and resources only
		}
		if err != nil {
			return nil, err
		}
		if res.ResultType != "" && res.ResultType != "complete" {
			return nil, fmt.Errorf("the result type is %q", res.ResultType)
		}
		if err := c.addTools(res.Tools); err != nil {
			return nil, err
		}
		c.addScopes(res.Meta["scopes"])
		if t := pageTTL(res); page == 0 || t < ttl {
			ttl = t
		}
		if cursor = res.NextCursor; cursor == "" {
			break
		}
		if seen[cursor] {
			return nil, errCursorLoop
		}
		if page == maxPages-1 {
			return nil, errTooManyPages
		}
		seen[cursor] = true
	}
	out, err := c.catalogue()
	if err != nil {
		return nil, err
	}
	out.TTL = ttl
	return out, nil
}

// pageTTL is the page's ttlMs: absent, zero and negative all mean "stale".
func pageTTL(res *mcp.ListToolsResult) time.Duration {
	ms := min(max(res.GetTTLMs(), 0), int((24 * time.Hour).Milliseconds()))
	return time.Duration(ms) * time.Millisecond
}

func hasCode(err error, code int64) bool {
	rpc, ok := errors.AsType[*jsonrpc.Error](err)
	return ok && rpc.Code == code
}

func restartable(err error) bool {
	return errors.Is(err, mcp.ErrSessionMissing) || hasCode(err, jsonrpc.CodeInvalidParams)
}

// wire is all HTTP of one fetch. It counts the bytes of all answers and
// remembers why the server was left, which the client's errors do not tell.
type wire struct {
	base         http.RoundTripper
	endpoint     string        // requests go to its origin
	places       chan struct{} // of Fetcher.large
	header       string        // with the credential; "" for none
	credential   string
	growing      sync.Mutex
	large, ended bool // has one of places; gave it back
	left         atomic.Int64
	noPost       atomic.Bool // the endpoint refused a POST as a server of HTTP+SSE does
	unauthorized atomic.Bool
	redirected   atomic.Bool
	answered     atomic.Bool
	unreachable  atomic.Value // string: the result, where no request was answered
}

// client returns an HTTP client for one session, whose every request ends with ctx.
func (w *wire) client(ctx context.Context) *http.Client {
	return &http.Client{
		Transport:     roundTripper(func(r *http.Request) (*http.Response, error) { return w.roundTrip(ctx, r) }),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       fetchTimeout,
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *wire) roundTrip(ctx context.Context, r *http.Request) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !sameOrigin(r.URL, w.endpoint) { // HTTP+SSE lets the server name a URL
		w.redirected.Store(true)
		return nil, errForeign
	}
	requestCtx, cancel := context.WithCancel(r.Context())
	if r.Method == http.MethodDelete { // the end of a session: a courtesy, not worth a wait
		requestCtx, cancel = context.WithTimeout(r.Context(), closeTimeout)
	}
	unlink := context.AfterFunc(ctx, cancel)
	end := func() { unlink(); cancel() }

	r = r.Clone(requestCtx)
	if w.header != "" {
		r.Header.Set(w.header, w.credential)
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		if requestCtx.Err() == nil && !w.answered.Load() {
			w.unreachable.Store(unreachable(err))
		}
		end()
		return nil, err
	}
	w.answered.Store(true)
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		w.unauthorized.Store(true)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		w.redirected.Store(true)
	case r.Method == http.MethodPost && refusesPost(resp.StatusCode):
		w.noPost.Store(true)
	}
	resp.Body = &body{ReadCloser: resp.Body, wire: w, end: end, done: requestCtx.Done()}
	return resp, nil
}

// unreachable tells what lasts until an operator acts from what may pass.
func unreachable(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ResultCertificate
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return ResultNoSuchHost
	}
	return ResultUnreachable
}

func refusesPost(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

func sameOrigin(u *url.URL, endpoint string) bool {
	e, err := url.Parse(endpoint)
	return err == nil && u.Scheme == e.Scheme && u.Host == e.Host && u.User.String() == e.User.String()
}

// final reports whether another attempt would end the same way.
func (w *wire) final() bool {
	return w.unauthorized.Load() || w.redirected.Load() || w.left.Load() < 0
}

func (w *wire) result(ctx context.Context, err error) string {
	switch {
	case w.left.Load() < 0, errors.Is(err, errTooManyPages), errors.Is(err, errTooManyTools):
		return ResultTooLarge
	case w.redirected.Load():
		return ResultRedirect
	case w.unauthorized.Load():
		return ResultUnauthorized
	case w.unreachable.Load() != nil && !w.answered.Load():
		return w.unreachable.Load().(string)
	case ctx.Err() != nil:
		return ResultTimeout
	}
	return ResultInvalid
}

// body counts what is read against the fetch's budget.
type body struct {
	io.ReadCloser
	wire *wire
	end  func()
	done <-chan struct{} // closed when the request is over
}

func (b *body) Read(p []byte) (int, error) {
	if b.wire.left.Load() < 0 {
		return 0, errTooManyBytes
	}
	n, err := b.ReadCloser.Read(p)
	left := b.wire.left.Add(-int64(n))
	if left < 0 {
		return 0, errTooManyBytes
	}
	if left < maxBytes-smallBytes && !b.wire.grow(b.done) {
		return 0, errCrowded
	}
	return n, err
}

// grow waits for a place among the large fetches, until done.
func (w *wire) grow(done <-chan struct{}) bool {
	w.growing.Lock()
	defer w.growing.Unlock()
	if w.large || w.ended {
		return w.large
	}
	select {
	case w.places <- struct{}{}:
		w.large = true
	case <-done:
	}
	return w.large
}

// leave gives the place back. Every request of the fetch has ended by then.
func (w *wire) leave() {
	w.growing.Lock()
	defer w.growing.Unlock()
	if w.ended = true; w.large {
		<-w.places
	}
}

func (b *body) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
