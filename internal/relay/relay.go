// Package relay stands in front of MCP servers instead of a gateway: it has each
// request decided as a gateway would (forwardauth), with the body as evidence, and
// passes it on to the server.
//
// Its invariant: what reaches the server of a client's request is what was
// decided about. Credentials, cookies and everything by which a server could
// learn of a person stay here, and the identity headers of the decision are set
// in their place. What the server answers is passed on where it is an answer to
// the client; what would speak for this service (a challenge, a redirect
// elsewhere, a cookie) is not.
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

// Decider makes the decisions; *forwardauth.Endpoint is the one there is.
type Decider interface {
	Decide(ctx context.Context, q *forwardauth.Request) forwardauth.Decision
	Traced() bool
	View(d *forwardauth.Decision) forwardauth.View
	ClientID(q *forwardauth.Request, d *forwardauth.Decision) string
}

// Options are what an Endpoint is made of.
type Options struct {
	Decisions Decider
	Resources *resource.Table
	// Identity are the names of the identity headers.
	Identity []string
	// Credentials of this service at MCP servers, by the URI of the resource.
	// Decisions sets them.
	Credentials map[string]*outbound.Credential
	// Keys bind sessions to their owners. The first binds, all are honoured.
	Keys [][]byte
	// App returns what the ids of a client have in common that registered more than
	// once, see registration.App. nil: a client that registers again is another one.
	App func(client string) string
	// Owned reports whether a path is the service's own on every host.
	Owned func(path string) bool
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Proxy is what requests go through; nil for none.
	Proxy *url.URL
	// Dial, if set, reaches MCP servers in place of the network.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Audit *audit.Log
	// TokenRefused, if set, is told of a decision whose request a server answered with
	// 401, where the server gets a token of the person's identity provider. It must not wait.
	TokenRefused func(*forwardauth.Decision)
	// Ended, if set, is called with how each request that was let through ended.
	Ended func(*resource.Resource, Outcome)
}

// Endpoint relays requests to the MCP servers that are served here.
type Endpoint struct {
	Options
	servers map[*resource.Resource]*server
	buffers buffers
	lists   filter.Cache
	large   chan struct{} // places of long lists
	open    atomic.Int64
	// draining is closed when streams must no longer be held open.
	draining context.Context
	drain    context.CancelFunc
}

// server is one MCP server.
type server struct {
	resource  *resource.Resource
	transport http.RoundTripper
	paths     paths
	strip     stripped
	// credential of this service at the server; nil for none.
	credential *outbound.Credential
}

// New returns an Endpoint for those servers of the table that are served here.
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
				e.servers[p] = e.newServer(p, r, transports.to(p.Authorities), pageAt(p))
			}
		}
	}
	return e
}

// newServer makes what relays for r, which is the MCP server beside or a page of it.
func (e *Endpoint) newServer(r, beside *resource.Resource, transport http.RoundTripper, at paths) *server {
	s := &server{resource: r, transport: transport, paths: at, credential: e.Credentials[beside.URI]}
	ours := append(slices.Clone(e.Identity), beside.ProviderToken.Names()...)
	if s.credential != nil { // Decisions sets it
		ours = append(ours, s.credential.Header)
	}
	s.strip = stripping(r.Serving, ours, beside.KeyHeader)
	return s
}

// Serves reports whether any server is served here.
func (e *Endpoint) Serves() bool { return len(e.servers) > 0 }

// Open returns how many requests are under way, open streams among them.
func (e *Endpoint) Open() int { return int(e.open.Load()) }

// Drain ends streams that wait for what the server may have to say. Answers to
// what a client asked go on.
func (e *Endpoint) Drain() { e.drain() }

// Close closes connections to the servers that nothing uses. Requests that are
// under way go on, but Close is for when there are none.
func (e *Endpoint) Close() {
	e.drain()
	for _, s := range e.servers {
		if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// bodyPatience is how long the body of a request may take.
const bodyPatience = 30 * time.Second

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	body := &kept{from: r.Body}
	q := forwardauth.Direct(r)
	if r.ContentLength != 0 {
		_ = conn.SetReadDeadline(time.Now().Add(bodyPatience)) // recorders have none
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
	if s == nil { // no decision lets such a request through
		writeError(w, r, http.StatusNotFound, "there is nothing at this path", d.MessageID())
		return
	}
	if d.Resource.Page != nil { // no decision has looked at it
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
	// From here on nothing bounds the whole: streams live as long as the server lets them.
	_ = conn.SetReadDeadline(time.Time{})
	e.open.Add(1)
	defer e.open.Add(-1)
	x.relay(w, conn)
}

// answer writes the decision for the client.
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

// maxPageBody bounds what a page's form or script sends.
const maxPageBody = 1 << 20

// readPage reads the body of a request to a page, which stays in memory.
func readPage(w http.ResponseWriter, body *kept) error {
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, io.NopCloser(body), maxPageBody))
	return err
}

// kept is a body that stays in memory once it was read. The decision bounds it.
type kept struct {
	from  io.Reader
	bytes []byte
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	k.bytes = append(k.bytes, p[:n]...)
	return n, err
}

// audit writes down what was refused, or how the server failed.
func (e *Endpoint) audit(x *exchange, event audit.Event, f *fault) {
	t := x.decision.Token
	e.Audit.Write(x.in.Context(), audit.Entry{
		Event: event, Reason: f.reason, Cause: f.cause, Subject: t.Subject(), Client: t.Client(), TokenID: t.ID(),
		Host: x.decision.Host.Name, Resource: x.decision.Resource.URI,
	})
}

// exchange is one request that was let through, and its answer.
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

// check says why a request that was let through cannot be passed on, nil if it can.
func (x *exchange) check() *fault {
	switch x.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		return &errMethod
	}
	for _, name := range x.server.strip.connection(x.in.Header["Connection"]) {
		if x.server.strip.relied(name) {
			return &errConnection
		}
	}
	if f := x.openSession(); f != nil {
		return f
	}
	return x.findTarget()
}

// relay passes the request on, and the answer back.
func (x *exchange) relay(w http.ResponseWriter, conn *http.ResponseController) {
	ctx, cancel := context.WithCancelCause(x.in.Context())
	defer cancel(nil)
	x.idle = newIdle(x.server.resource.Serving.IdleTimeout, func() { cancel(errIdle) })
	defer x.idle.stop()
	if x.in.Method == http.MethodGet {
		defer context.AfterFunc(x.endpoint.draining, func() { cancel(errDraining) })()
	}
	out := &answerWriter{ResponseWriter: w, conn: conn, strip: &x.server.strip}
	// The panic by which ReverseProxy ends an answer that was cut off goes on to net/http.
	defer func() { x.endpoint.Ended(x.server.resource, x.outcome(out)) }()
	proxy := httputil.ReverseProxy{
		Rewrite: x.rewrite, ModifyResponse: x.modify, ErrorHandler: x.fail,
		Transport: x.server.transport, BufferPool: &x.endpoint.buffers, ErrorLog: silent,
	}
	proxy.ServeHTTP(out, x.in.WithContext(ctx))
	out.done = true
}

// silent: what goes wrong is in the audit log, or the client's own doing.
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

// forwarded says where the request came from, in our own words.
func (x *exchange) forwarded(h http.Header) {
	issuer := x.decision.Host.Issuer
	scheme, _, _ := strings.Cut(issuer, "://")
	h["X-Forwarded-Proto"], h["X-Forwarded-Host"] = []string{scheme}, []string{x.decision.Host.Name}
	if a := web.ClientAddress(x.in.RemoteAddr, x.in.Header["X-Forwarded-For"], x.endpoint.TrustedProxies); a.IsValid() {
		h["X-Forwarded-For"] = []string{a.String()}
	}
}

// setBody gives a request the body that was decided about. It can be sent again
// where a connection turns out to be closed before anything was written.
func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	if len(body) == 0 {
		r.Body, r.GetBody = http.NoBody, nil
		return
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(body))), nil }
	r.Body, _ = r.GetBody()
}
