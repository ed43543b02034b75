//go:build e2e

package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// TestMCPRemoteOnDecline has a person decline what mcp-remote asks for: its callback
// gets access_denied at once, and the service gave nothing.
func TestMCPRemoteOnDecline(t *testing.T) {
	track(t)
	s, at := startDirect(t, func(*config.File) {})
	cmd := exec.CommandContext(t.Context(), node(t), filepath.Join(drivers, "node_modules", "mcp-remote", "dist", "proxy.js"), at, "--allow-http")
	cmd.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+t.TempDir(), "PATH="+t.TempDir()) // with no browser to open
	// An answer that comes while it tries to open a browser is lost to it.
	declined(t, s, cmd, func(said string) string {
		if !strings.Contains(said, "Waiting for authorization") {
			return ""
		}
		return addressForSignIn.FindString(said)
	})
}

// TestClaudeCodeOnDecline has a person decline what Claude Code asks for. Its own client
// document is at claude.ai, which no test reaches, so it registers itself. The browser
// that it opens is a program that writes down where it was sent.
func TestClaudeCodeOnDecline(t *testing.T) {
	track(t)
	claude := program(t, "claude", claudeBinary())
	s, at := startDirect(t, func(f *config.File) { f.Registration.MetadataDocuments.Enabled = false })
	opened := filepath.Join(t.TempDir(), "opened")
	home := browserPath(t, `printf '%s\n' "$1" >`+opened)
	run := func(program string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = home
		cmd.Env = append([]string{
			"HOME=" + home, "PATH=" + home + ":/usr/bin:/bin", "BROWSER=" + filepath.Join(home, "xdg-open"), "DISPLAY=:0",
		}, claudeQuiet...)
		return cmd
	}
	if out, err := run(claude, "mcp", "add", "--transport", "http", "notes", at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// It signs people in at a terminal alone; script is one.
	terminal := program(t, "script", "/usr/bin/script")
	declined(t, s, run(terminal, "--quiet", "--return", "--command", claude+" mcp login notes", "/dev/null"), func(string) string {
		text, _ := os.ReadFile(opened)
		return string(text)
	})
}

// startDirect starts a service that relays to its MCP server itself, and returns the
// address of that for clients.
func startDirect(t *testing.T, edit func(*config.File)) (s *servertest.Service, at string) {
	t.Helper()
	address := forwarded(t, func() string { return s.Address() })
	s = servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].Host, f.Proxy.Hosts[0].Scheme = address, "http"
		f.Proxy.Hosts[0].Serve.Enabled = true
		edit(f)
	}})
	return s, "http://" + address + "/mcp"
}

// declined starts a client, declines at the address that start finds in what it said,
// and holds that the client is told so at its callback, and ends with an error.
func declined(t *testing.T, s *servertest.Service, cmd *exec.Cmd, start func(said string) string) {
	t.Helper()
	var said output
	cmd.Stderr, cmd.Stdout = &said, &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the client said: %s", tail(said.String(), 3000))
		}
	})

	address := ""
	waitFor(t, "the address for the sign-in", func() bool {
		address = strings.TrimSpace(start(said.String()))
		return address != ""
	})
	person := s.NewBrowser()
	answer := person.Submit(t, person.Consent(t, address), "decision", "deny").Location()
	back, err := url.Parse(answer)
	if err != nil || back.Query().Get("error") != "access_denied" || back.Query().Get("state") == "" && strings.Contains(address, "state=") || back.Query().Get("iss") == "" {
		t.Fatalf("the browser is sent to %q", answer)
	}
	began := time.Now()
	if err := (&opener{}).callBack(answer); err != nil {
		t.Fatalf("the answer does not arrive: %v\n%s", err, said.String())
	}
	select {
	case err := <-ended:
		t.Logf("the client ended %v after the answer (%v): %s", time.Since(began).Round(time.Millisecond), err, tail(said.String(), 600))
		if err == nil {
			t.Error("it ended as if all were well")
		}
	case <-time.After(20 * time.Second):
		t.Errorf("the client goes on:\n%s", tail(said.String(), 3000))
	}
	if e := s.Log.Last(audit.ConsentDeclined); e == nil {
		t.Error("the audit log does not have it")
	}
	if e := s.Log.Last(audit.TokenIssued); e != nil {
		t.Errorf("a token was issued: %v", e)
	}
}
