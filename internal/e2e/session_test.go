//go:build e2e

package e2e

import (
	"cmp"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sessionReport is the line that hack/e2e/session.mjs prints.
type sessionReport struct {
	Browser        string `json:"browser"`
	Login          string `json:"login"`
	Reached        string `json:"reached"`
	Body           string `json:"body"`
	CookieInScript bool   `json:"cookieInScript"`
	Again          int    `json:"again"`
	Script         int    `json:"script"`
	Form           int    `json:"form"`
	MCP            int    `json:"mcp"`
	Account        int    `json:"account"`
	Closed         int    `json:"closed"`
	Refusal        string `json:"refusal"`
	RefusalStyled  bool   `json:"refusalStyled"`
	ClosedScript   string `json:"closedScript"`
	Another        string `json:"another"`
	CrossSite      string `json:"crossSite"`
	SignedOut      string `json:"signedOut"`
	AfterSignOut   string `json:"afterSignOut"`
	Denied         int    `json:"denied"`
	DeniedAfter    int    `json:"deniedAfter"`
	Error          string `json:"error"`
}

// pageBlock is a block of docs/browser-sessions.md.
func pageBlock(t *testing.T, heading, language string, n int) string {
	t.Helper()
	text, err := os.ReadFile(repository + "/docs/browser-sessions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n### "+heading+"\n")
	if !ok {
		t.Fatalf("docs/browser-sessions.md: no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n### ")
	blocks := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(section, -1)
	if len(blocks) <= n {
		t.Fatalf("docs/browser-sessions.md: too few %s blocks under %q", language, heading)
	}
	return blocks[n][1]
}

// withPages adds to the recipe of a gateway what docs/browser-sessions.md says.
func withPages(t *testing.T, name string) func(recipe string) string {
	return func(recipe string) string {
		switch name {
		case "nginx":
			i := strings.LastIndex(recipe, "}")
			return recipe[:i] + strings.ReplaceAll(pageBlock(t, "nginx", "nginx", 0), "/ui", "/mcp/probe") + "}\n"
		case "Caddy":
			return substitute(t, recipe, "@service path ", "@service path /account /account/* ")
		case "Envoy HTTP":
			headers := regexp.MustCompile(`(?m)^( *)allowed_headers: .*$`)
			line := strings.TrimSpace(pageBlock(t, "Envoy", "yml", 0))
			recipe = headers.ReplaceAllString(recipe, "${1}"+line)
			fallthrough
		case "Envoy gRPC":
			route := strings.TrimSpace(pageBlock(t, "Envoy", "yml", 1))
			at := regexp.MustCompile(`(?m)^( *)(- \{match: \{safe_regex:.*)$`)
			return at.ReplaceAllString(recipe, "${1}"+route+"\n${1}${2}")
		case "Traefik":
			return substitute(t, recipe, "PathRegexp(`^/(authorize", "PathRegexp(`^/account(/|$$)`) || PathRegexp(`^/(authorize")
		}
		return recipe
	}
}

// A person signs in for a page through real gateways, in a real browser: the deep
// link is kept, the MCP server's own path stays closed, and the session ends with a
// sign-out and with the deny-list.
func TestSessions(t *testing.T) {
	chromium := program(t, "chromium", "/usr/bin/chromium")
	for _, kind := range gatewayKinds {
		if kind.name == "HAProxy" {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			started := kind.start
			kind.start = func(t *testing.T, path string, site gatewaySite) *process {
				site.edit = withPages(t, kind.name)
				return started(t, path, site)
			}
			deny := t.TempDir() + "/deny.yaml"
			if err := os.WriteFile(deny, []byte("emails: []\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			st := newStack(t, setup{provider: "static", gateway: &kind, change: func(file map[string]any) {
				for _, host := range file["proxy"].(map[string]any)["hosts"].([]any) {
					host.(map[string]any)["pages"] = []any{map[string]any{"path": "/mcp/probe"}, map[string]any{"path": "/mcp/probe/closed", "scope": "closed"}}
				}
				file["policy"] = map[string]any{"rules": []any{map[string]any{"effect": "allow", "anyone": true}, map[string]any{"effect": "deny", "anyone": true, "scopes": []any{"closed"}}}}
				file["denyList"] = map[string]any{"file": deny}
			}})
			target := st.statelessURL + "/probe/echo?note=a%20b&sort=1"
			got := drive[sessionReport](t, "session.mjs", []string{"CHROMIUM=" + chromium, "DENY=" + deny, "CLOSED=" + st.statelessURL + "/probe/closed?a=1&b=%20"}, target)
			if got.Error != "" {
				t.Fatalf("the browser's journey ended early: %s", got.Error)
			}
			mustEqual(t, "the page", got.Reached, target)
			mustEqual(t, "the sign-in", got.Login, "/login")
			if !strings.Contains(got.Body, "static:") {
				t.Errorf("the server does not know the person: %s", got.Body)
			}
			mustEqual(t, "a script sees the cookie", got.CookieInScript, false)
			mustEqual(t, "the page again", got.Again, http.StatusOK)
			mustEqual(t, "a script of the page", got.Script, http.StatusOK)
			mustEqual(t, "a form of the page", got.Form, http.StatusOK)
			mustEqual(t, "the MCP server with a session", got.MCP, http.StatusUnauthorized)
			mustEqual(t, "/account for a script", got.Account != http.StatusOK, true)
			mustEqual(t, "a page that is not for the person", got.Closed, http.StatusForbidden)
			if !strings.Contains(got.Refusal, "may not open this page") || !strings.Contains(got.Refusal, "alice@example.com") || !got.RefusalStyled {
				t.Errorf("the person reads: %s", got.Refusal)
			}
			if !strings.HasPrefix(got.ClosedScript, "403 ") || kind.name != "nginx" && got.ClosedScript != "403 application/json" {
				t.Errorf("a script there: %s", got.ClosedScript)
			}
			mustEqual(t, "the way to another account", got.Another, "/login")
			if !strings.Contains(got.SignedOut, "signed out") {
				t.Errorf("sign-out: %s", got.SignedOut)
			}
			mustEqual(t, "the page after the sign-out", got.AfterSignOut, "/login")
			mustEqual(t, "a denied person's script", got.Denied, http.StatusUnauthorized)
			if got.DeniedAfter > 4000 {
				t.Errorf("the deny-list took %d ms", got.DeniedAfter)
			}
			t.Logf("Chromium %s, the deny-list took %d ms", got.Browser, got.DeniedAfter)
		})
	}
}

// TestSignOutAtProvider has a person in Chromium sign out at the identity provider: the
// page of the MCP host hears of it over the back channel, and the next sign-in asks for
// the password. Signed out here, the person can go on to sign out there. A provider
// that names the session ends that one; one that names the person alone ends the
// sessions of their other devices too.
func TestSignOutAtProvider(t *testing.T) {
	track(t)
	chromium := program(t, "chromium", "/usr/bin/chromium")
	for sid, otherDevice := range map[string]int{"": http.StatusUnauthorized, "beside": http.StatusOK, "alone": http.StatusOK} {
		t.Run(cmp.Or(sid, "none"), func(t *testing.T) { signOutAtProvider(t, chromium, sid, otherDevice) })
	}
}

func signOutAtProvider(t *testing.T, chromium, sid string, otherDevice int) {
	served := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.serves })]
	st := newStack(t, setup{provider: "oidc", sid: sid, gateway: &served, change: func(file map[string]any) {
		for _, host := range file["proxy"].(map[string]any)["hosts"].([]any) {
			host.(map[string]any)["pages"] = []any{map[string]any{"path": "/mcp/probe"}}
		}
	}})
	got := drive[struct {
		Browser                                string
		AskedFirst, AskedAgain, AskedAfterBoth bool
		Status, OtherDevice, EndedAfter        int
		AfterBoth                              bool
		Error, At                              string
	}](t, "signout.mjs", []string{"CHROMIUM=" + chromium}, st.statelessURL+"/probe/echo", st.issuer+"/session/end")
	if got.Error != "" {
		t.Fatalf("the browser's journey ended early at %s: %s", got.At, got.Error)
	}
	mustEqual(t, "a script at the other device after the sign-out there", got.OtherDevice, otherDevice)
	mustEqual(t, "the provider asks for the password at first", got.AskedFirst, true)
	mustEqual(t, "a script of the page after the sign-out there", got.Status, http.StatusUnauthorized)
	if got.EndedAfter > 2000 {
		t.Errorf("the sign-out there took %d ms", got.EndedAfter)
	}
	mustEqual(t, "the provider asks again", got.AskedAgain, true)
	mustEqual(t, "the page after both needs a sign-in", got.AfterBoth, true)
	mustEqual(t, "the provider asks after both", got.AskedAfterBoth, true)
	t.Logf("Chromium %s, the sign-out at the provider took %d ms", got.Browser, got.EndedAfter)
}
