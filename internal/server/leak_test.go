package server_test

import (
	"net/url"
	"strings"
	"testing"

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
