//go:build e2e

package e2e

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// notOverStdio are scenarios about what a server does with HTTP itself.
var notOverStdio = map[string]string{
	"server-server-sse-polling":          "the tool closes its own HTTP stream, which a server over stdio has not",
	"server-server-sse-multiple-streams": "one answer that comes soon is JSON here, an event stream there; both are right",
}

// The official conformance suite for MCP servers finds the same through the bridge,
// at the official server of the Go SDK over stdio, as at the same server over HTTP.
func TestServerSuiteThroughBridge(t *testing.T) {
	track(t)
	everything := filepath.Join(t.TempDir(), "everything-server")
	if out, err := exec.Command("go", "build", "-o", everything, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for revision, tt := range map[string]struct{ stateless, share string }{"2026-07-28": {"true", "shared"}, "2025-11-25": {"false", "session"}} {
		t.Run(revision, func(t *testing.T) {
			track(t)
			ports := freePorts(t, 2)
			direct, through := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
			start(t, "everything-server", nil, everything, "-http", direct, "-stateless="+tt.stateless).waitTCP(t, direct)
			start(t, "bridge", nil, serviceBinary(t), "bridge", "--listen", through, "--share", tt.share, "--start-rate", "1000", "--", everything).waitHTTP(t, "http://"+through+"/readyz", 200)
			want := drive[suiteReport](t, "server-suite.mjs", nil, "http://"+direct+"/mcp", revision, t.TempDir())
			got := drive[suiteReport](t, "server-suite.mjs", nil, "http://"+through+"/mcp", revision, t.TempDir())
			if len(want.Checks) < 20 {
				t.Fatalf("only %d scenarios ran\n%s", len(want.Checks), want.Output)
			}
			mustEqual(t, "number of scenarios", len(got.Checks), len(want.Checks))
			passed := 0
			for _, scenario := range slices.Sorted(maps.Keys(want.Checks)) {
				if why := notOverStdio[scenario]; why != "" {
					t.Logf("%s: through the bridge %q, directly %q: %s", scenario, got.Checks[scenario], want.Checks[scenario], why)
					continue
				}
				if !slices.Equal(got.Checks[scenario], want.Checks[scenario]) {
					t.Errorf("%s: through the bridge %q, directly %q", scenario, got.Checks[scenario], want.Checks[scenario])
				}
				passed += len(want.Checks[scenario])
			}
			t.Logf("%d checks of %d scenarios", passed, len(want.Checks))
		})
	}
}
