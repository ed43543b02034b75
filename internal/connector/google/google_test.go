package google_test

import (
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var alice = oauthtest.User{
	Subject: "110169484474386276334", Email: "alice@corp.example", EmailVerified: true, Name: "Alice", HostedDomain: "corp.example",
}

func fixture(t *testing.T) connectortest.Fixture {
	p := oauthtest.NewOIDCProviderAt(t, google.Issuer)
	p.SignInAs(alice)
	conf := config.Provider{ClientID: oauthtest.ClientID, ClientSecret: config.NewSecret(oauthtest.ClientSecret)}
	return connectortest.Fixture{Connector: google.New(conf, connectortest.Client(p)), Provider: p, Namespace: "google"}
}

func TestSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New:                   fixture,
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
