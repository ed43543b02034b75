//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestReadme has a person follow the README: its nginx in front, a sign-in, a tool.
func TestReadme(t *testing.T) {
	track(t)
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^```nginx\n(.*?)^```$").FindSubmatch(text)
	if m == nil {
		t.Fatal("README.md shows no nginx")
	}
	kind := gateway{name: "nginx", path: installed("nginx", "/usr/sbin/nginx"), start: func(t *testing.T, path string, site gatewaySite) *process {
		return startRecipe(t, path, site, substitute(t, string(m[1]),
			"listen 443 ssl;", "listen "+site.public()+";", "server_name mcp.example.com;", "server_name 127.0.0.1;",
			"http://mcp-forward-auth:8080", "http://"+site.Service, "http://notes:8080", "http://"+site.MCP))
	}}
	st := newStack(t, setup{provider: "static", gateway: &kind})
	resp, _ := do(t, http.MethodPost, st.statelessURL, nil)
	mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
	session := connectGoSDK(t, st.statelessURL, modern, alice)
	wantAlice(t, whoami(t, session))
	mustCall(t, session, "read_notes")
}
