//go:build e2e

package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// envoyReads puts the MCP filter into the recipe for gRPC, as the page says.
func envoyReads(t *testing.T, site gatewaySite) string {
	t.Helper()
	const part = "The body, read by Envoy"
	const (
		authz  = "                  - name: envoy.filters.http.ext_authz\n"
		grpc   = "                      transport_api_version: V3\n"
		closed = "                            envoy.filters.http.ext_authz:\n"
	)
	return substitute(t, envoyGRPC(t, site), authz, indent(block(t, "envoy", part, "yml", 0), 18)+authz,
		grpc, grpc+indent(block(t, "envoy", part, "yml", 1), 22), closed, indent(block(t, "envoy", part, "yml", 2), 28)+closed)
}

func indent(text string, n int) string {
	margin := strings.Repeat(" ", n)
	return margin + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+margin) + "\n"
}

// What Envoy's MCP filter reads decides for clients of every revision, also
// where a request has no headers of MCP or some that lie, with no body sent.
func TestEnvoyMCPFilter(t *testing.T) {
	track(t)
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "Envoy gRPC" })]
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		return startEnvoy(t, path, envoyReads(t, site))
	}
	st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
		for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
			h.(map[string]any)["toolPolicy"], h.(map[string]any)["envoyMCP"] = "strict", true
		}
	}})
	person := alice
	person.keep = func(scope string) bool { return scope != scopeWrite }
	g, _ := signIn(t, st.statelessURL, person)

	long := strings.Repeat("y", 20_000)
	for _, row := range []struct {
		name, body string
		header     []string
		status     int
		reached    bool
	}{
		{name: "a tool that is granted", body: rpc("tools/call", `{"name":"read_notes","arguments":{}}`), status: 200, reached: true},
		{name: "a list", body: rpc("tools/list", `{}`), status: 200, reached: true},
		{name: "a tool that is not", body: rpc("tools/call", `{"name":"write_note","arguments":{}}`), status: 403},
		{name: "a tool that is not, lying headers", body: rpc("tools/call", `{"name":"write_note","arguments":{}}`), header: []string{"Mcp-Method", "tools/list", "Mcp-Name", "read_notes"}, status: 403},
		{name: "a long argument before the name", body: rpc("tools/call", `{"arguments":{"x":"`+long+`"},"name":"write_note"}`), status: 403},
		{name: "another name after a long argument", body: rpc("tools/call", `{"name":"read_notes","arguments":{"x":"`+long+`"},"name":"write_note"}`), status: 400},
		{name: "two methods", body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"write_note"},"method":"tools/call"}`, status: 400},
		{name: "two names by an escape", body: rpc("tools/call", `{"name":"read_notes","n\u0061me":"write_note"}`), status: 400},
		{name: "two params", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_notes"},"params":{"name":"write_note"}}`, status: 400},
		{name: "a batch", body: `[` + rpc("tools/call", `{"name":"write_note"}`) + `]`, status: 400},
		{name: "two messages", body: rpc("tools/list", `{}`) + rpc("tools/call", `{"name":"write_note"}`), status: 400},
		{name: "no JSON", body: "name=write_note", status: 400},
		{name: "another media type", body: rpc("tools/call", `{"name":"write_note"}`), header: []string{"Content-Type", "text/plain"}, status: 400},
		{name: "another charset", body: rpc("tools/call", `{"name":"read_notes"}`), header: []string{"Content-Type", "application/json; charset=utf-16"}, status: 415},
		{name: "compressed", body: rpc("tools/call", `{"name":"read_notes"}`), header: []string{"Content-Encoding", "gzip"}, status: 415},
		{name: "a name that is a number", body: rpc("tools/call", `{"name":5}`), status: 400},
		{name: "larger than the bound", body: rpc("tools/call", `{"name":"read_notes","arguments":{"x":"`+strings.Repeat(long, 60)+`"}}`), status: 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			st.stateless.requests()
			header := append(bearer(g), "Accept", "application/json, text/event-stream", "MCP-Protocol-Version", "2025-11-25")
			if !slices.Contains(row.header, "Content-Type") {
				header = append(header, "Content-Type", "application/json")
			}
			resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(row.body), append(header, row.header...)...)
			if resp.StatusCode != row.status || len(st.stateless.requests()) > 0 != row.reached {
				t.Errorf("%d, reached %v, want %d, %v: %.300s", resp.StatusCode, !row.reached, row.status, row.reached, text)
			}
		})
	}
	// The one thing that Envoy cannot see: the server must compare by case, as the
	// page says that the SDKs do.
	t.Run("a name in another case", func(t *testing.T) {
		answer := func(params string) string {
			resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("tools/call", params)),
				append(bearer(g), "Accept", "application/json, text/event-stream", "Content-Type", "application/json", "MCP-Protocol-Version", "2025-11-25")...)
			mustEqual(t, "status", resp.StatusCode, http.StatusOK)
			return string(text)
		}
		mustEqual(t, "what the server does", answer(`{"name":"read_notes","Name":"write_note","arguments":{}}`), answer(`{"name":"read_notes","arguments":{}}`))
	})
	t.Run("without a token", func(t *testing.T) {
		resp, _ := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("initialize", `{}`)), "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
		mustEqual(t, "status", resp.StatusCode, http.StatusUnauthorized)
	})
	t.Run("TypeScript SDK of an older revision", func(t *testing.T) {
		track(t)
		got := runTSClient(t, st.statelessURL, "MODE=legacy", "TOOLS=read_notes", "KEEP="+scopeRead)
		wantAlice(t, got.Whoami.identity(t))
		mustEqual(t, "error of read_notes", got.Calls["read_notes"].Error, "")
		if got.ProtocolVersion >= modern {
			t.Errorf("it speaks %s", got.ProtocolVersion)
		}
	})
	t.Run("TypeScript SDK steps up", func(t *testing.T) {
		track(t)
		typeScriptStepsUp(t, st)
	})
}

// rpc is a JSON-RPC request.
func rpc(method, params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
}
