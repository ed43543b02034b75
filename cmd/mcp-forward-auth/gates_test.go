package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
)

// gateConfig is a configuration with one MCP server at each of these addresses.
func gateConfig(t *testing.T, more string, hosts ...string) string {
	t.Helper()
	text := "provider: {name: static, users: [{username: jane, passwordHash: '$2a$10$zMhjRG5dUfn2fasBODR5i.xuXvHtpddYA8HLk2W8v7S3tSMP5KcCG', email: jane@example.com}]}\nproxy:\n  hosts:\n"
	for _, h := range hosts {
		text += fmt.Sprintf("    - {host: '%s', scheme: http, endpoint: 'http://127.0.0.1:1/mcp'}\n", h)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// doctorAll runs doctor --all and returns its exit code.
func doctorAll(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var text bytes.Buffer
	err := run(t.Context(), append([]string{"doctor", "--all"}, args...), streams{strings.NewReader(""), &text, io.Discard})
	if e, ok := errors.AsType[exitError](err); ok {
		return e.code, text.String()
	} else if err != nil {
		t.Errorf("an error without an exit code: %v", err)
	}
	return 0, text.String()
}

func TestDoctorAll(t *testing.T) {
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer resource_metadata="http://%s/.well-known/oauth-protected-resource%s"`, r.Host, r.URL.Path))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(closed.Close)
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	t.Cleanup(open.Close)
	closedHost, openHost := strings.TrimPrefix(closed.URL, "http://"), strings.TrimPrefix(open.URL, "http://")

	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"all closed", []string{"--config", gateConfig(t, "", closedHost)}, 0, "1 closed, 0 open"},
		{"one open", []string{"--config", gateConfig(t, "", closedHost, openHost)}, exitFaults, "✗ open"},
		{"one out of reach", []string{"--config", gateConfig(t, "", "127.0.0.1:2")}, exitFaults, "1 unreachable"},
		{"the open one left out", []string{"--config", gateConfig(t, "gateWatch: {hosts: [{host: '"+openHost+"', skip: true}]}\n", closedHost, openHost)}, 0, "1 closed, 0 open"},
		{"another address", []string{"--config", gateConfig(t, "gateWatch: {connect: '"+closedHost+"'}\n", "localhost:7")}, 0, "1 closed"},
		{"no file", nil, exitNotRun, ""},
		{"a URL too", []string{"https://mcp.example.com/mcp", "--config", "x"}, exitNotRun, ""},
		{"a file with a mistake", []string{"--config", gateConfig(t, "gateWatch: {hosts: [{host: x}]}\n", closedHost)}, exitNotRun, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out := doctorAll(t, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.out) {
				t.Errorf("exit %d, want %d and %q in\n%s", code, tt.code, tt.out, out)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		_, out := doctorAll(t, "--output", "json", "--config", gateConfig(t, "", openHost))
		var r doctor.GatesReport
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.OK || len(r.Gates) != 1 || r.Gates[0].State != gatewatch.Open {
			t.Errorf("%v: %+v", err, r)
		}
	})
}
