//go:build e2e

package e2e

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// servedKind is the entry of gatewayKinds without a gateway.
func servedKind(t *testing.T) *gateway {
	t.Helper()
	for i := range gatewayKinds {
		if gatewayKinds[i].serves {
			return &gatewayKinds[i]
		}
	}
	t.Fatal("no kind is served")
	return nil
}

// suiteReport is what server-suite.mjs prints.
type suiteReport struct {
	Exit   int
	Checks map[string][]string // by scenario
	Output string
}

// The official conformance suite for MCP servers finds the same through a served
// host as at the server itself, with the official server of the Go SDK. Every
// check counts, also those that the server fails.
func TestServerSuiteThroughServedHost(t *testing.T) {
	track(t)
	everything := filepath.Join(t.TempDir(), "everything-server")
	if out, err := exec.Command("go", "build", "-o", everything, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for revision, stateless := range map[string]string{"2026-07-28": "true", "2025-11-25": "false"} {
		t.Run(revision, func(t *testing.T) {
			track(t)
			address := "127.0.0.1:" + freePorts(t, 1)[0]
			start(t, "everything-server", nil, everything, "-http", address, "-stateless="+stateless).waitTCP(t, address)
			st := newStack(t, setup{provider: "static", gateway: servedKind(t), change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["endpoint"] = "http://" + address + "/mcp"
			}})
			g, _ := signIn(t, st.statelessURL, alice)
			direct := drive[suiteReport](t, "server-suite.mjs", nil, "http://"+address+"/mcp", revision, t.TempDir())
			through := drive[suiteReport](t, "server-suite.mjs", []string{"TOKEN=" + g.AccessToken}, st.statelessURL, revision, t.TempDir())
			if len(direct.Checks) < 20 {
				t.Fatalf("only %d scenarios ran\n%s", len(direct.Checks), direct.Output)
			}
			mustEqual(t, "exit status", through.Exit, direct.Exit)
			mustEqual(t, "number of scenarios", len(through.Checks), len(direct.Checks))
			passed := 0
			for _, scenario := range slices.Sorted(maps.Keys(direct.Checks)) {
				if !slices.Equal(through.Checks[scenario], direct.Checks[scenario]) {
					t.Errorf("%s: through the served host %q, directly %q", scenario, through.Checks[scenario], direct.Checks[scenario])
				}
				passed += len(direct.Checks[scenario])
			}
			t.Logf("%d checks of %d scenarios", passed, len(direct.Checks))
		})
	}
}
