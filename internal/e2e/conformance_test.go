//go:build e2e

package e2e

import (
	"slices"
	"testing"
)

// The official conformance suite of MCP against the service as it is installed:
// every check it has must have run and be green. One it adds with a new version
// makes this test fail until it is entered here.
func TestOfficialConformanceSuite(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	want := []string{"authorization-code-grant", "authorization-server-metadata", "authorization-server-metadata-cimd"}
	st.both(t, func(t *testing.T, mcpURL string) {
		report := drive[struct {
			Exit   int
			Walked bool
			Checks []struct{ Scenario, ID, Status, Error string }
			Output string
		}](t, "conformance.mjs", []string{"LOGIN=" + alice.username + ":" + alice.password}, origin(mcpURL), mcpURL, freePorts(t, 1)[0], t.TempDir())
		if report.Exit != 0 || !report.Walked {
			t.Errorf("exit status %d, browser used %v\n%s", report.Exit, report.Walked, report.Output)
		}
		var green []string
		for _, c := range report.Checks {
			if c.Status != "SUCCESS" {
				t.Errorf("%s: %s %s", c.ID, c.Status, c.Error)
				continue
			}
			green = append(green, c.ID)
		}
		slices.Sort(green)
		if !slices.Equal(green, want) {
			t.Errorf("green are %q, want %q", green, want)
		}
		t.Logf("%d checks, all green", len(green))
	})
}
