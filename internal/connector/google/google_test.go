package google_test

import (
	"errors"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var alice = oauthtest.User{
	Subject: "110169484474386276334", Email: "alice@corp.example", EmailVerified: true, Name: "Alice", HostedDomain: "corp.example",
}

func fixture(t *testing.T, hostedDomains ...string) connectortest.Fixture {
	p := oauthtest.NewOIDCProviderAt(t, google.Issuer)
	p.SignInAs(alice)
	settings := &google.Settings{App: connectortest.App(), HostedDomains: hostedDomains}
	return connectortest.Fixture{Connector: google.New(settings, connector.Properties{}, connectortest.Client(p)), Provider: p, Namespace: "google"}
}

func TestSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New:                   func(t *testing.T) connectortest.Fixture { return fixture(t, "corp.example") },
		Alice:                 alice,
		AuthorizationURLNeeds: []oauthtest.Endpoint{oauthtest.Discovery},
		IdentifyNeeds:         []oauthtest.Endpoint{oauthtest.Token, oauthtest.Keys},
		RecheckNeeds:          []oauthtest.Endpoint{oauthtest.Token},
		NotApplicable:         map[oauthtest.Fault]string{},
	})
}

func TestEmailAuthority(t *testing.T) {
	for _, c := range []struct {
		name string
		user oauthtest.User
		want string
	}{
		{"AS-FED-06 organization account", alice, "alice@corp.example"},
		{"AS-FED-06 gmail.com", oauthtest.User{Subject: "1", Email: "bob@Gmail.com", EmailVerified: true}, "bob@Gmail.com"},
		{"AS-FED-06 private account under a foreign address", oauthtest.User{Subject: "2", Email: "eve@corp.example", EmailVerified: true}, ""},
		{"AS-FED-06 lookalike of gmail.com", oauthtest.User{Subject: "3", Email: "eve@notgmail.com", EmailVerified: true}, ""},
		{"AS-FED-06 unverified", oauthtest.User{Subject: "4", Email: "eve@corp.example", HostedDomain: "corp.example"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fixture(t)
			f.Provider.SignInAs(c.user)
			id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
			if err != nil || id.Email != c.want {
				t.Errorf("e-mail %q, %v, want %q", id.Email, err, c.want)
			}
		})
	}
}

func TestPrompt(t *testing.T) {
	for prompt, want := range map[string]string{"": "consent", "login": "select_account consent", "select_account": "select_account consent"} {
		f := fixture(t)
		login := connectortest.NewLogin()
		login.Prompt = prompt
		if _, err := connectortest.SignIn(t, f, login); err != nil {
			t.Fatal(err)
		}
		if got := f.Provider.Sent(oauthtest.Authorization).Get("prompt"); got != want {
			t.Errorf("prompt %q was sent as %q", prompt, got)
		}
		if got := f.Provider.Sent(oauthtest.Authorization).Get("access_type"); got != "offline" {
			t.Errorf("access_type %q: Google gives no refresh token", got)
		}
	}
}

func TestHostedDomains(t *testing.T) {
	for _, c := range []struct {
		name    string
		domains []string
		hd      string
		hint    string
		err     error
	}{
		{"AS-FED-06 its own", []string{"corp.example"}, "corp.example", "corp.example", nil},
		{"AS-FED-06 one of several", []string{"sub.example", "corp.example"}, "Corp.example", "*", nil},
		{"AS-FED-06 another", []string{"corp.example"}, "corp.example.evil.example", "corp.example", connector.ErrNotAllowed},
		{"AS-FED-06 a private account", []string{"corp.example"}, "", "corp.example", connector.ErrNotAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fixture(t, c.domains...)
			user := alice
			user.HostedDomain = c.hd
			f.Provider.SignInAs(user)
			id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
			if !errors.Is(err, c.err) || (err == nil) != (id.Subject != "") {
				t.Errorf("identity %+v, %v", id, err)
			}
			if got := f.Provider.Sent(oauthtest.Authorization).Get("hd"); got != c.hint {
				t.Errorf("hint %q, want %q", got, c.hint)
			}
		})
	}
}

// A person who leaves the organization is refused at the next refresh, whether
// Google sends an ID token with it or not.
func TestHostedDomainLeft(t *testing.T) {
	for _, fault := range []oauthtest.Fault{oauthtest.None, oauthtest.NoIDToken} {
		t.Run("AS-FED-09 fault "+string(fault), func(t *testing.T) {
			f := fixture(t, "corp.example")
			p := f.Provider.(*oauthtest.OIDCProvider)
			p.GiveRefreshTokens(true)
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if err != nil {
				t.Fatal(err)
			}
			p.Commit(fault)
			recheck := f.Connector.(connector.Rechecker).Recheck
			if _, session, err = recheck(t.Context(), id, session); err != nil {
				t.Fatal("still there:", err)
			}
			moved := alice
			moved.HostedDomain = ""
			p.Change(moved)
			if _, _, err = recheck(t.Context(), id, session); !errors.Is(err, connector.ErrNotAllowed) {
				t.Error(err)
			}
		})
	}
}
