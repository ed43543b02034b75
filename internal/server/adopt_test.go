package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// questions counts what a service asks others, by where.
type questions struct {
	mu    sync.Mutex
	asked map[string]int
}

func (q *questions) RoundTrip(r *http.Request) (*http.Response, error) {
	q.count(r)
	return http.DefaultTransport.RoundTrip(r)
}

func (q *questions) count(r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked[r.URL.Host+r.URL.Path]++
}

// next returns what was asked since the last time.
func (q *questions) next() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	asked := q.asked
	q.asked = map[string]int{}
	return asked
}

const otherHost = "other.example.com"

// neighbours are everyone that a service asks: an identity provider, an issuer of JWTs, one
// that is asked about opaque tokens, a webhook for keys, an issuer of assertions.
type neighbours struct {
	idp             *oauthtest.OIDCProvider
	issuer, trusted *oauthtest.Issuer
	opaque, hook    *httptest.Server
	asked           *questions
}

func newNeighbours(t *testing.T) *neighbours {
	answers := func(said map[string]any) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(said) }))
		t.Cleanup(s.Close)
		return s
	}
	n := &neighbours{
		idp: oauthtest.NewOIDCProvider(t), issuer: oauthtest.NewIssuer(t), trusted: oauthtest.NewIssuer(t), asked: &questions{asked: map[string]int{}},
		opaque: answers(map[string]any{"active": true, "sub": "jane-1", "client_id": "editor", "scope": "notes:read", "aud": "https://" + otherHost + "/mcp", "exp": time.Now().Add(time.Hour).Unix()}),
		hook:   answers(map[string]any{"allowed": true, "sub": "7", "scopes": []string{"notes:read"}}),
	}
	n.idp.SignInAs(servertest.Person)
	return n
}

// options are those of a service that knows them all; the edits change it.
func (n *neighbours) options(endpoint string, edits ...func(*config.File)) servertest.Options {
	all := []func(*config.File){
		servertest.UseOIDC(n.idp), servertest.UseIssuer(n.issuer.URL, func(f *issuer.File) { f.Claims.Client = "client_id" }),
		func(f *config.File) {
			other := servertest.NewHost(otherHost, endpoint+"/mcp")
			var server config.AuthorizationServerFile
			conf.SetDefaults(&server)
			server.Issuer = n.opaque.URL
			server.Introspection.Endpoint, server.Introspection.ClientID, server.Introspection.ClientSecret = n.opaque.URL+"/introspect", "us", conf.NewSecret("a-secret-of-ours")
			other.AuthorizationServers = append(other.AuthorizationServers, server)
			f.Proxy.Hosts = append(f.Proxy.Hosts, other)
			f.Proxy.Hosts[0].APIKeys.Enabled = true
			f.APIKeys.Webhook.URL, f.APIKeys.Webhook.Prefixes = n.hook.URL+"/auth", []string{"ok1-"}
			var trusted assertion.File
			conf.SetDefaults(&trusted)
			trusted.Kind, trusted.Issuer = "workload", n.trusted.URL
			trusted.Rules = []assertion.Rule{{Anyone: true, Scopes: []string{"notes:read"}, Resources: []string{servertest.Resource}}}
			f.TrustedIssuers = []assertion.File{trusted}
		},
	}
	return servertest.Options{Edit: servertest.Edits(append(all, edits...)...), Files: servertest.ProviderFiles, HTTPClient: &http.Client{Transport: n.asked}}
}

// good has a good client of each kind call.
func (n *neighbours) good(t *testing.T, s *servertest.Service) {
	t.Helper()
	s.MustPass(t, servertest.Resource, s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser()))
	s.MustPass(t, servertest.Resource, n.issuer.Token(n.issuer.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"scope": "notes:read"}), nil))
	s.MustPass(t, "https://"+otherHost+"/mcp", "an-opaque-token")
	s.MustPass(t, servertest.Resource, "ok1-a-key")
	now, here := s.Clock.Now(), servertest.Issuer(servertest.Host)
	raw := n.trusted.Token(map[string]any{"iss": n.trusted.URL, "sub": "agent", "aud": here, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": fmt.Sprint(now.UnixNano())}, map[string]any{"typ": "JWT"})
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {raw}, "resource": {servertest.Resource}}
	if a := s.Send(t, servertest.Request(t, http.MethodPost, here+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")); a.Status != http.StatusOK {
		t.Errorf("an assertion: %d %s", a.Status, a.Body)
	}
}

// toolsKnown waits until the service knows the tools of a resource.
func toolsKnown(t *testing.T, s *servertest.Service, resource string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, all := s.Management(t, "/metrics")
		if metric(all, `mcp_forward_auth_catalogue_known{resource="`+resource+`"}`) == "1" {
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("the tools of %s are not known", resource)
		}
	}
}

// A reload costs the neighbours nothing: what they said before counts for as long as it
// would have. Where a key changes that it depends on, they are asked again.
func TestReloadAsksNoOneAgain(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t)
	handler := http.StripPrefix("/mcp", sample.Handler(sample.Options{}))
	var listed atomic.Int32
	tools := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), `"tools/list"`) {
			listed.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(tools.Close)
	s := servertest.Start(t, n.options(tools.URL))
	toolsKnown(t, s, "https://"+otherHost+"/mcp")
	n.good(t, s)
	first, lists := n.asked.next(), listed.Load()
	if lists == 0 {
		t.Fatal("the MCP server was never asked for its tools")
	}
	of := func(asked map[string]int, base, path string) int {
		return asked[strings.TrimPrefix(base, "http://")+path]
	}
	learnt := []struct{ what, base, path string }{
		{"the provider's discovery document", n.idp.Issuer, "/.well-known/openid-configuration"},
		{"the issuer's keys", n.issuer.URL, "/keys"},
		{"an opaque token", n.opaque.URL, "/introspect"},
		{"a key at the webhook", n.hook.URL, "/auth"},
		{"the trusted issuer's keys", n.trusted.URL, "/keys"},
	}
	for _, l := range learnt {
		if of(first, l.base, l.path) == 0 {
			t.Fatalf("%s was never asked for; all that was: %v", l.what, slices.Sorted(maps.Keys(first)))
		}
	}
	for range 3 {
		s.MustReload(n.options(tools.URL, func(f *config.File) { f.Proxy.Hosts[0].DisplayName = "Renamed" }))
		n.good(t, s)
	}
	again := n.asked.next()
	if more := listed.Load() - lists; more > 0 {
		t.Errorf("the MCP server's tools: asked again %d times by reloads", more)
	}
	for _, l := range learnt {
		if times := of(again, l.base, l.path); times > 0 {
			t.Errorf("%s: asked again %d times by reloads", l.what, times)
		}
	}
	signIns := of(again, n.idp.Issuer, "/token")
	if signIns != 3 {
		t.Errorf("3 sign-ins exchanged %d codes", signIns)
	}

	// What it was told under other settings says nothing under these.
	s.MustReload(n.options(tools.URL, func(f *config.File) {
		f.APIKeys.Webhook.Cache = time.Minute
		f.Proxy.Hosts[1].AuthorizationServers[0].ScopeMap = map[string]string{"read": "notes:read"}
		f.Limits.ProviderRequests++
	}))
	n.good(t, s)
	changed := n.asked.next()
	for _, i := range []int{0, 2, 3} {
		if l := learnt[i]; of(changed, l.base, l.path) != 1 {
			t.Errorf("%s: asked %d times under other settings, want 1", l.what, of(changed, l.base, l.path))
		}
	}
}
