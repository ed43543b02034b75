package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
)

func TestDoctorCommand(t *testing.T) {
	assertion := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(assertion, []byte("e30.e30.c2ln\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"a fault", []string{"http://mcp.example.com/mcp"}, exitFaults, "url.insecure"},
		{"flags after the URL", []string{"http://mcp.example.com/mcp", "--gateway", "nginx"}, exitFaults, "url.insecure"},
		{"no URL", nil, exitNotRun, ""},
		{"two URLs", []string{"https://a.invalid", "https://b.invalid"}, exitNotRun, ""},
		{"unknown flag", []string{"--colour"}, exitNotRun, ""},
		{"unknown gateway", []string{"--gateway", "../nginx", "https://a.invalid"}, exitNotRun, ""},
		{"an assertion and a sign-in", []string{"--assertion", assertion, "--login", "http://mcp.example.com/mcp"}, exitNotRun, ""},
		{"an assertion that is not there", []string{"--assertion", assertion + ".gone", "http://mcp.example.com/mcp"}, exitNotRun, ""},
		{"an assertion", []string{"--assertion", assertion, "http://mcp.example.com/mcp"}, exitFaults, "url.insecure"},
		{"a recipe alone", []string{"--gateway", "ingress-nginx"}, 0, "auth-url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			err := run(t.Context(), append([]string{"doctor"}, test.args...), streams{strings.NewReader(""), &out, &errs})
			code := 0
			if e, ok := errors.AsType[exitError](err); ok {
				code = e.code
			} else if err != nil {
				t.Errorf("an error without an exit code: %v", err)
			}
			if code != test.code || !strings.Contains(out.String(), test.out) {
				t.Errorf("exit %d (%v), want %d and %q in\n%s", code, err, test.code, test.out, out.String())
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Error("colour although this is no terminal")
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		var out bytes.Buffer
		err := run(t.Context(), []string{"doctor", "--output", "json", "http://mcp.example.com/mcp"}, streams{strings.NewReader(""), &out, &out})
		var r doctor.Report
		if jsonErr := json.Unmarshal(out.Bytes(), &r); jsonErr != nil || err == nil {
			t.Fatalf("%v, %v: %s", jsonErr, err, out.String())
		}
		if r.OK || r.Faults != 1 || len(r.Findings) != len(doctor.Checks()) || r.Findings[0].Faults[0].ID != "url.insecure" {
			t.Errorf("report %+v", r)
		}
	})
}
