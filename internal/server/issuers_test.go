package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A host that takes only tokens of others is no authorization server, and names
// those that are.
func TestHostWithoutOwnTokens(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.WithoutOwnTokens, servertest.UseIssuer(as.URL, nil))})
	const origin = "https://" + servertest.Host
	for _, path := range []string{
		"/authorize", "/consent", "/login", "/callback", "/token", "/register", "/revoke",
		"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/mcp", "/.well-known/openid-configuration",
		"/.well-known/openid-configuration/mcp", "/mcp/.well-known/openid-configuration", "/mcp/.well-known/oauth-authorization-server",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if a := s.Send(t, servertest.Request(t, method, origin+path, "")); a.Status != http.StatusNotFound && a.Status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d %s", method, path, a.Status, a.Body)
			}
		}
	}
	if got := authorizationServers(t, s); !slices.Equal(got, []string{as.URL}) {
		t.Errorf("metadata names %q", got)
	}
	if a := s.Get(t, origin+"/openid/v1/jwks"); a.Status != http.StatusOK {
		t.Errorf("the keys of the signed identity header: %d", a.Status)
	}
	a := s.Ask(t, servertest.Resource, "")
	if a.Status != http.StatusUnauthorized || !strings.Contains(a.Header.Get("WWW-Authenticate"), origin+"/.well-known/oauth-protected-resource/mcp") {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

func authorizationServers(t *testing.T, s *servertest.Service) []string {
	t.Helper()
	var document struct {
		Servers []string `json:"authorization_servers"`
	}
	a := s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource/mcp")
	if err := json.Unmarshal([]byte(a.Body), &document); err != nil {
		t.Fatal(err)
	}
	return document.Servers
}

// Where both are taken, this service stands first, and each token is verified by
// its own kind, also where another issuer's token begins as one of this service.
func TestOwnTokensAndOthers(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseIssuer(as.URL, nil)})
	if got := authorizationServers(t, s); !slices.Equal(got, []string{"https://" + servertest.Host, as.URL}) {
		t.Errorf("metadata names %q", got)
	}
	own := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	s.MustPass(t, servertest.Resource, own)
	s.MustPass(t, servertest.Resource, as.Token(as.Claims(servertest.Resource, s.Clock.Now(), nil), nil))
	for name, raw := range map[string]string{
		"own_issuer_foreign_key": as.Token(as.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"iss": "https://" + servertest.Host}), nil),
		"unknown_issuer":         as.Token(as.Claims(servertest.Resource, s.Clock.Now(), map[string]any{"iss": "https://evil.example"}), nil),
	} {
		s.MustNotPass(t, servertest.Resource, raw, "invalid_token")
		if e := s.Log.Last(audit.AccessDenied); e["reason"] != "unknown_issuer" {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// A server of a host takes its own kind of tokens, whatever its neighbour takes,
// and a sign-in for it is refused where it takes none of this service.
func TestNeighboursTakeOtherTokens(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	const wiki = "https://" + servertest.Host + "/wiki"
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseIssuer(as.URL, nil), servertest.SecondHost, func(f *config.File) {
		f.Proxy.Hosts[1].AuthorizationServers, f.Proxy.Hosts[0].AuthorizationServers = nil, nil // the first and other.example.com
		f.Proxy.Hosts[2].OwnTokens = false
	})})
	c := s.NewClient(t, servertest.Host, nil)
	own := c.AccessToken(t, s.NewBrowser())
	s.MustPass(t, servertest.Resource, own)
	s.MustNotPass(t, wiki, own, "invalid_token")
	if e := s.Log.Last(audit.AccessDenied); e["reason"] != "own_token_not_accepted" {
		t.Errorf("audit: %v", e)
	}
	s.MustPass(t, wiki, as.Token(as.Claims(wiki, s.Clock.Now(), nil), nil))
	s.MustNotPass(t, servertest.Resource, as.Token(as.Claims(servertest.Resource, s.Clock.Now(), nil), nil), "invalid_token")
	c.Resource = wiki
	if page := s.NewBrowser().Open(t, c.Begin().URL()); page.Status == http.StatusOK {
		t.Errorf("a sign-in for a server that takes no tokens of it: %d %s", page.Status, page.Location())
	} else if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] != "invalid_target" {
		t.Errorf("audit: %v", e)
	}
}

// A token of another issuer that is good at two servers is decided at each.
func TestTokenForTwoServers(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	accept := servertest.UseIssuer(as.URL, func(f *issuer.File) { f.Audiences = []string{"api://both"} })
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(accept, servertest.SecondHost)})
	raw := as.Token(as.Claims("api://both", s.Clock.Now(), nil), nil)
	for range 2 {
		for _, at := range []string{servertest.Resource, "https://" + servertest.Host + "/wiki", "https://other.example.com/mcp"} {
			s.MustPass(t, at, raw)
		}
	}
}

// While an issuer's keys cannot be had, its tokens get an answer that makes no
// client sign in again; the service stays ready and says what does not work.
func TestIssuerIsDown(t *testing.T) {
	t.Parallel()
	as := oauthtest.NewIssuer(t)
	as.Behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseIssuer(as.URL, nil)})
	raw := as.Token(as.Claims(servertest.Resource, s.Clock.Now(), nil), nil)
	a := s.Ask(t, servertest.Resource, raw)
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	s.MustPass(t, servertest.Resource, s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser()))
	if status, body := s.Management(t, "/readyz"); status != http.StatusOK || !strings.Contains(body, as.URL) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if _, body := s.Management(t, "/metrics"); !strings.Contains(body, `mcp_forward_auth_issuer_key_fetches_total{issuer="`+as.URL+`",result="failed"}`) {
		t.Error("no metric says so")
	}
	as.Behave(nil)
	s.Clock.Advance(time.Minute)
	until(t, func() bool { return s.Ask(t, servertest.Resource, raw).Status == http.StatusOK })
	if status, body := s.Management(t, "/readyz"); status != http.StatusOK || strings.Contains(body, as.URL) {
		t.Errorf("readyz after it came back: %d %s", status, body)
	}
}

// An issuer at which people also sign in here has the same people.
func TestPersonOfProviderAndIssuer(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane"))
	s := servertest.Start(t, servertest.Options{Files: maps.Clone(servertest.ProviderFiles), Edit: servertest.Edits(servertest.UseOIDC(idp), servertest.UseIssuer(idp.Issuer, nil))})
	own := servertest.User(t, s, s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser()))
	now := s.Clock.Now()
	foreign := servertest.User(t, s, idp.AccessToken(map[string]any{
		"iss": idp.Issuer, "aud": servertest.Resource, "sub": "jane", "azp": "cli", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}))
	if own != foreign {
		t.Errorf("%q and %q", own, foreign)
	}
}

// Another service like this one is an issuer as any other, although its tokens
// have the same header as those of this service.
func TestAnotherServiceOfThisKind(t *testing.T) {
	t.Parallel()
	first := servertest.Start(t, servertest.Options{})
	keys := filepath.Join(t.TempDir(), "keys.json")
	write(t, keys, first.Get(t, "https://"+servertest.Host+"/openid/v1/jwks").Body)
	raw := first.NewClient(t, servertest.Host, nil).AccessToken(t, first.NewBrowser())

	const other = "https://other.example.com/mcp"
	move := func(f *config.File) { f.Proxy.Hosts[0].Host = "other.example.com" }
	alone := servertest.Start(t, servertest.Options{Edit: move, Clock: first.Clock})
	alone.MustNotPass(t, other, raw, "invalid_token")
	second := servertest.Start(t, servertest.Options{
		Clock: first.Clock, Files: map[string]string{keys: ""},
		Edit: servertest.Edits(move, servertest.UseIssuer("https://"+servertest.Host, func(f *issuer.File) {
			f.JWKSFile, f.Audiences = keys, []string{servertest.Resource}
		})),
	})
	if got := second.MustPass(t, other, raw).Header.Get("X-Auth-Request-User"); got != servertest.Host+":static:"+servertest.Username {
		t.Errorf("user %q", got)
	}
	second.MustPass(t, other, second.NewClient(t, "other.example.com", nil).AccessToken(t, second.NewBrowser()))
}
