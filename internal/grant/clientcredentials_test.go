package grant_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const nightlySecret = "secret+of:the nightly job%0123456789"

// machines adds clients that act for themselves at the default MCP server.
func machines(f *config.File) {
	alone := []string{"client_credentials"}
	at := []string{servertest.Resource}
	secret := conf.NewSecret(strings.ReplaceAll(nightlySecret, " ", "-"))
	f.Clients = append(f.Clients,
		registration.Known{ID: "nightly", Secret: secret, GrantTypes: alone, Scopes: []string{"notes:read", "notes:write"}, Resources: at},
		registration.Known{ID: "signer", JWKSFile: "signer.jwks", GrantTypes: alone, Scopes: []string{"notes:read"}, Resources: at},
		registration.Known{ID: "person", Secret: secret, RedirectURIs: []string{servertest.RedirectURI}, Scopes: []string{"notes:read"}, Resources: at},
		registration.Known{ID: "https://agent.example.org/id", Secret: secret, GrantTypes: append(alone, "authorization_code"), RedirectURIs: []string{servertest.RedirectURI}, Scopes: []string{"notes:read"}, Resources: at},
	)
}

// keysOf is the key set of an operator's file.
func keysOf(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

// ofMachine sends a form to the token endpoint of a host, with Basic authentication if id is not empty.
func ofMachine(t testing.TB, s *servertest.Service, host, id, secret string, form url.Values) *servertest.Answer {
	t.Helper()
	req := servertest.Request(t, http.MethodPost, servertest.Issuer(host)+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return s.Send(t, req)
}

// deniedFile is where the test's deny-list is, if it has one.
func deniedFile(t testing.TB) string {
	return filepath.Join(os.TempDir(), "denied-"+strings.ReplaceAll(t.Name(), "/", "-")+".yaml")
}

func startMachines(t testing.TB, edits ...func(*config.File)) (*servertest.Service, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{
		Edit:  servertest.Edits(append([]func(*config.File){servertest.SecondHost, machines}, edits...)...),
		Files: map[string]string{"signer.jwks": keysOf(t, key), deniedFile(t): ""},
	})
	return s, key
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	s, key := startMachines(t, func(f *config.File) { f.Introspection.Enabled = true })
	secret := strings.ReplaceAll(nightlySecret, " ", "-")
	base := url.Values{"grant_type": {"client_credentials"}, "resource": {servertest.Resource}}
	with := func(more ...string) url.Values {
		form := maps.Clone(base)
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	t.Run("AS-CC-03 basic and post", func(t *testing.T) {
		basic := ofMachine(t, s, servertest.Host, "nightly", secret, base)
		post := ofMachine(t, s, servertest.Host, "", "", with("client_id", "nightly", "client_secret", secret, "scope", "notes:read other"))
		if basic.Status != 200 || basic.String("scope") != "notes:read notes:write" || basic.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("status %d, want 200: %s", basic.Status, basic.Body)
		}
		if post.Status != 200 || post.String("scope") != "notes:read" {
			t.Errorf("status %d, want 200: %s", post.Status, post.Body)
		}
		if basic.JSON["refresh_token"] != nil || post.JSON["refresh_token"] != nil {
			t.Error("AS-CC-01: a refresh token")
		}
	})
	t.Run("AS-CC-02 its subject at the MCP server", func(t *testing.T) {
		token := ofMachine(t, s, servertest.Host, "nightly", secret, base).String("access_token")
		pass := s.MustPass(t, servertest.Resource, token)
		if user := pass.Header.Get("X-Auth-Request-User"); user != "client:nightly" {
			t.Errorf("user %q, want %q", user, "client:nightly")
		}
		if e := s.Log.Last(audit.TokenIssued); e["subject"] != "client:nightly" || e["client"] != "nightly" || e["resource"] != servertest.Resource || e["scope"] != "notes:read notes:write" {
			t.Errorf("audit says %v", e)
		}
		said := introspect(t, s, servertest.Host, "person", secret, token)
		if said.JSON["active"] != true || said.String("sub") != "client:nightly" || said.String("client_id") != "nightly" {
			t.Errorf("introspection says %s", said.Body)
		}
	})
	t.Run("private_key_jwt", func(t *testing.T) {
		claims := map[string]any{"iss": "signer", "sub": "signer", "aud": servertest.Issuer(servertest.Host), "exp": s.Clock.Now().Add(time.Minute).Unix(), "jti": rand.Text()}
		form := with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", clientAssertion(t, jose.ES256, key, "k1", nil, claims))
		if a := ofMachine(t, s, servertest.Host, "", "", form); a.Status != 200 || a.String("scope") != "notes:read" {
			t.Errorf("status %d, want 200: %s", a.Status, a.Body)
		}
		if a := ofMachine(t, s, servertest.Host, "", "", form); a.Status != 401 || a.String("error") != "invalid_client" {
			t.Errorf("AS-CA-06 the same again: status %d, want 401: %s", a.Status, a.Body)
		}
	})
	dynamic := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"authorization_code", "client_credentials"}})
	for name, tt := range map[string]struct {
		host, id, secret string
		form             url.Values
		status           int
		code, reason     string
	}{
		"AS-CC-01 a client that people use":     {id: "person", secret: secret, form: base, status: 400, code: "unauthorized_client", reason: "unauthorized_client"},
		"AS-CC-01 a client that registered":     {id: dynamic.ID, secret: dynamic.Secret, form: base, status: 400, code: "unauthorized_client", reason: "unauthorized_client"},
		"AS-CC-01 without proof":                {form: with("client_id", "nightly"), status: 401, code: "invalid_client", reason: "wrong_client_authentication_method"},
		"wrong secret":                          {id: "nightly", secret: "x", form: base, status: 401, code: "invalid_client", reason: "wrong_client_secret"},
		"another method":                        {id: "signer", secret: secret, form: base, status: 401, code: "invalid_client", reason: "wrong_client_authentication_method"},
		"a scope that is not its own":           {id: "nightly", secret: secret, form: with("scope", "notes:delete"), status: 400, code: "invalid_scope", reason: "scope_not_granted"},
		"a scope that is none":                  {id: "nightly", secret: secret, form: with("scope", "a\x01b"), status: 400, code: "invalid_scope", reason: "invalid_scope"},
		"a resource that is not its own":        {id: "nightly", secret: secret, form: with("resource", "https://mcp.example.com/wiki"), status: 400, code: "invalid_target", reason: "resource_not_for_machine"},
		"a resource of nobody":                  {id: "nightly", secret: secret, form: with("resource", "https://elsewhere.example.com/mcp"), status: 400, code: "invalid_target", reason: "resource_not_for_machine"},
		"two resources":                         {id: "nightly", secret: secret, form: url.Values{"grant_type": base["grant_type"], "resource": {servertest.Resource, "https://mcp.example.com/wiki"}}, status: 400, code: "invalid_target", reason: "resource_not_for_machine"},
		"AS-META a host where no machine may":   {host: "other.example.com", id: "nightly", secret: secret, form: url.Values{"grant_type": base["grant_type"]}, status: 400, code: "unsupported_grant_type", reason: "unsupported_grant_type"},
		"a person's resource at the wrong host": {host: "other.example.com", id: "person", secret: secret, form: base, status: 400, code: "unsupported_grant_type", reason: "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			host := tt.host
			if host == "" {
				host = servertest.Host
			}
			a := ofMachine(t, s, host, tt.id, tt.secret, tt.form)
			if a.Status != tt.status || a.String("error") != tt.code || a.JSON["access_token"] != nil {
				t.Errorf("status %d, want %v: %s", a.Status, tt.status, a.Body)
			}
			if e := s.Log.Last(audit.TokenRefused); e["reason"] != tt.reason {
				t.Errorf("audit says %v", e)
			}
		})
	}
	t.Run("AS-CC-03 advertised where it works", func(t *testing.T) {
		for host, want := range map[string]bool{servertest.Host: true, "other.example.com": false} {
			doc := s.Get(t, servertest.Issuer(host)+"/.well-known/oauth-authorization-server").JSON
			grants, _ := doc["grant_types_supported"].([]any)
			if slices.Contains(grants, any("client_credentials")) != want {
				t.Errorf("%s: %v", host, grants)
			}
		}
	})
	t.Run("the only resource that is open to it", func(t *testing.T) {
		if a := ofMachine(t, s, servertest.Host, "nightly", secret, url.Values{"grant_type": base["grant_type"]}); a.Status != 200 {
			t.Errorf("status %d, want 200: %s", a.Status, a.Body)
		}
	})
}

// Rules apply to machines as to everyone, and know them by subject and client.
func TestClientCredentialsAndPolicy(t *testing.T) {
	t.Parallel()
	secret := strings.ReplaceAll(nightlySecret, " ", "-")
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {servertest.Resource}}
	for name, tt := range map[string]struct {
		rules []rule.Rule
		scope string
	}{
		"people alone": {[]rule.Rule{{Effect: "allow", Emails: []string{"jane@example.com"}}}, ""},
		"by subject":   {[]rule.Rule{{Effect: "allow", Users: []string{"client:nightly"}, Scopes: []string{"notes:read"}}}, "notes:read"},
		"by client":    {[]rule.Rule{{Effect: "allow", Clients: []string{"nightly"}}}, "notes:read notes:write"},
		"denied":       {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Users: []string{"client:nightly"}, Scopes: []string{"notes:write"}}}, "notes:read"},
		// What denies to people without a known address denies to those who have none.
		"denied by address": {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", EmailDomains: []string{"example.com"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := startMachines(t, func(f *config.File) { f.Policy.Rules = tt.rules })
			a := ofMachine(t, s, servertest.Host, "nightly", secret, form)
			if tt.scope == "" {
				if e := s.Log.Last(audit.TokenRefused); a.Status != 400 || a.String("error") != "invalid_scope" || e["reason"] != "not_allowed_by_policy" {
					t.Errorf("status %d, want 400: %s, audit says %v", a.Status, a.Body, e)
				}
				return
			}
			if a.Status != 200 || a.String("scope") != tt.scope {
				t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
			}
			s.MustPass(t, servertest.Resource, a.String("access_token"))
		})
	}
}

func TestClientCredentialsDenied(t *testing.T) {
	t.Parallel()
	secret := strings.ReplaceAll(nightlySecret, " ", "-")
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {servertest.Resource}}
	for _, list := range []string{"subjects: ['client:nightly']", "clients: [nightly]"} {
		file := deniedFile(t)
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { os.Remove(file) })
		write("{}")
		s, _ := startMachines(t, func(f *config.File) { f.DenyList.File = file })
		token := ofMachine(t, s, servertest.Host, "nightly", secret, form).String("access_token")
		s.MustPass(t, servertest.Resource, token)
		write(list)
		s.Restart()
		if a := ofMachine(t, s, servertest.Host, "nightly", secret, form); a.Status != 400 || a.String("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", list, a.Status, a.Body)
		}
		if a := s.Ask(t, servertest.Resource, token); a.Status != 401 {
			t.Errorf("%s: its token: %d", list, a.Status)
		}
	}
}
