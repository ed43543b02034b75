//go:build e2e

package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// envoyFilters puts both filters into the recipe for gRPC, as the page says.
func envoyFilters(t *testing.T, site gatewaySite) string {
	t.Helper()
	const (
		router = "                  - name: envoy.filters.http.router\n"
		closed = "                            envoy.filters.http.ext_authz:\n"
	)
	return substitute(t, envoyReads(t, site), router, indent(block(t, "envoy", "Lists", "yml", 0), 18)+router,
		closed, indent(block(t, "envoy", "Lists", "yml", 1), 28)+closed)
}

// Behind Envoy's MCP filter lists hold what the token opens, for clients of every
// revision, and what they hold is what can be called.
func TestEnvoyLists(t *testing.T) {
	track(t)
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "Envoy gRPC" })]
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		return startEnvoy(t, path, envoyFilters(t, site))
	}
	st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
		for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
			h.(map[string]any)["toolPolicy"], h.(map[string]any)["envoyMCP"], h.(map[string]any)["hideGrantable"] = "strict", true, true
		}
	}})
	reader, all := alice, alice
	reader.keep = func(scope string) bool { return scope != scopeWrite }
	some, _ := signIn(t, st.statelessURL, reader)
	every, _ := signIn(t, st.statelessURL, all)
	header := func(g grant) []string {
		return append(bearer(g), "Accept", "application/json, text/event-stream", "Content-Type", "application/json", "Accept-Encoding", "gzip")
	}
	for _, row := range []struct {
		name   string
		g      grant
		lying  []string
		hidden bool
	}{
		{"granted all", every, nil, false},
		{"granted some", some, nil, true},
		{"granted some, headers that lie", some, []string{"Mcp-Method", "tools/call", "Mcp-Name", "read_notes", "MCP-Protocol-Version", "2025-11-25"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("tools/list", `{}`)), append(header(row.g), row.lying...)...)
			mustEqual(t, "status", resp.StatusCode, http.StatusOK)
			if !strings.Contains(string(text), `"read_notes"`) || strings.Contains(string(text), `"write_note"`) == row.hidden {
				t.Errorf("%s", text)
			}
			if got := resp.Header.Get("Cache-Control"); got != "private, no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
	t.Run("a server of HTTP+SSE acknowledges", func(t *testing.T) {
		resp, text := do(t, http.MethodPost, st.statelessURL+"/probe/accepted", strings.NewReader(rpc("tools/list", `{}`)), header(some)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusAccepted)
		mustEqual(t, "body", string(text), "")
	})
	t.Run("a call is not touched", func(t *testing.T) {
		resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("tools/call", `{"name":"read_notes","arguments":{}}`)), header(some)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		if !strings.Contains(string(text), `"content"`) {
			t.Errorf("%s", text)
		}
	})
	t.Run("a megabyte goes by", func(t *testing.T) {
		resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("tools/call", `{"name":"write_note","arguments":{"text":"`+strings.Repeat("y", 900_000)+`"}}`)), header(every)...)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%d: %.200s", resp.StatusCode, text)
		}
	})
	for _, mode := range []string{"legacy", "auto"} {
		t.Run("TypeScript SDK, "+mode, func(t *testing.T) {
			track(t)
			got := runTSClient(t, st.statelessURL, "MODE="+mode, "TOOLS=read_notes", "KEEP="+scopeRead)
			mustEqual(t, "error of read_notes", got.Calls["read_notes"].Error, "")
			if !slices.Contains(got.Tools, "read_notes") || slices.Contains(got.Tools, "write_note") {
				t.Errorf("it sees %q", got.Tools)
			}
		})
	}
	t.Run("closed when the service is away", func(t *testing.T) {
		st.service.stop(t)
		resp, text := do(t, http.MethodPost, st.statelessURL, strings.NewReader(rpc("tools/list", `{}`)), header(every)...)
		if resp.StatusCode < 500 || strings.Contains(string(text), "read_notes") {
			t.Errorf("%d: %s", resp.StatusCode, text)
		}
	})
}
