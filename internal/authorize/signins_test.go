package authorize_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// random returns n characters that do not compress.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// manyScopes has the operator name 60 scopes in place of the MCP server's own.
func manyScopes(f *config.File) {
	verbs := []string{"read", "write", "delete", "list", "search", "export"}
	things := []string{"notes", "invoices", "customers", "calendars", "tickets", "contracts", "warehouses", "reports", "employees", "payments"}
	for _, thing := range things {
		for _, verb := range verbs {
			f.Proxy.Hosts[0].Scopes = append(f.Proxy.Hosts[0].Scopes, rule.Scope{Name: thing + ":" + verb, Tools: []string{verb + "_" + thing}})
			f.Proxy.Hosts[0].DefaultScopes = append(f.Proxy.Hosts[0].DefaultScopes, thing+":"+verb)
		}
	}
}

// inGroups is a person with 60 groups.
func inGroups() oauthtest.User {
	p := servertest.Person
	for i := range 60 {
		p.Groups = append(p.Groups, fmt.Sprintf("department-%02d-team", i))
	}
	return p
}

// headerBytes is the size of the head of an answer as HTTP/1.1 sends it.
func headerBytes(t *testing.T, h http.Header) int {
	t.Helper()
	var b strings.Builder
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Len() + len("HTTP/1.1 303 See Other\r\n\r\n")
}

// nginx gives the head of an answer 4 KB, unless told otherwise, and the Cookie
// header of a request 8 KB. The largest sign-in that real clients and providers
// make fits, with room for what gateways add.
func TestSignInFitsDefaultBuffers(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(inGroups())
	several := servertest.UseSeveral([]string{"corp", "hub"}, servertest.UseOIDC(oidc), servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) { f.Provider.DisplayName = "Hub" }))
	for name, edit := range map[string]func(*config.File){"oidc": servertest.UseOIDC(oidc), "several": several} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(edit, manyScopes), Files: servertest.ProviderFiles})
			callback := "https://app.example.org/oauth/callback/" + random(300)
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{callback}})
			b := s.NewBrowser()
			b.Provider, b.Keep = "corp", func(scope string) bool { return scope != "weather:read" && scope != "profile" }
			for _, sizes := range []oauthtest.Sizes{{}, {Access: 300, Refresh: 400}, {Access: 900, Refresh: 700}, oauthtest.LongTokens} { // the second has a memory of what was granted before
				oidc.SetSizes(sizes)
				a := c.Begin().With("state", random(700))
				page := b.Open(t, a.URL())
				for range 10 {
					if strings.HasPrefix(page.URL.String(), "https://") {
						size := headerBytes(t, page.Header)
						if size > 3400 {
							t.Errorf("the answer of %s has a head of %d bytes", page.URL.Path, size)
						}
						t.Logf("%s: %d bytes", page.URL.Path, size)
					}
					to := page.Location()
					if strings.HasPrefix(to, callback) {
						break
					}
					switch {
					case to != "":
						page = servertest.Follow(t, b, page)
					case page.Form.Choices != nil:
						page = b.Submit(t, page, "choice", "corp")
					default:
						if len(page.Form.Offered) < 60 {
							t.Fatalf("%d scopes are offered", len(page.Form.Offered))
						}
						page = b.Submit(t, page, "decision", "allow")
					}
				}
				at, err := url.Parse(page.Location())
				if err != nil || !strings.HasPrefix(page.Location(), callback) {
					t.Fatalf("%d %s %s", page.Status, page.Location(), page.Text())
				}
				answer := a.Exchange(t, a.Accept(t, at))
				if n := len(strings.Fields(answer.String("scope"))); n != 60 {
					t.Errorf("%d scopes: %s", n, answer.Body)
				}
				s.MustPass(t, servertest.Resource, answer.String("access_token"))
			}
		})
	}
}

// People open several tabs, and each may have a sign-in of its own.
func TestManySignInsAtOnce(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(inGroups())
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseOIDC(oidc), manyScopes), Files: servertest.ProviderFiles})
	for name, tt := range map[string]struct {
		tabs, state, path int
		keep              string
	}{
		"usual":                      {32, 40, 20, "notes:"},
		"large state, all scopes":    {16, 700, 20, ""},
		"large state, long redirect": {16, 700, 300, "notes:"},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{"https://app.example.org/callback/" + random(tt.path)}})
			b := s.NewBrowser()
			b.Keep = func(scope string) bool { return strings.HasPrefix(scope, tt.keep) }
			var begun []*servertest.Attempt
			var consents, providers []*servertest.Page
			for range tt.tabs {
				a := c.Begin().With("state", random(tt.state))
				begun, consents = append(begun, a), append(consents, b.Consent(t, a.URL()))
			}
			for _, page := range consents {
				providers = append(providers, b.Submit(t, page, "decision", "allow"))
			}
			size := 0
			for _, cookie := range b.Cookies(servertest.Host) {
				size += len(cookie.Name) + len(cookie.Value) + len("=; ")
			}
			if size > 7<<10 {
				t.Errorf("%d bytes of cookies", size)
			}
			for i := range begun {
				i = (i*7 + 3) % len(begun) // in another order
				begun[i].Accept(t, b.Walk(t, providers[i], c.RedirectURI))
			}
		})
	}
}

// A sign-in that had to make room for others is told as that.
func TestDisplacedSignIn(t *testing.T) {
	t.Parallel()
	const callback = "https://app.example.org/callback"
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), func(f *config.File) {
			f.Proxy.DisableConsentScreen, f.Proxy.AllowedRedirectURLs = true, []string{`https://app\.example\.org/callback`}
		}),
		Files: servertest.ProviderFiles,
	})
	b, c := s.NewBrowser(), s.NewClient(t, servertest.Host, servertest.Metadata{"redirect_uris": []string{callback}})
	first := b.Open(t, c.Begin().URL())
	for range 75 {
		b.Open(t, c.Begin().URL())
	}
	page := servertest.Follow(t, b, servertest.Follow(t, b, first))
	servertest.RefusedStep(t, s, page, "displaced")
	if text := page.Text(); !strings.Contains(text, "replaced by newer ones") {
		t.Error(text)
	}
}

// What browsers fetch ahead, and HEAD, has no effect: the person's own request
// ends as if nothing had happened.
func TestSpeculativeRequestsDoNothing(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{Edit: servertest.UseOIDC(oidc), Files: servertest.ProviderFiles})
	b, c := s.NewBrowser(), s.NewClient(t, servertest.Host, nil)
	a := c.Begin()
	ahead := func(address string) {
		t.Helper()
		for _, header := range [][2]string{{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Sec-Purpose", "prefetch;anonymous-client-ip"}, {"Purpose", "prefetch"}, {"X-Moz", "prefetch"}, {"X-Purpose", "preview"}, {"", ""}} {
			req := servertest.Request(t, http.MethodGet, address, "")
			if header[0] == "" {
				req.Method = http.MethodHead
			} else {
				req.Header.Set(header[0], header[1])
			}
			before, tokens, written := len(b.Cookies(servertest.Host)), oidc.Count(oauthtest.Token), len(s.Log.String())
			page := b.Send(t, req)
			if page.Location() != "" || page.Header.Get("Set-Cookie") != "" || page.Body != "" || page.Header.Get("Cache-Control") != "no-store" ||
				len(b.Cookies(servertest.Host)) != before || oidc.Count(oauthtest.Token) != tokens {
				t.Errorf("%v %s: %d %v", header, address, page.Status, page.Header)
			}
			if entries := s.Log.String()[written:]; strings.Contains(entries, `"event"`) {
				t.Errorf("%v %s: %s", header, address, entries)
			}
		}
	}
	ahead(a.URL())
	page := b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")
	callback := servertest.Follow(t, b, page).Location()
	ahead(callback)
	a.Exchange(t, a.Accept(t, b.Walk(t, b.Open(t, callback), c.RedirectURI)))
}
