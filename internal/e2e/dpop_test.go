//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// proofEdits are the changes of each gateway's recipe by which nonces reach the client
// with an answer of the MCP server, as docs/dpop.md has them. That proofs end at the
// gateway is in the recipes.
var proofEdits = map[string][]string{
	"nginx": {`proxy_set_header DPoP "";`, `proxy_set_header DPoP "";
        auth_request_set $mcp_dpop_nonce $upstream_http_dpop_nonce;
        add_header DPoP-Nonce $mcp_dpop_nonce always;`},
	"HAProxy":    {"http-request del-header dpop if !is_service", "http-request del-header dpop if !is_service\n    http-response set-header DPoP-Nonce %[var(txn.mcp_nonce)] if { var(txn.mcp_nonce) -m found }"},
	"Envoy HTTP": {"allowed_upstream_headers: {patterns: [{prefix: x-auth-request-, ignore_case: true}]}", "allowed_upstream_headers: {patterns: [{prefix: x-auth-request-, ignore_case: true}]}\n                          allowed_client_headers_on_success: {patterns: [{exact: dpop-nonce, ignore_case: true}]}"},
}

// proofLua are those of HAProxy's script.
var proofLua = []string{
	`local told = { "www-authenticate",`, `local told = { "www-authenticate", "dpop-nonce",`,
	`    txn:set_var("txn.mcp_auth", "allowed")`, `    if headers["dpop-nonce"] then txn:set_var("txn.mcp_nonce", headers["dpop-nonce"][0]) end` + "\n" + `    txn:set_var("txn.mcp_auth", "allowed")`,
}

// pushEdits are the changes by which /par reaches the service, as docs/dpop.md has them.
var pushEdits = map[string][]string{
	"nginx": {"|token|revoke|", "|token|par|revoke|"}, "Envoy HTTP": {"|token|revoke|", "|token|par|revoke|"}, "Traefik": {"|token|revoke|", "|token|par|revoke|"},
	"Envoy gRPC": {"|token|revoke|", "|token|par|revoke|"}, "Caddy": {" /token /revoke ", " /token /par /revoke "}, "HAProxy": {" /token /revoke ", " /token /par /revoke "},
}

// proving is kind with its recipe for proofs.
func proving(kind gateway) gateway {
	started := kind.start
	if started == nil { // the service itself takes the requests
		return kind
	}
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		site.edit = func(recipe string) string {
			return substitute(t, recipe, append(slices.Clone(proofEdits[kind.name]), pushEdits[kind.name]...)...)
		}
		if kind.name == "HAProxy" {
			return startHAProxy(t, path, site, substitute(t, block(t, "haproxy", "Gate", "lua", 0), proofLua...))
		}
		return started(t, path, site)
	}
	return kind
}

// withProofs is a stack behind kind whose MCP servers have dpop.
func withProofs(t *testing.T, kind gateway, mode string, nonces bool) *stack {
	t.Helper()
	kind = proving(kind)
	return newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
		file["keys"] = map[string]any{"source": "seed", "seedFiles": []string{write(t, "seed", seedOfTests)}}
		for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
			h.(map[string]any)["dpop"] = mode
		}
		file["pushedRequests"] = map[string]any{"enabled": true}
		if nonces {
			file["dpop"] = map[string]any{"nonces": true, "nonceLifetime": "30s"}
		}
	}})
}

// survivors reads the table of docs/dpop.md: by gateway, whether a nonce reaches the
// client with an answer of the MCP server.
func survivors(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/dpop.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \| yes \| yes \| (yes|no) \|`).FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			found[name] = row[2] == "yes"
		}
	}
	return found
}

// A proof is checked against what each real gateway says of the request, ends there, and
// nonces survive as docs/dpop.md says.
func TestDPoPThroughGateways(t *testing.T) {
	table := survivors(t)
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t) // ends here if there is none
			b := &gatewayBench{stack: withProofs(t, kind, "accepted", true), t: t, kind: kind}
			b.grant, _ = signIn(t, b.statelessURL, alice) // as a client that knows nothing of DPoP
			key := dpoptest.New("ES256")
			raw := b.minted(time.Now(), func(c *token.Claims) { c.Confirmation.Thumbprint = key.Thumbprint() })
			ask := func(header ...string) *http.Response {
				resp, _ := do(t, "GET", b.echo()+"?q=1", nil, header...)
				return resp
			}
			proof := func(changes ...dpoptest.Change) string {
				return key.Proof("GET", b.echo(), append([]dpoptest.Change{dpoptest.Token(raw)}, changes...)...)
			}
			b.stateless.requests()
			first := ask("Authorization", "DPoP "+raw, "DPoP", proof())
			key.Nonce = first.Header.Get("DPoP-Nonce")
			if first.StatusCode != 401 || key.Nonce == "" || !strings.Contains(first.Header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) {
				t.Fatalf("without a nonce: %d %v", first.StatusCode, first.Header)
			}
			if got := ask("Authorization", "DPoP "+raw, "DPoP", proof()); got.StatusCode != 200 {
				t.Fatalf("with a proof: %d %v", got.StatusCode, got.Header)
			}
			for name, tt := range map[string]struct {
				header []string
				code   string
			}{
				"another method":  {[]string{"Authorization", "DPoP " + raw, "DPoP", proof(dpoptest.Claim("htm", "POST"))}, "invalid_dpop_proof"},
				"another URL":     {[]string{"Authorization", "DPoP " + raw, "DPoP", proof(dpoptest.Claim("htu", b.statelessURL))}, "invalid_dpop_proof"},
				"lying headers":   {[]string{"Authorization", "DPoP " + raw, "DPoP", proof(dpoptest.Claim("htu", "https://evil.example/mcp/probe/echo")), "X-Forwarded-Host", "evil.example", "X-Original-URL", "https://evil.example/mcp/probe/echo"}, "invalid_dpop_proof"},
				"two proofs":      {[]string{"Authorization", "DPoP " + raw, "DPoP", proof(), "DPoP", proof()}, "invalid_dpop_proof"},
				"bound as Bearer": {[]string{"Authorization", "Bearer " + raw, "DPoP", proof()}, "invalid_token"},
			} {
				got := ask(tt.header...)
				if got.StatusCode != 401 || !strings.Contains(got.Header.Get("WWW-Authenticate"), `DPoP error="`+tt.code+`"`) {
					t.Errorf("%s: %d %q", name, got.StatusCode, got.Header.Get("WWW-Authenticate"))
				}
			}
			used := proof()
			if got := ask("Authorization", "DPoP "+raw, "DPoP", used); got.StatusCode != 200 {
				t.Errorf("a proof: %d", got.StatusCode)
			}
			if got := ask("Authorization", "DPoP "+raw, "DPoP", used); got.StatusCode != 401 {
				t.Errorf("the same again: %d", got.StatusCode)
			}
			if got := ask(bearer(b.grant)...); got.StatusCode != 200 || got.Header.Get("DPoP-Nonce") != "" {
				t.Errorf("an ordinary token: %d %v", got.StatusCode, got.Header)
			}
			time.Sleep(16 * time.Second) // half of a nonce's life
			old := ask("Authorization", "DPoP "+raw, "DPoP", proof())
			want, listed := table[kind.name]
			if strings.HasPrefix(kind.name, "none") {
				want, listed = table["none: served here"], true
			}
			if carried := old.Header.Get("DPoP-Nonce") != ""; old.StatusCode != 200 || carried != want || !listed {
				t.Errorf("an old nonce: %d, the next one arrives: %v, docs/dpop.md says %v (listed: %v)", old.StatusCode, carried, want, listed)
			}
			for _, r := range b.stateless.requests() {
				if len(r.Header["Dpop"]) > 0 || r.Header.Get("Authorization") != "" {
					t.Errorf("a proof or token reached the MCP server: %v", r.Header)
				}
			}
		})
	}
}

// dpopReport is the line that hack/e2e/dpop-client.mjs prints.
type dpopReport struct {
	TokenType      string `json:"tokenType"`
	BoundToKey     bool   `json:"boundToKey"`
	Get            int    `json:"get"`
	Post           int    `json:"post"`
	AsBearer       int    `json:"asBearer"`
	Challenge      string `json:"challenge"`
	Timeout        int    `json:"timeout"`
	RefreshedType  string `json:"refreshedType"`
	RefreshedToKey bool   `json:"refreshedToKey"`
	AfterRefresh   int    `json:"afterRefresh"`
	Error          string `json:"error"`
}

// Clients of other makers sign in, call and refresh, where nothing but bound tokens
// with nonces is taken.
func TestDPoPClients(t *testing.T) {
	for _, kind := range gatewayKinds {
		switch kind.name {
		case "nginx", "Envoy HTTP", "Traefik", "none: [served](../served-hosts.md)":
		default:
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t)
			st := withProofs(t, kind, "required", true)
			for _, library := range []string{"oauth4webapi", "openid-client", "dpop", "oauth4webapi pushed", "openid-client pushed"} {
				t.Run(library, func(t *testing.T) {
					name, pushed := strings.CutSuffix(library, " pushed")
					var env []string
					if pushed {
						env = []string{"PUSHED=1"}
					}
					r := drive[dpopReport](t, "dpop-client.mjs", env, st.statelessURL, name)
					want := dpopReport{
						TokenType: "dpop", BoundToKey: true, Get: 200, Post: 200, AsBearer: 401, Challenge: r.Challenge, Timeout: r.Timeout,
						RefreshedType: "dpop", RefreshedToKey: true, AfterRefresh: 200,
					}
					if r != want || !strings.HasPrefix(r.Challenge, `DPoP error="invalid_token"`) || r.Timeout <= 0 {
						t.Errorf("%+v", r)
					}
				})
			}
			t.Run("TypeScript SDK", func(t *testing.T) {
				r := runTSClient(t, st.statelessURL, "DPOP=1", "REFRESH=1")
				if !strings.EqualFold(r.TokenType, "DPoP") || !r.Refresh.NewAccessToken {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
