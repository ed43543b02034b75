package grant_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// reach sends what is for the hosts of the service there, and the rest to the network.
type reach struct{ service http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r reach) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "127.0.0.1:") {
		return http.DefaultTransport.RoundTrip(req)
	}
	return r.service.RoundTrip(req)
}

// authorized has a handler of the official SDK answer the 401 of the MCP server, and
// returns its token.
func authorized(t *testing.T, w *world, h auth.OAuthHandler) string {
	t.Helper()
	refused := w.Ask(t, servertest.Resource, "")
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, servertest.Resource, nil)
	resp := &http.Response{StatusCode: refused.Status, Header: refused.Header, Body: http.NoBody, Request: req}
	if err := h.Authorize(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	source, err := h.TokenSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// The official Go SDK's client of its own (SEP-1046).
func TestSDKClientCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{ClientID: "nightly", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: strings.ReplaceAll(nightlySecret, " ", "-")}},
		HTTPClient:  w.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if user := servertest.User(t, w.Service, authorized(t, w, h)); user != "client:nightly" {
		t.Errorf("user %q, want %q", user, "client:nightly")
	}
}

// The official Go SDK's client for enterprise-managed authorization (SEP-990), with a
// provider that exchanges its ID tokens for ID-JAGs.
func TestSDKEnterprise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/token" {
			_ = json.NewEncoder(rw).Encode(map[string]any{
				"issuer": provider.URL, "authorization_endpoint": provider.URL + "/authorize", "token_endpoint": provider.URL + "/token", "jwks_uri": provider.URL + "/keys",
				"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			})
			return
		}
		if r.FormValue("audience") != servertest.Issuer(servertest.Host) || r.FormValue("resource") != servertest.Resource || r.FormValue("subject_token") != "the-id-token" {
			http.Error(rw, "{}", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{
			"access_token": w.assertion("id-jag", nil), "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A", "expires_in": 300,
		})
	}))
	t.Cleanup(provider.Close)
	h, err := extauth.NewEnterpriseHandler(&extauth.EnterpriseHandlerConfig{
		IdPIssuerURL: provider.URL, IdPCredentials: &oauthex.ClientCredentials{ClientID: "at-the-provider"},
		MCPAuthServerURL: servertest.Issuer(servertest.Host), MCPResourceURI: servertest.Resource,
		MCPCredentials: &oauthex.ClientCredentials{ClientID: "enterprise", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: jagSecret}},
		IDTokenFetcher: func(context.Context) (*oauth2.Token, error) {
			return (&oauth2.Token{AccessToken: "x"}).WithExtra(map[string]any{"id_token": "the-id-token"}), nil
		},
		HTTPClient: &http.Client{Transport: reach{w.Client().Transport}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if user := servertest.User(t, w.Service, authorized(t, w, h)); !strings.HasSuffix(user, ":alice-1") {
		t.Errorf("user %q", user)
	}
}
