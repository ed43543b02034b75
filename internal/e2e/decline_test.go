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
	var s *servertest.Service
	address := forwarded(t, func() string { return s.Address() })
	s = servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].Host, f.Proxy.Hosts[0].Scheme = address, "http"
		f.Proxy.Hosts[0].Serve.Enabled = true
	}})
	cmd := exec.CommandContext(t.Context(), node(t), filepath.Join(drivers, "node_modules", "mcp-remote", "dist", "proxy.js"), "http://"+address+"/mcp", "--allow-http")
	cmd.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+t.TempDir(), "PATH="+t.TempDir()) // with no browser to open
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

	start := ""
	waitFor(t, "the address for the sign-in", func() bool {
		start = strings.TrimSpace(addressForSignIn.FindString(said.String()))
		// An answer that comes while it tries to open a browser is lost to it.
		return start != "" && strings.Contains(said.String(), "Waiting for authorization")
	})
	person := s.NewBrowser()
	answer := person.Submit(t, person.Consent(t, start), "decision", "deny").Location()
	back, err := url.Parse(answer)
	if err != nil || back.Query().Get("error") != "access_denied" || back.Query().Get("state") == "" && strings.Contains(start, "state=") {
		t.Fatalf("the browser is sent to %q", answer)
	}
	began := time.Now()
	if err := (&opener{}).callBack(answer); err != nil {
		t.Fatalf("the answer does not arrive: %v\n%s", err, said.String())
	}
	select {
	case err := <-ended:
		t.Logf("mcp-remote ended %v after the answer (%v): %s", time.Since(began).Round(time.Millisecond), err, tail(said.String(), 600))
		if err == nil {
			t.Error("it ended as if all were well")
		}
	case <-time.After(20 * time.Second):
		t.Errorf("mcp-remote goes on:\n%s", tail(said.String(), 3000))
	}
	if e := s.Log.Last(audit.ConsentDeclined); e == nil {
		t.Error("the audit log does not have it")
	}
	if e := s.Log.Last(audit.TokenIssued); e != nil {
		t.Errorf("a token was issued: %v", e)
	}
}
