package grant_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Secrets of the configured clients.
const (
	checkerSecret = "a+secret%of:the-checker-0123456789abcdef"
	agentSecret   = "the-agents-secret-0123456789abcdef012345"
)

// configuredClients adds an MCP server that asks about tokens for one resource,
// and clients that people use, with and without refresh tokens.
func configuredClients(f *config.File) {
	code := []string{"authorization_code"}
	f.Clients = []registration.Known{
		{ID: "checker", AuthMethod: "client_secret_basic", Secret: conf.NewSecret(checkerSecret), GrantTypes: code, RedirectURIs: []string{servertest.RedirectURI}, Resources: []string{servertest.Resource}},
		{ID: "agent", AuthMethod: "client_secret_post", Secret: conf.NewSecret(agentSecret), GrantTypes: append(code, "refresh_token"), RedirectURIs: []string{servertest.RedirectURI}},
		{ID: "kiosk", AuthMethod: "none", GrantTypes: code, RedirectURIs: []string{servertest.RedirectURI}},
	}
}

func introspect(t *testing.T, s *servertest.Service, host, id, secret, token string) *servertest.Answer {
	t.Helper()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	if secret == "" {
		form.Set("client_id", id)
	}
	req := servertest.Request(t, http.MethodPost, servertest.Issuer(host)+"/introspect", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return s.Send(t, req)
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.SecondHost, configuredClients, func(f *config.File) { f.Introspection.Enabled = true })})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	c.Scope = "notes:read notes:write weather:read profile"
	k := servertest.SignIn(t, c)
	inactive := func(t *testing.T, host, token string) {
		t.Helper()
		a := introspect(t, s, host, "checker", checkerSecret, token)
		if a.Status != 200 || a.Body != `{"active":false}`+"\n" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("status %d, want 200: %s", a.Status, a.Body)
		}
	}
	t.Run("AS-INT-02 an active token", func(t *testing.T) {
		a := introspect(t, s, servertest.Host, "checker", checkerSecret, k.Access)
		want := []string{"active", "aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub", "token_type"}
		if got := slices.Sorted(maps.Keys(a.JSON)); a.Status != 200 || !slices.Equal(got, want) {
			t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
		}
		if a.JSON["active"] != true || a.String("aud") != servertest.Resource || a.String("iss") != "https://"+servertest.Host || a.String("sub") != "static:jane" ||
			a.String("client_id") != c.ID || a.String("scope") != "notes:read notes:write weather:read profile" || a.String("token_type") != "Bearer" {
			t.Errorf("%s", a.Body)
		}
	})
	t.Run("AS-RT-03 a question about an access token is a use of it", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		second := first.Again(t)
		if a := introspect(t, s, servertest.Host, "checker", checkerSecret, second.Access); a.JSON["active"] != true {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		first.Stolen(t)
	})
	t.Run("AS-INT-01 who may not ask", func(t *testing.T) {
		confidential := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic"})
		for name, caller := range map[string][2]string{
			"nobody": {"", ""}, "a registered public client": {c.ID, ""}, "a registered client with a secret": {confidential.ID, confidential.Secret},
			"a configured public client": {"kiosk", ""}, "without its secret": {"checker", ""}, "a wrong secret": {"checker", "x"},
		} {
			a := introspect(t, s, servertest.Host, caller[0], caller[1], k.Access)
			if a.Status != 401 || a.String("error") != "invalid_client" || a.JSON["active"] != nil {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			if s.Log.Last(audit.IntrospectionRefused) == nil {
				t.Errorf("%s: no audit entry", name)
			}
		}
		if a := s.Send(t, servertest.Request(t, http.MethodGet, "https://"+servertest.Host+"/introspect?token="+k.Access, "")); a.Status != http.StatusMethodNotAllowed {
			t.Errorf("GET: status %d, want %v", a.Status, http.StatusMethodNotAllowed)
		}
	})
	t.Run("AS-INT-01 what is not active", func(t *testing.T) {
		wiki := *c
		wiki.Resource = "https://mcp.example.com/wiki"
		for name, token := range map[string]string{
			"garbage": "x", "cut": k.Access[:len(k.Access)-1], "refresh token": k.Refresh, "foreign resource": wiki.AccessToken(t, s.NewBrowser()),
		} {
			t.Log(name)
			inactive(t, servertest.Host, token)
		}
		inactive(t, "other.example.com", k.Access)
		if a := introspect(t, s, servertest.Host, "checker", checkerSecret, ""); a.Status != 400 {
			t.Errorf("no token: status %d, want 400: %s", a.Status, a.Body)
		}
	})
	t.Run("AS-INT-02 revoked and expired", func(t *testing.T) {
		one := k.Again(t)
		servertest.MustRevoke(t, c, one.Access)
		inactive(t, servertest.Host, one.Access)
		servertest.MustRevoke(t, c, one.Refresh)
		inactive(t, servertest.Host, k.Access)
		fresh := servertest.SignIn(t, c)
		s.Clock.Advance(time.Hour + time.Second)
		inactive(t, servertest.Host, fresh.Access)
	})
	t.Run("AS-INT-01 off by default and then not advertised", func(t *testing.T) {
		off := servertest.Start(t, servertest.Options{Edit: configuredClients})
		if a := introspect(t, off, servertest.Host, "checker", checkerSecret, "x"); a.Status != http.StatusNotFound {
			t.Errorf("status %d, want %v: %s", a.Status, http.StatusNotFound, a.Body)
		}
		for service, want := range map[*servertest.Service]string{off: "", s: "https://" + servertest.Host + "/introspect"} {
			if doc := service.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server"); doc.String("introspection_endpoint") != want {
				t.Errorf("%s", doc.Body)
			}
		}
	})
}

// What the operator wrote of a client holds for tokens that it has already.
func TestConfiguredClientRefresh(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.SecondHost, configuredClients)})
	client := func(id, secret string) *servertest.Client {
		return &servertest.Client{Service: s, Host: servertest.Host, ID: id, Secret: secret, RedirectURI: servertest.RedirectURI, Resource: servertest.Resource, Scope: "notes:read notes:write offline_access"}
	}
	changed := func(edit func(*registration.Known)) *servertest.Service {
		return servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.SecondHost, configuredClients, func(f *config.File) { edit(&f.Clients[1]) })})
	}
	k := servertest.SignIn(t, client("agent", agentSecret))
	t.Run("AS-RT-01 a configured client without the grant gets none by asking", func(t *testing.T) {
		a := client("kiosk", "").Begin()
		if answer := a.Exchange(t, a.Code(t, s.NewBrowser())); answer.Status != 200 || answer.JSON["refresh_token"] != nil {
			t.Errorf("status %d, want 200: %s", answer.Status, answer.Body)
		}
	})
	t.Run("AS-TOK-03 the grant was taken from it", func(t *testing.T) {
		other := changed(func(c *registration.Known) { c.GrantTypes = c.GrantTypes[:1] })
		servertest.Tokens{Client: k.Client.On(other), Refresh: k.Refresh}.Refused(t, 400, "unauthorized_client", "unauthorized_client")
	})
	t.Run("ATK-54 its scopes were narrowed", func(t *testing.T) {
		other := changed(func(c *registration.Known) { c.Scopes = []string{"notes:read"} })
		here := k.Client.On(other)
		servertest.Tokens{Client: here, Refresh: k.Refresh}.Refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:write")
		if a := here.Token(t, servertest.RefreshForm(here, k.Refresh)); a.Status != 200 || a.String("scope") != "notes:read" {
			t.Errorf("status %d, want 200: %s", a.Status, a.Body)
		}
		none := changed(func(c *registration.Known) { c.Scopes = []string{"weather:read"} })
		servertest.Tokens{Client: k.Client.On(none), Refresh: k.Refresh}.Refused(t, 400, "invalid_scope", "scope_not_granted")
	})
	t.Run("AS-RT-05 its resource was taken from it", func(t *testing.T) {
		other := changed(func(c *registration.Known) { c.Resources = []string{"https://mcp.example.com/wiki"} })
		servertest.Tokens{Client: k.Client.On(other), Refresh: k.Refresh}.Refused(t, 400, "invalid_grant", "resource_gone")
	})
	k.Again(t)
}
