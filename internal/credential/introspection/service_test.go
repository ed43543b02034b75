package introspection_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	. "github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// server is an authorization server whose tokens say nothing by themselves.
type server struct {
	*httptest.Server
	tokens map[string]map[string]any
	asked  atomic.Int32
	down   atomic.Bool
}

func newServer(t *testing.T) *server {
	s := &server{tokens: map[string]map[string]any{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/introspect" {
			http.NotFound(w, r) // it publishes nothing else
			return
		}
		s.asked.Add(1)
		if s.down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if _, _, ok := r.BasicAuth(); !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		said := s.tokens[r.PostFormValue("token")]
		if said == nil {
			said = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(said)
	}))
	t.Cleanup(s.Close)
	return s
}

// knows has the server know a token: that of jane for the default resource, but for
// what differs. nil takes a member away.
func (s *server) knows(token string, differs map[string]any) {
	said := map[string]any{
		"active": true, "sub": "jane-1", "client_id": "editor", "scope": "notes:read", "aud": Resource, "token_type": "Bearer",
		"email": "jane@corp.example", "email_verified": true, "groups": []string{"staff"}, "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range differs {
		if said[name] = value; value == nil {
			delete(said, name)
		}
	}
	s.tokens[token] = said
}

// introspected is a service that asks s, whose edit may be nil.
func introspected(t *testing.T, s *server, edit func(*config.AuthorizationServerFile), more ...func(*config.File)) *Service {
	t.Helper()
	service := Start(t, Options{Edit: Edits(append([]func(*config.File){UseIssuer(s.URL, nil), func(f *config.File) {
		entry := &f.Proxy.Hosts[0].AuthorizationServers[0]
		entry.Introspection.Endpoint, entry.Introspection.ClientID, entry.Introspection.ClientSecret = s.URL+"/introspect", "us", conf.NewSecret("a-secret-of-ours")
		if edit != nil {
			edit(entry)
		}
	}}, more...)...), Files: map[string]string{}})
	WaitForTools(t, service)
	return service
}

func (s *server) namespace() string { return strings.TrimPrefix(s.URL, "http://") }

func TestOpaqueTokens(t *testing.T) {
	as := newServer(t)
	as.knows("jane", nil)
	as.knows("list", map[string]any{"scope": []string{"notes:read", "notes:write"}, "aud": []string{"https://other.example", Resource}})
	as.knows("theirs", map[string]any{"scope": "api://notes/write"})
	as.knows("robot", map[string]any{"sub": nil, "email": nil, "groups": nil})
	as.knows("no-exp", map[string]any{"exp": nil})
	s := introspected(t, as, func(f *config.AuthorizationServerFile) {
		f.ScopeMap = map[string]string{"api://notes/write": "notes:write"}
	})
	a := s.MustPass(t, Resource, "jane")
	if a.Header.Get("X-Auth-Request-User") != as.namespace()+":jane-1" || a.Header.Get("X-Auth-Request-Email") != "jane@corp.example" || a.Header.Get("X-Auth-Request-Groups") != "staff" {
		t.Errorf("identity %v", a.Header)
	}
	for _, tt := range []struct {
		token, tool string
		passes      bool
	}{
		{"jane", "notes_list", true}, {"jane", "notes_create", false}, {"list", "notes_create", true}, {"theirs", "notes_create", true}, {"theirs", "notes_list", false},
	} {
		a := CallTool(t, s, tt.token, tt.tool)
		if passes := a.Status == http.StatusOK; passes != tt.passes {
			t.Errorf("%s, %s: %d %s", tt.token, tt.tool, a.Status, a.Body)
		}
	}
	if a := CallTool(t, s, "jane", "notes_create"); !strings.Contains(a.Header.Get("WWW-Authenticate"), `scope="notes:read api://notes/write"`) {
		t.Errorf("step-up in other words than the server's: %q", a.Header.Get("WWW-Authenticate"))
	}
	if user := s.MustPass(t, Resource, "robot").Header.Get("X-Auth-Request-User"); user != "client@"+as.namespace()+":editor" {
		t.Errorf("a client that acts for itself is %q", user)
	}
	if first := s.Log.Last(audit.FirstUse); first["client"] != as.namespace()+":editor" {
		t.Errorf("audit: %v", first)
	}
	s.MustPass(t, Resource, "no-exp")
	own := s.NewClient(t, Host, nil).AccessToken(t, s.NewBrowser())
	before := as.asked.Load()
	s.MustPass(t, Resource, own)
	key, _ := apikey.NewKey()
	s.MustNotPass(t, Resource, key, "invalid_token")
	s.MustNotPass(t, Resource, own[:len(own)-4]+"AAAA", "invalid_token")
	if as.asked.Load() != before {
		t.Error("the server was shown a credential of this service")
	}
	if strings.Contains(s.Log.String(), "a-secret-of-ours") {
		t.Error("the log holds the client secret")
	}
}

// Each wrong token is refused for its own reason.
func TestWrongOpaqueTokens(t *testing.T) {
	wrong := []struct {
		token, member string
		value         any
		reason        string
	}{
		{"no-audience", "aud", nil, "no_audience"},
		{"other-audience", "aud", "https://other.example/mcp", "wrong_audience"},
		{"client-audience", "aud", "editor", "wrong_audience"},
		{"other-issuer", "iss", "https://evil.example", "unknown_issuer"},
		{"other-client", "client_id", "stranger", "client_not_accepted"},
		{"no-client", "client_id", nil, "client_not_accepted"},
		{"other-tenant", "tid", "t2", "wrong_tenant"},
		{"no-tenant", "tid", nil, "wrong_tenant"},
		{"expired", "exp", time.Now().Add(-time.Minute).Unix(), "expired_token"},
		{"not-yet", "nbf", time.Now().Add(time.Hour).Unix(), "token_not_yet_valid"},
		{"dpop", "token_type", "DPoP", "bound_token"},
		{"cnf", "cnf", map[string]any{"jkt": "x"}, "bound_token"},
		{"delegated", "act", map[string]any{"sub": "x"}, "delegated_token"},
		{"id-token", "nonce", "x", "wrong_token_type"},
		{"refresh-token", "token_use", "refresh_token", "wrong_token_type"},
		{"no-subject", "sub", 7.5, "no_subject"},
		{"revoked", "active", false, "inactive_token"},
	}
	as := newServer(t)
	for _, tt := range wrong {
		differs := map[string]any{"tid": "t1"}
		differs[tt.member] = tt.value
		as.knows(tt.token, differs)
	}
	as.knows("right", map[string]any{"tid": "t1"})
	s := introspected(t, as, func(f *config.AuthorizationServerFile) {
		f.Clients, f.Tenants = []string{"editor"}, []string{"t1"}
	})
	s.MustPass(t, Resource, "right")
	for _, tt := range wrong {
		for range 2 {
			s.MustNotPass(t, Resource, tt.token, "invalid_token")
			if got := s.Log.Last(audit.AccessDenied)["reason"]; got != tt.reason {
				t.Errorf("%s: reason %q, want %q", tt.token, got, tt.reason)
			}
		}
	}
	s.MustNotPass(t, Resource, "made-up", "invalid_token")
}

// A revoked token ends within the cache's time, and a server that is down ends no
// sign-in.
func TestRevokedAndDown(t *testing.T) {
	as := newServer(t)
	as.knows("jane", nil)
	as.knows("kim", map[string]any{"sub": "kim-1"})
	s := introspected(t, as, nil)
	for range 5 {
		s.MustPass(t, Resource, "jane")
	}
	if n := as.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
	as.down.Store(true)
	s.MustPass(t, Resource, "jane")
	a := s.Ask(t, Resource, "kim")
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("while the server is down: %d %q", a.Status, a.Header.Get("WWW-Authenticate"))
	}
	if !strings.Contains(s.Log.String(), "answers with status 500") {
		t.Error("the log does not say what is wrong")
	}
	as.down.Store(false)
	s.MustPass(t, Resource, "kim")

	as.knows("jane", map[string]any{"active": false})
	s.Clock.Advance(29 * time.Second)
	s.MustPass(t, Resource, "jane")
	s.Clock.Advance(2 * time.Second)
	s.MustNotPass(t, Resource, "jane", "invalid_token")
}

// With "all" JWTs of the issuer are introspected too, and no keys are fetched.
func TestJWTsAreIntrospected(t *testing.T) {
	as := newServer(t)
	part := func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }
	token := part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"iss":%q}`, as.URL)) + "." + part("signature")
	as.knows(token, nil)
	all := introspected(t, as, func(f *config.AuthorizationServerFile) { f.Introspection.Tokens = "all" })
	all.MustPass(t, Resource, token)
	if _, ready := all.Management(t, "/readyz"); strings.Contains(ready, "degraded") {
		t.Errorf("keys are missed that nothing needs: %s", ready)
	}
	before := as.asked.Load()
	foreign := part(`{"alg":"RS256"}`) + "." + part(`{"iss":"https://evil.example"}`) + "." + part("x")
	all.MustNotPass(t, Resource, foreign, "invalid_token")
	if as.asked.Load() != before {
		t.Error("a token of another issuer was shown to this one")
	}
}

// The policy and the deny-list know people of such tokens as those of any other.
func TestPolicyOfOpaqueTokens(t *testing.T) {
	as := newServer(t)
	as.knows("jane", map[string]any{"scope": "notes:read notes:write"})
	as.knows("kim", map[string]any{"sub": "kim-1", "email": "kim@corp.example", "groups": nil, "scope": "notes:read notes:write"})
	s := introspected(t, as, nil, func(f *config.File) {
		f.Policy.Rules = []rule.Rule{
			{Effect: "allow", Groups: []string{"staff"}, Scopes: []string{"notes:read"}},
			{Effect: "allow", Users: []string{as.namespace() + ":kim-1"}, Tools: []string{"notes_create"}},
		}
	})
	for _, tt := range []struct {
		token, tool string
		passes      bool
	}{{"jane", "notes_list", true}, {"jane", "notes_create", false}, {"kim", "notes_create", true}, {"kim", "notes_list", false}, {"kim", "notes_delete", false}} {
		if passes := CallTool(t, s, tt.token, tt.tool).Status == http.StatusOK; passes != tt.passes {
			t.Errorf("%s, %s: %v", tt.token, tt.tool, passes)
		}
	}
}
