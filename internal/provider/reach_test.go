package provider_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/microsoft"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oauth2"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// behindTLS serves what is at address with a certificate of an authority that
// this machine does not know, and returns the new address and the authority.
func behindTLS(t *testing.T, address func() string) (public, authority string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := url.Parse(address())
		if err != nil {
			t.Error(err)
		}
		(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// A provider and an MCP server behind a private authority work with caFile.
func TestPrivateAuthority(t *testing.T) {
	t.Parallel()
	var idp *oauthtest.OIDCProvider
	issuer, authority := behindTLS(t, func() string { return idp.URL })
	idp = oauthtest.NewOIDCProviderAt(t, issuer)
	idp.SignInAs(servertest.Member("jane"))
	var s *servertest.Service
	endpoint, mcpAuthority := behindTLS(t, func() string { return s.MCPServer })
	files := map[string]string{"client-secret": oauthtest.ClientSecret, "ca": authority, "mcp-ca": mcpAuthority}
	start := func(ca, mcpCA string) *servertest.Service {
		return servertest.Start(t, servertest.Options{Files: files, Edit: servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) {
			f.Provider.Settings.(*oidc.Settings).CA = []byte(ca) // the name of the file
			f.Proxy.Hosts[0].Endpoint, f.Proxy.Hosts[0].Authorities = endpoint+"/mcp", []byte(mcpCA)
		})})
	}
	s = start("ca", "mcp-ca")
	servertest.WaitForTools(t, s)
	c := s.NewClient(t, servertest.Host, nil)
	// The browser of this test does not trust the certificate either, so it stops
	// where it is sent.
	b := s.NewBrowser()
	to := b.Submit(t, b.Consent(t, c.Begin().URL()), "decision", "allow").Location()
	if !strings.HasPrefix(to, issuer+"/authorize?") {
		t.Errorf("the document was not read: %s", to)
	}
	wrong := start("", "")
	c = wrong.NewClient(t, servertest.Host, nil)
	if page := servertest.End(t, wrong.NewBrowser(), c.Begin().URL()); page.Status != http.StatusInternalServerError {
		t.Errorf("trusted without its authority: %d", page.Status)
	}
	if e := wrong.Log.Last(audit.LoginRefused); e["reason"] != "provider_misconfigured" || !strings.Contains(e["cause"], "caFile") {
		t.Errorf("audit says %v", e)
	}
}

// The userinfo endpoint refuses this client, and nothing configured needs it.
func TestUserInfoRefusesThisClient(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane"))
	idp.EditClaims(func(m map[string]any) { delete(m, "name"); delete(m, "groups") })
	idp.RefuseUserInfo(http.StatusForbidden)
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.UseOIDC(idp)})
	c := s.NewClient(t, servertest.Host, nil)
	s.MustPass(t, servertest.Resource, c.AccessToken(t, s.NewBrowser()))
	if n := idp.Count(oauthtest.UserInfo); n != 0 {
		t.Errorf("%d requests for nothing", n)
	}
	needing := servertest.Policed(t, idp, nil, rule.Rule{Effect: "allow", Groups: []string{"ops"}})
	c = needing.NewClient(t, servertest.Host, nil)
	servertest.End(t, needing.NewBrowser(), c.Begin().URL())
	if e := needing.Log.Last(audit.LoginRefused); e["reason"] != "provider_misconfigured" || !strings.Contains(e["cause"], "userinfo") {
		t.Errorf("audit says %v", e)
	}
}

// Tokens and groups of the sizes of real providers.
func TestProviderOfRealSizes(t *testing.T) {
	t.Parallel()
	var groups []string
	for i := range 60 {
		groups = append(groups, strings.Repeat("g", 30)+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	for name, sizes := range map[string]oauthtest.Sizes{"long": oauthtest.LongTokens, "short": oauthtest.ShortTokens} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := oauthtest.NewOIDCProvider(t)
			idp.GiveRefreshTokens(true)
			idp.SetSizes(sizes)
			idp.SignInAs(servertest.Member("jane", groups...))
			s := servertest.Policed(t, idp, nil, rule.Rule{Effect: "allow", Groups: groups[59:]})
			c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
			k := servertest.SignIn(t, c)
			s.MustPass(t, servertest.Resource, k.Access)
			k.Again(t)
		})
	}
}

// Providers are reached through HTTPS_PROXY and NO_PROXY, as those of the
// process's environment say. The standard library reads it once, so this runs in
// a process of its own.
func TestProvidersThroughTheProxy(t *testing.T) {
	if os.Getenv("PROXY_TEST_CHILD") != "" {
		idp := oauthtest.NewOIDCProvider(t)
		s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) {
			f.Provider.Settings.(*oidc.Settings).IssuerURL = "https://" + os.Getenv("PROXY_TEST_CHILD")
		})})
		b := s.NewBrowser()
		b.Submit(t, b.Consent(t, s.NewClient(t, servertest.Host, nil).Begin().URL()), "decision", "allow")
		return
	}
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.Host)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\nno TLS here"))
			conn.Close()
		}
	}))
	defer proxy.Close()
	run := func(host, none string) string {
		mu.Lock()
		asked = nil
		mu.Unlock()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProvidersThroughTheProxy$", "-test.v")
		child.Env = append(os.Environ(), "PROXY_TEST_CHILD="+host, "HTTPS_PROXY="+proxy.URL, "NO_PROXY="+none)
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(asked, ", ")
	}
	if got := run("sso.corp.example", ""); !strings.HasPrefix(got, "CONNECT sso.corp.example:443") {
		t.Errorf("the proxy was asked for %q", got)
	}
	if got := run("sso.corp.example", ".corp.example"); got != "" {
		t.Errorf("in spite of NO_PROXY: %q", got)
	}
}

// Every kind of provider that the configuration knows has a connector.
func TestEveryKindHasAConnector(t *testing.T) {
	t.Parallel()
	for _, name := range kinds.Names() {
		f := config.ProviderFile{Name: name, AllowAnyUser: true, Settings: kinds.Of(name)}
		switch s := f.Settings.(type) {
		case *google.Settings:
			s.App = servertest.App()
		case *github.Settings:
			s.App = servertest.App()
		case *microsoft.Settings:
			s.App = servertest.App()
		case *oidc.Settings:
			s.App, s.IssuerURL = servertest.App(), "https://sso.corp.example"
		case *oauth2.Settings:
			s.App, s.AuthorizeURL, s.TokenURL, s.UserinfoURL = servertest.App(), "https://a.example", "https://a.example", "https://a.example"
		case *static.Settings:
			continue // servertest's own
		}
		s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: func(c *config.File) { c.Provider = f }})
		b := s.NewBrowser()
		page := b.Consent(t, s.NewClient(t, servertest.Host, nil).Begin().URL())
		if !strings.Contains(page.Text(), "Next, you sign in") {
			t.Errorf("%s: %s", name, page.Text())
		}
	}
}
