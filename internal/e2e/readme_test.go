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
		site.edit = func(string) string { return string(m[1]) }
		return recipeNginx(t, path, site)
	}}
	st := newStack(t, setup{provider: "static", gateway: &kind})
	resp, _ := do(t, http.MethodPost, st.statelessURL, nil)
	mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
	session := connectGoSDK(t, st.statelessURL, modern, alice)
	wantAlice(t, whoami(t, session))
	mustCall(t, session, "read_notes")
}
