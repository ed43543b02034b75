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

// Bounds of one fetch.
const (
	maxPages     = 50
	maxBytes     = 2 << 20 // over all answers of one fetch, errors included
	fetchTimeout = 10 * time.Second
	// probeTimeout bounds the first attempt, with the newest revision. A server that
	// never answers unknown requests then leaves time for the older handshake.
	probeTimeout = 4 * time.Second
	closeTimeout = time.Second
	// eraMemory is how long a server is taken for an older one without another attempt
	// with the newest revision.
	eraMemory = time.Hour
	// At most largeFetches fetches may read more than smallBytes at the same time; others
	// wait. This bounds the memory for long lists.
	smallBytes   = 256 << 10
	largeFetches = 8
	// idleConnections bounds the connections that are kept for the next fetch, of all
	// servers together.
	idleConnections = 64
)

// The revisions ("eras") that are tried. The client of the go-sdk negotiates the details.
const (
	modern = "2026-07-28" // stateless: no handshake, discovery instead
	legacy = "2025-11-25" // with the initialize handshake; any older revision may result
	// httpSSE is the transport of revision 2024-11-05, in which the client listens at one
	// URL and sends to another. It is not a revision, but it is tried like one.
	httpSSE = "HTTP+SSE"
)

// Results of a fetch. The set is closed, because they are values of a metric label.
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

// Error is the error of a fetch. Result is one of the constants. The text of Err may
// quote the server: it is for an operator's log, never for a client.
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

// Fetcher asks MCP servers for their tools. The zero value is ready for use. It sends no
// credential but that of FetchWith, keeps no cookie, follows no redirect, and uses no
// proxy of the environment. The operator names the endpoint, and nothing that the server
// says leads to another origin.
type Fetcher struct {
	// TLS, if set, is for servers with certificates of a private authority.
	TLS *tls.Config
	// Proxy is the proxy that requests go through; nil for none.
	Proxy *url.URL
	// Dial, if set, reaches servers in place of the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Version is the version that the client names itself with; may be "".
	Version string
	// Now is time.Now if it is nil.
	Now func() time.Time

	transport func() http.RoundTripper // for tests
	once      sync.Once
	base      http.RoundTripper
	large     chan struct{} // a place for each fetch that reads more than smallBytes
	olderEra  sync.Map      // endpoint → older
}

// older is what is remembered of a server that has only an older era.
type older struct {
	era   string // legacy or httpSSE
	until time.Time
}

// Fetch asks the server at endpoint and returns what it advertises, without the
// operator's scopes. It takes at most ten seconds. The error is an *Error. It returns no
// part of a list: that would silently close the other tools.
func (f *Fetcher) Fetch(ctx context.Context, endpoint string) (*Catalogue, error) {
	return f.FetchWith(ctx, endpoint, "", "")
}

// FetchWith is Fetch with a credential in this header, which is sent to the endpoint's
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
		// The server has lost the session or the cursor, by a restart or because another replica
		// answered. Begin again, once.
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

// connect opens a session in the newest era that the server has. If the server refuses
// with an error, the client falls back to the initialize handshake by itself. Some older
// servers answer an unknown request with a page, with an empty 202 or not at all, which
// breaks the client's connection, so the older handshake is tried on a new one too. A
// server that takes no POST is asked by HTTP+SSE (MCP 2025-11-25, "Backwards
// Compatibility").
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

// dial makes one attempt. Its session lives until ctx ends. An attempt that takes longer
// than limit ends together with its requests: the client would tell the server that it
// gives up, and wait five more seconds for one that hangs.
func (f *Fetcher) dial(ctx context.Context, w *wire, endpoint, era string, limit time.Duration) (*mcp.ClientSession, error) {
	connecting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	requests, end := context.WithCancel(ctx)
	overdue := time.AfterFunc(limit, end)
	defer overdue.Stop()
	client := mcp.NewClient(
		&mcp.Implementation{Name: "mcp-forward-auth", Version: f.Version},
		&mcp.ClientOptions{
			Capabilities:   &mcp.ClientCapabilities{}, // so that servers ask nothing of this client
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

// learn remembers for eraMemory that a server has only an older era, to spare it requests
// that it does not know. asked is the era that was tried first: the time runs from the
// last attempt that began with the newest one.
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

// list reads all pages of tools/list. The client does not tell an empty cursor from a
// missing one; both end the list.
func list(ctx context.Context, session *mcp.ClientSession) (*Catalogue, error) {
	c := newCollector()
	var ttl time.Duration
	cursor, seen := "", map[string]bool{"": true}
	for page := range maxPages {
		res, err := session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if page == 0 && hasCode(err, jsonrpc.CodeMethodNotFound) {
			break // the server has prompts or resources, and no tools
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

// pageTTL returns ttlMs of the page, at most a day. A missing or negative value counts as
// zero.
func pageTTL(res *mcp.ListToolsResult) time.Duration {
	ms := min(max(res.GetTTLMs(), 0), int((24 * time.Hour).Milliseconds()))
	return time.Duration(ms) * time.Millisecond
}

func hasCode(err error, code int64) bool {
	rpc, ok := errors.AsType[*jsonrpc.Error](err)
	return ok && rpc.Code == code
}

// restartable reports whether the server lost the session or the cursor.
func restartable(err error) bool {
	return errors.Is(err, mcp.ErrSessionMissing) || hasCode(err, jsonrpc.CodeInvalidParams)
}

// wire sends all HTTP requests of one fetch. It counts the bytes of the answers, and
// remembers why the fetch failed, which the errors of the MCP client do not tell.
type wire struct {
	base         http.RoundTripper
	endpoint     string        // requests go to its origin
	places       chan struct{} // Fetcher.large
	header       string        // with the credential; "" for none
	credential   string
	growing      sync.Mutex
	large, ended bool         // large: has one of places; ended: gave it back
	left         atomic.Int64 // bytes that may still be read
	noPost       atomic.Bool  // the endpoint refused a POST as a server of HTTP+SSE does
	unauthorized atomic.Bool
	redirected   atomic.Bool
	answered     atomic.Bool
	unreachable  atomic.Value // string: the result, where no request was answered
}

// client returns an HTTP client for one session. All its requests end with ctx.
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
	if !sameOrigin(r.URL, w.endpoint) { // in HTTP+SSE the server names a URL
		w.redirected.Store(true)
		return nil, errForeign
	}
	requestCtx, cancel := context.WithCancel(r.Context())
	if r.Method == http.MethodDelete { // the end of a session, which is not worth a long wait
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

// unreachable returns the result of a request without an answer. Two causes last until an
// operator acts.
func unreachable(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ResultCertificate
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return ResultNoSuchHost
	}
	return ResultUnreachable
}

// refusesPost reports whether a server of HTTP+SSE may answer a POST with this status.
func refusesPost(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

func sameOrigin(u *url.URL, endpoint string) bool {
	e, err := url.Parse(endpoint)
	return err == nil && u.Scheme == e.Scheme && u.Host == e.Host && u.User.String() == e.User.String()
}

// final reports whether another attempt would fail in the same way.
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

// body counts what is read of an answer.
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

// grow waits for one of places, and reports whether the fetch has one. It gives up when
// done is closed.
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

// leave gives the place back. All requests of the fetch have ended.
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
