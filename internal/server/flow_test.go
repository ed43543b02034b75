package server_test

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

// providers are the ways to sign in.
func providers(t *testing.T) map[string]servertest.Options {
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	github := oauthtest.NewGitHub(t)
	github.SignInAs(servertest.Person)
	return map[string]servertest.Options{
		"static": {},
		"oidc":   {Edit: servertest.UseOIDC(oidc), Files: servertest.ProviderFiles},
		"github": {Edit: servertest.UseGitHub(github), Files: servertest.ProviderFiles},
	}
}

func TestFlow(t *testing.T) {
	for name, o := range providers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servertest.Start(t, o)
			c := s.NewClient(t, servertest.Host, nil)
			b := s.NewBrowser()
			b.Keep = func(scope string) bool { return scope != "notes:write" }
			a := c.Begin()
			answer := a.Exchange(t, a.Code(t, b))

			t.Run("AS-TOK-04 AS-TOK-05 the answer", func(t *testing.T) {
				if answer.Status != 200 || answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Pragma") != "no-cache" {
					t.Fatalf("%d %v %s", answer.Status, answer.Header, answer.Body)
				}
				if answer.String("token_type") != "Bearer" || answer.JSON["expires_in"] != float64(3600) || answer.String("scope") != "notes:read weather:read profile" {
					t.Errorf("body is %s", answer.Body)
				}
			})
			t.Run("RS-FWD-04 identity headers", func(t *testing.T) {
				h := s.MustPass(t, servertest.Resource, answer.String("access_token")).Header
				if h.Get("X-Auth-Request-Email") != servertest.Email {
					t.Errorf("email header is %q", h.Get("X-Auth-Request-Email"))
				}
				for _, name := range []string{"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups"} {
					if len(h[name]) != 1 || h[name][0] == "" {
						t.Errorf("%s is %q", name, h[name])
					}
				}
			})
			t.Run("one flow id from the request to the first use", func(t *testing.T) {
				flow := s.Log.Last(audit.FirstUse)["flow"]
				for _, e := range []audit.Event{audit.ConsentShown, audit.ConsentGiven, audit.LoginStarted, audit.LoginCompleted, audit.TokenIssued} {
					if got := s.Log.Last(e); got == nil || got["flow"] != flow || flow == "" {
						t.Errorf("%s has flow %q, first use has %q", e, got["flow"], flow)
					}
				}
			})
		})
	}
}

func TestHostsAndResources(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.SecondHost})
	b := s.NewBrowser()
	notes := s.NewClient(t, servertest.Host, nil)
	wiki := *notes
	wiki.Resource = "https://mcp.example.com/wiki"
	other := s.NewClient(t, "other.example.com", nil)
	tokens := map[string]string{
		notes.Resource: notes.AccessToken(t, b), wiki.Resource: wiki.AccessToken(t, b), other.Resource: other.AccessToken(t, b),
	}
	t.Run("RS-VAL-03 RS-VAL-06 ATK-22 a token opens its own resource and no other", func(t *testing.T) {
		for of, token := range tokens {
			for at := range tokens {
				for _, address := range []string{at, at + "/", at + "/deeper?x=1"} {
					if of == at {
						s.MustPass(t, address, token)
					} else {
						s.MustNotPass(t, address, token, "invalid_token")
					}
				}
			}
			if a := s.Ask(t, of+"2", token); a.Status != http.StatusForbidden {
				t.Errorf("%s2 answered %d with a token for %s", of, a.Status, of)
			}
		}
	})
	t.Run("AS-DCR-17 a client id is of its host alone", func(t *testing.T) {
		stranger := *notes
		stranger.Host, stranger.Resource = "other.example.com", other.Resource
		page := b.Open(t, stranger.Begin().URL())
		if page.Status != 400 || page.Location() != "" {
			t.Errorf("%d %s", page.Status, page.Location())
		}
		a := notes.Begin()
		code := a.Code(t, b)
		a.Client = &stranger
		if got := a.Exchange(t, code); got.Status != 401 || got.String("error") != "invalid_client" {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	})
	t.Run("AS-TOK-06 ATK-01 a code of another host", func(t *testing.T) {
		a := notes.Begin()
		code := a.Code(t, b)
		a.Client = other
		if got := a.Exchange(t, code); got.Status != 400 || got.String("error") != "invalid_grant" {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	})
	t.Run("AS-AUTHZ-19 no resource where there are several", func(t *testing.T) {
		page := b.Open(t, notes.Begin().With("resource").URL())
		if page.Status != 400 || page.Location() != "" {
			t.Errorf("%d %s", page.Status, page.Location())
		}
		if e := s.Log.Last(audit.AuthorizeRefused); e["reason"] != "invalid_target" {
			t.Errorf("audit says %v", e)
		}
		a := other.Begin().With("resource")
		if a.Exchange(t, a.Code(t, b)).Status != 200 {
			t.Error("the only resource of a host is not its default")
		}
	})
	t.Run("AS-AUTHZ-16 AS-AUTHZ-17 AS-AUTHZ-18 AS-AT-02 spellings of a resource", func(t *testing.T) {
		for _, spelling := range []string{"https://OTHER.example.com/mcp", "HTTPS://other.example.com:443/mcp/", "https://other.example.com", "https://other.example.com/", "https://other.example.com/mcp?tenant=1", "https://other.example.com?x=/../wiki"} {
			a := other.Begin().With("resource", spelling, other.Resource)
			got := a.Exchange(t, a.Code(t, b))
			if got.Status != 200 {
				t.Errorf("%s: %d %s", spelling, got.Status, got.Body)
				continue
			}
			s.MustPass(t, other.Resource, got.String("access_token"))
		}
		if page := b.Open(t, notes.Begin().With("resource", notes.Resource, wiki.Resource).URL()); page.Status != 400 {
			t.Errorf("two resources: %d", page.Status)
		}
	})
}

// TestRestart puts a restart between every two steps.
func TestRestart(t *testing.T) {
	for name, o := range providers(t) {
		t.Run("AS-DCR-15 AS-KEY-03 "+name, func(t *testing.T) {
			t.Parallel()
			s := servertest.Start(t, o)
			b := s.NewBrowser()
			c := s.NewClient(t, servertest.Host, nil)
			s.Restart()
			a := c.Begin()
			page := b.Consent(t, a.URL())
			s.Restart()
			page = b.Submit(t, page, "decision", "allow")
			s.Restart()
			at := b.Walk(t, page, c.RedirectURI)
			s.Restart()
			answer := a.Exchange(t, a.Accept(t, at))
			s.Restart()
			s.MustPass(t, servertest.Resource, answer.String("access_token"))
		})
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	one := servertest.Start(t, servertest.Options{})
	two := one.Replica()
	b := one.NewBrowser()
	c := one.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"})
	a := c.On(two).Begin()
	page := b.On(two).Consent(t, a.URL())
	page = b.On(one).Submit(t, page, "decision", "allow")
	at := b.On(two).Walk(t, page, c.RedirectURI)
	a.Client = c.On(one)
	token := a.Exchange(t, a.Accept(t, at)).String("access_token")
	t.Run("AS-KEY-03 replicas with one seed are one service", func(t *testing.T) {
		one.MustPass(t, servertest.Resource, token)
		two.MustPass(t, servertest.Resource, token)
		if keys := one.Get(t, "https://mcp.example.com/openid/v1/jwks"); keys.Body != two.Get(t, "https://mcp.example.com/openid/v1/jwks").Body {
			t.Error("the replicas publish different keys")
		}
	})
	t.Run("AS-KEY-03 another seed is another service", func(t *testing.T) {
		other := servertest.Start(t, servertest.Options{
			Edit:  func(f *config.File) { f.Keys.SeedFiles = []string{"other"} },
			Files: map[string]string{"other": strings.Repeat("another seed ", 4)},
		})
		other.MustNotPass(t, servertest.Resource, token, "invalid_token")
		if e := other.Log.Last(audit.AccessDenied); e["reason"] != "unknown_signing_key" {
			t.Errorf("audit says %v", e)
		}
	})
	t.Run("a replaced seed ends nothing", func(t *testing.T) {
		rotated := servertest.Start(t, servertest.Options{
			Clock: one.Clock,
			Edit:  func(f *config.File) { f.Keys.SeedFiles = []string{"new", "seed"} },
			Files: map[string]string{"new": strings.Repeat("the next seed ", 4)},
		})
		rotated.MustPass(t, servertest.Resource, token)
		moved := c.On(rotated)
		a := moved.Begin()
		// The secret was derived from the first seed of its day: it used to stop working here.
		if got := a.Exchange(t, a.Code(t, b.On(rotated))); got.Status != 200 {
			t.Errorf("a client secret from before: %d %s", got.Status, got.Body)
		}
	})
}

func TestWithoutConsent(t *testing.T) {
	t.Parallel()
	const callback = "https://app.example.org/callback"
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			f.Proxy.DisableConsentScreen = true
			f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/callback`}
		}),
		Files: servertest.ProviderFiles,
	})
	b := s.NewBrowser()
	t.Run("ATK-09 redirect URLs off the list are not registered", func(t *testing.T) {
		for _, u := range []string{"https://app.example.org/callback2", "https://appxexample.org/callback", "https://evil.example/https://app.example.org/callback", "http://127.0.0.1/callback"} {
			if a := s.Register(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{u}}); a.Status != 400 || a.String("error") != "invalid_redirect_uri" {
				t.Errorf("%s: %d %s", u, a.Status, a.Body)
			}
		}
	})
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{callback, "https://evil.example/cb"}})
	t.Run("AS-DCR-09 the list is applied entry by entry", func(t *testing.T) {
		if uris := c.Registration.JSON["redirect_uris"].([]any); !slices.Equal(uris, []any{callback}) {
			t.Errorf("registered %v", uris)
		}
	})
	t.Run("straight to the identity provider", func(t *testing.T) {
		a := c.Begin()
		page := b.Open(t, a.URL())
		if page.Status != http.StatusSeeOther || !strings.HasPrefix(page.Location(), oidc.Issuer+"/authorize") {
			t.Fatalf("%d %s", page.Status, page.Location())
		}
		s.MustPass(t, servertest.Resource, a.Exchange(t, a.Accept(t, b.Walk(t, page, callback))).String("access_token"))
	})
	t.Run("AS-AUTHZ-06 errors go to a URL that the operator vouches for", func(t *testing.T) {
		a := c.Begin().With("scope", `"no-such-scope"`)
		page := b.Open(t, a.URL())
		to, err := url.Parse(page.Location())
		if err != nil || page.Status != 303 || !strings.HasPrefix(page.Location(), callback+"?") {
			t.Fatalf("%d %s", page.Status, page.Location())
		}
		if q := to.Query(); q.Get("error") != "invalid_scope" || q.Get("state") != a.State() || q.Get("iss") != "https://mcp.example.com" {
			t.Errorf("%v", q)
		}
	})
	t.Run("AS-AUTHZ-13 state comes back with any error, but not an ambiguous one", func(t *testing.T) {
		a := c.Begin().With("scope", "profile", "profile")
		to, _ := url.Parse(b.Open(t, a.URL()).Location())
		if q := to.Query(); q.Get("error") != "invalid_request" || q.Get("state") != a.State() {
			t.Errorf("repeated scope: %v", q)
		}
		a = c.Begin().With("state", "one", "two")
		to, _ = url.Parse(b.Open(t, a.URL()).Location())
		if q := to.Query(); q.Get("error") != "invalid_request" || q.Has("state") {
			t.Errorf("repeated state: %v", q)
		}
	})
}

// Each redirect to the provider sets a cookie that lives ten minutes; a client
// that asked again and again used to make a header that gateways refuse.
func TestLoginCookiesAreBounded(t *testing.T) {
	t.Parallel()
	const callback = "https://app.example.org/callback"
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			f.Proxy.DisableConsentScreen = true
			f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/callback`}
		}),
		Files: servertest.ProviderFiles,
	})
	b, c := s.NewBrowser(), s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{callback}})
	var begun []*servertest.Attempt
	var pages []*servertest.Page
	for range 20 {
		begun = append(begun, c.Begin())
		pages = append(pages, b.Open(t, begun[len(begun)-1].URL()))
	}
	total, logins := 0, 0
	for _, cookie := range b.Cookies(servertest.Host) {
		total += len(cookie.Name) + len(cookie.Value) + 3
		logins++
	}
	if total > 7<<10 || logins < 3 {
		t.Errorf("%d cookies of %d bytes", logins, total)
	}
	for _, i := range []int{19, 18} { // the newest still end well
		s.MustPass(t, servertest.Resource, begun[i].Exchange(t, begun[i].Accept(t, b.Walk(t, pages[i], callback))).String("access_token"))
	}
}
