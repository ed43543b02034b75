package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tokenexchange"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// TestNothingLeaks runs flows, good and bad, at debug level, and looks for
// every secret of them in the log and in the metrics.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	for name, o := range providers(t) {
		t.Run("ATK-57 AS-FED-08 "+name, func(t *testing.T) {
			t.Parallel()
			s := servertest.Start(t, o)
			secrets := map[string]string{"password": servertest.Password, "provider secret": oauthtest.ClientSecret}
			b := s.NewBrowser()
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post", "grant_types": []string{"authorization_code", "refresh_token"}})
			a := c.Begin().With("state", "a-state-that-is-secret")
			page := b.Consent(t, a.URL())
			secrets["client secret"], secrets["verifier"], secrets["state"] = c.Secret, a.Verifier, a.State()
			secrets["sealed consent"] = page.Form.Values.Get("request")
			page = b.Submit(t, page, "decision", "allow")
			for _, cookie := range b.Cookies(servertest.Host) {
				secrets["cookie "+cookie.Name] = cookie.Value
			}
			if to, err := url.Parse(page.Location()); err == nil {
				secrets["state at the provider"] = to.Query().Get("state")
			}
			code := a.Accept(t, b.Walk(t, page, c.RedirectURI))
			secrets["code"] = code
			wrong := a.TokenForm(code)
			wrong.Set("code_verifier", strings.Repeat("wrong-verifier", 4))
			c.Token(t, wrong)
			wrong = a.TokenForm(code)
			wrong.Set("client_secret", "wrong-client-secret")
			c.Token(t, wrong)
			secrets["wrong verifier"], secrets["wrong client secret"] = "wrong-verifier", "wrong-client-secret"
			answer := a.Exchange(t, code)
			secrets["access token"], secrets["refresh token"] = answer.String("access_token"), answer.String("refresh_token")
			parts := strings.Split(secrets["access token"], ".")
			secrets["payload"], secrets["signature"] = parts[1], parts[2]
			s.MustPass(t, servertest.Resource, secrets["access token"])
			s.MustNotPass(t, servertest.Resource, secrets["access token"]+"x", "invalid_token")
			a.Exchange(t, code) // a replay
			b.Open(t, "https://mcp.example.com/callback?code=provider-code&state="+strings.Repeat("S", 26))
			secrets["provider's code"], secrets["foreign state"] = "provider-code", strings.Repeat("S", 26)
			if name == "static" {
				b.Password = "a wrong password"
				secrets["wrong password"] = b.Password
				login := b.Submit(t, b.Consent(t, c.Begin().URL()), "decision", "allow")
				b.Submit(t, b.Open(t, "https://mcp.example.com"+login.Location()), "", "")
			}
			_, metrics := s.Management(t, "/metrics")
			log := s.Log.String()
			if !strings.Contains(log, "token.issued") || !strings.Contains(metrics, "mcp_forward_auth_decisions_total") {
				t.Fatal("there is nothing to look at")
			}
			for what, secret := range secrets {
				if secret == "" {
					if what != "refresh token" {
						t.Errorf("no %s to look for", what)
					}
					continue
				}
				if strings.Contains(log, secret) {
					t.Errorf("the log holds the %s", what)
				}
				if strings.Contains(metrics, secret) {
					t.Errorf("the metrics hold the %s", what)
				}
				if longest := longestIn(log, secret); longest > 24 && len(secret) > 64 {
					t.Errorf("the log holds %d bytes of the %s", longest, what)
				}
			}
		})
	}
}

// longestIn returns how many of the first bytes of s are in text.
func longestIn(text, s string) int {
	n := 0
	for n < len(s) && strings.Contains(text, s[:n+1]) {
		n++
	}
	return n
}

// The identity provider's token for an MCP server is in the answer to the gateway, in
// what the server itself exchanges, and nowhere else.
func TestProviderTokensDoNotLeak(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		t.Run("ATK-57 "+form, func(t *testing.T) {
			t.Parallel()
			p := oauthtest.NewOIDCProvider(t)
			p.SignInAs(servertest.Person)
			p.GiveRefreshTokens(true)
			recorded := spans{tracetest.NewInMemoryExporter()}
			s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Spans: recorded, Edit: servertest.Edits(servertest.UseOIDC(p), leakFrom(form))})
			k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
			secrets, answers := map[string]bool{}, map[string]string{}
			for range 2 {
				told := s.MustPass(t, servertest.Resource, k.Access).Header
				secrets[told.Get("X-Forwarded-Access-Token")] = true
				answers["the identity header"] += told.Get("X-Auth-Request-Identity")
				askAsServer(t, s, k, told, secrets, answers)
				s.MustNotPass(t, servertest.Resource, k.Access+"x", "invalid_token")
				s.Clock.Advance(2 * time.Minute)
				k = k.Again(t)
			}
			p.Break(oauthtest.Token, oauthtest.Status500)
			s.Clock.Advance(2 * time.Minute)
			answers["an error"] = k.Client.Token(t, servertest.RefreshForm(k.Client, k.Refresh)).Body
			_, answers["the metrics"] = s.Management(t, "/metrics")
			_, answers["/debug/flows"] = s.Management(t, "/debug/flows")
			answers["the access token"], answers["the refresh token"] = k.Access, k.Refresh
			s.Stop()
			for _, span := range recorded.GetSpans() {
				answers["the traces"] += fmt.Sprintln(span.Name, span.Attributes, span.Events, span.Status)
			}
			answers["the log"] = s.Log.String()
			for what, text := range answers {
				if len(text) < 40 {
					t.Errorf("nothing to look at in %s: %q", what, text)
				}
				for secret := range secrets {
					if len(secret) < 20 || strings.Contains(text, secret) {
						t.Errorf("%s has %s", what, secret)
					}
				}
			}
		})
	}
}

// leakFrom turns on all that could show a token of the provider.
func leakFrom(form string) func(*config.File) {
	return func(f *config.File) {
		f.Tracing = tracing.Config{OTLP: tracing.OTLP{Endpoint: "http://collector.invalid:4318"}, Ratio: 1}
		f.Debug.Flows.Enabled, f.Introspection.Enabled, f.IdentityHeaders.Signed.Enabled = true, true, true
		f.Clients = append(f.Clients, registration.Known{ID: "server", Secret: conf.NewSecret(leakSecret), GrantTypes: []string{tokenexchange.GrantType}})
		f.Proxy.Hosts[0].ProviderToken.Token, f.Proxy.Hosts[0].ProviderToken.Form = "access", form
		f.Proxy.Hosts[0].TokenExchange.Clients = []string{"server"}
	}
}

const leakSecret = "secret-of-the-acting-server-0123"

// askAsServer asks what the MCP server may: introspection, exchanges good and bad, and
// that a token is dead.
func askAsServer(t *testing.T, s *servertest.Service, k servertest.Tokens, told http.Header, secrets map[string]bool, answers map[string]string) {
	t.Helper()
	post := func(path string, form url.Values) *servertest.Answer {
		r := servertest.Request(t, http.MethodPost, servertest.Issuer(servertest.Host)+path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("server", leakSecret)
		return s.Send(t, r)
	}
	said := post("/introspect", url.Values{"token": {k.Access}})
	if said.JSON["active"] != true {
		t.Errorf("introspection: %s", said.Body)
	}
	answers["introspection"] += said.Body
	shown := func(more ...string) url.Values {
		form := url.Values{"grant_type": {tokenexchange.GrantType}, "subject_token": {told.Get("X-Auth-Request-Identity")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}}
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	if a := post("/token", shown()); a.Status == 200 {
		secrets[a.String("access_token")] = true
	} else {
		answers["an exchange"] += a.Body
	}
	answers["a refused exchange"] += post("/token", shown("scope", "more")).Body
	answers["an exchange of another token"] += post("/token", shown("subject_token", told.Get("X-Forwarded-Access-Token"))).Body
	answers["a dead token"] += post("/dead-token", shown("token", told.Get("X-Forwarded-Access-Token"))).Body + strings.Repeat(" ", 40)
}
