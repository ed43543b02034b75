package grant_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// JWT-SVIDs as SPIRE makes them: no iss and no jti, aud a list, typ JWT or JOSE. The
// trust domain of the subject is the issuer, and its keys stand in a file.
func TestJWTSVIDs(t *testing.T) {
	t.Parallel()
	const domain, workload = "spiffe://example.org", "spiffe://example.org/ns/ci/sa/builder"
	spire, stranger := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	entry := func(issuer, file string) assertion.File {
		var f assertion.File
		conf.SetDefaults(&f)
		f.Kind, f.Issuer, f.JWKSFile, f.Reusable = "workload", issuer, file, true
		f.Rules = []assertion.Rule{{Subjects: []string{issuer + "/ns/ci/sa/builder"}, Scopes: []string{"notes:read"}, Resources: []string{servertest.Resource}}}
		return f
	}
	bundle, other := filepath.Join(t.TempDir(), "bundle.json"), filepath.Join(t.TempDir(), "other.json")
	for path, keys := range map[string]*oauthtest.Issuer{bundle: spire, other: stranger} {
		if err := os.WriteFile(path, keys.JWKS(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := servertest.Start(t, servertest.Options{
		Edit: func(f *config.File) {
			f.TrustedIssuers = []assertion.File{entry(domain, bundle), entry("spiffe://other.example", other)}
		},
		Files: map[string]string{bundle: "", other: ""},
	})
	show := func(by *oauthtest.Issuer, typ any, differs map[string]any) *servertest.Answer {
		now := s.Clock.Now()
		claims := map[string]any{"sub": workload, "aud": []string{servertest.Issuer(servertest.Host)}, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
		for name, value := range differs {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return ofMachine(t, s, servertest.Host, "", "", url.Values{"grant_type": {jwtBearer}, "resource": {servertest.Resource}, "assertion": {by.Token(claims, map[string]any{"typ": typ})}})
	}
	for _, typ := range []any{"JWT", "JOSE", nil} {
		for range 2 { // the Workload API gives the same one until it grows old
			a := show(spire, typ, nil)
			if a.Status != 200 || a.JSON["refresh_token"] != nil {
				t.Fatalf("typ %v: %d %s, audit says %v", typ, a.Status, a.Body, s.Log.Last("token.refused"))
			}
			if user := servertest.User(t, s, a.String("access_token")); !strings.HasSuffix(user, workload) {
				t.Errorf("user %q", user)
			}
		}
	}
	if a := show(spire, "JWT", map[string]any{"iss": domain}); a.Status != 200 { // jwt_issuer of SPIRE
		t.Errorf("with iss: %d %s", a.Status, a.Body)
	}
	for name, a := range map[string]*servertest.Answer{
		"signed by another domain":        show(stranger, "JWT", nil),
		"of another domain":               show(spire, "JWT", map[string]any{"sub": "spiffe://other.example/ns/ci/sa/builder"}),
		"of a domain that is not trusted": show(spire, "JWT", map[string]any{"sub": "spiffe://evil.example/ns/ci/sa/builder"}),
		"another issuer, this domain":     show(spire, "JWT", map[string]any{"iss": "spiffe://other.example"}),
		"another workload":                show(spire, "JWT", map[string]any{"sub": domain + "/ns/ci/sa/builder/x"}),
		"no path":                         show(spire, "JWT", map[string]any{"sub": domain}),
		"no domain":                       show(spire, "JWT", map[string]any{"sub": "spiffe:///ns/ci/sa/builder"}),
		"two audiences":                   show(spire, "JWT", map[string]any{"aud": []string{servertest.Issuer(servertest.Host), "https://elsewhere.example"}}),
		"no audience":                     show(spire, "JWT", map[string]any{"aud": nil}),
		"expired":                         show(spire, "JWT", map[string]any{"exp": s.Clock.Now().Add(-5 * time.Minute).Unix(), "iat": s.Clock.Now().Add(-10 * time.Minute).Unix()}),
		"without exp":                     show(spire, "JWT", map[string]any{"exp": nil}),
		"for the MCP server":              show(spire, "JWT", map[string]any{"aud": servertest.Resource}),
	} {
		if a.Status != 400 || a.String("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}
