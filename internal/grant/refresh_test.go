package grant_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func TestRefreshIssued(t *testing.T) {
	t.Parallel()
	on := servertest.Start(t, servertest.Options{})
	off := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Tokens.Refresh.Enabled = false }})
	for name, tt := range map[string]struct {
		service *servertest.Service
		client  servertest.Metadata
		scope   string
		want    bool
	}{
		"registered":              {on, servertest.WithRefresh, "", true},
		"registered and asked":    {on, servertest.WithRefresh, "notes:read offline_access", true},
		"said nothing":            {on, nil, "notes:read", true},
		"said nothing, off":       {off, nil, "notes:read", false},
		"only asked":              {on, servertest.CodeOnly, "notes:read offline_access", true},
		"asked for nothing else":  {on, servertest.CodeOnly, "offline_access", true},
		"neither":                 {on, servertest.CodeOnly, "notes:read", false},
		"registered but off":      {off, servertest.WithRefresh, "", false},
		"registered, asked, off":  {off, servertest.WithRefresh, "offline_access", false},
		"a client with a secret":  {on, servertest.Metadata{"grant_types": servertest.WithRefresh["grant_types"], "token_endpoint_auth_method": "client_secret_post"}, "", true},
		"secret, said nothing":    {on, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"}, "notes:read", false},
		"asked beside an unknown": {on, servertest.CodeOnly, "notes:read no-such-scope offline_access", true},
	} {
		t.Run("AS-RT-01 "+name, func(t *testing.T) {
			t.Parallel()
			c := tt.service.NewClient(t, servertest.Host, tt.client)
			c.Scope = tt.scope
			a := c.Begin()
			answer := a.Exchange(t, a.Code(t, tt.service.NewBrowser()))
			if tt.service == off && tt.client == nil && fmt.Sprint(c.Registration.JSON["grant_types"]) != "[authorization_code]" {
				t.Errorf("registered: %s", c.Registration.Body)
			}
			if got := answer.String("refresh_token") != ""; answer.Status != 200 || got != tt.want {
				t.Errorf("%d, refresh token: %v, want %v", answer.Status, got, tt.want)
			}
			if strings.Contains(answer.String("scope"), "offline_access") {
				t.Errorf("offline_access was granted as a right: %s", answer.String("scope"))
			}
		})
	}
	t.Run("AS-META-04 what is advertised has an effect", func(t *testing.T) {
		for service, want := range map[*servertest.Service]bool{on: true, off: false} {
			for _, path := range []string{"oauth-authorization-server", "openid-configuration"} {
				doc := service.Get(t, "https://"+servertest.Host+"/.well-known/"+path)
				has := func(member, value string) bool {
					list, _ := doc.JSON[member].([]any)
					for _, v := range list {
						if v == value {
							return true
						}
					}
					return false
				}
				if has("scopes_supported", "offline_access") != want || has("grant_types_supported", "refresh_token") != want || want && !has("scopes_supported", "notes:read") {
					t.Errorf("%s, refresh tokens %v: %s", path, want, doc.Body)
				}
				if doc.String("revocation_endpoint") != "https://"+servertest.Host+"/revoke" || !has("revocation_endpoint_auth_methods_supported", "none") {
					t.Errorf("%s: %s", path, doc.Body)
				}
			}
			if doc := service.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource/mcp"); strings.Contains(doc.Body, "offline_access") {
				t.Errorf("offline_access is in %s", doc.Body)
			}
		}
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.SecondHost})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	const grace = grant.Grace

	t.Run("AS-RT-02 each use gives a new token", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		second := first.Again(t)
		third := second.Again(t)
		if first.Refresh == second.Refresh || second.Refresh == third.Refresh || first.Access == second.Access {
			t.Error("a token came twice")
		}
		for _, k := range []servertest.Tokens{first, second, third} {
			if k.Client != nil {
				s.MustPass(t, servertest.Resource, k.Access)
			}
			if len(k.Refresh) >= 4<<10 {
				t.Errorf("a refresh token of %d bytes", len(k.Refresh))
			}
		}
		e := s.Log.Last(audit.TokenRefreshed)
		if e["family"] == "" || e["flow"] == "" || e["subject"] != "static:jane" || e["email"] != servertest.Email || e["token_id"] == "" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("AS-RT-04 the token before gets the same answer for a while", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		second := first.Again(t)
		if retry := first.Again(t); retry.Refresh != second.Refresh {
			t.Error("a retry gave another token")
		}
		second.Again(t)
	})
	t.Run("AS-RT-04 AS-TOK-07 fifty refreshes at once", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		answers := together(t, s, 50, func() *http.Request {
			return servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/token", servertest.RefreshForm(c, first.Refresh).Encode(), "Content-Type", "application/x-www-form-urlencoded")
		})
		seen := map[string]bool{}
		for _, a := range answers {
			seen[a.String("refresh_token")] = true
			if a.Status != 200 {
				t.Errorf("status %d, want 200: %s", a.Status, a.Body)
			}
		}
		if len(seen) != 1 {
			t.Errorf("%d different refresh tokens, want 1", len(seen))
		}
		servertest.Tokens{Client: c, Refresh: answers[0].String("refresh_token")}.Again(t)
	})
	t.Run("AS-RT-04 a repeat is written down and counted", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		first.Again(t)
		if e := s.Log.Last(audit.TokenRefreshed); e["reason"] != "" {
			t.Errorf("the exchange itself: audit says %v", e)
		}
		before := servertest.Metric(t, s, "mcp_forward_auth_refresh_repeats_total")
		first.Again(t)
		if e := s.Log.Last(audit.TokenRefreshed); e["reason"] != "refresh_token_repeated" || e["family"] == "" || e["token_id"] == "" {
			t.Errorf("audit says %v", e)
		}
		if n := servertest.Metric(t, s, "mcp_forward_auth_refresh_repeats_total") - before; n < 1 { // other tests repeat as well
			t.Errorf("%v repeats were counted", n)
		}
	})
	t.Run("AS-RT-03 ATK-34 the first use of an access token ends the grace period", func(t *testing.T) {
		for name, repeats := range map[string]int{"the owner's": 0, "one that came by a repeat": 1} {
			t.Run(name, func(t *testing.T) {
				first := servertest.SignIn(t, c)
				second := first.Again(t)
				used := second
				for range repeats {
					used = first.Again(t) // the same successor, another access token
				}
				s.MustPass(t, servertest.Resource, used.Access)
				first.Stolen(t)
				second.Refused(t, 400, "invalid_grant", "family_revoked")
				s.MustNotPass(t, servertest.Resource, second.Access, "invalid_token")
			})
		}
	})
	t.Run("AS-RT-04 an access token from before the exchange ends no grace period", func(t *testing.T) {
		first := servertest.SignIn(t, c)
		second := first.Again(t)
		third := second.Again(t)
		for _, access := range []string{first.Access, second.Access} {
			s.MustPass(t, servertest.Resource, access)
		}
		time.Sleep(20 * time.Millisecond) // nothing is to happen
		if again := second.Again(t); again.Refresh != third.Refresh {
			t.Error("a retry gave another token")
		}
	})
	t.Run("AS-RT-03 ATK-34 a superseded token ends the family", func(t *testing.T) {
		other := servertest.SignIn(t, c)
		first := servertest.SignIn(t, c)
		second := first.Again(t)
		s.Clock.Advance(grace + time.Second)
		s.MustPass(t, servertest.Resource, second.Access)
		first.Refused(t, 400, "invalid_grant", "refresh_token_reused")
		second.Refused(t, 400, "invalid_grant", "family_revoked")
		first.Refused(t, 400, "invalid_grant", "family_revoked")
		s.MustNotPass(t, servertest.Resource, first.Access, "invalid_token")
		s.MustNotPass(t, servertest.Resource, second.Access, "invalid_token")
		if e := s.Log.Last(audit.FamilyEnded); e["reason"] != "refresh_token_reused" || e["family"] == "" {
			t.Errorf("audit says %v", e)
		}
		s.MustPass(t, servertest.Resource, other.Access)
		other.Again(t)
	})
	t.Run("AS-RT-05 bound to client, host and kind", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		stranger := s.NewClient(t, servertest.Host, servertest.WithRefresh)
		servertest.Tokens{Client: stranger, Refresh: k.Refresh}.Refused(t, 400, "invalid_grant", "refresh_token_of_another_client")
		elsewhere := s.NewClient(t, "other.example.com", servertest.WithRefresh)
		servertest.Tokens{Client: elsewhere, Refresh: k.Refresh}.Refused(t, 400, "invalid_grant", "invalid_refresh_token")
		confidential := s.NewClient(t, servertest.Host, servertest.Metadata{"grant_types": servertest.WithRefresh["grant_types"], "token_endpoint_auth_method": "client_secret_post"})
		secret := servertest.SignIn(t, confidential)
		bare := *confidential
		bare.Secret = ""
		servertest.Tokens{Client: &bare, Refresh: secret.Refresh}.Refused(t, 401, "invalid_client", "wrong_client_authentication_method")
		bare.Secret = "wrong"
		servertest.Tokens{Client: &bare, Refresh: secret.Refresh}.Refused(t, 401, "invalid_client", "wrong_client_secret")
		secret.Again(t)
		k.Again(t)
	})
	t.Run("ATK-62 AS-RT-08 what is sealed for one purpose opens for no other", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		a := c.Begin()
		page := s.NewBrowser().Consent(t, a.URL())
		code := c.Begin().Code(t, s.NewBrowser())
		flipped := []byte(k.Refresh)
		flipped[len(flipped)/2] ^= 1
		for name, value := range map[string]string{
			"code": code, "consent": page.Form.Values.Get("request"), "access token": k.Access, "client id": c.ID, "flipped": string(flipped),
			"cut": k.Refresh[:len(k.Refresh)-4], "padded": k.Refresh + "=", "newline": k.Refresh + "\n", "empty box": "AAAA",
		} {
			t.Log(name)
			servertest.Tokens{Client: c, Refresh: value}.Refused(t, 400, "invalid_grant", "invalid_refresh_token")
		}
		s.MustNotPass(t, servertest.Resource, k.Refresh, "invalid_token")
		if got := a.Exchange(t, k.Refresh); got.String("error") != "invalid_grant" {
			t.Errorf("as a code: %d %s", got.Status, got.Body)
		}
		if got := c.Token(t, servertest.RefreshForm(c, "")); got.Status != 400 || got.String("error") != "invalid_request" {
			t.Errorf("missing: status %d, want 400: %s", got.Status, got.Body)
		}
		if got := c.Service.Send(t, servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/token?refresh_token="+k.Refresh,
			servertest.RefreshForm(c, "").Encode(), "Content-Type", "application/x-www-form-urlencoded")); got.Status != 400 {
			t.Errorf("in the query: %d", got.Status)
		}
		k.Again(t)
	})
	t.Run("AS-RT-06 ATK-54 scope narrows the access token alone", func(t *testing.T) {
		wide := *c
		wide.Scope = "notes:read notes:write weather:read profile"
		k := servertest.SignIn(t, &wide)
		a := c.Token(t, servertest.RefreshForm(c, k.Refresh, "scope", "notes:read"))
		if a.Status != 200 || a.String("scope") != "notes:read" {
			t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
		}
		s.Clock.Advance(grace + time.Second)
		b := c.Token(t, servertest.RefreshForm(c, a.String("refresh_token"), "scope", "offline_access openid email no:such"))
		if b.Status != 200 || b.String("scope") != "notes:read notes:write weather:read profile" {
			t.Errorf("status %d, want 200: %s", b.Status, b.Body)
		}
	})
	t.Run("AS-RT-06 a mistake costs nothing", func(t *testing.T) {
		narrow := *c
		narrow.Scope = "notes:read"
		k := servertest.SignIn(t, &narrow)
		k.Refused(t, 400, "invalid_scope", "scope_not_granted", "scope", "notes:read notes:write")
		k.Refused(t, 400, "invalid_scope", "invalid_scope", "scope", "notes:read\"")
		k.Refused(t, 400, "invalid_target", "invalid_target", "resource", "https://mcp.example.com/wiki")
		k.Refused(t, 400, "invalid_target", "invalid_target", "resource", "https://evil.example/mcp")
		k.Refused(t, 401, "invalid_client", "unknown_client", "client_id", "nobody")
		s.Clock.Advance(grace + time.Second)
		next := k.Again(t, "resource", "https://MCP.example.com:443/mcp/?tenant=1")
		s.MustPass(t, servertest.Resource, next.Access)
		s.MustNotPass(t, "https://mcp.example.com/wiki", next.Access, "invalid_token")
	})
}

// together sends n requests at the same time.
func together(t *testing.T, s *servertest.Service, n int, request func() *http.Request) []*servertest.Answer {
	t.Helper()
	answers := make([]*servertest.Answer, n)
	var wg sync.WaitGroup
	var failed atomic.Value
	for i := range n {
		req := request()
		wg.Go(func() {
			a, err := s.TrySend(req)
			if err != nil {
				failed.Store(err)
				a = &servertest.Answer{}
			}
			answers[i] = a
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestRefreshExpiry(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	t.Run("AS-RT-07 idle", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
		s.Clock.Advance(30*day - time.Minute)
		k = k.Again(t)
		s.Clock.Advance(30*day + time.Second)
		k.Refused(t, 400, "invalid_grant", "refresh_token_expired")
	})
	t.Run("AS-RT-07 absolute", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
			f.Tokens.RefreshIdle, f.Tokens.RefreshAbsolute = 48*time.Hour, 120*time.Hour
		}})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
		for range 3 {
			s.Clock.Advance(47 * time.Hour)
			if time.Until(s.Clock.Now()) < 120*time.Hour {
				k = k.Again(t)
			}
		}
		k.Refused(t, 400, "invalid_grant", "refresh_token_expired")
	})
}

func TestRefreshRestart(t *testing.T) {
	t.Run("AS-RT-09 with a seed it goes on", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
		s.Restart()
		k = k.Again(t)
		s.Restart()
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t)
	})
	t.Run("AS-RT-09 with ephemeral keys it ends cleanly", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Keys = keyset.Settings{Source: "ephemeral", Rotation: f.Keys.Rotation} }})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
		s.Restart()
		k.Refused(t, 400, "invalid_grant", "invalid_refresh_token")
		servertest.MustRevoke(t, k.Client, k.Refresh)
		servertest.MustRevoke(t, k.Client, k.Access)
	})
	t.Run("the MCP server of the token is gone", func(t *testing.T) {
		t.Parallel()
		both := servertest.Start(t, servertest.Options{Edit: servertest.SecondHost})
		c := both.NewClient(t, servertest.Host, servertest.WithRefresh)
		c.Resource = "https://mcp.example.com/wiki"
		k := servertest.SignIn(t, c)
		one := servertest.Start(t, servertest.Options{})
		servertest.Tokens{Client: c.On(one), Refresh: k.Refresh}.Refused(t, 400, "invalid_grant", "resource_gone")
	})
	t.Run("AS-RT-03 a fork across replicas without a shared guard", func(t *testing.T) {
		t.Parallel()
		one := servertest.Start(t, servertest.Options{})
		two := one.Replica()
		client := one.NewClient(t, servertest.Host, servertest.WithRefresh)
		first := servertest.SignIn(t, client)
		second := first.Again(t)
		one.Clock.Advance(time.Hour)
		thief := servertest.Tokens{Client: client.On(two), Refresh: first.Refresh}.Again(t) // not noticed
		one.Clock.Advance(time.Hour)
		servertest.Tokens{Client: client.On(two), Refresh: second.Refresh}.Refused(t, 400, "invalid_grant", "refresh_token_reused")
		thief.Refused(t, 400, "invalid_grant", "family_revoked")
	})
}

func TestRecheck(t *testing.T) {
	oidc := func(t *testing.T, refreshTokens bool) (*oauthtest.OIDCProvider, *servertest.Service, *servertest.Client) {
		t.Parallel()
		p := oauthtest.NewOIDCProvider(t)
		p.SignInAs(servertest.Person)
		p.GiveRefreshTokens(refreshTokens)
		domain := func(f *config.File) { f.Provider.AllowedEmailDomains = []string{`example\.com`} }
		s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseOIDC(p), domain), Files: servertest.ProviderFiles})
		return p, s, s.NewClient(t, servertest.Host, servertest.WithRefresh)
	}
	t.Run("AS-FED-09 each refresh asks the provider once", func(t *testing.T) {
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		if scope := p.Sent(oauthtest.Authorization).Get("scope"); !strings.Contains(scope, "offline_access") {
			t.Errorf("the provider was asked for %q", scope)
		}
		for range 3 {
			before := p.Count(oauthtest.Token)
			for _, a := range together(t, s, 20, func() *http.Request {
				return servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/token", servertest.RefreshForm(c, k.Refresh).Encode(), "Content-Type", "application/x-www-form-urlencoded")
			}) {
				if a.Status != 200 {
					t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
				}
				k.Refresh, k.Access = a.String("refresh_token"), a.String("access_token")
			}
			if n := p.Count(oauthtest.Token) - before; n != 1 {
				t.Errorf("%d requests to the provider, whose refresh tokens work once", n)
			}
		}
		s.MustPass(t, servertest.Resource, k.Access)
	})
	t.Run("AS-FED-09 a change shows", func(t *testing.T) {
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		moved := servertest.Person
		moved.Email, moved.Groups = "jane.married@example.com", []string{"new group"}
		p.Change(moved)
		h := s.MustPass(t, servertest.Resource, k.Again(t).Access).Header
		if h.Get("X-Auth-Request-Email") != moved.Email || h.Get("X-Auth-Request-Groups") != "new group" {
			t.Errorf("headers %v", h)
		}
	})
	t.Run("AS-FED-09 AS-RT-07 ATK-34 the user is removed", func(t *testing.T) {
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		k = k.Again(t)
		p.Remove(servertest.Person.Subject)
		k.Refused(t, 400, "invalid_grant", "user_gone")
		k.Refused(t, 400, "invalid_grant", "family_revoked")
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		if e := s.Log.Last(audit.FamilyEnded); e["reason"] != "user_gone" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("AS-FED-06 AS-FED-09 the user leaves the organization", func(t *testing.T) {
		g := oauthtest.NewGitHub(t)
		member := oauthtest.User{Subject: "1001", Login: "jane", Email: "jane@example.com", EmailVerified: true, Groups: []string{"octo-org", "octo-org/ops"}}
		g.SignInAs(member)
		s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseGitHub(g), func(f *config.File) {
			f.Provider.Settings.(*github.Settings).AllowedOrganizations = []string{"octo-org/ops"}
		})})
		c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
		k := servertest.SignIn(t, c)
		k = k.Again(t)
		if h := s.MustPass(t, servertest.Resource, k.Access).Header; h.Get("X-Auth-Request-Groups") != "octo-org,octo-org/ops" {
			t.Errorf("headers %v", h)
		}
		moved := member
		moved.Groups = []string{"octo-org"}
		g.Change(moved)
		k.Refused(t, 400, "invalid_grant", "account_not_allowed")
		k.Refused(t, 400, "invalid_grant", "family_revoked")
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		a := c.Begin()
		b := s.NewBrowser()
		g.SignInAs(moved)
		servertest.ErrorAt(t, s, a, b.Walk(t, b.Open(t, a.URL()), c.RedirectURI), "access_denied", "account_not_allowed")
	})
	t.Run("AS-FED-09 the policy admits the user no more", func(t *testing.T) {
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		moved := servertest.Person
		moved.Email = "jane@elsewhere.example"
		p.Change(moved)
		k.Refused(t, 400, "invalid_grant", "email_domain_not_allowed")
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	})
	t.Run("AS-TOK-04 AS-RT-06 the provider is down for a while", func(t *testing.T) {
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		for _, trouble := range []func(on bool){
			func(on bool) { p.Break(oauthtest.Token, oauthtest.Status503); unbreak(p, on) },
			func(on bool) { p.Break(oauthtest.Token, oauthtest.Garbage); unbreak(p, on) },
			func(on bool) { p.Break(oauthtest.Token, oauthtest.Redirect); unbreak(p, on) },
			func(on bool) { p.RefuseToken(map[bool]string{true: "temporarily_unavailable"}[on]) },
		} {
			trouble(true)
			a := c.Token(t, servertest.RefreshForm(c, k.Refresh))
			if a.Status != 503 || a.String("error") != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
				t.Errorf("status %d, want 503: %s", a.Status, a.Body)
			}
			s.Clock.Advance(5 * time.Minute)
			trouble(false)
		}
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t).Again(t)
	})
	t.Run("AS-TOK-04 AS-RT-06 the provider refuses our secret for a while", func(t *testing.T) {
		// Not the person's fault, so the sign-in stays; nor one that passes by itself.
		p, s, c := oidc(t, true)
		k := servertest.SignIn(t, c)
		p.RefuseToken("invalid_client")
		k.Refused(t, 500, "server_error", "provider_misconfigured")
		p.RefuseToken("")
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t).Again(t)
	})
	t.Run("AS-RT-06 the provider takes its refresh token and then goes silent", func(t *testing.T) {
		// Its new refresh token used to be lost, and the old one, tried again, ended all of the user's.
		p, s, c := oidc(t, true)
		p.ThinIDTokens(true)
		k := servertest.SignIn(t, c)
		p.Break(oauthtest.UserInfo, oauthtest.Status503)
		for range 3 {
			k.Refused(t, 503, "temporarily_unavailable", "provider_unavailable")
			s.Clock.Advance(5 * time.Minute)
		}
		p.Break(oauthtest.UserInfo, oauthtest.Works)
		next := k.Again(t)
		if retry := k.Again(t); retry.Refresh != next.Refresh {
			t.Error("a retry gave another token")
		}
		s.MustPass(t, servertest.Resource, next.Again(t).Access)
	})
	t.Run("AS-FED-09 no refresh token, but userinfo", func(t *testing.T) {
		p, _, c := oidc(t, false)
		k := servertest.SignIn(t, c)
		before := p.Count(oauthtest.UserInfo)
		k = k.Again(t)
		if p.Count(oauthtest.UserInfo) == before {
			t.Error("the provider was not asked")
		}
		p.Remove(servertest.Person.Subject)
		k.Refused(t, 400, "invalid_grant", "user_gone")
	})
	t.Run("AS-FED-09 nothing to ask with", func(t *testing.T) {
		p, s, c := oidc(t, false)
		p.EditMetadata(func(d map[string]any) { delete(d, "userinfo_endpoint") })
		k := servertest.SignIn(t, c)
		k.Refused(t, 400, "invalid_grant", "provider_session_over")
		s.MustPass(t, servertest.Resource, k.Access) // nothing is known against the person
	})
	t.Run("AS-FED-09 GitHub", func(t *testing.T) {
		t.Parallel()
		g := oauthtest.NewGitHub(t)
		g.SignInAs(servertest.Person)
		s := servertest.Start(t, servertest.Options{Edit: servertest.UseGitHub(g), Files: servertest.ProviderFiles})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh)).Again(t)
		g.RateLimit(true)
		k.Refused(t, 503, "temporarily_unavailable", "provider_unavailable")
		g.RateLimit(false)
		k = k.Again(t)
		g.Remove(servertest.Person.Subject)
		k.Refused(t, 400, "invalid_grant", "user_gone")
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
	})
	t.Run("AS-FED-09 a static account is taken out", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{})
		k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
		without := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Provider.Settings.(*static.Settings).Users[0].Username = "joe" }})
		servertest.Tokens{Client: k.Client.On(without), Refresh: k.Refresh}.Refused(t, 400, "invalid_grant", "user_gone")
		k.Again(t)
	})
	t.Run("AS-FED-08 nothing of the provider's is in what clients get", func(t *testing.T) {
		p, s, c := oidc(t, true)
		a := c.Begin()
		code := a.Code(t, s.NewBrowser())
		if len(code) > 3<<10 {
			t.Errorf("a code of %d bytes", len(code))
		}
		answer := a.Exchange(t, code)
		k := servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
		next := k.Again(t)
		out := []string{code, answer.Body, next.Access, next.Refresh, s.MustPass(t, servertest.Resource, next.Access).Body, s.Log.String()}
		upstream := p.Sent(oauthtest.Token).Get("refresh_token")
		if !strings.HasPrefix(upstream, "rt-") {
			t.Fatalf("the provider got %q", upstream)
		}
		for _, text := range out {
			for part := range strings.FieldsFuncSeq(text, func(r rune) bool {
				return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", r)
			}) {
				plain, _ := base64.RawURLEncoding.DecodeString(part)
				if strings.Contains(part, upstream) || strings.Contains(string(plain), upstream) || strings.Contains(string(plain), "at-") && strings.Contains(string(plain), "rt-") {
					t.Error("a token of the provider's is in an output")
				}
			}
		}
	})
}

func unbreak(p *oauthtest.OIDCProvider, on bool) {
	if !on {
		p.Break(oauthtest.Token, oauthtest.Works)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.SecondHost})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	for _, hint := range []string{"", "access_token", "refresh_token", "no_such_type"} {
		t.Run("AS-REV-01 AS-REV-03 hint "+hint, func(t *testing.T) {
			k := servertest.SignIn(t, c)
			s.MustPass(t, servertest.Resource, k.Access)
			other := k.Again(t)
			servertest.MustRevoke(t, c, k.Access, "token_type_hint", hint)
			s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
			if e := s.Log.Last(audit.TokenRevoked); e["reason"] != "revoked_by_client" || e["token_id"] == "" {
				t.Errorf("audit says %v", e)
			}
			s.MustPass(t, servertest.Resource, other.Access) // one token is not the family
			servertest.MustRevoke(t, c, k.Refresh, "token_type_hint", hint)
			s.MustNotPass(t, servertest.Resource, other.Access, "invalid_token")
			other.Refused(t, 400, "invalid_grant", "family_revoked")
			servertest.MustRevoke(t, c, k.Refresh, "token_type_hint", hint)
		})
	}
	t.Run("AS-REV-01 unknown tokens", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		code := c.Begin().Code(t, s.NewBrowser())
		for _, token := range []string{"x", code, k.Access + "x", k.Refresh[:20], strings.Repeat("y", 30<<10)} {
			servertest.MustRevoke(t, c, token)
		}
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t)
	})
	t.Run("AS-REV-01 wrong requests", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		if a := servertest.Revoke(t, c, ""); a.Status != 400 || a.String("error") != "invalid_request" {
			t.Errorf("no token: status %d, want 400: %s", a.Status, a.Body)
		}
		if a := servertest.Revoke(t, c, k.Access, "client_id", ""); a.Status != 401 || a.String("error") != "invalid_client" {
			t.Errorf("no client: status %d, want 401: %s", a.Status, a.Body)
		}
		if a := servertest.Revoke(t, c, k.Access, "client_secret", "x"); a.Status != 401 {
			t.Errorf("a secret of a public client: status %d, want 401: %s", a.Status, a.Body)
		}
		twice := url.Values{"token": {k.Access, k.Access}, "client_id": {c.ID}}
		if a := s.Send(t, servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/revoke", twice.Encode(), "Content-Type", "application/x-www-form-urlencoded")); a.Status != 400 {
			t.Errorf("two tokens: status %d, want 400: %s", a.Status, a.Body)
		}
		s.MustPass(t, servertest.Resource, k.Access)
	})
	t.Run("AS-REV-02 a foreign client's token", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		stranger := s.NewClient(t, servertest.Host, nil)
		for _, token := range []string{k.Access, k.Refresh} {
			if a := servertest.Revoke(t, stranger, token); a.Status != 400 || a.String("error") != "invalid_grant" {
				t.Errorf("status %d, want 400: %s", a.Status, a.Body)
			}
			if e := s.Log.Last(audit.RevocationRefused); e["reason"] != "token_of_another_client" {
				t.Errorf("audit says %v", e)
			}
		}
		elsewhere := s.NewClient(t, "other.example.com", nil)
		servertest.MustRevoke(t, elsewhere, k.Access) // unknown at that host
		servertest.MustRevoke(t, elsewhere, k.Refresh)
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t)
	})
	t.Run("AS-REV-04 POST only", func(t *testing.T) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
			a := s.Send(t, servertest.Request(t, method, "https://"+servertest.Host+"/revoke?token=x&callback=f&client_id="+url.QueryEscape(c.ID), ""))
			if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "POST" {
				t.Errorf("%s: %d", method, a.Status)
			}
		}
	})
	t.Run("AS-CONS-18 an approval withdrawn ends refresh at once", func(t *testing.T) {
		k := servertest.SignIn(t, c)
		k = k.Again(t)
		servertest.MustRevoke(t, c, k.Refresh)
		k.Refused(t, 400, "invalid_grant", "family_revoked")
	})
}

func TestCodeReplay(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	t.Run("AS-TOK-08 ATK-33 a replay that proves itself ends what was issued", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, s.NewBrowser())
		first := a.Exchange(t, code)
		k := servertest.Tokens{Client: c, Access: first.String("access_token"), Refresh: first.String("refresh_token")}
		s.MustPass(t, servertest.Resource, k.Access)
		if got := a.Exchange(t, code); got.Status != 400 || got.String("error") != "invalid_grant" {
			t.Errorf("status %d, want 400: %s", got.Status, got.Body)
		}
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		k.Refused(t, 400, "invalid_grant", "family_revoked")
		if e := s.Log.Last(audit.FamilyEnded); e["reason"] != "code_used_twice" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("AS-TOK-08 ATK-02 a replay that proves nothing ends nothing", func(t *testing.T) {
		a := c.Begin()
		code := a.Code(t, s.NewBrowser())
		first := a.Exchange(t, code)
		k := servertest.Tokens{Client: c, Access: first.String("access_token"), Refresh: first.String("refresh_token")}
		form := a.TokenForm(code)
		form.Set("code_verifier", strings.Repeat("x", 43))
		if got := c.Token(t, form); got.String("error") != "invalid_grant" {
			t.Errorf("wrong verifier: %d %s", got.Status, got.Body)
		}
		form = a.TokenForm(code)
		form.Set("client_id", s.NewClient(t, servertest.Host, nil).ID)
		if got := c.Token(t, form); got.String("error") != "invalid_grant" {
			t.Errorf("wrong client: %d %s", got.Status, got.Body)
		}
		s.MustPass(t, servertest.Resource, k.Access)
		k.Again(t)
	})
	t.Run("AS-TOK-07 ATK-33 fifty redemptions at once", func(t *testing.T) {
		a := c.Begin()
		form := a.TokenForm(a.Code(t, s.NewBrowser()))
		good := 0
		for _, answer := range together(t, s, 50, func() *http.Request {
			return servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		}) {
			if answer.Status == 200 {
				good++
				s.MustNotPass(t, servertest.Resource, answer.String("access_token"), "invalid_token")
			} else if answer.String("error") != "invalid_grant" {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		}
		if good != 1 {
			t.Errorf("%d redemptions of one code, want 1", good)
		}
	})
}

func TestDenyList(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deny.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("subjects: []")
	s := servertest.Start(t, servertest.Options{
		Edit: func(f *config.File) { f.DenyList.File = path }, Files: map[string]string{path: ""},
	})
	c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	applied := func(event audit.Event) {
		t.Helper()
		count := func() (n int) {
			for _, e := range s.Log.Entries() {
				if e["event"] == string(event) {
					n++
				}
			}
			return n
		}
		before := count()
		for range 1200 {
			if count() > before {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal("the deny-list was not read within a minute")
	}
	k := servertest.SignIn(t, c)
	s.MustPass(t, servertest.Resource, k.Access)
	family := s.Log.Last(audit.TokenIssued)["family"]
	waiting := c.Begin()
	code := waiting.Code(t, s.NewBrowser())
	for name, text := range map[string]string{
		"subject": "subjects: ['static:jane']", "email": "emails: [JANE@example.com]", "client": "clients: ['" + c.ID + "']",
	} {
		t.Run("AS-CONS-18 denied by "+name, func(t *testing.T) {
			write(text)
			applied(audit.DenyListLoaded)
			a := s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
			if e := s.Log.Last(audit.AccessDenied); e["reason"] != "denied_by_operator" || a.Body == "" {
				t.Errorf("audit says %v", e)
			}
			k.Refused(t, 400, "invalid_grant", "denied_by_operator")
			if got := waiting.Exchange(t, code); got.Status != 400 || got.String("error") != "invalid_grant" {
				t.Errorf("code: status %d, want 400: %s", got.Status, got.Body)
			}
			b := s.NewBrowser()
			attempt := c.Begin()
			if q := b.Walk(t, b.Open(t, attempt.URL()), c.RedirectURI).Query(); q.Get("error") != "access_denied" || q.Has("code") {
				t.Errorf("callback: %v", q)
			}
			if e := s.Log.Last(audit.LoginRefused); e["reason"] != "denied_by_operator" {
				t.Errorf("audit says %v", e)
			}
		})
	}
	t.Run("AS-CONS-18 denied by family", func(t *testing.T) {
		write("families: ['" + family + "']")
		applied(audit.DenyListLoaded)
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		k.Refused(t, 400, "invalid_grant", "denied_by_operator")
		servertest.SignIn(t, c).Again(t) // another sign-in of the same person and client
	})
	t.Run("a broken file leaves the last good one in force and says so", func(t *testing.T) {
		write("subject: ['static:jane']")
		applied(audit.DenyListBroken)
		s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
		if _, text := s.Management(t, "/metrics"); !strings.Contains(text, "mcp_forward_auth_deny_list_broken 1\n") || !strings.Contains(text, "mcp_forward_auth_deny_list_entries 1\n") {
			t.Error("the metrics do not say so")
		}
		if !strings.Contains(s.Log.String(), `"level":"ERROR"`) {
			t.Error("the log does not say so loudly")
		}
		write("{}")
		applied(audit.DenyListLoaded)
		s.MustPass(t, servertest.Resource, k.Access)
		if _, text := s.Management(t, "/metrics"); !strings.Contains(text, "mcp_forward_auth_deny_list_broken 0\n") {
			t.Error("the metrics still say that it is broken")
		}
	})
}

func TestUsersFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.yaml")
	user := func(f *config.File, name string) string {
		return "users: [{username: " + name + ", passwordHash: '" + f.Provider.Settings.(*static.Settings).Users[0].PasswordHash.Reveal() + "'}]"
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other, files := "", map[string]string{}
	edit := func(f *config.File) {
		files[path], other = user(f, servertest.Username), user(f, "joe")
		f.Provider.Settings = &static.Settings{UsersFile: path}
		write(files[path])
	}
	s := servertest.Start(t, servertest.Options{Edit: edit, Files: files})
	wait := func(event audit.Event, value string) {
		t.Helper()
		for range 1200 {
			_, text := s.Management(t, "/metrics")
			if s.Log.Last(event) != nil && strings.Contains(text, `mcp_forward_auth_users_file_broken{provider=""} `+value+"\n") {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("no %s within a minute", event)
	}
	wait(audit.UsersLoaded, "0")
	k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh)).Again(t)
	write("users: nobody")
	wait(audit.UsersBroken, "1")
	k = k.Again(t)
	write(other)
	wait(audit.UsersLoaded, "0")
	k.Refused(t, 400, "invalid_grant", "user_gone")
	s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
}
