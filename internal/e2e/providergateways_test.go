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
	"Traefik":    {"^(X-Auth-Request-.*|Authorization|Dpop)$", "^(X-Auth-Request-.*|X-Forwarded-Access-Token.*|Authorization|Dpop)$"},
}

// providerTokenLua is the same for HAProxy's script.
var providerTokenLua = []string{
	`if name:find("^x%-auth%-request%-") then`, `if name:find("^x%-auth%-request%-") or name:find("^x%-forwarded%-access%-token") then`,
}

// authorizationEdits are what docs/server-credential.md and docs/provider-tokens.md have
// where the header is Authorization.
var authorizationEdits = map[string][]string{
	"nginx": {`proxy_set_header Authorization "";`, `auth_request_set $credential $upstream_http_authorization;
        proxy_set_header Authorization $credential;`},
	"Caddy":      {"copy_headers X-Auth-Request-User", "copy_headers Authorization X-Auth-Request-User", "header_up -Authorization", "header_up X-Unused 1"},
	"HAProxy":    {"    http-request del-header authorization if !is_service\n", ""},
	"Envoy HTTP": {"{patterns: [{prefix: x-auth-request-, ignore_case: true}]}", "{patterns: [{exact: authorization, ignore_case: true}, {prefix: x-auth-request-, ignore_case: true}]}", "                          request_headers_to_remove: [authorization]\n", ""},
	"Envoy gRPC": {"                          request_headers_to_remove: [authorization]\n", ""},
	"Traefik":    {},
}

var authorizationLua = []string{
	`if name:find("^x%-auth%-request%-") then`, `if name:find("^x%-auth%-request%-") or name == "authorization" then`,
}

// passingTokens is kind with its recipe for the provider's token.
func passingTokens(kind gateway) gateway {
	return edited(kind, providerTokenEdits[kind.name], providerTokenLua)
}

// edited is kind with changes to its recipe, and to HAProxy's script.
func edited(kind gateway, edits, lua []string) gateway {
	started := kind.start
	if started == nil { // the service itself takes the requests
		return kind
	}
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		site.edit = func(recipe string) string { return substitute(t, recipe, edits...) }
		if kind.name == "HAProxy" {
			return startHAProxy(t, path, site, substitute(t, block(t, "haproxy", "Gate", "lua", 0), lua...))
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
			st := tokenStack(t, passingTokens(kind), idp, map[string]any{"token": "access", "form": "held"})
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

// tokenStack is a stack whose first MCP server gets tokens of the provider.
func tokenStack(t *testing.T, kind gateway, idp *oauthtest.OIDCProvider, section map[string]any) *stack {
	t.Helper()
	return newStack(t, setup{provider: "own", gateway: &kind, idp: func(*testing.T, *stack, string) map[string]any {
		return map[string]any{
			"name": "oidc", "issuerURL": idp.Issuer, "clientID": oauthtest.ClientID, "clientSecret": oauthtest.ClientSecret, "allowedEmailDomains": []string{`example\.com`},
		}
	}, change: func(file map[string]any) {
		file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["providerToken"] = section
	}})
}

// With Authorization for the header the provider's token takes the place of the client's.
func TestProviderTokenInAuthorization(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t) // ends here if there is none
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(oauthtest.User{Subject: "alice-1", Email: "alice@example.com", EmailVerified: true})
			idp.GiveRefreshTokens(true)
			idp.SetLife(time.Hour)
			st := tokenStack(t, edited(kind, authorizationEdits[kind.name], authorizationLua), idp, map[string]any{"token": "access", "form": "held", "header": "Authorization"})
			g, _ := signIn(t, st.statelessURL, alice)
			st.stateless.requests()
			resp, body := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, bearer(g)...)
			seen := st.stateless.requests()
			if resp.StatusCode != http.StatusOK || len(seen) != 1 {
				t.Fatalf("%d %s, %d requests", resp.StatusCode, body, len(seen))
			}
			got := seen[0].Header.Values("Authorization")
			if _, _, live := idp.Live(strings.TrimPrefix(strings.Join(got, ""), "Bearer ")); !live || len(got) != 1 || strings.Contains(got[0], g.AccessToken) {
				t.Errorf("the server gets %q", got)
			}
		})
	}
}
