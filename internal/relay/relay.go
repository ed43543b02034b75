// Package relay stands in front of MCP servers instead of a gateway. It serves the hosts
// that have serve enabled.
//
// ServeHTTP has each request decided as a gateway would (forwardauth.Direct), with its
// body as evidence. A request that may pass becomes an exchange: check finds the server's
// own session and address for it, rewrite makes the request to the server, and modify
// makes the client's answer of the server's.
//
// What reaches the server is what was decided about. Credentials, cookies, and headers by
// which a server could learn of a person stay here; the identity headers of the decision
// take their place. The server's answer reaches the client, but without headers that
// would speak for this service, such as a challenge, a redirect elsewhere or a cookie.
package relay

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Decider makes the decisions. It is *forwardauth.Endpoint outside of tests.
type Decider interface {
	Decide(ctx context.Context, q *forwardauth.Request) forwardauth.Decision
	Traced() bool
	View(d *forwardauth.Decision) forwardauth.View
	ClientID(q *forwardauth.Request, d *forwardauth.Decision) string
}

// Options are the dependencies and settings of an Endpoint.
type Options struct {
	Decisions Decider
	Resources *resource.Table
	// Identity are the names of the identity headers.
	Identity []string
	// Credentials are those of this service at MCP servers, by the URI of the resource.
	// Decisions sets them on requests; this package watches whether servers accept them.
	Credentials map[string]*outbound.Credential
	// Keys authenticate the owners of sessions. The first makes tags; all are accepted.
	Keys [][]byte
	// App returns the same value for all ids that a client got by registering again, see
	// registration.App. If it is nil, each id is another client.
	App func(client string) string
	// Owned reports whether a path is the service's own on every host.
	Owned func(path string) bool
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Proxy is the proxy that requests to servers go through; nil for none.
	Proxy *url.URL
	// Dial, if set, reaches MCP servers in place of the network.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Audit *audit.Log
	// TokenRefused, if set, is called when a server that gets a token of the person's
	// identity provider answered 401. It must not wait.
	TokenRefused func(*forwardauth.Decision)
	// Ended, if set, is called with the outcome of each request that was relayed.
	Ended func(*resource.Resource, Outcome)
}

// Endpoint relays requests to the MCP servers that are served here.
type Endpoint struct {
	Options
	servers map[*resource.Resource]*server
	buffers buffers
	lists   filter.Cache
	large   chan struct{} // a place for each long list that is read
	open    atomic.Int64  // exchanges under way
	// draining is done when streams must no longer be kept open.
	draining context.Context
	drain    context.CancelFunc
}

// server is one MCP server.
type server struct {
	resource  *resource.Resource
	transport http.RoundTripper
	paths     paths
	strip     stripped
	// credential is this service's own at the server; nil for none.
	credential *outbound.Credential
}

// New returns an Endpoint for the servers of the table that are served here.
func New(o Options) *Endpoint {
	e := &Endpoint{Options: o, servers: map[*resource.Resource]*server{}, large: make(chan struct{}, largeLists)}
	if e.Ended == nil {
		e.Ended = func(*resource.Resource, Outcome) {}
	}
	if e.App == nil {
		e.App = func(client string) string { return client }
	}
	e.draining, e.drain = context.WithCancel(context.Background())
	transports := transports{proxy: o.Proxy, dial: o.Dial, by: map[string]http.RoundTripper{}}
	for _, r := range o.Resources.All() {
		if r.Serving != nil {
			e.servers[r] = e.newServer(r, r, transports.to(r.Authorities), pathsOf(r))
		}
		for _, p := range r.Host.Pages {
			if p.Beside == r && p.Serving != nil {
				e.servers[p] = e.newServer(p, r, transports.to(p.Authorities), pathsOfPage(p))
			}
		}
	}
	return e
}

// newServer returns the server of r, which is the MCP server beside or one of its pages.
func (e *Endpoint) newServer(r, beside *resource.Resource, transport http.RoundTripper, at paths) *server {
	s := &server{resource: r, transport: transport, paths: at, credential: e.Credentials[beside.URI]}
	own := append(slices.Clone(e.Identity), beside.ProviderToken.Names()...)
	if s.credential != nil { // Decisions sets it
		own = append(own, s.credential.Header)
	}
	s.strip = stripping(r.Serving, own, beside.KeyHeader)
	return s
}

// Serves reports whether any server is served here.
func (e *Endpoint) Serves() bool { return len(e.servers) > 0 }

// Open returns how many requests are under way, open streams among them.
func (e *Endpoint) Open() int { return int(e.open.Load()) }

// Drain ends the streams that clients opened with GET. Answers to requests of clients go
// on.
func (e *Endpoint) Drain() { e.drain() }

// Close drains, and closes idle connections to the servers. Call it when no request is
// under way.
func (e *Endpoint) Close() {
	e.drain()
	for _, s := range e.servers {
		if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// bodyPatience bounds the time for the body of a request.
const bodyPatience = 30 * time.Second

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	body := &bodyKeeper{from: r.Body}
	q := forwardauth.Direct(r)
	if r.ContentLength != 0 {
		_ = conn.SetReadDeadline(time.Now().Add(bodyPatience)) // writers of tests have no deadline
		q.Body = body
	}
	if e.Decisions.Traced() {
		q.Trace = forwardauth.TraceContext{Parent: r.Header["Traceparent"], State: r.Header["Tracestate"]}
	}
	d := e.Decisions.Decide(r.Context(), &q)
	if !d.Allowed() || d.Reason == forwardauth.Preflight {
		answer(w, &d)
		return
	}
	s := e.servers[d.Resource]
	if s == nil { // Decide refuses such requests
		writeError(w, r, http.StatusNotFound, "there is nothing at this path", d.MessageID())
		return
	}
	if d.Resource.Page != nil { // Decide has not read its body
		if err := readPage(w, body); err != nil {
			writeError(w, r, http.StatusRequestEntityTooLarge, "the body of the request is too large", "null")
			return
		}
	}
	x := &exchange{endpoint: e, server: s, question: &q, decision: &d, in: r, body: body.bytes, path: q.Path}
	if refused := x.check(); refused != nil {
		e.audit(x, audit.AccessDenied, refused)
		d.Client.Set(w.Header())
		refused.write(w, r, d.MessageID())
		return
	}
	// From here on the duration is not bounded: streams live as long as the server lets them.
	_ = conn.SetReadDeadline(time.Time{})
	e.open.Add(1)
	defer e.open.Add(-1)
	x.relay(w, conn)
}

// answer writes the client's answer to a request that is not relayed.
func answer(w http.ResponseWriter, d *forwardauth.Decision) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if d.Reason == forwardauth.Preflight {
		d.Client.Set(h)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	d.Headers.Set(h)
	w.WriteHeader(d.Status)
	_, _ = io.WriteString(w, d.Body)
}

// maxPageBody bounds the body of a request to a page, in bytes.
const maxPageBody = 1 << 20

// readPage reads the body of a request to a page into memory.
func readPage(w http.ResponseWriter, body *bodyKeeper) error {
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, io.NopCloser(body), maxPageBody))
	return err
}

// bodyKeeper reads a body and keeps what was read in memory. The reader bounds it:
// Decide, or readPage.
type bodyKeeper struct {
	from  io.Reader
	bytes []byte
}

func (k *bodyKeeper) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	k.bytes = append(k.bytes, p[:n]...)
	return n, err
}

// audit writes the audit entry of a request that was refused, or of a server's fault.
func (e *Endpoint) audit(x *exchange, event audit.Event, f *fault) {
	t := x.decision.Token
	e.Audit.Write(x.in.Context(), audit.Entry{
		Event: event, Reason: f.reason, Cause: f.cause, Subject: t.Subject(), Client: t.Client(), TokenID: t.ID(),
		Host: x.decision.Host.Name, Resource: x.decision.Resource.URI,
	})
}

// exchange is one request that Decide let pass, and its answer.
type exchange struct {
	endpoint *Endpoint
	server   *server
	question *forwardauth.Request
	decision *forwardauth.Decision
	in       *http.Request
	body     []byte
	path     string // as the client sent it

	target  *url.URL
	session string // the server's own id, "" for none
	idle    *idle
	failed  *fault
}

// check returns why a request cannot be relayed, nil if it can. It fills in session and
// target.
func (x *exchange) check() *fault {
	switch x.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		return &errMethod
	}
	for _, name := range connectionNames(x.in.Header["Connection"]) {
		if x.server.strip.relied(name) {
			return &errConnection
		}
	}
	if f := x.openSession(); f != nil {
		return f
	}
	return x.findTarget()
}

// relay passes the request on to the server, and the answer back.
func (x *exchange) relay(w http.ResponseWriter, conn *http.ResponseController) {
	ctx, cancel := context.WithCancelCause(x.in.Context())
	defer cancel(nil)
	x.idle = newIdle(x.server.resource.Serving.IdleTimeout, func() { cancel(errIdle) })
	defer x.idle.stop()
	if x.in.Method == http.MethodGet {
		defer context.AfterFunc(x.endpoint.draining, func() { cancel(errDraining) })()
	}
	out := &answerWriter{ResponseWriter: w, conn: conn, strip: &x.server.strip}
	// Deferred, because ReverseProxy panics with http.ErrAbortHandler if an answer was cut off.
	defer func() { x.endpoint.Ended(x.server.resource, x.outcome(out)) }()
	proxy := httputil.ReverseProxy{
		Rewrite: x.rewrite, ModifyResponse: x.modify, ErrorHandler: x.fail,
		Transport: x.server.transport, BufferPool: &x.endpoint.buffers, ErrorLog: silent,
	}
	proxy.ServeHTTP(out, x.in.WithContext(ctx))
	out.done = true
}

// silent drops what ReverseProxy logs: faults are in the audit log, or the client's own
// doing.
var silent = log.New(io.Discard, "", 0)

// rewrite makes the request to the server.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL, p.Out.Host = x.target, x.target.Host
	h := p.Out.Header
	x.server.strip.request(h)
	withoutOwnCookies(h)
	if x.session != "" {
		h[sessionHeader] = []string{x.session}
	}
	if x.filters() {
		h["Accept-Encoding"] = []string{"identity"}
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
			delete(h, name)
		}
	}
	x.forwarded(h)
	x.decision.Headers.Set(h)
	p.Out.Trailer, p.Out.TransferEncoding = nil, nil
	setBody(p.Out, x.body)
}

// forwarded sets the headers that say where the request came from. The client's own are
// never passed on.
func (x *exchange) forwarded(h http.Header) {
	issuer := x.decision.Host.Issuer
	scheme, _, _ := strings.Cut(issuer, "://")
	h["X-Forwarded-Proto"], h["X-Forwarded-Host"] = []string{scheme}, []string{x.decision.Host.Name}
	if a := web.ClientAddress(x.in.RemoteAddr, x.in.Header["X-Forwarded-For"], x.endpoint.TrustedProxies); a.IsValid() {
		h["X-Forwarded-For"] = []string{a.String()}
	}
}

// setBody gives a request the body that was decided about. With GetBody, the transport
// can send it again if the connection turns out to be closed before anything was written.
func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	if len(body) == 0 {
		r.Body, r.GetBody = http.NoBody, nil
		return
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(body))), nil }
	r.Body, _ = r.GetBody()
}
