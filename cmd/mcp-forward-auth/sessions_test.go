package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// An operator sees who has access and ends it, with the command alone.
func TestSessions(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{
		Edit:  func(f *config.File) { f.Operators.Token = conf.NewSecret("operators-token") },
		Files: map[string]string{"operators-token": token},
	})
	access := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Notes\tapp\x1b[31m"}).AccessToken(t, s.NewBrowser())
	at := []string{"--server", "http://" + s.ManagementAddress(), "--token-file", file}

	out, notes, err := call(t, "", append([]string{"sessions", "list", "--email", servertest.Email}, at...)...)
	if err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, "static:jane") || !strings.Contains(out, servertest.Resource) || strings.Contains(out, "\x1b") {
		t.Errorf("list: %v\n%s", err, out)
	}
	if !strings.Contains(notes, "memory of one replica") {
		t.Errorf("what may be missing is not said: %q", notes)
	}
	if out, _, err := call(t, "", append([]string{"sessions", "list", "-o", "json"}, at...)...); err != nil || !strings.Contains(out, `"sub": "static:jane"`) {
		t.Errorf("list --json: %v\n%s", err, out)
	}
	if out, _, err := call(t, "", append([]string{"sessions", "end", "--subject", "static:jane"}, at...)...); err != nil || out != "ended\n" {
		t.Errorf("end: %v %q", err, out)
	}
	s.MustNotPass(t, servertest.Resource, access, "invalid_token")

	wrong := filepath.Join(t.TempDir(), "wrong")
	_ = os.WriteFile(wrong, []byte(strings.Repeat("x", 32)), 0o600)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"list", "--token-file", wrong}, exitFailed, "does not take this token"},
		{[]string{"list"}, exitUsage, "--token-file is required"},
		{[]string{"end", "--token-file", file}, exitUsage, "one of --subject and --email"},
		{[]string{"end", "--token-file", file, "--email", "a", "--id", "b"}, exitUsage, "needs --subject"},
		{nil, exitUsage, "say list or end"},
	} {
		_, _, err := call(t, "", append(append([]string{"sessions"}, tt.args...), "--server", at[1])...)
		code := exitFailed
		if e, ok := errors.AsType[exitError](err); ok {
			code = e.code
		}
		if err == nil || code != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v, code %d", tt.args, err, code)
		}
	}
}
