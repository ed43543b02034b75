package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const callbackHost = "login.example.com"

func useCallbackHost(name string) func(*config.File) {
	return func(f *config.File) { f.Proxy.CallbackHost = name }
}

// answered walks a sign-in until the provider has sent the browser back, which
// has not followed yet.
func answered(t *testing.T, b *servertest.Browser, a *servertest.Attempt, callback string) string {
	t.Helper()
	return b.Walk(t, b.Open(t, a.URL()), callback).String()
}

func TestCallbackHost(t *testing.T) {
	t.Parallel()
	hub := oauthtest.NewGitHub(t)
	hub.SignInAs(servertest.Person)
	options := servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseGitHub(hub), servertest.SecondHost, useCallbackHost(callbackHost))}
	s := servertest.Start(t, options)
	const callback = "https://" + callbackHost + "/callback"
	first, second := s.NewClient(t, servertest.Host, nil), s.NewClient(t, "other.example.com", nil)
	t.Run("one redirect URI for every host", func(t *testing.T) {
		for _, c := range []*servertest.Client{first, second} {
			b := s.NewBrowser()
			s.MustPass(t, c.Resource, c.AccessToken(t, b))
			for _, e := range []oauthtest.Endpoint{oauthtest.Authorization, oauthtest.Token} {
				if got := hub.Sent(e).Get("redirect_uri"); got != callback {
					t.Errorf("%s at the %s endpoint", got, e)
				}
			}
			if len(b.Cookies(callbackHost)) != 0 {
				t.Error("the callback host set a cookie")
			}
		}
	})
	t.Run("the answer goes on to the host that began, as it came", func(t *testing.T) {
		b, a := s.NewBrowser(), second.Begin()
		at := answered(t, b, a, callback)
		page := b.Open(t, servertest.WithQuery(t, at, "error_description", "a b&c=d"))
		next, err := url.Parse(page.Location())
		if err != nil || page.Status != http.StatusSeeOther || next.Scheme+"://"+next.Host+next.Path != "https://other.example.com/callback" {
			t.Fatalf("status %d, want %v: %s", page.Status, http.StatusSeeOther, page.Location())
		}
		if got, want := next.Query(), servertest.Query(t, at); got.Get("code") != want.Get("code") || got.Get("state") != want.Get("state") || got.Get("error_description") != "a b&c=d" {
			t.Errorf("%v becomes %v", want, got)
		}
		if page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("headers %v", page.Header)
		}
	})
	t.Run("AS-FED-07 the provider's refusal goes on too", func(t *testing.T) {
		hub.RefuseAuthorization("access_denied")
		defer hub.RefuseAuthorization("")
		a, b := first.Begin(), s.NewBrowser()
		servertest.ErrorAt(t, s, a, b.Walk(t, b.Open(t, a.URL()), first.RedirectURI), "access_denied", "provider_cancelled")
	})
	t.Run("AS-FED-02 AS-FED-11 another browser", func(t *testing.T) {
		at := answered(t, s.NewBrowser(), first.Begin(), callback)
		victim := s.NewBrowser()
		before := hub.Count(oauthtest.Token)
		servertest.RefusedStep(t, s, servertest.Follow(t, victim, victim.Open(t, at)), "other_browser")
		// Also one that has a sign-in of its own on its way.
		answered(t, victim, first.Begin(), callback)
		servertest.RefusedStep(t, s, servertest.Follow(t, victim, victim.Open(t, at)), "other_browser")
		if hub.Count(oauthtest.Token) != before {
			t.Error("the code was redeemed")
		}
	})
	t.Run("AS-FED-03 a sign-in cannot be finished on the other host", func(t *testing.T) {
		b, a := s.NewBrowser(), first.Begin()
		answered(t, b, second.Begin(), callback) // the browser has one there as well
		at := answered(t, b, a, callback)
		there := strings.Replace(at, callbackHost, "other.example.com", 1)
		servertest.RefusedStep(t, s, b.Open(t, there), "callback_of_another_host")
		a.Accept(t, b.Walk(t, b.Open(t, at), first.RedirectURI)) // the right way is still open
	})
	t.Run("AS-FED-02 an answer counts once", func(t *testing.T) {
		b, a := s.NewBrowser(), first.Begin()
		page := b.Open(t, answered(t, b, a, callback))
		thief := s.NewBrowser() // with the cookies of before
		for _, c := range b.Cookies(servertest.Host) {
			thief.SetCookie(servertest.Host, c)
		}
		a.Accept(t, b.Walk(t, page, first.RedirectURI))
		servertest.RefusedStep(t, s, servertest.Follow(t, b, page), "used_twice")
		servertest.RefusedStep(t, s, servertest.Follow(t, thief, page), "used_twice")
	})
	t.Run("a state that is not ours leads nowhere", func(t *testing.T) {
		b := s.NewBrowser()
		state := servertest.Query(t, answered(t, b, first.Begin(), callback)).Get("state")
		for name, q := range map[string]string{
			"none": "code=x", "made up": "code=x&state=" + strings.Repeat("A", 52), "a host": "code=x&state=https://evil.example", "a handle": "code=x&state=" + state[:26],
			"changed": "code=x&state=" + state[:len(state)-8] + "AAAAAAAA", "with a host beside it": "code=x&state=evil.example&host=mcp.example.com",
		} {
			t.Run(name, func(t *testing.T) { servertest.RefusedStep(t, s, b.Open(t, callback+"?"+q), "foreign_callback") })
		}
		servertest.RefusedStep(t, s, b.Open(t, callback+"?code=x&state="+state+"&state="+state), "malformed_callback")
		for _, host := range []string{"evil.example", "mcp.example.com.evil.example"} {
			req := servertest.Request(t, http.MethodGet, callback+"?code=x&state="+state, "", "X-Forwarded-Host", host, "Forwarded", "host="+host)
			if page := b.Send(t, req); !strings.HasPrefix(page.Location(), "https://mcp.example.com/callback?") {
				t.Errorf("%d %s", page.Status, page.Location())
			}
		}
	})
	t.Run("the callback of a host of its own does not exist beside it", func(t *testing.T) {
		b := s.NewBrowser()
		at := answered(t, b, first.Begin(), callback)
		servertest.RefusedStep(t, s, b.Open(t, strings.Replace(at, "/callback?", "/callback/hub?", 1)), "other_provider")
	})
	t.Run("a host that is not configured any more", func(t *testing.T) {
		at := answered(t, s.NewBrowser(), second.Begin(), callback)
		without := options
		without.Edit = servertest.Edits(servertest.UseGitHub(hub), useCallbackHost(callbackHost))
		one := servertest.Start(t, without)
		servertest.RefusedStep(t, one, one.NewBrowser().Open(t, at), "foreign_callback")
	})
	t.Run("nothing but the callback is on it", func(t *testing.T) {
		for _, path := range []string{"/", "/authorize", "/consent", "/login", "/token", "/register", "/revoke", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource", "/openid/v1/jwks"} {
			if a := s.Get(t, "https://"+callbackHost+path); a.Status < 400 {
				t.Errorf("%s: %d", path, a.Status)
			}
		}
		if a := s.Ask(t, "https://"+callbackHost+"/mcp", first.AccessToken(t, s.NewBrowser())); a.Status == 200 {
			t.Error("a request to it passes")
		}
	})
	t.Run("too late", func(t *testing.T) { // last: it moves the clock
		b := s.NewBrowser()
		at := answered(t, b, first.Begin(), callback)
		s.Clock.Advance(11 * time.Minute)
		servertest.RefusedStep(t, s, b.Open(t, at), "foreign_callback")
	})
}

// The callback host may be one of the MCP hosts.
func TestCallbackHostWithServers(t *testing.T) {
	t.Parallel()
	p := startThree(t, servertest.SecondHost, useCallbackHost("other.example.com"))
	for _, host := range []string{servertest.Host, "other.example.com"} {
		for _, id := range threeIDs {
			c := p.NewClient(t, host, nil)
			p.MustPass(t, c.Resource, c.AccessToken(t, p.browser(id)))
		}
	}
	for id, one := range map[string]oauthtest.Provider{"corp": p.corp, "hub": p.hub} {
		if got := one.Sent(oauthtest.Token).Get("redirect_uri"); got != "https://other.example.com/callback/"+id {
			t.Errorf("%s", got)
		}
	}
	t.Run("AS-FED-03 a provider's answer at another provider's callback", func(t *testing.T) {
		for _, host := range []string{servertest.Host, "other.example.com"} {
			b := p.browser("corp")
			at := answered(t, b, p.NewClient(t, host, nil).Begin(), "https://other.example.com/callback")
			for _, path := range []string{"/callback/hub?", "/callback?", "/callback/evil?"} {
				servertest.RefusedStep(t, p.Service, b.Open(t, strings.Replace(at, "/callback/corp?", path, 1)), "other_provider")
			}
		}
	})
	t.Run("a refusal of the policy", func(t *testing.T) {
		outside := servertest.Person
		outside.Email = "jane@example.org"
		p.hub.SignInAs(outside)
		c := p.NewClient(t, servertest.Host, nil)
		a, b := c.Begin(), p.browser("hub")
		if at := b.Walk(t, b.Open(t, a.URL()), c.RedirectURI); at.Query().Get("error") != "access_denied" {
			t.Errorf("%s", at)
		}
		if e := p.Log.Last(audit.LoginRefused); e["subject"] == "" || !strings.HasPrefix(e["subject"], "hub:") {
			t.Errorf("audit says %v", e)
		}
	})
}
