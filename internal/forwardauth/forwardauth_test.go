package forwardauth

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/own"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// start is when every test begins.
var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// newKeys makes signing keys; all tests but those about keys share one set.
func newKeys(tb testing.TB, secret string) *keyset.Set {
	tb.Helper()
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: []byte(secret), Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour,
		Now: func() time.Time { return start },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

var shared struct {
	sync.Once
	keys *keyset.Set
}

// fixed is a catalogue that says what a test wants.
type fixed struct {
	names []string
	tools map[string][]string
	known bool
}

func (f fixed) ScopeNames() []string               { return f.names }
func (f fixed) Advertised() []string               { return f.names }
func (f fixed) ScopesForTool(name string) []string { return f.tools[name] }
func (f fixed) Knows(string) bool                  { return f.known }
func (f fixed) ToolNames() []string                { return slices.Sorted(maps.Keys(f.tools)) }
func (f fixed) Lists(name string) bool             { return f.tools[name] != nil }

// Agrees takes the names of the tools for what was agreed to, with spaces.
func (f fixed) Agrees(agreed, name string) bool {
	return f.Lists(name) && slices.Contains(strings.Fields(agreed), name)
}

// fixture is an endpoint in front of a few MCP servers.
type fixture struct {
	*Endpoint
	issuer  *token.Issuer
	now     time.Time
	audit   bytes.Buffer
	scopes  fixed
	mu      sync.Mutex
	reasons map[Reason]int
}

const defaultHosts = `a.example/mcp a.example/mcp/admin a.example/two b.example c.example:8443/mcp`

// newFixture protects the hosts; rules may change what is asked at each.
func newFixture(tb testing.TB, hosts string, rules func(uri string, r *rule.Rules)) *fixture {
	tb.Helper()
	f := &fixture{
		now: start, reasons: map[Reason]int{},
		scopes: fixed{
			names: []string{"read", "write"}, known: true,
			tools: map[string][]string{"list": {"read"}, "get": {"read", "write"}, "put": {"write"}, "naïve": {"write"}, "=?base64?bGlzdA==?=": {"write"}},
		},
	}
	var list []resource.Entry
	for h := range strings.FieldsSeq(hosts) {
		name, path, found := strings.Cut(h, "/")
		if found {
			path = "/" + path
		}
		c := resource.Entry{Host: name, Scheme: "https", Path: path, Endpoint: &url.URL{Scheme: "http", Host: "mcp"}, Rules: rule.Rules{ToolPolicy: rule.Enforce}}
		if rules != nil {
			rules("https://"+h, &c.Rules)
		}
		list = append(list, c)
	}
	table, err := resource.NewTable(list)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := seal.NewKeyring(func() time.Time { return f.now }, []byte(strings.Repeat("s", 32)))
	if err != nil {
		tb.Fatal(err)
	}
	shared.Do(func() { shared.keys = newKeys(tb, strings.Repeat("k", 32)) })
	persons, now := token.NewPersons(ring), func() time.Time { return f.now }
	f.issuer = &token.Issuer{Keys: shared.keys, Persons: persons, Lifetime: time.Hour, Now: now}
	f.Endpoint = New(Endpoint{
		Resources: table, Policy: policy.New(table.All(), nil, nil), Credentials: credential.Kinds{own.Kind{Verifier: &token.Verifier{Keys: shared.keys, Persons: persons, Now: now}}},
		Scopes:  func(*resource.Resource) Scopes { return f.scopes },
		Headers: outbound.Headers{User: "x-auth-request-user", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
		Audit:   &audit.Log{Logger: slog.New(slog.NewJSONHandler(&f.audit, &slog.HandlerOptions{Level: slog.LevelDebug}))},
		Count: func(o Outcome) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reasons[o.Reason]++
		},
		Now: now, MostTokens: 1 << 16,
	})
	return f
}

// token mints one for the resource.
func (f *fixture) token(tb testing.TB, uri, scope string) string {
	tb.Helper()
	return f.mint(tb, f.issuer, uri, scope, token.Person{Email: "jane@example.com", Groups: []string{"staff", "a,b"}})
}

func (f *fixture) mint(tb testing.TB, issuer *token.Issuer, uri, scope string, p token.Person) string {
	tb.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		tb.Fatal(err)
	}
	raw, _, err := issuer.Mint(token.Claims{Issuer: "https://" + u.Host, Subject: "jane", Audience: uri, ClientID: "client", Scope: scope}, p)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// nginxRequest is what nginx sends about a request for target.
func nginxRequest(method, target string, headers ...string) *http.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, Path, nil)
	r.Host = u.Host
	r.Header.Set("X-Original-Url", target)
	r.Header.Set("X-Original-Method", method)
	return with(r, headers...)
}

// with adds header lines: name, value, name, value …
func with(r *http.Request, headers ...string) *http.Request {
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// forwardedRequest is what Traefik sends, with a body if it is not empty.
func forwardedRequest(method, target, body string, headers ...string) *http.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, Path+"/forwarded", nil)
	if body != "" {
		r = httptest.NewRequest(http.MethodPost, Path+"/forwarded", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Host = "auth.internal"
	r.Header.Set("X-Forwarded-Method", method)
	r.Header.Set("X-Forwarded-Host", u.Host)
	r.Header.Set("X-Forwarded-Uri", u.RequestURI())
	return with(r, headers...)
}

// ask serves one request and checks what is true of every answer.
func (f *fixture) ask(tb testing.TB, r *http.Request) *http.Response {
	tb.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	resp := w.Result()
	switch resp.StatusCode {
	case http.StatusOK:
		if w.Body.Len() != 0 {
			tb.Errorf("an allowed request is answered with a body: %q", w.Body)
		}
		for _, name := range f.Headers.Names() {
			name = http.CanonicalHeaderKey(name)
			if v := resp.Header[name]; len(v) != 1 || v[0] == "" {
				tb.Errorf("%s is %q", name, v)
			}
		}
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnsupportedMediaType, http.StatusServiceUnavailable:
	default:
		tb.Errorf("status %d", resp.StatusCode)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		tb.Error("the answer may be cached")
	}
	size := 0
	for name, lines := range resp.Header {
		for _, v := range lines {
			size += len(name) + len(v) + 4
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }) {
				tb.Errorf("%s: %q", name, v)
			}
		}
	}
	if size > 4<<10 {
		tb.Errorf("the headers have %d bytes", size)
	}
	if n := len(resp.Header["Www-Authenticate"]); n > 1 || n == 0 && resp.StatusCode == http.StatusUnauthorized {
		tb.Errorf("%d challenges", n)
	}
	return resp
}

// challenge parses the parameters of a Bearer challenge strictly (RFC 9110,
// section 11.6.1; RFC 6750, section 3).
func challenge(tb testing.TB, resp *http.Response) map[string]string {
	tb.Helper()
	lines := resp.Header["Www-Authenticate"]
	if len(lines) == 0 {
		return nil
	}
	rest, ok := strings.CutPrefix(lines[0], "Bearer ")
	if !ok {
		tb.Fatalf("challenge %q", lines[0])
	}
	out := map[string]string{}
	for rest != "" {
		name, after, ok := strings.Cut(rest, `="`)
		value, after, ok2 := strings.Cut(after, `"`)
		if _, twice := out[name]; !ok || !ok2 || twice {
			tb.Fatalf("challenge %q", lines[0])
		}
		out[name] = value
		rest = strings.TrimPrefix(after, ", ")
	}
	return out
}

func scopesOf(s string) oauth.Scopes { return strings.Fields(s) }

// The challenge of a very long path used to be longer than what gateways keep.
func TestChallengeOfALongPath(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	for path, want := range map[string]string{
		"/mcp/" + strings.Repeat("a", 1000): "/mcp/" + strings.Repeat("a", 1000),
		"/mcp/" + strings.Repeat("a", 7000): "/mcp", // its resource's own
	} {
		c := challenge(t, f.ask(t, nginxRequest("POST", "https://a.example"+path)))
		if c["resource_metadata"] != "https://a.example"+resource.WellKnown+want {
			t.Errorf("a path of %d bytes: %.80s", len(path), c["resource_metadata"])
		}
	}
}

// On the wire an allowed request has a body of no bytes and says so, also to
// nginx, which asks in HTTP/1.0 unless told otherwise: the connection stays open.
func TestNoBodyOnTheWire(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	srv := httptest.NewServer(f)
	defer srv.Close()
	ask := nginxRequest("POST", aMCP, "Authorization", "Bearer "+f.token(t, aMCP, "read"))
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for range 2 {
			fmt.Fprintf(conn, "GET %s %s\r\nHost: %s\r\nConnection: keep-alive\r\n", Path, proto, ask.Host)
			ask.Header.Write(conn)
			io.WriteString(conn, "\r\n")
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(proto, err)
			}
			if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || resp.Header.Get("Content-Length") != "0" || len(body) != 0 || err != nil {
				t.Errorf("%s: status %d, headers %v, body %q, %v", proto, resp.StatusCode, resp.Header, body, err)
			}
		}
	}
}
