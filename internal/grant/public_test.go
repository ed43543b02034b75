package grant_test

import (
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// AS-JAG-04: a client that is known by its document and has no key shows an ID-JAG
// where the entry lets public clients, and nowhere else; one that has a key proves it.
func TestPublicClientsOfIdentityAssertions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		public bool
		status int
		reason string
	}{"as it comes": {false, 401, "assertion_without_client"}, "with publicClients": {true, 200, ""}} {
		t.Run(name, func(t *testing.T) {
			provider := oauthtest.NewIssuer(t)
			s, c, _ := published(t, map[string]any{"grant_types": []string{"authorization_code", jwtBearer}, "token_endpoint_auth_method": "none"}, func(f *config.File) {
				var jag assertion.File
				conf.SetDefaults(&jag)
				jag.Kind, jag.Issuer, jag.PublicClients = "id-jag", provider.URL, tt.public
				jag.Rules = []assertion.Rule{{Anyone: true, Scopes: []string{"notes:read"}, Resources: []string{servertest.Resource}}}
				f.TrustedIssuers = []assertion.File{jag}
			})
			jag := func(client string) url.Values {
				now := s.Clock.Now()
				return url.Values{"grant_type": {jwtBearer}, "assertion": {provider.Token(map[string]any{
					"iss": provider.URL, "sub": "alice-1", "aud": servertest.Issuer(servertest.Host), "client_id": client, "resource": servertest.Resource,
					"jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
				}, map[string]any{"typ": "oauth-id-jag+jwt"})}}
			}
			form := jag(c.ID)
			form.Set("client_id", c.ID)
			a := ofMachine(t, s, servertest.Host, "", "", form)
			if a.Status != tt.status {
				t.Fatalf("status %d, want %v: %s", a.Status, tt.status, a.Body)
			}
			if tt.reason != "" {
				if e := s.Log.Last("token.refused"); e["reason"] != tt.reason {
					t.Errorf("audit says %v", e)
				}
				return
			}
			if user := servertest.User(t, s, a.String("access_token")); !strings.HasSuffix(user, ":alice-1") || a.JSON["refresh_token"] != nil {
				t.Errorf("user %q: %s", user, a.Body)
			}
			// The id is still that of the assertion, and one that registered itself has any name.
			other := jag("https://app.example.org/another.json")
			other.Set("client_id", c.ID)
			if a := ofMachine(t, s, servertest.Host, "", "", other); a.Status != 400 || a.String("error") != "invalid_grant" {
				t.Errorf("another client's: status %d, want 400: %s", a.Status, a.Body)
			}
			dynamic := s.NewClient(t, servertest.Host, nil)
			own := jag(dynamic.ID)
			own.Set("client_id", dynamic.ID)
			if a := ofMachine(t, s, servertest.Host, "", "", own); a.Status != 400 || a.String("error") != "unauthorized_client" {
				t.Errorf("a client that registered itself: status %d, want 400: %s", a.Status, a.Body)
			}
		})
	}
}
