package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

// What check-config --online says of each server, by its key; OK or what is wrong.
func TestOnline(t *testing.T) {
	tools := httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{})))
	t.Cleanup(tools.Close)
	idp := oauthtest.NewOIDCProvider(t)
	withoutKeys, empty := oauthtest.NewOIDCProvider(t), oauthtest.NewOIDCProvider(t)
	withoutKeys.Break(oauthtest.Keys, oauthtest.Status503)
	empty.EditKey(func(key map[string]any) { key["use"] = "enc" })
	keys := oauthtest.NewIssuer(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(refuses.Close)

	asks := oauthtest.NewIssuer(t) // as the API server of Kubernetes does
	asks.Behave(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-of-the-service" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(keys.JWKS())
	})
	guarded := http.StripPrefix("/mcp", sample.Handler(sample.Options{}))
	protected := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "key-of-the-service" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		guarded.ServeHTTP(w, r)
	}))
	t.Cleanup(protected.Close)
	right, wrong := filepath.Join(t.TempDir(), "right"), filepath.Join(t.TempDir(), "wrong")
	for file, text := range map[string]string{right: "key-of-the-service\n", wrong: "another-key\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bearer := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(bearer, []byte("token-of-the-service\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	provider := func(issuer string) string {
		return fmt.Sprintf("provider: {name: oidc, issuerURL: %q, clientID: %q, clientSecret: %q}\n", issuer, oauthtest.ClientID, oauthtest.ClientSecret)
	}
	host := func(name, endpoint, more string) string {
		return fmt.Sprintf("{host: %q, scheme: http, endpoint: %q%s}", name, endpoint, more)
	}
	const local = "127.0.0.1:8970"
	for _, test := range []struct {
		name, config string
		want         []string // of each contact: its path, and how what it says begins or goes on
	}{
		{"all is well", provider(idp.URL) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", fmt.Sprintf(", authorizationServers: [{issuer: %q}]", keys.URL)) + "]}",
			[]string{"+provider: the clocks agree", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1", "+proxy.hosts[0].authorizationServers[0]: keys"}},
		{"the provider does not know the secret", strings.Replace(provider(idp.URL), oauthtest.ClientSecret, "expired", 1) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", "") + "]}",
			[]string{"-provider: check clientID, clientSecret and clientAuthMethod, and that the secret has not expired", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"the provider's keys do not come", provider(withoutKeys.URL) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", "") + "]}",
			[]string{"-provider: key set", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"the provider has no key", provider(empty.URL) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", "") + "]}",
			[]string{"-provider: no key for signatures", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"nothing answers", provider(closed.URL) + "proxy: {hosts: [" + host(local, closed.URL+"/mcp", fmt.Sprintf(", authorizationServers: [{issuer: %q}]", closed.URL)) + "]}",
			[]string{"-provider: unavailable", "-proxy.hosts[0].endpoint: unreachable", "+proxy.hosts[0].host: 127.0.0.1", "-proxy.hosts[0].authorizationServers[0]: connection refused"}},
		{"the server wants a credential", provider(idp.URL) + "proxy: {hosts: [" + host(local, refuses.URL+"/mcp", "") + "]}",
			[]string{"+provider: the clocks agree", "-proxy.hosts[0].endpoint: name it in proxy.hosts[0].serverCredential", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"the server gets the credential", provider(idp.URL) + "proxy: {hosts: [" + host(local, protected.URL+"/mcp", fmt.Sprintf(", serverCredential: {file: %q, header: X-Api-Key}", right)) + "]}",
			[]string{"+provider: the clocks agree", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"the server refuses the credential", provider(idp.URL) + "proxy: {hosts: [" + host(local, protected.URL+"/mcp", fmt.Sprintf(", serverCredential: {file: %q, header: X-Api-Key}", wrong)) + "]}",
			[]string{"+provider: the clocks agree", "-proxy.hosts[0].endpoint: it was shown the credential of proxy.hosts[0].serverCredential, in the header X-Api-Key", "+proxy.hosts[0].host: 127.0.0.1"}},
		{"all hosts are in files, of which there is none yet", provider(idp.URL) + "proxy: {hosts: [], hostsFiles: [{files: " + t.TempDir() + "/*.yaml, hosts: ['*.example.com'], endpoints: ['*.svc']}]}",
			[]string{"+provider: the clocks agree"}},
		{"trusted issuers, and keys for which a token is needed", provider(idp.URL) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", "") + "]}\ntrustedIssuers:\n" +
			fmt.Sprintf("- {kind: kubernetes, issuer: %[1]q, jwksURL: %[2]q, tokenFile: %[3]q, rules: [{namespaces: [ci], scopes: [read], resources: ['http://%[4]s/mcp']}]}\n- {kind: workload, issuer: %[5]q, rules: [{anyone: true, scopes: [read], resources: ['http://%[4]s/mcp']}]}\n", asks.URL, asks.URL+"/keys", bearer, local, closed.URL),
			[]string{"+provider: the clocks agree", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1", "+trustedIssuers[0]: 1 keys", "-trustedIssuers[1]: connection refused"}},
		{"another server's keys, for which a token is needed", provider(idp.URL) + "proxy: {hosts: [" + host(local, tools.URL+"/mcp", fmt.Sprintf(", authorizationServers: [{issuer: %q, jwksURL: %q, tokenFile: %q}]", asks.URL, asks.URL+"/keys", bearer)) + "]}",
			[]string{"+provider: the clocks agree", "+proxy.hosts[0].endpoint: tools", "+proxy.hosts[0].host: 127.0.0.1", "+proxy.hosts[0].authorizationServers[0]: 1 keys"}},
		{"a name that is nowhere", provider(idp.URL) + fmt.Sprintf("proxy: {hosts: [{host: no-such-name.invalid, endpoint: %q}]}", tools.URL+"/mcp"),
			[]string{"+provider: the clocks agree", "+proxy.hosts[0].endpoint: tools", "-proxy.hosts[0].host: the name is not found from here"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, err := config.Parse([]byte(test.config), os.ReadFile)
			if err != nil {
				t.Fatal(err)
			}
			found := Online(t.Context(), cfg, nil)
			if len(found) != len(test.want) {
				t.Fatalf("%d contacts: %+v", len(found), found)
			}
			for i, c := range found {
				path, said, _ := strings.Cut(test.want[i][1:], ": ")
				if c.OK != (test.want[i][0] == '+') || c.Path != path || !strings.Contains(c.Said, said) {
					t.Errorf("%+v, want %s", c, test.want[i])
				}
			}
		})
	}
}

// A clock that differs is seen before it costs a sign-in.
func TestOnlineClock(t *testing.T) {
	idp := oauthtest.NewOIDCProvider(t)
	inner, err := url.Parse(idp.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(inner) }, ModifyResponse: func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		return nil
	}})
	t.Cleanup(front.Close)
	cfg, err := config.Parse(fmt.Appendf(nil, "provider: {name: oidc, issuerURL: %q, backchannelURL: %q, clientID: %q, clientSecret: %q}\nproxy: {hosts: [{host: '127.0.0.1:2', scheme: http, endpoint: 'http://127.0.0.1:1/mcp'}]}", idp.URL, front.URL, oauthtest.ClientID, oauthtest.ClientSecret), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := Online(t.Context(), cfg, nil)[0]; c.OK || !strings.Contains(c.Said, "its clock is 10m0s behind this machine's") {
		t.Errorf("%+v", c)
	}
}
