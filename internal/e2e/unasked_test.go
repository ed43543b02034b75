//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
)

// publicTargets are the paths that no gateway asks about.
var publicTargets = []string{
	"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server",
	"/.well-known/openid-configuration", "/openid/v1/jwks", "/register", "/authorize", "/consent", "/login", "/callback", "/callback/corp",
	"/token", "/revoke", "/mcp/.well-known/openid-configuration",
}

// unaskedTargets are what a careless MCP server takes for its own path, or a
// careless gateway for a public one: other case, dots, semicolons, encoded and
// doubled slashes, and each public path with a way out of it appended.
func unaskedTargets() []string {
	targets := []string{
		"/mcp", "/mcp/", "/MCP", "/Mcp", "/mCP/x", "/mcpx", "/mcp.", "/mcp..", "/mcp.json", "/mcp;x", "/mcp;x=1", "/mcp;/x", "/;/mcp", "/;x/mcp",
		"//mcp", "///mcp", "//mcp//x", "/./mcp", "/x/../mcp", "/x/%2e%2e/mcp", "/x/.%2e/mcp", "/x/%2E%2E/mcp", "/x//../mcp", "/..//mcp",
		"/%6dcp", "/%6Dcp", "/%4Dcp", "/%4d%43%50", "/m%63p/x", "/%2fmcp", "/%2Fmcp", "/mcp%2f", "/mcp%2Fx", "/mcp%2f%2fx", "/x%2f..%2fmcp", "/x%5c..%5cmcp", `/x\..\mcp`, `/\mcp`,
		"/mcp%20", "/mcp%20/", "/mcp%09", "/mcp%00", "/mcp%0a", "/mcp%3fx", "/mcp%3Fx", "/mcp%23x", "/mcp%3b", "/mcp?x", "/mcp?/../x", "/mcp#x", "/mcp%25", "/%256dcp", "/mcp%c0%af", "/%c0%afmcp",
		"/mcp*", "/mcp+", "/mcp~", "/mcp'", "/mcp$", "/mcp@x", "/mcp:80", "/mcp,x", "/mcp!", "/mcp&x", "/mcp=1",
		"/", "/x", "/sse", "/messages", "/messages/", "/message?sessionId=1", "/api", "/index.html", "/_mcp_auth", "/authenticate", "/metrics",
	}
	for _, public := range publicTargets {
		up := strings.Repeat("/..", strings.Count(public, "/"))
		for _, trick := range []string{
			"/..", "/../mcp", up + "/mcp", "/x" + up + "/../mcp", ";/../mcp", ";/mcp", "/..;/mcp", "/;/../mcp", "/.;/mcp", "//../mcp", "//mcp", "/./../mcp",
			"/%2e%2e/mcp", "/%2e%2e%2fmcp", "/..%2fmcp", "%2f..%2fmcp", "%2f%2e%2e%2fmcp", "/%252e%252e/mcp", "%5c..%5cmcp", "/..%5cmcp", `\..\mcp`, `/..\mcp`, "%00/../mcp", "%20/../mcp", "%3f/../mcp", "%23/../mcp",
			"x", ".", ";", "%20", "%00", "/mcp", "?/../mcp", "#/../mcp",
		} {
			if target := public + trick; !slices.Contains(publicTargets, target) {
				targets = append(targets, target)
			}
		}
		targets = append(targets, strings.ToUpper(public), "/"+public, strings.Replace(public, "/", "/%2e/", 1), "/mcp"+public, "/MCP"+public, "/mcp/.."+public+"/../mcp")
	}
	return targets
}

// unaskedHosts are what a client can write for the host of the MCP server.
func (b *gatewayBench) unaskedHosts() []string {
	name, other, port := b.name, b.otherName, b.port
	return []string{name + ":" + port, name, name + ".", name + ".:" + port, name + ":1", name + ":", other, strings.ToUpper(other) + ":" + port, other + ".", "mcp.example.com", "MCP.example.com",
		"mcp.example.com.", "mcp.example.com:1", "evil.example.com", "[::1]", "x"}
}

// unaskedPaths sends requests without a token: none may come to the MCP server.
func (b *gatewayBench) unaskedPaths() string {
	for _, target := range unaskedTargets() {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			b.raw(method + " " + target + " HTTP/1.1\r\nHost: " + b.host() + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") // a gateway may hang up
			if seen := b.stateless.requests(); len(seen) > 0 {
				return fmt.Sprintf("%s %s reached the MCP server as %s", method, target, seen[0].RequestURI)
			}
		}
	}
	for _, host := range b.unaskedHosts() {
		for _, target := range []string{"/mcp", "/MCP", "http://" + b.host() + "/mcp", "/authorize/../mcp"} {
			b.raw("POST " + target + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if seen := b.stateless.requests(); len(seen) > 0 {
				return fmt.Sprintf("POST %s with Host %s reached the MCP server as %s", target, host, seen[0].RequestURI)
			}
		}
	}
	return "nothing passes"
}

// tokenAtServer looks for the client's token in what the MCP server gets.
func (b *gatewayBench) tokenAtServer() string {
	resp, _ := do(b.t, "GET", b.echo(), nil, bearer(b.grant)...)
	mustEqual(b.t, "status", resp.StatusCode, http.StatusOK)
	for _, seen := range b.stateless.requests() {
		if len(seen.Header.Values("Authorization")) > 0 {
			return "reaches the MCP server"
		}
	}
	return "does not reach the MCP server"
}

// widened are the recipes with a route for the whole host to the MCP server, as
// one that an operator adds without a thought of the gate.
var widened = map[string]func(t *testing.T, recipe string) string{
	"nginx": func(t *testing.T, recipe string) string {
		return substitute(t, recipe, "    location @mcp_auth_down {", "    location / { proxy_pass http://mcp; }\n    location = /MCP { proxy_pass http://mcp; }\n    location @mcp_auth_down {")
	},
	"Caddy":   asItIs,
	"HAProxy": asItIs,
	"Envoy HTTP": func(t *testing.T, recipe string) string {
		return substitute(t, recipe, "- match: {path_separated_prefix: /mcp}", `- match: {prefix: "/"}`)
	},
	"Envoy gRPC": func(t *testing.T, recipe string) string {
		return substitute(t, recipe, "- match: {path_separated_prefix: /mcp}", `- match: {prefix: "/"}`)
	},
	"Traefik": asItIs,
}

// asItIs is for recipes that send everything of the host to the MCP server.
func asItIs(_ *testing.T, recipe string) string { return recipe }

// TestWideRoutes has each gateway send the whole host to the MCP server. What is
// not asked reaches it then, if there is any such thing.
func TestWideRoutes(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			track(t)
			start, widen := kind.start, widened[kind.name]
			kind.start = func(t *testing.T, path string, site gatewaySite) *process {
				site.edit = func(recipe string) string { return widen(t, recipe) }
				return start(t, path, site)
			}
			askEverything(t, kind)
		})
	}
}

// askEverything wants that nothing passes a gateway unasked, and that it works.
func askEverything(t *testing.T, kind gateway) {
	t.Helper()
	kind.path(t) // ends here if there is none
	b := &gatewayBench{stack: newStack(t, setup{provider: "static", gateway: &kind}), kind: kind, t: t, parent: t}
	b.grant, _ = signIn(t, b.statelessURL, alice)
	b.stateless.requests()
	mustEqual(t, "no token", b.anonymous(), "401 with a challenge")
	mustEqual(t, "what is not asked", b.unaskedPaths(), "nothing passes")
	mustEqual(t, "a good token", b.goodToken(), passes)
	b.stateless.requests()
	mustEqual(t, "the token", b.tokenAtServer(), "does not reach the MCP server")
}

// The row fails where a recipe asks about the path of the MCP server alone.
func TestWideRoutesNoticeAHole(t *testing.T) {
	track(t)
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "nginx" })]
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		recipe := block(t, "nginx", gateways.Whole, "nginx", 0)
		const ask = "    auth_request /_mcp_auth;\n"
		recipe = substitute(t, recipe, ask, "", "        error_page 500 = @mcp_auth_down;", "    "+ask+"        error_page 500 = @mcp_auth_down;")
		site.edit = func(string) string { return widened["nginx"](t, recipe) }
		return recipeNginx(t, path, site)
	}
	b := &gatewayBench{stack: newStack(t, setup{provider: "static", gateway: &kind}), kind: kind, t: t, parent: t}
	if got := b.unaskedPaths(); !strings.Contains(got, "reached the MCP server") {
		t.Errorf("a gate on /mcp alone and a route for the whole host: %s", got)
	}
}
