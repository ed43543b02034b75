//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A sign-in with as much as real ones have passes the buffer into which nginx
// takes an answer's headers: what does not fit is a 502 to a person. 60 scopes,
// 60 groups, a state of 700 bytes and a long redirect URI.
func TestLargeSignIns(t *testing.T) {
	const scopes, groups = 60, 60
	t.Setenv("EXTRA_GROUPS", fmt.Sprint(groups))
	nginx := installed("nginx", "/usr/sbin/nginx")
	for _, c := range []struct {
		name    string
		gateway *gateway // nil is an nginx with what ingress-nginx renders, its 4 KB included
	}{
		{"ingress-nginx as it comes", nil},
		{"nginx with its own buffers", &gateway{name: "nginx", path: nginx, start: func(t *testing.T, path string, site gatewaySite) *process {
			site.edit = func(recipe string) string {
				return substitute(t, recipe, "    proxy_buffer_size 16k;\n", "", "    proxy_buffers 4 16k;\n", "")
			}
			return recipeNginx(t, path, site)
		}}},
		{"nginx with those of its page", &gateway{name: "nginx", path: nginx, start: recipeNginx}},
	} {
		for _, provider := range []string{"static", "oidc"} {
			t.Run(c.name+", "+provider, func(t *testing.T) {
				track(t)
				st := newStack(t, setup{provider: provider, claims: "id_token", gateway: c.gateway, change: func(file map[string]any) { manyScopes(file, scopes, groups) }})
				largeSignIn(t, st, scopes)
			})
		}
	}
}

// manyScopes gives each host scopes and, where the accounts are in the file, each
// of them groups.
func manyScopes(file map[string]any, scopes, groups int) {
	var list []any
	for i := range scopes {
		list = append(list, map[string]any{"name": fmt.Sprintf("s%02d:read", i), "tools": []string{"read_notes", "whoami", "write_note"}})
	}
	for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
		h.(map[string]any)["scopes"] = list
	}
	provider := file["provider"].(map[string]any)
	users, ok := provider["users"].([]any)
	if !ok {
		provider["groupsClaim"] = "groups"
		return
	}
	var names []string
	for i := range groups {
		names = append(names, fmt.Sprintf("department-team-%d", 1000+i))
	}
	for _, u := range users {
		u.(map[string]any)["groups"] = names
	}
}

func largeSignIn(t *testing.T, st *stack, scopes int) {
	t.Helper()
	redirect := "http://127.0.0.1:33418/callback/" + strings.Repeat("a-long-way-to-go/", 20)
	client := register(t, st.statelessURL, redirect)
	client.redirect, client.state = redirect, strings.Repeat("state~0123456789", 44)[:700]
	var names []string
	for i := range scopes {
		names = append(names, fmt.Sprintf("s%02d:read", i))
	}
	client.scope = strings.Join(names, " ")
	g, _ := client.signIn(t, alice)
	if n := len(strings.Fields(g.Scope)); n < scopes {
		t.Errorf("%d of %d scopes are granted: %s", n, scopes, g.Scope)
	}
	st.stateless.requests()
	resp, _ := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, bearer(g)...)
	mustEqual(t, "status with the token", resp.StatusCode, http.StatusOK)
	seen := st.stateless.requests()
	mustEqual(t, "requests that reached the MCP server", len(seen), 1)
	// As many as fit in the headers: docs/identity.md.
	if n := len(strings.Split(seen[0].Header.Get("X-Auth-Request-Groups"), ",")); n < 30 {
		t.Errorf("the MCP server sees %d groups", n)
	}
}
