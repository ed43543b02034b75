//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
)

// The doctor at an nginx with limit_req, in the middle of whose walk the limit is
// reached: a limit that lets requests through a moment later is no fault, and one that
// does not is the one fault more than without a limit.
func TestDoctorAtLimit(t *testing.T) {
	t.Parallel()
	at := func(limit string) (faults string, report doctor.Report) {
		st := newStack(t, setup{provider: "static", http: limit})
		out, err := exec.Command(serviceBinary(t), "doctor", "--output", "json", st.statelessURL).Output()
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%v %v\n%s", err, jsonErr, out)
		}
		var ids []string
		for _, f := range report.Findings {
			for _, s := range f.Faults {
				ids = append(ids, s.ID)
			}
		}
		return strings.Join(ids, " "), report
	}
	without, _ := at("")
	if got, _ := at("limit_req_zone $binary_remote_addr zone=one:1m rate=3r/s; limit_req zone=one burst=4 nodelay;"); got != without {
		t.Errorf("a limit that lets requests through: faults %q, and without it %q", got, without)
	}
	got, report := at("limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m; limit_req zone=one burst=8 nodelay;")
	if want := strings.TrimSpace(without + " answers.limited"); got != want {
		t.Errorf("a limit that stops the walk: faults %q, want %q\n%+v", got, want, report.Findings)
	}
}
