package authorize_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// What waiting does not mend is told as such: to the person on a page that names
// whose fault it is, and to the operator with what to do. It stays so however
// often people try.
func TestPermanentFaultsOfProviders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at   func(t *testing.T, idp *oauthtest.OIDCProvider) (issuer string, client *http.Client)
		says string
	}{
		"a certificate of an unknown authority": {func(t *testing.T, _ *oauthtest.OIDCProvider) (string, *http.Client) {
			return untrusted(t, nil), nil
		}, "caFile"},
		"a certificate for another name": {func(t *testing.T, _ *oauthtest.OIDCProvider) (string, *http.Client) {
			server := httptest.NewTLSServer(http.NotFoundHandler())
			t.Cleanup(server.Close)
			client := server.Client()
			client.Transport.(*http.Transport).TLSClientConfig.ServerName = "sso.corp.example"
			return server.URL, client
		}, "for another name"},
		"plain HTTP at the port": {func(_ *testing.T, idp *oauthtest.OIDCProvider) (string, *http.Client) {
			return strings.Replace(idp.URL, "http:", "https:", 1), nil
		}, "does not speak TLS"},
		"a name that does not exist": {func(*testing.T, *oauthtest.OIDCProvider) (string, *http.Client) {
			return "https://sso.corp.example", &http.Client{Transport: failing{&net.DNSError{Err: "no such host", Name: "sso.corp.example", IsNotFound: true}}}
		}, "does not exist in DNS"},
		"a wrong secret": {func(_ *testing.T, idp *oauthtest.OIDCProvider) (string, *http.Client) {
			idp.RefuseToken("invalid_client")
			return idp.Issuer, nil
		}, "clientSecret"},
		"discovery elsewhere": {func(_ *testing.T, idp *oauthtest.OIDCProvider) (string, *http.Client) {
			idp.Break(oauthtest.Discovery, oauthtest.Redirect)
			return idp.Issuer, nil
		}, "/elsewhere"},
		"no document": {func(_ *testing.T, idp *oauthtest.OIDCProvider) (string, *http.Client) {
			return idp.Issuer + "/realms/none", nil
		}, "/realms/none/.well-known/openid-configuration"},
		"another issuer": {func(_ *testing.T, idp *oauthtest.OIDCProvider) (string, *http.Client) {
			return idp.Issuer + "/", nil
		}, "to the last slash"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(servertest.Member("jane"))
			issuer, client := tt.at(t, idp)
			s := servertest.Start(t, servertest.Options{
				Files: servertest.ProviderFiles, HTTPClient: client,
				Edit: servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) { f.Provider.Settings.(*oidc.Settings).IssuerURL = issuer }),
			})
			c := s.NewClient(t, servertest.Host, nil)
			for range 12 { // more than open the circuit before the provider
				page := servertest.End(t, s.NewBrowser(), c.Begin().URL())
				entry := s.Log.Last(audit.LoginRefused)
				if page.Status != http.StatusInternalServerError || !strings.Contains(page.Text(), "not set up correctly") {
					t.Fatalf("%d %s", page.Status, page.Text())
				}
				if entry["reason"] != "provider_misconfigured" || !strings.Contains(entry["cause"], tt.says) {
					t.Fatalf("audit says %v, want %q", entry, tt.says)
				}
			}
		})
	}
}

// failing answers every request with an error.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// untrusted serves handler with a certificate that this machine does not trust.
func untrusted(t *testing.T, handler http.Handler) string {
	t.Helper()
	if handler == nil {
		handler = http.NotFoundHandler()
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}
