//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
)

// keyEdits are the changes of each gateway's recipe by which a key comes in a header
// of its own and does not reach the MCP server, as docs/api-keys.md has them.
var keyEdits = map[string][]string{
	"nginx":      {`proxy_set_header Authorization "";`, "proxy_set_header Authorization \"\";\n        proxy_set_header X-API-Key \"\";"},
	"Caddy":      {"header_up -Authorization", "header_up -Authorization\n\t\t\t\theader_up -X-API-Key"},
	"HAProxy":    {"http-request del-header authorization if !is_service", "http-request del-header authorization if !is_service\n    http-request del-header x-api-key if !is_service"},
	"Envoy HTTP": {"{exact: origin, ignore_case: true}", "{exact: origin, ignore_case: true}, {exact: x-api-key, ignore_case: true}, {exact: x-forwarded-for, ignore_case: true}"},
	"Envoy gRPC": {},
	"Traefik":    {"^(X-Auth-Request-.*|Authorization|Dpop)$", "^(X-Auth-Request-.*|Authorization|Dpop|X-Api-Key)$"},
}

// A key opens the MCP server through each real gateway, in either header, and does
// not reach it; a gateway's word about the client's address counts, and a client's own
// does not.
func TestAPIKeys(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			started := kind.start
			kind.start = func(t *testing.T, path string, site gatewaySite) *process {
				site.edit = func(recipe string) string {
					if len(keyEdits[kind.name]) == 0 {
						return recipe
					}
					return substitute(t, recipe, keyEdits[kind.name]...)
				}
				if kind.name == "HAProxy" { // its script names what it passes on
					return startHAProxy(t, path, site, substitute(t, block(t, "haproxy", "Gate", "lua", 0), `"authorization", "dpop",`, `"authorization", "x-api-key", "dpop",`))
				}
				return started(t, path, site)
			}
			keys := filepath.Join(t.TempDir(), "keys.yaml")
			free, freeHash := apikey.NewKey()
			here, hereHash := apikey.NewKey()
			away, awayHash := apikey.NewKey()
			write := func(lines ...string) {
				t.Helper()
				if err := os.WriteFile(keys, []byte("keys:\n"+strings.Join(lines, "")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			entry := func(name, hash, more string) string {
				return "- {name: " + name + ", hashes: ['" + hash + "'], scopes: ['notes:read'], neverExpires: true" + more + "}\n"
			}
			rest := entry("here", hereHash, ", sources: ["+strings.Join(ownNetworks(t), ", ")+"]") + entry("away", awayHash, ", sources: [203.0.113.0/24]")
			write(entry("free", freeHash, ""), rest)
			st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
				gateways := "127.0.0.0/8"
				if strings.HasPrefix(kind.name, "none") { // the client itself comes from there
					gateways = "192.0.2.0/24"
				}
				file["listen"].(map[string]any)["trustedProxies"] = []any{gateways}
				file["apiKeys"] = map[string]any{"file": keys}
				for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
					h.(map[string]any)["apiKeys"] = map[string]any{"enabled": true, "header": "X-API-Key"}
				}
			}})
			ask := func(header ...string) *http.Response {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, st.statelessURL+"/probe/echo", nil)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(header); i += 2 {
					req.Header.Set(header[i], header[i+1])
				}
				resp, err := browser.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp
			}
			for _, tt := range []struct {
				name   string
				header []string
				status int
			}{
				{"as a token", []string{"Authorization", "Bearer " + free}, 200},
				{"in its own header", []string{"X-API-Key", free}, 200},
				{"from where it may come", []string{"Authorization", "Bearer " + here}, 200},
				{"from elsewhere", []string{"Authorization", "Bearer " + away}, 401},
				{"from elsewhere, by the client's own word", []string{"Authorization", "Bearer " + away, "X-Forwarded-For", "203.0.113.7"}, 401},
				{"mistyped", []string{"X-API-Key", free[:len(free)-1]}, 401},
			} {
				resp := ask(tt.header...)
				if resp.StatusCode != tt.status {
					t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.status)
				}
				if challenge := resp.Header.Get("WWW-Authenticate"); tt.status == 401 && (!strings.Contains(challenge, "the API key") || strings.Contains(challenge, "resource_metadata")) {
					t.Errorf("%s: challenge %q", tt.name, challenge)
				}
			}
			seen := st.stateless.requests()
			mustEqual(t, "requests that reached the MCP server", len(seen), 3)
			for _, r := range seen {
				if r.Header.Get("X-Api-Key") != "" || strings.Contains(r.Header.Get("Authorization"), apikey.Prefix) {
					t.Error("the key reached the MCP server")
				}
				if user := r.Header.Get("X-Auth-Request-User"); !strings.HasPrefix(user, "apikey:") {
					t.Errorf("user %q", user)
				}
			}
			write(rest)
			waitFor(t, "a key that was removed", func() bool { return ask("X-API-Key", free).StatusCode == http.StatusUnauthorized })
		})
	}
}

// ownNetworks are the addresses of this machine: Envoy puts one of them in the place
// of a client's on loopback.
func ownNetworks(t *testing.T) []string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	networks := []string{"127.0.0.0/8"}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			networks = append(networks, fmt.Sprintf("'%s/%d'", p.Addr(), p.Addr().BitLen()))
		}
	}
	return networks
}
