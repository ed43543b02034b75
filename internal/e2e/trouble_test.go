//go:build e2e

package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// A consent form belongs to the browser that was shown it. Otherwise an
// attacker who has said yes to their own client could have a victim sign in to
// it (MCP security best practices, confused deputy).
func TestConsentIsBoundToTheBrowser(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	client := register(t, st.statelessURL)
	start := origin(st.statelessURL) + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client.id}, "redirect_uri": {redirectURI}, "state": {"s"},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"}, "resource": {client.mcpURL},
	}.Encode()
	show := func(v *visitor) *form {
		t.Helper()
		page, resp, err := v.fetch(t, http.MethodGet, start, "", "")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("consent page: %v %v", err, resp)
		}
		return v.firstForm(page)
	}
	post := func(v *visitor, f *form, from string) (*html.Node, *http.Response) {
		t.Helper()
		page, resp, err := v.fetch(t, http.MethodPost, origin(st.statelessURL)+f.action, f.values.Encode(), from)
		if err != nil {
			t.Fatal(err)
		}
		return page, resp
	}
	attacker, victim, stranger := &visitor{}, &visitor{}, &visitor{}
	f := show(attacker)
	show(victim) // so that the victim has a cookie, too
	for name, v := range map[string]*visitor{"another browser": victim, "no cookies": stranger} {
		t.Run(name, func(t *testing.T) {
			track(t)
			_, resp := post(v, f, origin(st.statelessURL))
			mustEqual(t, "status", resp.StatusCode, http.StatusForbidden)
		})
	}
	t.Run("another site", func(t *testing.T) {
		track(t)
		_, resp := post(attacker, f, "https://evil.example")
		mustEqual(t, "status", resp.StatusCode, http.StatusForbidden)
	})
	t.Run("the browser itself, once", func(t *testing.T) {
		track(t)
		_, resp := post(attacker, f, origin(st.statelessURL))
		mustEqual(t, "status", resp.StatusCode, http.StatusSeeOther)
		if _, resp = post(attacker, f, origin(st.statelessURL)); resp.StatusCode < 400 {
			t.Errorf("the same consent twice: %s", resp.Status)
		}
	})
}

// An MCP server that is down keeps no one from signing in. What the
// configuration declares works; other tools stay closed until their list is known.
func TestSignInWithoutMCPServer(t *testing.T) {
	port := freePorts(t, 1)[0]
	st := newStack(t, setup{provider: "static", change: func(file map[string]any) {
		for _, h := range file["proxy"].(map[string]any)["hosts"].([]any) {
			h.(map[string]any)["endpoint"] = "http://127.0.0.1:" + port + "/mcp"
			h.(map[string]any)["scopes"] = []any{map[string]any{"name": "notes:who", "tools": []string{"whoami"}}}
		}
	}})
	g, _ := signIn(t, st.statelessURL, alice)
	// The gateway's own way to the MCP server is fine, so the token has a use.
	resp, _ := callTool(t, st.statelessURL, "whoami", g)
	mustEqual(t, "status of a declared tool", resp.StatusCode, http.StatusOK)
	st.stateless.requests()
	resp, _ = callTool(t, st.statelessURL, "read_notes", g)
	mustEqual(t, "status of a tool that nothing declares", resp.StatusCode, http.StatusForbidden)
	mustEqual(t, "requests that reached the MCP server", len(st.stateless.requests()), 0)
}

// An identity provider that is down is told to the client in OAuth's words, or
// to the person on a page, never as a bare failure.
func TestIdentityProviderDown(t *testing.T) {
	st := newStack(t, setup{provider: "oidc"})
	client := register(t, st.statelessURL)
	st.idp.stop(t)
	a, err := client.authorize(t, alice)
	if err != nil {
		page, onPage := err.(*pageError)
		if !onPage || page.status < 500 || len(page.text) < 40 {
			t.Errorf("ended with %v", err)
		}
		return
	}
	if !slices.Contains([]string{"temporarily_unavailable", "server_error"}, a.answer.Get("error")) {
		t.Errorf("the client was told %v", a.answer)
	}
}

// Requests at /authorize that must never lead to a redirect.
func TestAuthorizeRefuses(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	client, two := register(t, st.statelessURL), register(t, st.statelessURL, "https://client.example/callback")
	good := func() url.Values {
		return url.Values{
			"response_type": {"code"}, "client_id": {client.id}, "redirect_uri": {redirectURI}, "state": {"s"},
			"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"}, "resource": {client.mcpURL},
		}
	}
	for name, change := range map[string]func(url.Values){
		"unknown client":         func(q url.Values) { q.Set("client_id", "nobody") },
		"foreign redirect":       func(q url.Values) { q.Set("redirect_uri", "https://evil.example/") },
		"other path on loopback": func(q url.Values) { q.Set("redirect_uri", "http://127.0.0.1:33418/other") },
		"other loopback host":    func(q url.Values) { q.Set("redirect_uri", "http://localhost:33418/callback") },
		"one of two redirects":   func(q url.Values) { q.Set("client_id", two.id); q.Del("redirect_uri") },
		"repeated parameter":     func(q url.Values) { q.Add("client_id", client.id) },
		"no PKCE":                func(q url.Values) { q.Del("code_challenge") },
		"plain PKCE":             func(q url.Values) { q.Set("code_challenge_method", "plain") },
		"foreign resource":       func(q url.Values) { q.Set("resource", "https://other.example/mcp") },
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			q := good()
			change(q)
			resp, _ := do(t, http.MethodGet, origin(st.statelessURL)+"/authorize?"+q.Encode(), nil)
			location := resp.Header.Get("Location")
			ok := resp.StatusCode >= 400 && location == "" ||
				strings.HasPrefix(location, redirectURI+"?") && strings.Contains(location, "error=")
			if !ok {
				t.Errorf("answered %s to %q", resp.Status, location)
			}
		})
	}
	for name, change := range map[string]func(url.Values){
		"another loopback port is fine":                              func(q url.Values) { q.Set("redirect_uri", "http://127.0.0.1:50999/callback") },
		"the only redirect may go unsaid (OAuth 2.1, section 4.1.1)": func(q url.Values) { q.Del("redirect_uri") },
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			q := good()
			change(q)
			resp, _ := do(t, http.MethodGet, origin(st.statelessURL)+"/authorize?"+q.Encode(), nil)
			mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		})
	}
}
