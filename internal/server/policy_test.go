package server_test

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
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// policed is a service with these rules, whose identity provider is idp.
func policed(t *testing.T, idp *oauthtest.OIDCProvider, edit func(*config.File), rules ...config.PolicyRuleFile) *servertest.Service {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) {
		f.Policy.Rules = rules
		if edit != nil {
			edit(f)
		}
	})})
	return s
}

func member(subject string, groups ...string) oauthtest.User {
	return oauthtest.User{Subject: subject, Email: subject + "@example.com", EmailVerified: true, Name: subject, Groups: groups}
}

// held is signIn for a client that may get less than it asks for.
func held(t *testing.T, c *servertest.Client) (tokens, string) {
	t.Helper()
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, c.Service.NewBrowser()))
	if answer.Status != 200 {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return tokens{c, answer.String("access_token"), answer.String("refresh_token")}, answer.String("scope")
}

// known waits until the service knows the MCP server's tools.
func known(t *testing.T, s *servertest.Service) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource/mcp").Body, "notes:write") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the catalogue never comes")
		}
	}
}

func callTool(t *testing.T, s *servertest.Service, token, tool string) *servertest.Answer {
	t.Helper()
	return s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
}

// Two people agree to the same and get what each may have; who leaves a group
// loses the scope with the next refresh, and who leaves all is signed out.
func TestPolicy(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	s := policed(t, idp, nil,
		config.PolicyRuleFile{Name: "members", Effect: "allow", Groups: []string{"mcp-users"}, Scopes: []string{"notes:read"}},
		config.PolicyRuleFile{Name: "writers", Effect: "allow", Groups: []string{"mcp-writers"}})
	known(t, s)
	c := s.NewClient(t, servertest.Host, withRefresh)
	c.Scope = "notes:read notes:write"

	idp.SignInAs(member("reader", "mcp-users"))
	reader, scope := held(t, c)
	if scope != "notes:read" {
		t.Errorf("the reader got %q", scope)
	}
	if e := s.Log.Last(audit.PolicyNarrowed); e["reason"] != "narrowed_by_policy" || e["withheld"] != "notes:write" || !strings.HasSuffix(e["subject"], ":reader") {
		t.Errorf("audit says %v", e)
	}
	if e := s.Log.Last(audit.LoginCompleted); e["reason"] != "" || e["scope"] != "notes:read" {
		t.Errorf("audit says %v", e)
	}
	idp.SignInAs(member("writer", "mcp-users", "mcp-writers"))
	writer, scope := held(t, c)
	if scope != "notes:read notes:write" {
		t.Errorf("the writer got %q", scope)
	}
	if e := s.Log.Last(audit.PolicyNarrowed); strings.HasSuffix(e["subject"], ":writer") {
		t.Errorf("audit says %v", e)
	}

	t.Run("the gateway", func(t *testing.T) {
		for token, want := range map[string]int{reader.access: http.StatusForbidden, writer.access: http.StatusOK} {
			if a := callTool(t, s, token, "notes_create"); a.Status != want || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%d %v, want %d and nobody sent to sign in", a.Status, a.Header, want)
			}
			if a := callTool(t, s, token, "notes_list"); a.Status != http.StatusOK {
				t.Errorf("reading: %d", a.Status)
			}
		}
		if e := s.Log.Last(audit.AccessDenied); e["reason"] != "not_allowed_by_policy" || e["mcp_tool"] != "notes_create" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("ATK-54 asking again, for more or in other ways", func(t *testing.T) {
		idp.SignInAs(member("reader", "mcp-users"))
		for name, ask := range map[string]string{"step-up": "notes:read notes:write", "no scope": "", "the other first": "notes:write notes:read", "catch-all": "mcp", "with offline_access": "notes:write offline_access notes:read"} {
			c := *c
			c.Scope = ask
			if _, got := held(t, &c); got != "notes:read" {
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
		idp.SignInAs(member("reader", "mcp-users"))
		c := *c
		c.Scope = "notes:write"
		b := s.NewBrowser()
		a := c.Begin()
		page := end(t, b, a.URL())
		if page.Status != http.StatusForbidden || !strings.Contains(page.Text(), "Your account may not do that here") || !strings.Contains(page.Text(), "notes:write") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		back := denial(t, page)
		if back.Get("error") != "access_denied" || back.Get("state") != a.State() || back.Get("iss") != servertest.Issuer(servertest.Host) || back.Has("code") {
			t.Errorf("the client is told %v", back)
		}
		if e := s.Log.Last(audit.LoginRefused); e["reason"] != "not_allowed_by_policy" || e["subject"] == "" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("the next page says what was not given", func(t *testing.T) {
		idp.SignInAs(member("reader", "mcp-users"))
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
		idp.Change(member("writer", "mcp-users"))
		answer := c.Token(t, refreshForm(c, writer.refresh))
		if answer.Status != 200 || answer.String("scope") != "notes:read" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		if e := s.Log.Last(audit.PolicyNarrowed); e["reason"] != "narrowed_by_policy" || e["withheld"] != "notes:write" || e["family"] == "" {
			t.Errorf("audit says %v", e)
		}
		if a := callTool(t, s, answer.String("access_token"), "notes_create"); a.Status != http.StatusForbidden {
			t.Errorf("the tool: %d", a.Status)
		}
		writer = tokens{c, answer.String("access_token"), answer.String("refresh_token")}
	})
	t.Run("ATK-54 a refresh for what is not allowed any more", func(t *testing.T) {
		writer.refused(t, 400, "invalid_scope", "not_allowed_by_policy", "scope", "notes:write")
		s.Clock.Advance(5 * time.Minute) // it cost the client nothing: the token is not a superseded one now
		answer := c.Token(t, refreshForm(c, writer.refresh, "scope", "notes:read notes:write"))
		if answer.Status != 200 || answer.String("scope") != "notes:read" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		writer = tokens{c, answer.String("access_token"), answer.String("refresh_token")}
		reader.refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:read notes:write")
	})
	t.Run("who comes back has it again", func(t *testing.T) {
		idp.Change(member("writer", "mcp-writers"))
		answer := c.Token(t, refreshForm(c, writer.refresh))
		if answer.Status != 200 || answer.String("scope") != "notes:read notes:write" {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		writer = tokens{c, answer.String("access_token"), answer.String("refresh_token")}
	})
	t.Run("AS-FED-09 who leaves all is refused, and their tokens end", func(t *testing.T) {
		s.MustPass(t, servertest.Resource, writer.access)
		idp.Change(member("writer"))
		writer.refused(t, 400, "invalid_grant", "not_allowed_by_policy")
		s.MustNotPass(t, servertest.Resource, writer.access, "invalid_token")
		idp.Change(member("writer", "mcp-writers"))
		writer.refused(t, 400, "invalid_grant", "family_revoked")
	})
}

// end walks a browser as far as it goes without the client.
func end(t *testing.T, b *servertest.Browser, address string) *servertest.Page {
	t.Helper()
	page := b.Open(t, address)
	for range 10 {
		switch to := page.Location(); {
		case to != "":
			next, err := page.URL.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(next.String(), servertest.RedirectURI) {
				t.Fatalf("went to the client: %s", to)
			}
			page = b.Open(t, next.String())
		case page.Form != nil && page.Status < 400:
			page = b.Submit(t, page, "decision", "allow")
		default:
			return page
		}
	}
	t.Fatal("never ends")
	return nil
}

// denial is what the page's one link tells the client.
func denial(t *testing.T, page *servertest.Page) url.Values {
	t.Helper()
	i := slices.IndexFunc(page.Links, func(l string) bool { return strings.HasPrefix(l, servertest.RedirectURI) })
	if i < 0 {
		t.Fatalf("no way back to the client in %v", page.Links)
	}
	u, err := url.Parse(page.Links[i])
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// What a client may have is known before anybody signs in, and offered.
func TestPolicyOfClients(t *testing.T) {
	t.Parallel()
	static := config.ClientFile{ID: "our-app", RedirectURIs: []string{servertest.RedirectURI}}
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Clients = []config.ClientFile{static, {ID: "blocked", RedirectURIs: static.RedirectURIs}}
		f.Policy.Rules = []config.PolicyRuleFile{
			{Effect: "allow", Anyone: true},
			{Effect: "deny", ClientKinds: []string{"dynamic"}, Scopes: []string{"notes:write"}},
			{Effect: "deny", Clients: []string{"blocked"}},
		}
	}})
	known(t, s)
	dynamic := s.NewClient(t, servertest.Host, withRefresh)
	ours := &servertest.Client{Service: s, Host: servertest.Host, ID: "our-app", RedirectURI: servertest.RedirectURI, Resource: servertest.Resource}

	page := s.NewBrowser().Consent(t, dynamic.Begin().URL())
	if slices.Contains(page.Form.Offered, "notes:write") || len(page.Form.Offered) != 3 || !strings.Contains(page.Text(), "do not let this app have, so it is not offered: notes:write") {
		t.Errorf("offered %q: %s", page.Form.Offered, page.Text())
	}
	if page := s.NewBrowser().Consent(t, ours.Begin().URL()); len(page.Form.Offered) != 4 || strings.Contains(page.Text(), "not offered") {
		t.Errorf("offered %q: %s", page.Form.Offered, page.Text())
	}
	k, scope := held(t, dynamic)
	if scope != "notes:read weather:read profile" {
		t.Errorf("got %q", scope)
	}
	k.refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:write")

	dynamic.Scope = "notes:write"
	page = s.NewBrowser().Open(t, dynamic.Begin().URL())
	if page.Status != http.StatusForbidden || !strings.Contains(page.Text(), "This app may not do that here") || denial(t, page).Get("error") != "access_denied" {
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
		f.Policy.Rules = []config.PolicyRuleFile{{Effect: "allow", Groups: []string{"engineering"}, Scopes: []string{"notes:read"}}, {Effect: "allow", Groups: []string{"On Call", "on call, all"}}}
	}})
	known(t, s)
	if _, scope := held(t, s.NewClient(t, servertest.Host, nil)); scope != "notes:read" {
		t.Errorf("got %q", scope)
	}
}

// A tool that the rules exclude cannot be called, whatever the toolPolicy and
// the revision; and a change of the rules is in force at once.
func TestPolicyOfTools(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.GiveRefreshTokens(true)
	members := config.PolicyRuleFile{Effect: "allow", Groups: []string{"mcp-users"}, Scopes: []string{"notes:read", "notes:write"}}
	keep := config.PolicyRuleFile{Name: "no deleting", Effect: "deny", Groups: []string{"contractors"}, Tools: []string{"notes_delete"}}
	some := config.PolicyRuleFile{Effect: "allow", Groups: []string{"deleters"}, Tools: []string{"notes_delete"}}
	s := policed(t, idp, nil, members, keep, some)
	known(t, s)
	c := s.NewClient(t, servertest.Host, withRefresh)
	sign := func(groups ...string) tokens {
		idp.SignInAs(member(strings.Join(groups, "-"), groups...))
		k, _ := held(t, c)
		return k
	}
	all, contractor, deleter := sign("mcp-users"), sign("mcp-users", "contractors"), sign("deleters")
	for _, tt := range []struct {
		name  string
		token string
		tool  string
		want  int
	}{
		{"everybody", all.access, "notes_delete", 200}, {"everybody else's", all.access, "notes_create", 200},
		{"a contractor deletes", contractor.access, "notes_delete", 403}, {"a contractor writes", contractor.access, "notes_create", 200},
		{"a deleter deletes", deleter.access, "notes_delete", 200}, {"a deleter writes", deleter.access, "notes_create", 403}, {"a deleter reads", deleter.access, "notes_list", 403},
	} {
		if a := callTool(t, s, tt.token, tt.tool); a.Status != tt.want || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %v, want %d", tt.name, a.Status, a.Header, tt.want)
		}
	}
	t.Run("a revision whose tools are not known", func(t *testing.T) {
		for token, want := range map[string]int{all.access: 200, contractor.access: 403, deleter.access: 403} {
			for _, version := range []string{"2025-06-18", "", "0000-00-00"} {
				if a := s.Ask(t, servertest.Resource, token, "MCP-Protocol-Version", version, "Mcp-Method", "tools/call", "Mcp-Name", "notes_list"); a.Status != want {
					t.Errorf("%q: %d, want %d", version, a.Status, want)
				}
			}
		}
	})
	t.Run("ATK-54 a provider that tells no groups at a refresh undoes no denial", func(t *testing.T) {
		open := policed(t, idp, nil, config.PolicyRuleFile{Effect: "allow", Anyone: true}, keep)
		known(t, open)
		c := open.NewClient(t, servertest.Host, withRefresh)
		idp.SignInAs(member("kim", "contractors"))
		k, _ := held(t, c)
		idp.Change(member("kim"))
		if a := callTool(t, open, k.again(t).access, "notes_delete"); a.Status != 403 {
			t.Errorf("%d", a.Status)
		}
	})
	t.Run("other rules", func(t *testing.T) {
		other := policed(t, idp, nil, members, config.PolicyRuleFile{Effect: "deny", Groups: []string{"mcp-users"}, Tools: []string{"notes_delete"}})
		known(t, other)
		other.MustNotPass(t, servertest.Resource, all.access, "invalid_token")
		if e := other.Log.Last(audit.AccessDenied); e["reason"] != "policy_changed" {
			t.Errorf("audit says %v", e)
		}
		again := tokens{c.On(other), all.access, all.refresh}.again(t)
		if a := callTool(t, other, again.access, "notes_delete"); a.Status != 403 {
			t.Errorf("after a refresh: %d", a.Status)
		}
		none := policed(t, idp, nil)
		known(t, none)
		none.MustPass(t, servertest.Resource, contractor.access)
	})
}
