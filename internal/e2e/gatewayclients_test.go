//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"sigs.k8s.io/yaml"
)

// TestClientsThroughGateways has the official clients sign in, call a tool, be
// refused another, ask for more and call it, through every gateway.
func TestClientsThroughGateways(t *testing.T) { clientsThrough(t, withLibrary) }

func clientsThrough(t *testing.T, kinds []gateway) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t) // ends here if there is none
			st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
				if kind.name == "nginx" { // whose page keeps the challenge of a 403
					file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["stepUp"] = "403"
				}
			}})
			t.Run("Go SDK", func(t *testing.T) {
				track(t)
				goSDKStepsUp(t, st)
			})
			t.Run("TypeScript SDK", func(t *testing.T) {
				track(t)
				typeScriptStepsUp(t, st)
			})
		})
	}
}

func goSDKStepsUp(t *testing.T, st *stack) {
	t.Helper()
	person, more := alice, false
	person.keep = func(scope string) bool { return more || scope != scopeWrite }
	session := connectGoSDK(t, st.statelessURL, modern, person)
	wantAlice(t, whoami(t, session))
	mustCall(t, session, "read_notes")
	st.stateless.requests()
	more = true
	mustCall(t, session, "write_note")
	mustEqual(t, "number of calls that reached the MCP server", toolCalls(st.stateless.requests(), "write_note"), 1)
	mustCall(t, session, "read_notes") // what was granted before is not lost
}

func mustCall(t *testing.T, session *mcp.ClientSession, tool string) {
	t.Helper()
	if res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool}); err != nil || res.IsError {
		t.Errorf("%s: %v %+v", tool, err, res)
	}
}

func toolCalls(requests []*http.Request, tool string) int {
	n := 0
	for _, r := range requests {
		if r.Header.Get("Mcp-Method") == "tools/call" && r.Header.Get("Mcp-Name") == tool {
			n++
		}
	}
	return n
}

func typeScriptStepsUp(t *testing.T, st *stack) {
	t.Helper()
	st.stateless.requests()
	got := runTSClient(t, st.statelessURL, "TOOLS=read_notes", "KEEP="+scopeRead+",offline_access", "STEP_UP=write_note")
	mustEqual(t, "protocol version", got.ProtocolVersion, modern)
	wantAlice(t, got.Whoami.identity(t))
	mustEqual(t, "error of read_notes", got.Calls["read_notes"].Error, "")
	if slices.Contains(strings.Fields(got.GrantedScope), scopeWrite) {
		t.Errorf("granted %q at first", got.GrantedScope)
	}
	mustEqual(t, "what the client said to the refusal", got.StepUp.Refused, "UnauthorizedError")
	for _, scope := range []string{scopeRead, scopeWrite} {
		if !slices.Contains(strings.Fields(got.StepUp.Asked), scope) || !slices.Contains(strings.Fields(got.StepUp.Granted), scope) {
			t.Errorf("%s was asked for in %q and granted in %q", scope, got.StepUp.Asked, got.StepUp.Granted)
		}
	}
	mustEqual(t, "error of write_note", got.StepUp.Call.Error, "")
	wantAlice(t, got.StepUp.Whoami.identity(t))
	mustEqual(t, "number of calls that reached the MCP server", toolCalls(st.stateless.requests(), "write_note"), 1)
}

// What clients make of a 401 that asks for more scopes, which is all that an
// nginx without the lines under "Step-up" can pass on.
func TestStepUpBy401(t *testing.T) {
	t.Run("with refresh tokens", func(t *testing.T) {
		st := newStack(t, setup{provider: "static"})
		t.Run("Go SDK", func(t *testing.T) {
			track(t)
			goSDKStepsUp(t, st)
		})
		// It refreshes the token, which brings the same scopes, and gives up. That
		// is the client's limit; should this fail, the pages can be friendlier.
		t.Run("TypeScript SDK gives up", func(t *testing.T) {
			track(t)
			got := runTSClient(t, st.statelessURL, "KEEP="+scopeRead+",offline_access", "STEP_UP=write_note")
			mustEqual(t, "what the client said", got.StepUp.Call.Error, "SdkHttpError: Server returned 401 after re-authentication")
		})
	})
	t.Run("without refresh tokens", func(t *testing.T) {
		st := newStack(t, setup{provider: "static", change: func(file map[string]any) {
			file["tokens"] = map[string]any{"refreshTokens": map[string]any{"enabled": false}}
		}})
		t.Run("TypeScript SDK", func(t *testing.T) {
			track(t)
			typeScriptStepsUp(t, st)
		})
	})
}

// TestIngressStepUp is ingress-nginx with the annotation of its page, by which a
// 403 keeps its challenge.
func TestIngressStepUp(t *testing.T) {
	track(t)
	const module = "/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so"
	if _, err := os.Stat(module); err != nil {
		notRun(t, "nginx has no headers-more module (hack/e2e/install.sh)")
	}
	annotation := block(t, "ingress-nginx", "Step-up", "yml", 0)
	var annotations map[string]string
	if err := yaml.Unmarshal([]byte(annotation), &annotations); err != nil {
		t.Fatal(err)
	}
	st := newStack(t, setup{
		provider: "static", modules: []string{module},
		snippet: annotations["nginx.ingress.kubernetes.io/configuration-snippet"],
		change: func(file map[string]any) {
			file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["stepUp"] = "403"
		},
	})
	resp, _ := do(t, "POST", st.statelessURL, nil)
	mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
	oneChallenge(t, resp)
	typeScriptStepsUp(t, st)
}
