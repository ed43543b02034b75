package github_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var alice = oauthtest.User{Subject: "1001", Login: "alice", Email: "alice@corp.example", EmailVerified: true, Name: "Alice"}

// at returns a fake with a connector to it under the name base; "" is the
// fake's own address, as of a GitHub Enterprise Server.
func at(t *testing.T, base string, organizations ...string) (connectortest.Fixture, *oauthtest.GitHub) {
	p := oauthtest.NewGitHub(t)
	p.SignInAs(alice)
	if base == "" {
		base = p.URL
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	namespace := "github@" + u.Host
	if u.Host == "github.com" {
		namespace = "github"
	}
	settings := &github.Settings{App: connectortest.App(), BaseURL: base, AllowedOrganizations: organizations}
	return connectortest.Fixture{Connector: github.New(settings, connectortest.Client(p)), Provider: p, Namespace: namespace}, p
}

func TestSuite(t *testing.T) {
	const noIDToken = "GitHub issues no ID token"
	excluded := map[oauthtest.Fault]string{
		oauthtest.OtherUserInfo:    "GitHub has no second source of the subject",
		oauthtest.NoResponseIssuer: "GitHub advertises no iss response parameter",
		oauthtest.OtherDiscovery:   "GitHub's endpoints are fixed",
	}
	for _, fault := range oauthtest.Faults {
		switch fault {
		case oauthtest.WrongResponseIssuer, oauthtest.NoSubject:
		default:
			if excluded[fault] == "" {
				excluded[fault] = noIDToken
			}
		}
	}
	member := alice
	member.Groups = []string{"octo-org"}
	for base, organizations := range map[string][]string{"https://github.com": {"octo-org"}, "": nil} {
		needs := []oauthtest.Endpoint{oauthtest.Token, oauthtest.UserInfo, oauthtest.Emails}
		if organizations != nil {
			needs = append(needs, oauthtest.Organizations, oauthtest.Teams)
		}
		t.Run("base "+base, func(t *testing.T) {
			connectortest.Run(t, connectortest.Harness{
				New:           func(t *testing.T) connectortest.Fixture { f, _ := at(t, base, organizations...); return f },
				Alice:         member,
				IdentifyNeeds: needs,
				RecheckNeeds:  needs[1:],
				NoNonce:       "GitHub speaks OAuth 2.0, not OpenID Connect; PKCE binds the code to the visit",
				NotApplicable: excluded,
			})
		})
	}
}

// TestAddresses needs no provider: a connector only makes the URL.
func TestAddresses(t *testing.T) {
	for base, want := range map[string]string{
		"":                          "https://github.com/login/oauth/authorize",
		"https://github.com/":       "https://github.com/login/oauth/authorize",
		"https://ghe.corp.example/": "https://ghe.corp.example/login/oauth/authorize",
	} {
		login := connectortest.NewLogin()
		login.Prompt = "login"
		got, err := github.New(&github.Settings{BaseURL: base, App: connectortest.App()}, nil).AuthorizationURL(t.Context(), login)
		if err != nil || !strings.HasPrefix(got, want+"?") || !strings.Contains(got, "prompt=select_account") {
			t.Errorf("base %q: %s, %v", base, got, err)
		}
	}
}

// TestHosts proves which host each request goes to.
func TestHosts(t *testing.T) {
	for base, want := range map[string][]string{
		"https://github.com":       {"github.com/login/oauth/access_token", "api.github.com/user", "api.github.com/user/emails"},
		"https://corp.ghe.com":     {"corp.ghe.com/login/oauth/access_token", "api.corp.ghe.com/user", "api.corp.ghe.com/user/emails"},
		"https://ghe.corp.example": {"ghe.corp.example/login/oauth/access_token", "ghe.corp.example/api/v3/user", "ghe.corp.example/api/v3/user/emails"},
	} {
		p := oauthtest.NewGitHub(t)
		p.SignInAs(alice)
		spy := &hosts{next: p.Client().Transport}
		settings := &github.Settings{App: connectortest.App(), BaseURL: base}
		f := connectortest.Fixture{Connector: github.New(settings, &http.Client{Transport: spy}), Provider: p}
		if _, err := connectortest.SignIn(t, f, connectortest.NewLogin()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(spy.seen, " "); got != strings.Join(want, " ") {
			t.Errorf("base %s: requests to %s", base, got)
		}
	}
}

type hosts struct {
	next http.RoundTripper
	seen []string
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = append(h.seen, r.URL.Host+r.URL.Path)
	return h.next.RoundTrip(r)
}

func TestEmails(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*oauthtest.GitHub)
		email   string
		pages   int
		err     error
	}{
		{"AS-FED-06 primary on the third page", func(p *oauthtest.GitHub) { p.OtherEmails(250) }, alice.Email, 3, nil},
		{"AS-FED-06 pages are bounded", func(p *oauthtest.GitHub) { p.OtherEmails(5000) }, "", 5, nil},
		{"AS-FED-06 other verified addresses do not count", func(p *oauthtest.GitHub) {
			p.OtherEmails(3)
			p.SignInAs(oauthtest.User{Subject: "1001"})
		}, "", 1, nil},
		{"AS-FED-06 scope user:email not granted", func(p *oauthtest.GitHub) { p.RefuseEmails(http.StatusNotFound) }, "", 1, nil},
		{"AS-FED-06 access forbidden", func(p *oauthtest.GitHub) { p.RefuseEmails(http.StatusForbidden) }, "", 1, nil},
		{"AS-FED-07 unauthorized", func(p *oauthtest.GitHub) { p.RefuseEmails(http.StatusUnauthorized) }, "", 1, connector.ErrRejected},
		{"AS-FED-07 rate limit", func(p *oauthtest.GitHub) { p.RateLimit(true) }, "", 0, connector.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := at(t, "")
			c.prepare(p)
			id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
			if !errors.Is(err, c.err) || id.Email != c.email || p.Count(oauthtest.Emails) != c.pages {
				t.Errorf("e-mail %q, error %v, %d pages", id.Email, err, p.Count(oauthtest.Emails))
			}
		})
	}
}

func TestNameFallsBackToLogin(t *testing.T) {
	f, p := at(t, "")
	p.SignInAs(oauthtest.User{Subject: "7", Login: "octocat"})
	id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
	if err != nil || id.Name != "octocat" || id.Subject != "7" {
		t.Errorf("identity %+v, %v", id, err)
	}
}

func TestOwnIssuerInResponse(t *testing.T) {
	f, p := at(t, "")
	login := connectortest.NewLogin()
	query := connectortest.Visit(t, f, login)
	query.Set("iss", p.URL+"/login/oauth")
	if _, _, err := f.Connector.Identify(t.Context(), login, query); err != nil {
		t.Error("AS-FED-03 GitHub's own iss:", err)
	}
}

// A GitHub App may let its user tokens expire after eight hours.
func TestExpiringTokens(t *testing.T) {
	f, g := at(t, "https://github.com")
	g.GiveRefreshTokens(true)
	g.SignInAs(alice)
	login := connectortest.NewLogin()
	id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
	if err != nil || session.RefreshToken == "" || session.Expires == 0 {
		t.Fatalf("%v", err)
	}
	recheck := func() error {
		session.Expires = 1
		now, next, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session)
		if err == nil && (now.Subject != id.Subject || next.RefreshToken == session.RefreshToken || next.AccessToken == session.AccessToken || next.Expires < 2) {
			t.Errorf("the tokens are the old ones, or somebody else's: %+v", now)
		}
		session = next
		return err
	}
	for range 2 {
		if err := recheck(); err != nil {
			t.Fatal(err)
		}
	}
	g.Remove(alice.Subject)
	if err := recheck(); !errors.Is(err, connector.ErrGone) {
		t.Errorf("after the account's tokens were taken back: %v", err)
	}
}
