package conformance

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// T is what a check reports to. Errorf and Fatalf report a fault of the service;
// Setupf reports that the check could not be made at all.
type T struct {
	TB     testing.TB
	suite  *suite
	twin   Twin
	faults []string
	setup  string
}

type abort struct{}

// Errorf reports a fault and goes on.
func (t *T) Errorf(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// Fatalf reports a fault and ends the check.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(abort{})
}

// Setupf ends the check: it could not be made.
func (t *T) Setupf(format string, args ...any) {
	t.setup = fmt.Sprintf(format, args...)
	panic(abort{})
}

// Want reports a fault unless ok.
func (t *T) Want(ok bool, format string, args ...any) {
	if !ok {
		t.Errorf(format, args...)
	}
}

// Twin is a way to break the service. The zero Twin breaks nothing.
type Twin struct {
	// Front stands between clients and gateways and the service.
	Front func(http.Handler) http.Handler
	// Config edits the service's configuration.
	Config func(string) string
	// MCP stands between the service and the MCP server, IdP between the
	// service and the identity provider.
	MCP func(http.Handler) http.Handler
	IdP func(http.RoundTripper) http.RoundTripper
	// Web stands between the service and all sites of the internet; Network
	// changes how the service reaches them.
	Web     func(http.Handler) http.Handler
	Network func(egress.Network) egress.Network
	// Flaw is for checks of parts that no HTTP reaches: the check reads it
	// and makes its own subject faulty.
	Flaw bool
}

// suite holds the services that checks share.
type suite struct {
	tb    testing.TB
	mu    sync.Mutex
	cores map[string]*core
}

func newSuite(tb testing.TB) *suite { return &suite{tb: tb, cores: map[string]*core{}} }

// execute runs one check against the service that twin broke.
func (s *suite) execute(tb testing.TB, c Check, twin Twin) (faults []string, setup string) {
	t := &T{TB: tb, suite: s, twin: twin}
	func() {
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(abort); !ok {
					panic(p)
				}
			}
		}()
		c.Run(t)
	}()
	return t.faults, t.setup
}

// Hosts of the standard configuration, their issuers and resources.
const (
	hostMCP  = "mcp.example.com" // one resource, /mcp
	hostMany = "many.example.com"
	hostRoot = "root.example.com" // one resource, the whole host

	issuerMCP  = "https://" + hostMCP
	issuerMany = "https://" + hostMany
	issuerRoot = "https://" + hostRoot

	resourceMCP = issuerMCP + "/mcp"
	resourceA   = issuerMany + "/a" // with default scopes
	resourceB   = issuerMany + "/b"
	callback    = "https://client.example/callback"
)

// The checks together register more clients in a minute than a host should see,
// so registrations are limited only where AS-DCR-14 asks for it.
const standardConfig = `
limits: {registrations: 0}
provider:
  name: oidc
  issuerURL: $IDP
  clientID: upstream-client
  clientSecret: '$SECRET'
proxy:
  hosts:
  - {host: mcp.example.com, endpoint: $MCP/mcp, path: /mcp, displayName: Team notes}
  - {host: many.example.com, endpoint: $MCP/mcp, path: /a, displayName: First, defaultScopes: ["notes:read"]}
  - {host: many.example.com, endpoint: $MCP/mcp, path: /b, displayName: Second}
  - {host: root.example.com, endpoint: $MCP/mcp, path: /, displayName: Whole host}
keys:
  source: seed
  seedFiles: [seed]
  rotation: 24h
`

const testSeed = "a seed of these tests, long enough to be one"

// settings are what a check can ask of its world.
type settings struct {
	yaml string
	own  bool // not shared with other checks
	mcp  http.Handler
}

type option func(*settings)

// configured replaces and appends parts of the standard configuration.
func configured(edits ...string) option {
	return func(s *settings) {
		for i := 0; i+1 < len(edits); i += 2 {
			if edits[i] == "" {
				s.yaml += edits[i+1] + "\n"
			} else {
				s.yaml = strings.ReplaceAll(s.yaml, edits[i], edits[i+1])
			}
		}
	}
}

// own is for checks that change the clock, the provider or the MCP server.
func own(s *settings) { s.own = true }

// withMCP puts another MCP server behind the service.
func withMCP(h http.Handler) option {
	return func(s *settings) { s.mcp, s.own = h, true }
}

// core is one service with its fakes.
type core struct {
	service, management http.Handler
	run                 *server.Server
	idp                 *oauthtest.OIDCProvider
	mcp                 *mcpServer
	clock               *clock
	log                 *logBuffer
	web                 *web
}

// world is a service as one check sees it, with that check's twin in place.
type world struct {
	*core
	t      *T
	front  *httptest.Server
	client *http.Client
}

// World builds, or borrows, a service.
func (t *T) World(opts ...option) *world {
	set := settings{yaml: standardConfig}
	for _, o := range opts {
		o(&set)
	}
	if t.twin.Config != nil {
		before := set.yaml
		if set.yaml = t.twin.Config(set.yaml); set.yaml == before {
			t.Setupf("the twin's configuration is no other")
		}
	}
	c := t.suite.core(t, set)
	handler := c.service
	if t.twin.Front != nil {
		handler = t.twin.Front(handler)
	}
	front := httptest.NewServer(&gateway{service: handler, mcp: c.mcp})
	t.TB.Cleanup(front.Close)
	w := &world{core: c, t: t, front: front}
	w.client = &http.Client{
		Transport:     toFront{address: front.Listener.Addr().String()},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	return w
}

func (s *suite) core(t *T, set settings) *core {
	shared := !set.own && t.twin.MCP == nil && t.twin.IdP == nil && t.twin.Web == nil && t.twin.Network == nil
	if shared {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c := s.cores[set.yaml]; c != nil {
			return c
		}
	}
	tb := t.TB
	if shared {
		tb = s.tb
	}
	c, err := newCore(tb, set, t.twin)
	if err != nil {
		t.Setupf("the service does not start: %v", err)
	}
	if shared {
		s.cores[set.yaml] = c
	}
	return c
}

func newCore(tb testing.TB, set settings, twin Twin) (*core, error) {
	c := &core{idp: oauthtest.NewOIDCProvider(tb), clock: &clock{}, log: &logBuffer{}}
	c.idp.SignInAs(alice)
	c.idp.GiveRefreshTokens(true)
	c.mcp = newMCPServer(tb, set.mcp, twin.MCP)
	c.web = &web{internet: egresstest.New(tb), front: twin.Web, sites: map[string]http.HandlerFunc{}}
	cfg, err := parseConfig(set.yaml, c)
	if err != nil {
		return nil, err
	}
	opt := server.Options{
		Logger: slog.New(slog.NewJSONHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "conformance", Now: c.clock.Now,
		Network: c.web.internet.Network(), KeySource: remembered,
	}
	if twin.Network != nil {
		opt.Network = twin.Network(opt.Network)
	}
	if twin.IdP != nil {
		opt.HTTPClient = &http.Client{Transport: twin.IdP(http.DefaultTransport)}
	}
	if c.run, err = server.New(cfg, opt); err != nil {
		return nil, err
	}
	c.service, c.management = c.run.Protocol, c.run.Management
	return c, nil
}

func parseConfig(text string, c *core) (*config.Config, error) {
	idp, mcp := "http://127.0.0.1:1", "http://127.0.0.1:1"
	if c != nil {
		idp, mcp = c.idp.URL, c.mcp.URL
	}
	text = strings.NewReplacer("$SECRET", oauthtest.ClientSecret, "$IDP", idp, "$MCP", mcp).Replace(text)
	return config.Parse([]byte(text), func(name string) ([]byte, error) {
		switch name {
		case "keys.json":
			return []byte(publicKeys()), nil
		case "secret-old", "secret-new":
			return []byte("a-secret-of-the-conformance-suite-" + name), nil
		}
		return []byte(testSeed + " " + name), nil
	})
}

// remembered derives each key once, however many services have its seed.
func remembered(s keyset.Source) keyset.Source {
	if seed, ok := s.(keyset.Seed); ok {
		return rememberedSeed{seed}
	}
	return s
}

type rememberedSeed struct{ keyset.Seed }

var derived sync.Map // string → *rsa.PrivateKey

// Key implements keyset.Source.
func (s rememberedSeed) Key(period int64) (*rsa.PrivateKey, error) {
	name := fmt.Sprintf("%s %v %d", s.Secret, s.Period, period)
	if key, ok := derived.Load(name); ok {
		return key.(*rsa.PrivateKey), nil
	}
	key, err := s.Seed.Key(period)
	if err == nil {
		derived.Store(name, key)
	}
	return key, err
}

var alice = oauthtest.User{
	Subject: "alice-1", Email: "alice@example.com", EmailVerified: true, Name: "Alice Adams", Groups: []string{"engineering", "on-call"},
}

// clock is real time, moved by what a check added.
type clock struct {
	mu    sync.Mutex
	moved time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.moved)
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// mcpServer is the protected server; it remembers what reached it.
type mcpServer struct {
	URL string

	handler http.Handler
	mu      sync.Mutex
	seen    []*http.Request
	bodies  []string
}

func newMCPServer(tb testing.TB, h http.Handler, front func(http.Handler) http.Handler) *mcpServer {
	if h == nil {
		h = http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true, JSON: true}))
	}
	m := &mcpServer{handler: h}
	record := http.Handler(http.HandlerFunc(m.record))
	if front != nil {
		record = front(record)
	}
	srv := httptest.NewServer(record)
	tb.Cleanup(srv.Close)
	m.URL = srv.URL
	return m
}

func (m *mcpServer) record(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	m.mu.Lock()
	m.seen, m.bodies = append(m.seen, r.Clone(context.Background())), append(m.bodies, string(body))
	m.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.handler.ServeHTTP(w, r)
}

// since returns the requests after the first n, with their bodies.
func (m *mcpServer) since(n int) ([]*http.Request, []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[n:], m.bodies[n:]
}

func (m *mcpServer) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

// toFront sends every request to the front, whatever its host: TLS ends before it.
type toFront struct{ address string }

func (f toFront) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	out.URL.Scheme, out.URL.Host = "http", f.address
	resp, err := http.DefaultTransport.RoundTrip(out)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// gateway is nginx in a few lines: the service's own paths go to the service,
// every other request is asked about first.
type gateway struct {
	service http.Handler
	mcp     *mcpServer
}

var identityHeaders = []string{"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups"}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if server.Owns(r.URL.Path) || forwardauth.Owns(r.URL.Path) {
		g.service.ServeHTTP(w, r)
		return
	}
	ask := httptest.NewRequest(http.MethodGet, "/authenticate", nil)
	ask.Header = r.Header.Clone()
	ask.Host = r.Host
	ask.Header.Set("X-Original-URL", "https://"+r.Host+r.RequestURI)
	ask.Header.Set("X-Original-Method", r.Method)
	answer := httptest.NewRecorder()
	g.service.ServeHTTP(answer, ask)
	switch answer.Code {
	case http.StatusOK:
	case http.StatusUnauthorized:
		w.Header()["Www-Authenticate"] = answer.Header()["Www-Authenticate"]
		w.WriteHeader(http.StatusUnauthorized)
		return
	case http.StatusForbidden:
		w.WriteHeader(http.StatusForbidden)
		return
	default:
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	for name := range r.Header {
		for _, identity := range identityHeaders {
			if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), identity) {
				delete(r.Header, name)
			}
		}
	}
	for _, identity := range identityHeaders {
		r.Header[identity] = answer.Header()[identity]
	}
	r.URL.Path, r.RequestURI = "/mcp", ""
	g.mcp.record(w, r)
}

// answer is a response, read whole.
type answer struct {
	t      *T
	Status int
	Header http.Header
	Body   string
	what   string
}

// do sends a request; header is pairs of names and values.
func (w *world) do(method, address, body string, header ...string) *answer {
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.t.Setupf("%s %s: %v", method, address, err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	return w.send(req)
}

func (w *world) send(req *http.Request) *answer {
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Setupf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		w.t.Setupf("%s %s: %v", req.Method, req.URL, err)
	}
	return &answer{t: w.t, Status: resp.StatusCode, Header: resp.Header, Body: string(body), what: req.Method + " " + req.URL.Host + req.URL.Path}
}

func (w *world) get(address string, header ...string) *answer {
	return w.do(http.MethodGet, address, "", header...)
}

func (w *world) form(address string, values url.Values, header ...string) *answer {
	return w.do(http.MethodPost, address, values.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (w *world) postJSON(address string, v any, header ...string) *answer {
	body, ok := v.(string)
	if !ok {
		raw, err := json.Marshal(v)
		if err != nil {
			w.t.Setupf("%v", err)
		}
		body = string(raw)
	}
	return w.do(http.MethodPost, address, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// raw sends bytes as they are and returns the first bytes of the answer.
func (w *world) raw(request string) string {
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Setupf("%v", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	var b bytes.Buffer
	_, _ = io.Copy(&b, io.LimitReader(conn, 64<<10))
	return b.String()
}

// JSON returns the body as an object; anything else is a fault.
func (a *answer) JSON() map[string]any {
	var m map[string]any
	if err := json.Unmarshal([]byte(a.Body), &m); err != nil {
		a.t.Fatalf("%s: %d with a body that is no JSON object: %.200q", a.what, a.Status, a.Body)
	}
	return m
}

// Text returns a string member of a JSON body.
func (a *answer) Text(name string) string {
	s, _ := a.JSON()[name].(string)
	return s
}

// Refused wants an OAuth error as JSON.
func (a *answer) Refused(status int, code string) {
	if a.Status != status {
		a.t.Errorf("%s: %d %.200q, want %d %s", a.what, a.Status, a.Body, status, code)
		return
	}
	if got := a.Text("error"); got != code {
		a.t.Errorf("%s: error %q, want %s", a.what, got, code)
	}
}

// LocalError wants a page that leads nowhere.
func (a *answer) LocalError(what string) {
	a.t.Want(a.Status >= 400 && a.Status < 500 && a.Header.Get("Location") == "",
		"%s: %d, Location %q; want a local error page", what, a.Status, a.Header.Get("Location"))
}

// Location returns where the answer redirects to.
func (a *answer) Location() *url.URL {
	to := a.Header.Get("Location")
	if back := links(a); to == "" && a.Status >= 400 && len(back) == 1 {
		to = back[0] // a page says why, and leads back with the same answer
	}
	u, err := url.Parse(to)
	if err != nil || to == "" {
		a.t.Fatalf("%s: %d without a redirect: %.300q", a.what, a.Status, visible(a.Body))
	}
	return u
}

// visible is the text of a page without its markup.
func visible(page string) string {
	var b strings.Builder
	in := false
	if _, rest, ok := strings.Cut(page, "<body>"); ok {
		page = rest
	}
	for _, r := range page {
		switch {
		case r == '<':
			in = true
		case r == '>':
			in = false
			b.WriteByte(' ')
		case !in:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// web is the internet that the service can reach, and what it asked of it.
type web struct {
	internet *egresstest.Internet
	front    func(http.Handler) http.Handler

	mu    sync.Mutex
	sites map[string]http.HandlerFunc
	seen  []*http.Request
}

// site puts h at https://host.
func (n *web) site(host string, h http.HandlerFunc) {
	n.mu.Lock()
	n.sites[host] = h
	n.mu.Unlock()
	var all http.Handler = http.HandlerFunc(n.serve)
	if n.front != nil {
		all = n.front(all)
	}
	n.internet.Site(host, all)
}

func (n *web) serve(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	n.mu.Lock()
	n.seen = append(n.seen, r.Clone(context.Background()))
	h := n.sites[host]
	n.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// requests are all that reached any site.
func (n *web) requests() []*http.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*http.Request(nil), n.seen...)
}

// dials is how many connections were begun.
func (n *web) dials() int { return len(n.internet.Dialed()) }
