package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A pod shows the token of its ServiceAccount at the MCP server; the API server gives
// its keys to those alone who show a token.
func TestServiceAccountAtTheMCPServer(t *testing.T) {
	t.Parallel()
	const cluster, account = "https://kubernetes.default.svc.cluster.local", "system:serviceaccount:ci:builder"
	api := oauthtest.NewIssuer(t)
	keys := api.JWKS()
	api.Behave(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-of-the-pod" || r.URL.Path != "/openid/v1/jwks" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write(keys)
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("token-of-the-pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{Files: map[string]string{file: ""}, Edit: servertest.Edits(
		servertest.UseIssuer(cluster, func(f *issuer.File) {
			f.JWKSURL, f.TokenFile, f.Claims.Client, f.AddScopes = api.URL+"/openid/v1/jwks", file, "sub", []string{"notes:read"}
		}),
		func(f *config.File) {
			f.Policy.Rules = []rule.Rule{{Effect: "allow", Users: []string{"client@kubernetes.default.svc.cluster.local:" + account}}}
		},
	)})
	token := func(sub, audience string) string {
		return api.Token(api.Claims(audience, s.Clock.Now(), map[string]any{"iss": cluster, "sub": sub, "client_id": nil, "scope": nil}), map[string]any{"typ": nil})
	}
	if user := servertest.User(t, s, token(account, servertest.Resource)); user != "client@kubernetes.default.svc.cluster.local:"+account {
		t.Errorf("user %q", user)
	}
	for name, raw := range map[string]string{"another account": token("system:serviceaccount:ci:default", servertest.Resource), "a token for the API server": token(account, cluster)} {
		if a := s.Ask(t, servertest.Resource, raw); a.Status == 200 {
			t.Errorf("%s passes", name)
		}
	}
	if e := s.Log.Last(audit.AccessDenied); strings.Contains(e["subject"], "token-of-the-pod") || strings.Contains(s.Log.String(), "token-of-the-pod") {
		t.Error("the log holds the token for the keys")
	}
}
