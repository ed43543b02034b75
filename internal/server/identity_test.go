package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// An MCP server can check who is calling with nothing but our published keys.
func TestSignedIdentityIndependently(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.IdentityHeaders.Signed.Enabled = true }})
	c := s.NewClient(t, servertest.Host, nil)
	access := c.AccessToken(t, s.NewBrowser())
	header := s.MustPass(t, servertest.Resource, access).Header
	raw := header.Get("X-Auth-Request-Identity")

	ctx := gooidc.ClientContext(context.Background(), s.Client())
	keys := gooidc.NewRemoteKeySet(ctx, "https://mcp.example.com/openid/v1/jwks")
	verifier := gooidc.NewVerifier("https://mcp.example.com", keys, &gooidc.Config{ClientID: servertest.Resource, Now: s.Clock.Now})
	verified, err := verifier.Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Email, Scope string
		ClientID     string `json:"client_id"`
		Groups       []string
	}
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if verified.Subject != header.Get("X-Auth-Request-User") || claims.Email != header.Get("X-Auth-Request-Email") || claims.Scope == "" || claims.ClientID == "" ||
		strings.Join(claims.Groups, ",") != header.Get("X-Auth-Request-Groups") {
		t.Errorf("%+v %+v, headers %v", verified, claims, header)
	}
	if life := verified.Expiry.Sub(verified.IssuedAt); life != 5*time.Minute {
		t.Errorf("valid for %s", life)
	}
	t.Run("RS-VAL-01 it is no access token", func(t *testing.T) {
		if a := s.Ask(t, servertest.Resource, raw); a.Status != http.StatusUnauthorized {
			t.Errorf("status %d", a.Status)
		}
	})
	t.Run("the key stays published while it is valid", func(t *testing.T) {
		s.Clock.Advance(4 * time.Minute)
		fresh := gooidc.NewRemoteKeySet(ctx, "https://mcp.example.com/openid/v1/jwks")
		if _, err := fresh.VerifySignature(ctx, raw); err != nil {
			t.Error(err)
		}
	})
	t.Run("RS-FWD-04 a denied request learns nothing", func(t *testing.T) {
		if a := s.Ask(t, servertest.Resource, access+"x"); a.Status == 200 || a.Header.Get("X-Auth-Request-Identity") != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
	})
}
