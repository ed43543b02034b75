package server_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
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

// The identity provider's token for an MCP server is in the answer to the gateway and
// nowhere else.
func TestProviderTokensDoNotLeak(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		t.Run("ATK-57 "+form, func(t *testing.T) {
			t.Parallel()
			p := oauthtest.NewOIDCProvider(t)
			p.SignInAs(servertest.Person)
			p.GiveRefreshTokens(true)
			s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(p), func(f *config.File) {
				f.Debug.Flows.Enabled, f.Introspection.Enabled = true, true
				f.Proxy.Hosts[0].ProviderToken.Token, f.Proxy.Hosts[0].ProviderToken.Form = "access", form
			})})
			k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
			var secrets []string
			for range 2 {
				secrets = append(secrets, s.MustPass(t, servertest.Resource, k.Access).Header.Get("X-Forwarded-Access-Token"))
				s.MustNotPass(t, servertest.Resource, k.Access+"x", "invalid_token")
				s.Clock.Advance(2 * time.Minute)
				k = k.Again(t)
			}
			p.Break(oauthtest.Token, oauthtest.Status500)
			s.Clock.Advance(2 * time.Minute)
			k.Client.Token(t, servertest.RefreshForm(k.Client, k.Refresh))
			_, metrics := s.Management(t, "/metrics")
			_, shown := s.Management(t, "/debug/flows")
			if !strings.Contains(shown, "token") {
				t.Fatalf("nothing to look at: %s", shown)
			}
			for _, secret := range secrets {
				for what, text := range map[string]string{"log": s.Log.String(), "metrics": metrics, "/debug/flows": shown, "access token": k.Access, "refresh token": k.Refresh} {
					if len(secret) < 20 || strings.Contains(text, secret) {
						t.Errorf("%s: the %s has it", secret, what)
					}
				}
			}
		})
	}
}
