package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// posted is the provider's answer as its page posts it: from another site, so
// without the browser's cookies.
func posted(t *testing.T, s *servertest.Service, answer string, edit func(url.Values)) *servertest.Page {
	t.Helper()
	u, err := url.Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	form := u.Query()
	edit(form)
	u.RawQuery = ""
	req := servertest.Request(t, http.MethodPost, u.String(), form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://appleid.apple.example", "Sec-Fetch-Site", "cross-site")
	return s.NewBrowser().Send(t, req)
}

// Sign in with Apple and AD FS answer by a form (response_mode=form_post).
func TestAnswerByForm(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	for name, edit := range map[string]func(*config.File){
		"one callback":  func(*config.File) {},
		"callback host": func(f *config.File) { f.Proxy.CallbackHost = "auth.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.UseOIDC(oidc), edit), Files: servertest.ProviderFiles})
			c := s.NewClient(t, servertest.Host, nil)
			b := s.NewBrowser()
			away := func() (*servertest.Attempt, string) {
				a := c.Begin()
				return a, servertest.Follow(t, b, b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")).Location()
			}
			a, answer := away()
			page := posted(t, s, answer, func(f url.Values) { f.Set("user", `{"name":{"firstName":"Jane"}}`) })
			if page.Status != http.StatusSeeOther || !strings.HasPrefix(page.Location(), "/callback?") || strings.Contains(page.Location(), "user=") {
				t.Fatalf("%d %s %s", page.Status, page.Location(), page.Text())
			}
			a.Exchange(t, a.Accept(t, b.Walk(t, page, c.RedirectURI)))

			_, answer = away()
			page = posted(t, s, answer, func(f url.Values) { f.Set("state", strings.Repeat("A", len(f.Get("state")))) })
			want := "other_browser"
			if name == "callback host" {
				want = "foreign_callback"
			}
			servertest.RefusedStep(t, s, servertest.Follow(t, b, page), want)
			for what, edit := range map[string]func(url.Values){
				"two states": func(f url.Values) { f.Add("state", "x") },
				"too long":   func(f url.Values) { f.Set("code", strings.Repeat("c", 9000)) },
			} {
				t.Run(what, func(t *testing.T) { servertest.RefusedStep(t, s, posted(t, s, answer, edit), "malformed_callback") })
			}
			servertest.RefusedStep(t, s, posted(t, s, answer, func(f url.Values) { f.Set("code", strings.Repeat("c", 70_000)) }), "malformed_callback")
			stranger := s.NewBrowser()
			servertest.RefusedStep(t, s, last(t, stranger, posted(t, s, answer, func(url.Values) {})), "other_browser")
		})
	}
}

// last follows redirects to the end.
func last(t *testing.T, b *servertest.Browser, page *servertest.Page) *servertest.Page {
	t.Helper()
	for page.Location() != "" {
		page = servertest.Follow(t, b, page)
	}
	return page
}
