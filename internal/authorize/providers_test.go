package authorize_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// threeProviders is a service with an OpenID provider, GitHub and accounts of its own.
type threeProviders struct {
	*servertest.Service
	corp    *oauthtest.OIDCProvider
	hub     *oauthtest.GitHub
	options servertest.Options
}

var threeIDs = []string{"corp", "hub", "guests"}

func startThree(t *testing.T, edits ...func(*config.File)) threeProviders {
	t.Helper()
	p := threeProviders{corp: oauthtest.NewOIDCProvider(t), hub: oauthtest.NewGitHub(t)}
	for _, one := range []oauthtest.Provider{p.corp, p.hub} {
		one.SignInAs(servertest.Person)
		one.GiveRefreshTokens(true)
	}
	several := servertest.UseSeveral(threeIDs, servertest.UseOIDC(p.corp), servertest.UseGitHub(p.hub), func(*config.File) {})
	p.options = servertest.Options{Edit: servertest.Edits(append([]func(*config.File){several}, edits...)...), Files: servertest.ProviderFiles}
	p.Service = servertest.Start(t, p.options)
	return p
}

// browser is one of a user who chooses this provider.
func (p threeProviders) browser(id string) *servertest.Browser {
	b := p.NewBrowser()
	b.Provider = id
	return b
}

// chooser walks to the page that asks for a provider.
func chooser(t *testing.T, b *servertest.Browser, a *servertest.Attempt) *servertest.Page {
	t.Helper()
	page := b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")
	if !strings.HasPrefix(page.Location(), "/login?") {
		t.Fatalf("consent leads to %d %q: %s", page.Status, page.Location(), page.Text())
	}
	page = servertest.Follow(t, b, page)
	if page.Status != 200 || page.Form == nil || page.Form.Choices == nil {
		t.Fatalf("no page to choose: status %d, want 200: %s", page.Status, page.Text())
	}
	return page
}

func TestSeveralProviders(t *testing.T) {
	t.Parallel()
	p := startThree(t)
	c := p.NewClient(t, servertest.Host, servertest.WithRefresh)
	signInWith := func(t *testing.T, id string) servertest.Tokens {
		t.Helper()
		a := c.Begin()
		answer := a.Exchange(t, a.Code(t, p.browser(id)))
		if answer.Status != 200 {
			t.Fatalf("status %d, want 200: %s", answer.Status, answer.Body)
		}
		return servertest.Tokens{Client: c, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
	}
	issuer := strings.TrimPrefix(p.corp.Issuer, "http://")
	subjects := map[string]string{
		"corp": "corp:" + issuer + ":4711", "hub": "hub:github@" + strings.TrimPrefix(p.hub.URL, "http://") + ":4711", "guests": "guests:static:jane",
	}
	t.Run("AS-FED-05 one subject at two providers is two people", func(t *testing.T) {
		for id, want := range subjects {
			k := signInWith(t, id)
			if got := servertest.User(t, p.Service, k.Access); got != want {
				t.Errorf("%s: %q, want %q", id, got, want)
			}
			if got := servertest.User(t, p.Service, k.Again(t).Access); got != want {
				t.Errorf("%s after a refresh: %q, want %q", id, got, want)
			}
		}
	})
	t.Run("each provider has a callback of its own", func(t *testing.T) {
		for id, one := range map[string]oauthtest.Provider{"corp": p.corp, "hub": p.hub} {
			if got := one.Sent(oauthtest.Authorization).Get("redirect_uri"); got != "https://mcp.example.com/callback/"+id {
				t.Errorf("%s: %s", id, got)
			}
		}
	})
	t.Run("AS-FED-09 a refresh asks the provider that vouched and no other", func(t *testing.T) {
		k := signInWith(t, "corp")
		corp, hub := p.corp.Count(oauthtest.Token), p.hub.Count(oauthtest.UserInfo)
		k = k.Again(t)
		if p.corp.Count(oauthtest.Token) != corp+1 || p.hub.Count(oauthtest.UserInfo) != hub {
			t.Error("another provider was asked, or none")
		}
		other := signInWith(t, "hub")
		p.corp.Remove(servertest.Person.Subject)
		k.Refused(t, 400, "invalid_grant", "user_gone")
		other.Again(t)
	})
	t.Run("the rules of one provider are not those of another", func(t *testing.T) {
		outside := servertest.Person
		outside.Email = "jane@example.org" // the default GitHub admits example.com alone
		p.corp.SignInAs(outside)
		p.hub.SignInAs(outside)
		signInWith(t, "corp")
		a, b := c.Begin(), p.browser("hub")
		servertest.ErrorAt(t, p.Service, a, b.Walk(t, b.Open(t, a.URL()), c.RedirectURI), "access_denied", "email_domain_not_allowed")
	})
	t.Run("a provider is taken out of the configuration", func(t *testing.T) {
		k := signInWith(t, "guests")
		without := p.options
		without.Edit = servertest.Edits(p.options.Edit, func(f *config.File) { f.Providers = f.Providers[:2] })
		s := servertest.Start(t, without)
		gone := servertest.Tokens{Client: k.Client.On(s), Refresh: k.Refresh}
		if a := gone.Client.Token(t, servertest.RefreshForm(gone.Client, gone.Refresh)); a.Status != 400 || a.String("error") != "invalid_grant" {
			t.Errorf("status %d, want 400: %s", a.Status, a.Body)
		}
		if e := s.Log.Last(audit.TokenRefused); e["reason"] != "provider_removed" || e["subject"] != subjects["guests"] {
			t.Errorf("audit says %v", e)
		}
		k.Again(t) // where it is still there, and after it has been put back
	})
	t.Run("login_hint and domain_hint decide nothing", func(t *testing.T) {
		a := c.Begin().With("login_hint", "hub").With("domain_hint", "hub").With("provider", "hub").With("choice", "hub").With("idp_hint", "hub")
		b := p.browser("corp")
		if got := chooser(t, b, a).Form.Choices; !slices.Equal(got, threeIDs) {
			t.Errorf("choices %q", got)
		}
		a.Code(t, b)
		for name := range p.corp.Sent(oauthtest.Authorization) {
			if strings.Contains(name, "hint") {
				t.Errorf("%s travels to the provider", name)
			}
		}
	})
}

// People who had one provider and add another stay who they were.
func TestKeepSubjects(t *testing.T) {
	t.Parallel()
	corp := oauthtest.NewOIDCProvider(t)
	corp.SignInAs(servertest.Person)
	corp.GiveRefreshTokens(true)
	one := servertest.Start(t, servertest.Options{Edit: servertest.UseOIDC(corp), Files: servertest.ProviderFiles})
	k := servertest.SignIn(t, one.NewClient(t, servertest.Host, servertest.WithRefresh))
	before := servertest.User(t, one, k.Access)
	if want := strings.TrimPrefix(corp.Issuer, "http://") + ":4711"; before != want {
		t.Fatalf("the only provider's subject is %q, want %q", before, want)
	}
	for _, keep := range []bool{true, false} {
		s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(
			servertest.UseSeveral([]string{"corp", "guests"}, servertest.UseOIDC(corp), func(*config.File) {}),
			func(f *config.File) { f.Providers[0].KeepSubjects = keep },
		)})
		b := s.NewBrowser()
		b.Provider = "corp"
		c := s.NewClient(t, servertest.Host, servertest.WithRefresh)
		if got := servertest.User(t, s, c.AccessToken(t, b)); got == before != keep {
			t.Errorf("keepSubjects %v: %q, before %q", keep, got, before)
		}
		old := servertest.Tokens{Client: k.Client.On(s), Refresh: k.Refresh}
		if !keep {
			old.Refused(t, 400, "invalid_grant", "provider_removed")
			continue
		}
		k = old.Again(t)
		if got := servertest.User(t, s, k.Access); got != before {
			t.Errorf("after a refresh %q, before %q", got, before)
		}
	}
}

func TestChooser(t *testing.T) {
	t.Parallel()
	p := startThree(t)
	c := p.NewClient(t, servertest.Host, nil)
	t.Run("the page", func(t *testing.T) {
		b := p.browser("")
		page := chooser(t, b, c.Begin())
		servertest.CheckPage(t, page)
		if !slices.Equal(page.Form.Choices, threeIDs) {
			t.Errorf("choices %q", page.Form.Choices)
		}
		if p.corp.Count(oauthtest.Authorization)+p.hub.Count(oauthtest.Authorization) != 0 {
			t.Error("a provider knows already")
		}
	})
	for name, choice := range map[string][]string{"unknown": {"evil"}, "empty": {""}, "two": {"corp", "hub"}, "another case": {"CORP"}, "path": {"corp/../hub"}} {
		t.Run("a choice that is not configured: "+name, func(t *testing.T) {
			b := p.browser("")
			page := chooser(t, b, c.Begin())
			servertest.RefusedStep(t, p.Service, b.Post(t, "https://mcp.example.com/login", url.Values{"state": page.Form.Values["state"], "choice": choice}), "unknown_provider")
		})
	}
	t.Run("AS-FED-11 another browser cannot choose", func(t *testing.T) {
		page := chooser(t, p.browser(""), c.Begin())
		other := p.browser("")
		servertest.RefusedStep(t, p.Service, other.Submit(t, page, "choice", "corp"), "other_browser")
		servertest.RefusedStep(t, p.Service, other.Open(t, page.URL.String()), "other_browser")
	})
	t.Run("another site cannot choose", func(t *testing.T) {
		b := p.browser("")
		page := chooser(t, b, c.Begin())
		req := b.FormRequest(t, "https://mcp.example.com/login", url.Values{"state": page.Form.Values["state"], "choice": {"corp"}})
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		servertest.RefusedStep(t, p.Service, b.Send(t, req), "cross_site_form")
	})
	t.Run("back, and another choice: the answer to the first counts no more", func(t *testing.T) {
		b, a := p.browser(""), c.Begin()
		page := chooser(t, b, a)
		first := servertest.Follow(t, b, b.Submit(t, page, "choice", "corp")) // at the provider
		again := b.Open(t, page.URL.String())
		if !slices.Equal(again.Form.Choices, threeIDs) {
			t.Fatalf("back is %d %s", again.Status, again.Text())
		}
		second := servertest.Follow(t, b, b.Submit(t, again, "choice", "hub"))
		servertest.RefusedStep(t, p.Service, servertest.Follow(t, b, first), "other_browser")
		a.Accept(t, b.Walk(t, second, c.RedirectURI))
	})
	t.Run("AS-FED-02 one consent is one code, whatever was chosen", func(t *testing.T) {
		b, a := p.browser(""), c.Begin()
		page := chooser(t, b, a)
		twin := p.NewBrowser() // the same browser with its cookies from before the first code
		for _, cookie := range b.Cookies(servertest.Host) {
			twin.SetCookie(servertest.Host, cookie)
		}
		a.Accept(t, b.Walk(t, b.Submit(t, page, "choice", "corp"), c.RedirectURI))
		at := servertest.Follow(t, twin, twin.Submit(t, page, "choice", "hub"))
		servertest.RefusedStep(t, p.Service, servertest.Follow(t, twin, at), "used_twice")
		servertest.RefusedStep(t, p.Service, b.Open(t, page.URL.String()), "used_twice") // and the cookie is gone
	})
	t.Run("the password page has a way back", func(t *testing.T) {
		b := p.browser("guests")
		page := servertest.Follow(t, b, b.Submit(t, chooser(t, b, c.Begin()), "choice", "guests"))
		if page.Form == nil || !page.Form.Values.Has("password") {
			t.Fatalf("%d %s", page.Status, page.Text())
		}
		back := servertest.Follow(t, b, b.Submit(t, page, "other", "yes"))
		if !slices.Equal(back.Form.Choices, threeIDs) {
			t.Errorf("%d %s", back.Status, back.Text())
		}
	})
	t.Run("a password is for the provider that was chosen", func(t *testing.T) {
		b := p.browser("")
		page := chooser(t, b, c.Begin())
		form := url.Values{"state": page.Form.Values["state"], "username": {servertest.Username}, "password": {servertest.Password}}
		servertest.RefusedStep(t, p.Service, b.Post(t, "https://mcp.example.com/login", form), "unknown_provider")
		b.Submit(t, page, "choice", "corp")
		servertest.RefusedStep(t, p.Service, b.Post(t, "https://mcp.example.com/login", form), "unknown_provider")
	})
	t.Run("the last choice stands first", func(t *testing.T) {
		b := p.browser("hub")
		c.AccessToken(t, b)
		if got := chooser(t, b, c.Begin()).Form.Choices; !slices.Equal(got, []string{"hub", "corp", "guests"}) {
			t.Errorf("choices %q", got)
		}
		b.SetCookie(servertest.Host, &http.Cookie{Name: "__Host-mcp-provider", Value: "<script>"})
		page := chooser(t, b, c.Begin())
		servertest.CheckPage(t, page)
		if !slices.Equal(page.Form.Choices, threeIDs) {
			t.Errorf("choices %q", page.Form.Choices)
		}
	})
	t.Run("without the consent page people still choose", func(t *testing.T) {
		s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(p.options.Edit, func(f *config.File) {
			f.Proxy.DisableConsentScreen, f.Proxy.AllowedRedirectURLs = true, []string{`https://app\.example\.org/callback`}
		})})
		b := s.NewBrowser()
		b.Provider = "hub"
		s.NewClient(t, servertest.Host, nil).AccessToken(t, b)
	})
}

// ATK-01: a provider that the operator trusted with its own people makes the
// browser bring another's code, to redeem it as its own sign-in (RFC 9700, section 4.4).
func TestMixUp(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*config.File){
		"a callback on each host": func(*config.File) {},
		"one callback host":       func(f *config.File) { f.Proxy.CallbackHost = "login.example.com" },
	} {
		t.Run("ATK-01 AS-FED-03 "+name, func(t *testing.T) {
			t.Parallel()
			p := startThree(t, edit)
			p.corp.EditMetadata(func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") })
			c := p.NewClient(t, servertest.Host, nil)
			b, a := p.browser("hub"), c.Begin()
			// A sign-in of the attacker's, for what the browser is to take to GitHub.
			attacker := p.browser("")
			toHub := attacker.Submit(t, chooser(t, attacker, c.Begin()), "choice", "hub").Location()
			toCorp := b.Submit(t, chooser(t, b, a), "choice", "corp").Location()
			stolen := servertest.WithQuery(t, toHub, "state", servertest.Query(t, toCorp).Get("state"))
			answer := b.Open(t, stolen) // GitHub signs the victim in and sends the code
			before := p.corp.Count(oauthtest.Token)
			servertest.RefusedStep(t, p.Service, servertest.Follow(t, b, answer), "other_provider")
			if p.corp.Count(oauthtest.Token) != before {
				t.Error("the code went to the other provider")
			}
		})
	}
}
