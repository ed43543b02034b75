package policy_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Two people agree to the same and get what each may have; who leaves a group
// loses the scope with the next refresh, and who leaves all is signed out.
func TestPolicy(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	s := servertest.Policed(t, idp, nil,
		rule.Rule{Name: "members", Effect: "allow", Groups: []string{"mcp-users"}, Scopes: []string{"notes:read"}},
		rule.Rule{Name: "writers", Effect: "allow", Groups: []string{"mcp-writers"}})
	servertest.WaitForTools(t, s)
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	c.Scope = "notes:read notes:write"

	idp.SignInAs(servertest.Member("reader", "mcp-users"))
	reader, scope := servertest.SignInForLess(t, c)
	if scope != "notes:read" {
		t.Errorf("the reader got %q", scope)
	}
	if e := s.Log.Last(audit.PolicyNarrowed); e["reason"] != "narrowed_by_policy" || e["withheld"] != "notes:write" || !strings.HasSuffix(e["subject"], ":reader") {
		t.Errorf("audit says %v", e)
	}
	if e := s.Log.Last(audit.LoginCompleted); e["reason"] != "" || e["scope"] != "notes:read" {
		t.Errorf("audit says %v", e)
	}
	idp.SignInAs(servertest.Member("writer", "mcp-users", "mcp-writers"))
	writer, scope := servertest.SignInForLess(t, c)
	if scope != "notes:read notes:write" {
		t.Errorf("the writer got %q", scope)
	}
	if e := s.Log.Last(audit.PolicyNarrowed); strings.HasSuffix(e["subject"], ":writer") {
		t.Errorf("audit says %v", e)
	}

	t.Run("the gateway", func(t *testing.T) {
		for token, want := range map[string]int{reader.Access: http.StatusForbidden, writer.Access: http.StatusOK} {
			if a := servertest.CallTool(t, s, token, "notes_create"); a.Status != want || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%d %v, want %d and nobody sent to sign in", a.Status, a.Header, want)
			}
			if a := servertest.CallTool(t, s, token, "notes_list"); a.Status != http.StatusOK {
				t.Errorf("reading: %d", a.Status)
			}
		}
		if e := s.Log.Last(audit.AccessDenied); e["reason"] != "not_allowed_by_policy" || e["mcp_tool"] != "notes_create" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("ATK-54 asking again, for more or in other ways", func(t *testing.T) {
		idp.SignInAs(servertest.Member("reader", "mcp-users"))
		for name, ask := range map[string]string{"step-up": "notes:read notes:write", "no scope": "", "the other first": "notes:write notes:read", "catch-all": "mcp", "with offline_access": "notes:write offline_access notes:read"} {
			c := *c
			c.Scope = ask
			if _, got := servertest.SignInForLess(t, &c); got != "notes:read" {
				t.Errorf("%s: got %q", name, got)
			}
		}
		b := s.NewBrowser()
		b.Keep = func(string) bool { return true }
		page := b.Consent(t, c.Begin().URL())
		page.Form.Values["scope"] = []string{"notes:read", "notes:write", "admin"}
		target, values := page.Form.Action, page.Form.Values
		values.Set("decision", "allow")
		at := b.Walk(t, b.Post(t, "https://"+servertest.Host+target, values), servertest.RedirectURI)
		if at.Query().Get("code") == "" {
			t.Errorf("%v", at)
		}
		if e := s.Log.Last(audit.LoginCompleted); e["scope"] != "notes:read" {
			t.Errorf("a forged form got %v", e)
		}
	})
	t.Run("nothing is left of what is asked", func(t *testing.T) {
		idp.SignInAs(servertest.Member("reader", "mcp-users"))
		c := *c
		c.Scope = "notes:write"
		b := s.NewBrowser()
		a := c.Begin()
		page := servertest.End(t, b, a.URL())
		if page.Status != http.StatusForbidden || !strings.Contains(page.Text(), "Your account may not do that here") || !strings.Contains(page.Text(), "notes:write") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		back := servertest.Denial(t, page)
		if back.Get("error") != "access_denied" || back.Get("state") != a.State() || back.Get("iss") != servertest.Issuer(servertest.Host) || back.Has("code") {
			t.Errorf("the client is told %v", back)
		}
		if e := s.Log.Last(audit.LoginRefused); e["reason"] != "not_allowed_by_policy" || e["subject"] == "" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("the next page says what was not given", func(t *testing.T) {
		idp.SignInAs(servertest.Member("reader", "mcp-users"))
		b := s.NewBrowser()
		a := c.Begin()
		a.Code(t, b)
		if text := b.Consent(t, c.Begin().URL()).Text(); !strings.Contains(text, "did not let your account have, although you allowed it: notes:write") {
			t.Error(text)
		}
		if text := s.NewBrowser().Consent(t, c.Begin().URL()).Text(); strings.Contains(text, "did not let your account") {
			t.Error("another browser knows it too")
		}
	})
	t.Run("AS-RT-07 who leaves a group loses the scope", func(t *testing.T) {
		idp.Change(servertest.Member("writer", "mcp-users"))
		answer := c.Token(t, servertest.RefreshForm(c, writer.Refresh))
		if answer.Status != 200 || answer.String("scope") != "notes:read" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		if e := s.Log.Last(audit.PolicyNarrowed); e["reason"] != "narrowed_by_policy" || e["withheld"] != "notes:write" || e["family"] == "" {
			t.Errorf("audit says %v", e)
		}
		if a := servertest.CallTool(t, s, answer.String("access_token"), "notes_create"); a.Status != http.StatusForbidden {
			t.Errorf("the tool: %d", a.Status)
		}
		writer = servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
	})
	t.Run("ATK-54 a refresh for what is not allowed any more", func(t *testing.T) {
		writer.Refused(t, 400, "invalid_scope", "not_allowed_by_policy", "scope", "notes:write")
		s.Clock.Advance(5 * time.Minute) // it cost the client nothing: the token is not a superseded one now
		answer := c.Token(t, servertest.RefreshForm(c, writer.Refresh, "scope", "notes:read notes:write"))
		if answer.Status != 200 || answer.String("scope") != "notes:read" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		writer = servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
		reader.Refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:read notes:write")
	})
	t.Run("who comes back has it again", func(t *testing.T) {
		idp.Change(servertest.Member("writer", "mcp-writers"))
		answer := c.Token(t, servertest.RefreshForm(c, writer.Refresh))
		if answer.Status != 200 || answer.String("scope") != "notes:read notes:write" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		writer = servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
	})
	t.Run("AS-FED-09 who leaves all is refused, and their tokens end", func(t *testing.T) {
		s.MustPass(t, servertest.Resource, writer.Access)
		idp.Change(servertest.Member("writer"))
		writer.Refused(t, 400, "invalid_grant", "not_allowed_by_policy")
		s.MustNotPass(t, servertest.Resource, writer.Access, "invalid_token")
		idp.Change(servertest.Member("writer", "mcp-writers"))
		writer.Refused(t, 400, "invalid_grant", "family_revoked")
	})
}

// What a client may have is known before the user signs in, and offered.
func TestPolicyOfClients(t *testing.T) {
	t.Parallel()
	static := registration.Known{ID: "our-app", RedirectURIs: []string{servertest.RedirectURI}}
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Clients = []registration.Known{static, {ID: "blocked", RedirectURIs: static.RedirectURIs}}
		f.Policy.Rules = []rule.Rule{
			{Effect: "allow", Anyone: true},
			{Effect: "deny", ClientKinds: []string{"dynamic"}, Scopes: []string{"notes:write"}},
			{Effect: "deny", Clients: []string{"blocked"}},
		}
	}})
	servertest.WaitForTools(t, s)
	dynamic := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	ours := &servertest.Client{Service: s, Host: servertest.Host, ID: "our-app", RedirectURI: servertest.RedirectURI, Resource: servertest.Resource}

	page := s.NewBrowser().Consent(t, dynamic.Begin().URL())
	if slices.Contains(page.Form.Offered, "notes:write") || len(page.Form.Offered) != 3 || !strings.Contains(page.Text(), "do not let this app have, so it is not offered: notes:write") {
		t.Errorf("offered %q: %s", page.Form.Offered, page.Text())
	}
	if page := s.NewBrowser().Consent(t, ours.Begin().URL()); len(page.Form.Offered) != 4 || strings.Contains(page.Text(), "not offered") {
		t.Errorf("offered %q: %s", page.Form.Offered, page.Text())
	}
	k, scope := servertest.SignInForLess(t, dynamic)
	if scope != "notes:read weather:read profile" {
		t.Errorf("got %q", scope)
	}
	k.Refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:write")

	dynamic.Scope = "notes:write"
	page = s.NewBrowser().Open(t, dynamic.Begin().URL())
	if page.Status != http.StatusForbidden || !strings.Contains(page.Text(), "This app may not do that here") || servertest.Denial(t, page).Get("error") != "access_denied" {
		t.Errorf("%d %s", page.Status, page.Text())
	}
	if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] != "client_not_allowed_by_policy" {
		t.Errorf("audit says %v", e)
	}
	// A client that the operator wrote down is told by redirect.
	blocked := *ours
	blocked.ID = "blocked"
	to, err := url.Parse(s.NewBrowser().Open(t, blocked.Begin().URL()).Location())
	if err != nil || to.Query().Get("error") != "access_denied" {
		t.Errorf("%v %v", to, err)
	}
}

// Neither a page that is skipped nor a provider of our own goes round the rules.
func TestPolicyWithoutPages(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.DisableConsentScreen = true
		f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/callback`}
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Groups: []string{"engineering"}, Scopes: []string{"notes:read"}}, {Effect: "allow", Groups: []string{"On Call", "on call, all"}}}
	}})
	servertest.WaitForTools(t, s)
	if _, scope := servertest.SignInForLess(t, s.NewClient(t, servertest.Host, nil)); scope != "notes:read" {
		t.Errorf("got %q", scope)
	}
}

// A tool that the rules exclude cannot be called, whatever the toolPolicy and
// the revision; and a change of the rules is in force at once.
func TestPolicyOfTools(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	members := rule.Rule{Effect: "allow", Groups: []string{"mcp-users"}, Scopes: []string{"notes:read", "notes:write"}}
	keep := rule.Rule{Name: "no deleting", Effect: "deny", Groups: []string{"contractors"}, Tools: []string{"notes_delete"}}
	some := rule.Rule{Effect: "allow", Groups: []string{"deleters"}, Tools: []string{"notes_delete"}}
	s := servertest.Policed(t, idp, nil, members, keep, some)
	servertest.WaitForTools(t, s)
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	c.Scope = "notes:read notes:write" // by name: what can delete is not ticked otherwise
	sign := func(groups ...string) servertest.Tokens {
		idp.SignInAs(servertest.Member(strings.Join(groups, "-"), groups...))
		k, _ := servertest.SignInForLess(t, c)
		return k
	}
	all, contractor, deleter := sign("mcp-users"), sign("mcp-users", "contractors"), sign("deleters")
	for _, tt := range []struct {
		name  string
		token string
		tool  string
		want  int
	}{
		{"everybody", all.Access, "notes_delete", 200}, {"everybody else's", all.Access, "notes_create", 200},
		{"a contractor deletes", contractor.Access, "notes_delete", 403}, {"a contractor writes", contractor.Access, "notes_create", 200},
		{"a deleter deletes", deleter.Access, "notes_delete", 200}, {"a deleter writes", deleter.Access, "notes_create", 403}, {"a deleter reads", deleter.Access, "notes_list", 403},
	} {
		if a := servertest.CallTool(t, s, tt.token, tt.tool); a.Status != tt.want || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v, want %d", tt.name, a.Status, a.Header, tt.want)
		}
	}
	t.Run("a revision whose tools are not known", func(t *testing.T) {
		for token, want := range map[string]int{all.Access: 200, contractor.Access: 403, deleter.Access: 403} {
			for _, version := range []string{"2025-06-18", "", "0000-00-00"} {
				if a := s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", version, "Mcp-Method", "tools/call", "Mcp-Name", "notes_list"); a.Status != want {
					t.Errorf("%q: %d, want %d", version, a.Status, want)
				}
			}
		}
	})
	t.Run("ATK-54 a provider that tells no groups at a refresh undoes no denial", func(t *testing.T) {
		open := servertest.Policed(t, idp, nil, rule.Rule{Effect: "allow", Anyone: true}, keep)
		servertest.WaitForTools(t, open)
		c := open.NewClient(t, servertest.Host, servertest.WithRefresh)
		idp.SignInAs(servertest.Member("kim", "contractors"))
		k, _ := servertest.SignInForLess(t, c)
		idp.Change(servertest.Member("kim"))
		if a := servertest.CallTool(t, open, k.Again(t).Access, "notes_delete"); a.Status != 403 {
			t.Errorf("%d", a.Status)
		}
	})
	t.Run("other rules", func(t *testing.T) {
		other := servertest.Policed(t, idp, nil, members, rule.Rule{Effect: "deny", Groups: []string{"mcp-users"}, Tools: []string{"notes_delete"}})
		servertest.WaitForTools(t, other)
		other.MustNotPass(t, servertest.Resource, all.Access, "invalid_token")
		if e := other.Log.Last(audit.AccessDenied); e["reason"] != "policy_changed" {
			t.Errorf("audit says %v", e)
		}
		again := servertest.Tokens{Client: c.On(other), Access: all.Access, Refresh: all.Refresh}.Again(t)
		if a := servertest.CallTool(t, other, again.Access, "notes_delete"); a.Status != 403 {
			t.Errorf("after a refresh: %d", a.Status)
		}
		none := servertest.Policed(t, idp, nil)
		servertest.WaitForTools(t, none)
		none.MustPass(t, servertest.Resource, contractor.Access)
	})
}
