package servertest

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
)

// Person is a user whom the fake providers know.
var Person = oauthtest.User{Subject: "4711", Login: "jane", Email: Email, EmailVerified: true, Name: "Jane Doe", Groups: nil}

// Member is a user in these groups.
func Member(subject string, groups ...string) oauthtest.User {
	return oauthtest.User{Subject: subject, Email: subject + "@example.com", EmailVerified: true, Name: subject, Groups: groups}
}

// SecondHost adds a host with the same MCP server, and a second resource to the first.
func SecondHost(f *config.File) {
	first := f.Proxy.Hosts[0]
	other, beside := first, first
	other.Host, beside.Path = "other.example.com", "/wiki"
	f.Proxy.Hosts = append(f.Proxy.Hosts, other, beside)
}

// WithoutConsent makes sign-ins short: straight to the fake provider.
func WithoutConsent(f *config.File) {
	f.Proxy.DisableConsentScreen = true
	f.Proxy.AllowedRedirectURLs = []string{`https://app\.example\.org/.*`}
}

// Quick starts a service WithoutConsent, at whose provider Person is signed in.
func Quick(t testing.TB) (*Service, *oauthtest.OIDCProvider) {
	t.Helper()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(Person)
	return Start(t, Options{Edit: Edits(UseOIDC(oidc), WithoutConsent), Files: ProviderFiles}), oidc
}

// Policed is a service with these rules, whose identity provider is idp.
func Policed(t testing.TB, idp *oauthtest.OIDCProvider, edit func(*config.File), rules ...rule.Rule) *Service {
	t.Helper()
	s := Start(t, Options{Files: ProviderFiles, Edit: Edits(UseOIDC(idp), func(f *config.File) {
		f.Policy.Rules = rules
		if edit != nil {
			edit(f)
		}
	})})
	return s
}

// WaitForTools waits until the service knows the MCP server's tools.
func WaitForTools(t testing.TB, s *Service) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(s.Get(t, "https://"+Host+"/.well-known/oauth-protected-resource/mcp").Body, "notes:write") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the catalogue never comes")
		}
	}
}

// CallTool asks about a call of a tool.
func CallTool(t testing.TB, s *Service, token, tool string) *Answer {
	t.Helper()
	return s.Ask(t, Resource, token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
}

// User is the identity header that a token brings.
func User(t testing.TB, s *Service, token string) string {
	t.Helper()
	return s.MustPass(t, Resource, token).Header.Get("X-Auth-Request-User")
}

// CheckPage holds every page to AS-CONS-08 and AS-CONS-09.
func CheckPage(t testing.TB, page *Page) {
	t.Helper()
	csp := page.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, part) {
			t.Errorf("policy lacks %s: %s", part, csp)
		}
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "",
	} {
		if got := page.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if strings.Contains(page.Body, "<script") || strings.Contains(page.Body, `="javascript:`) {
		t.Error("the page has a script")
	}
}

// RefusedStep expects an error page in the middle of a sign-in.
func RefusedStep(t testing.TB, s *Service, page *Page, reason string) {
	t.Helper()
	CheckPage(t, page)
	if page.Status != http.StatusForbidden || page.Location() != "" {
		t.Errorf("%d %s", page.Status, page.Location())
	}
	if e := s.Log.Last(audit.LoginRefused); e["reason"] != reason {
		t.Errorf("audit says %q, want %q", e["reason"], reason)
	}
}

// ErrorAt expects the browser to be sent to the client with an error.
func ErrorAt(t testing.TB, s *Service, a *Attempt, at *url.URL, code, reason string) {
	t.Helper()
	q := at.Query()
	if q.Get("error") != code || q.Get("state") != a.State() || q.Get("iss") != "https://mcp.example.com" || q.Has("code") {
		t.Errorf("the client gets %v, want %s", q, code)
	}
	if strings.Contains(at.String(), "upstream") {
		t.Errorf("AS-FED-07 the provider's words travel: %s", at)
	}
	if e := s.Log.Last(audit.LoginRefused); e["reason"] != reason {
		t.Errorf("audit says %q, want %q", e["reason"], reason)
	}
}

// Denial is what the page's one link tells the client.
func Denial(t testing.TB, page *Page) url.Values {
	t.Helper()
	i := slices.IndexFunc(page.Links, func(l string) bool { return strings.HasPrefix(l, RedirectURI) })
	if i < 0 {
		t.Fatalf("no way back to the client in %v", page.Links)
	}
	u, err := url.Parse(page.Links[i])
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// Follow goes where page redirects to.
func Follow(t testing.TB, b *Browser, page *Page) *Page {
	t.Helper()
	next, err := page.URL.Parse(page.Location())
	if err != nil || page.Location() == "" {
		t.Fatalf("%s does not redirect: %d %s", page.URL, page.Status, page.Text())
	}
	return b.Open(t, next.String())
}

// End walks a browser until the next step is the client's.
func End(t testing.TB, b *Browser, address string) *Page {
	t.Helper()
	page := b.Open(t, address)
	for range 10 {
		switch to := page.Location(); {
		case to != "":
			next, err := page.URL.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(next.String(), RedirectURI) {
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

// Query returns the query of an address.
func Query(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// WithQuery returns address with a parameter of its query replaced.
func WithQuery(t testing.TB, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
