package authorize_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A client that was refused for want of a scope, and comes back asking for the
// first ones only, would loop forever if the person could not grant more.
func TestMoreThanAsked(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].DefaultScopes = []string{"notes:read"} }})
	c := s.NewClient(t, servertest.Host, nil)
	c.Scope = "notes:read"
	b := s.NewBrowser()
	a := c.Begin()
	page := b.Consent(t, a.URL())
	if got := page.Form.Values["scope"]; !slices.Equal(got, []string{"notes:read"}) {
		t.Errorf("ticked: %q", got)
	}
	if got := page.Form.Offered; !slices.Equal(got, []string{"notes:read", "notes:write", "weather:read", "profile"}) {
		t.Errorf("offered: %q", got)
	}
	if strings.Contains(page.Text(), "refused this a short while ago") {
		t.Error("a mark without a refusal")
	}
	token := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI))).String("access_token")
	if got := s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "notes_create"); got.Status == 200 {
		t.Fatal("the tool is open")
	}

	a = c.Begin() // it asks for the same again
	page = b.Consent(t, a.URL())
	if text := page.Text(); strings.Count(text, "refused this a short while ago") != 1 {
		t.Errorf("what was refused is not marked: %s", text)
	}
	if got := page.Form.Values["scope"]; !slices.Equal(got, []string{"notes:read"}) {
		t.Errorf("a hint grants: %q", got)
	}
	other := s.NewBrowser()
	if strings.Contains(other.Consent(t, c.Begin().URL()).Text(), "refused this a short while ago") {
		t.Error("another browser shows what this person's app was refused")
	}
	b.Keep = func(scope string) bool { return strings.HasPrefix(scope, "notes:") }
	answer := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI)))
	if got := answer.String("scope"); got != "notes:read notes:write" {
		t.Errorf("granted %q, want %q", got, "notes:read notes:write")
	}
}

// What the person may tick in addition passes the same checks as what was asked for.
func TestMoreThanAskedIsChecked(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Policy = config.PolicyFile{Rules: []rule.Rule{
			{Effect: "allow", Anyone: true},
			{Effect: "deny", ClientKinds: []string{"dynamic"}, Scopes: []string{"weather:read"}},
			{Effect: "deny", Emails: []string{servertest.Email}, Scopes: []string{"notes:write"}},
		}}
	}})
	c := s.NewClient(t, servertest.Host, nil)
	c.Scope = "notes:read"
	b := s.NewBrowser()
	a := c.Begin()
	page := b.Consent(t, a.URL())
	if slices.Contains(page.Form.Offered, "weather:read") {
		t.Errorf("what the client may not have is offered: %q", page.Form.Offered)
	}
	page.Form.Values["scope"] = []string{"notes:read", "notes:write", "weather:read", "profile", "no:such"}
	answer := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI)))
	if got := answer.String("scope"); got != "notes:read profile" {
		t.Errorf("granted %q, want %q", got, "notes:read profile")
	}
}

// The page says that what is left out is not held to exactly where a client of an
// older MCP revision passes with it, or any client.
func TestPageSaysWhatIsHeldTo(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*config.HostFile){
		"enforce":  func(h *config.HostFile) {},
		"strict":   func(h *config.HostFile) { h.ToolPolicy = "strict" },
		"advisory": func(h *config.HostFile) { h.ToolPolicy = "advisory" },
		"body":     func(h *config.HostFile) { h.Body = true },
		"enforce, rules about tools": func(h *config.HostFile) {
			h.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Anyone: true, Tools: []string{"whoami"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { edit(&f.Proxy.Hosts[0]) }})
			c := s.NewClient(t, servertest.Host, nil)
			b := s.NewBrowser()
			b.Keep = func(scope string) bool { return scope == "notes:read" }
			a := c.Begin()
			page := b.Consent(t, a.URL())
			token := a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI))).String("access_token")
			passes := func(version string) bool {
				return s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", version, "Mcp-Method", "tools/call", "Mcp-Name", "notes_create").Status == 200
			}
			older, recent := passes("2025-06-18"), passes("2026-07-28")
			text := page.Text()
			if says := strings.Contains(text, "An app that uses an older version may be able to use every tool"); says != (older && !recent) {
				t.Errorf("an older revision passes: %v, a recent one: %v; the page: %s", older, recent, text)
			}
			if says := strings.Contains(text, "This service only records what apps use"); says != (older && recent) {
				t.Errorf("an older revision passes: %v, a recent one: %v; the page: %s", older, recent, text)
			}
		})
	}
}
