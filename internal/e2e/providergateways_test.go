//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// providerTokenEdits are what docs/provider-tokens.md adds to the recipe of each gateway,
// for form held: the token's header and that of its handle.
var providerTokenEdits = map[string][]string{
	"nginx": {"    auth_request_set $mcp_user ", `    auth_request_set $mcp_idp        $upstream_http_x_forwarded_access_token;
    auth_request_set $mcp_idp_handle $upstream_http_x_forwarded_access_token_handle;
    proxy_set_header X-Forwarded-Access-Token        $mcp_idp;
    proxy_set_header X-Forwarded-Access-Token-Handle $mcp_idp_handle;
    auth_request_set $mcp_user `},
	"Caddy": {"request_header -X-Auth-Request-*", "request_header -X-Auth-Request-*\n\t\t\trequest_header -X-Forwarded-Access-Token\n\t\t\trequest_header -X-Forwarded-Access-Token-Handle",
		"copy_headers X-Auth-Request-User", "copy_headers X-Forwarded-Access-Token X-Forwarded-Access-Token-Handle X-Auth-Request-User"},
	"HAProxy": {"http-request del-header ^x[-_]auth[-_]request[-_] -m reg", "http-request del-header ^x[-_]auth[-_]request[-_] -m reg\n    http-request del-header ^x[-_]forwarded[-_]access[-_]token -m reg"},
	"Envoy HTTP": {"allowed_upstream_headers: {patterns: [{prefix: x-auth-request-, ignore_case: true}",
		"allowed_upstream_headers: {patterns: [{prefix: x-forwarded-access-token, ignore_case: true}, {prefix: x-auth-request-, ignore_case: true}"},
	"Envoy gRPC": {},
	"Traefik":    {"^(X-Auth-Request-.*|Authorization)$", "^(X-Auth-Request-.*|X-Forwarded-Access-Token.*|Authorization)$"},
}

// providerTokenLua is the same for HAProxy's script.
var providerTokenLua = []string{
	`if name:find("^x%-auth%-request%-") then`, `if name:find("^x%-auth%-request%-") or name:find("^x%-forwarded%-access%-token") then`,
}

// passingTokens is kind with its recipe for the provider's token.
func passingTokens(kind gateway) gateway {
	started := kind.start
	if started == nil { // the service itself takes the requests
		return kind
	}
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		site.edit = func(recipe string) string { return substitute(t, recipe, providerTokenEdits[kind.name]...) }
		if kind.name == "HAProxy" {
			return startHAProxy(t, path, site, substitute(t, block(t, "haproxy", "Gate", "lua", 0), providerTokenLua...))
		}
		return started(t, path, site)
	}
	return kind
}

// tokenForgeries are a client's own headers by the names of the token's, in every spelling.
func tokenForgeries() (out []string) {
	for _, name := range []string{"X-Forwarded-Access-Token", "X-Forwarded-Access-Token-Handle"} {
		out = append(out, name, "forged", strings.ToLower(name), "forged", strings.ReplaceAll(name, "-", "_"), "forged",
			strings.Replace(name, "Access-", "Access_", 1), "forged")
	}
	return out
}

// With what docs/provider-tokens.md adds to each recipe, the token reaches the server and
// a client's own header does not: a token that fits, and the handle of one that does not.
func TestProviderTokenAtGateways(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t) // ends here if there is none
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(oauthtest.User{Subject: "alice-1", Email: "alice@example.com", EmailVerified: true})
			idp.GiveRefreshTokens(true)
			idp.SetSizes(oauthtest.LongTokens)
			idp.SetLife(time.Hour)
			passing := passingTokens(kind)
			st := newStack(t, setup{provider: "own", gateway: &passing, idp: func(*testing.T, *stack, string) map[string]any {
				return map[string]any{
					"name": "oidc", "issuerURL": idp.Issuer, "clientID": oauthtest.ClientID, "clientSecret": oauthtest.ClientSecret, "allowedEmailDomains": []string{`example\.com`},
				}
			}, change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["providerToken"] = map[string]any{"token": "access", "form": "held"}
			}})
			got := func(header ...string) http.Header {
				g, _ := signIn(t, st.statelessURL, alice)
				st.stateless.requests()
				resp, body := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, append(bearer(g), header...)...)
				seen := st.stateless.requests()
				if resp.StatusCode != http.StatusOK || len(seen) != 1 {
					t.Fatalf("%d %s, %d requests", resp.StatusCode, body, len(seen))
				}
				for name, values := range seen[0].Header {
					if strings.Contains(strings.Join(values, ""), "forged") {
						t.Errorf("the server gets %s: %s", name, values)
					}
				}
				return seen[0].Header
			}
			for _, forged := range [][]string{nil, tokenForgeries()} {
				h := got(forged...)
				if _, _, live := idp.Live(h.Get("X-Forwarded-Access-Token")); !live || len(h.Values("X-Forwarded-Access-Token")) != 1 || h.Get("X-Forwarded-Access-Token-Handle") != "-" {
					t.Errorf("the server gets the tokens %q and the handles %q", h.Values("X-Forwarded-Access-Token"), h.Values("X-Forwarded-Access-Token-Handle"))
				}
			}
			idp.SetSizes(oauthtest.Sizes{Access: 6000, Refresh: 1900})
			if h := got(tokenForgeries()...); h.Get("X-Forwarded-Access-Token") != "-" || len(h.Get("X-Forwarded-Access-Token-Handle")) < 50 {
				t.Errorf("of a large one the server gets %q and %q", h.Values("X-Forwarded-Access-Token"), h.Values("X-Forwarded-Access-Token-Handle"))
			}
		})
	}
}
