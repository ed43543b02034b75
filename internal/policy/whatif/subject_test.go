package whatif

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/microsoft"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oauth2"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
)

var alice = oauthtest.User{Subject: "1001", Login: "alice", Email: "alice@corp.example", EmailVerified: true, Name: "Alice"}

// inNameOf is a connector whose people have the namespace of their provider.
type inNameOf struct {
	connector.Connector
	provider *provider.Provider
}

func (c inNameOf) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	return c.provider.Identify(ctx, login, query)
}

// signIn signs alice in through a connector of p at a provider of its kind.
func signIn(t *testing.T, p connector.Config) connector.Identity {
	t.Helper()
	through := func(fake oauthtest.Provider, make func(*http.Client) connector.Connector) connector.Identity {
		c := make(connectortest.Client(fake))
		id, err := connectortest.SignIn(t, connectortest.Fixture{Connector: inNameOf{c, provider.New(p, c, nil)}, Provider: fake}, connectortest.NewLogin())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	switch p.Name {
	case "google":
		fake := oauthtest.NewOIDCProviderAt(t, google.Issuer)
		fake.SignInAs(alice)
		return through(fake, func(c *http.Client) connector.Connector {
			return google.New(p.Settings.(*google.Settings), connector.Properties{}, c)
		})
	case "github":
		fake := oauthtest.NewGitHub(t)
		fake.SignInAs(alice)
		return through(fake, func(c *http.Client) connector.Connector { return github.New(p.Settings.(*github.Settings), c) })
	case "microsoft":
		fake := oauthtest.NewMicrosoft(t)
		user := alice
		user.Subject = p.Settings.(*microsoft.Settings).Tenants[0] + "/690222be-ff1a-4d56-abd1-7e4f7d38e474"
		fake.SignInAs(user)
		return through(fake, func(c *http.Client) connector.Connector { return microsoft.New(p.Settings.(*microsoft.Settings), c) })
	case "oidc":
		fake := oauthtest.NewOIDCProviderAt(t, p.Settings.(*oidc.Settings).IssuerURL)
		fake.SignInAs(alice)
		return through(fake, func(c *http.Client) connector.Connector {
			browser, _, err := p.Settings.New(connector.Properties{}, c)
			if err != nil {
				t.Fatal(err)
			}
			return browser
		})
	case "oauth2":
		fake := oauthtest.NewOAuth2(t)
		fake.SignInAs(alice)
		return through(fake, func(c *http.Client) connector.Connector { return oauth2.New(p.Settings.(*oauth2.Settings), c) })
	case "static":
		hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		c, err := static.New([]static.User{{Username: "alice", PasswordHash: conf.NewSecret(string(hash))}})
		if err != nil {
			t.Fatal(err)
		}
		id, err := provider.New(p, nil, c).Authenticate(t.Context(), "alice", "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	t.Fatalf("no connector for %q", p.Name)
	return connector.Identity{}
}

// Rules and the deny-list name people by their subject. Here its beginning is
// read from the configuration, and a connector gives it at a sign-in: the two
// must be the same, or an answer is about another person.
func TestNamespaceIsThatOfTheConnector(t *testing.T) {
	const tenant = "c9b5b3a6-3b1f-4f0e-9a53-4d6a9f0f1a11"
	app := connectortest.App()
	keyed := upstream.KeyedApp{App: app}
	bases := []connector.Config{
		{Name: "google", Settings: &google.Settings{App: app}},
		{Name: "github", Settings: &github.Settings{App: app, BaseURL: "https://github.com"}},
		{Name: "github", Settings: &github.Settings{App: app, BaseURL: "https://GitHub.corp.example"}},
		{Name: "microsoft", Settings: &microsoft.Settings{KeyedApp: keyed, Tenants: []string{tenant}}},
		{Name: "microsoft", Settings: &microsoft.Settings{KeyedApp: keyed, Tenants: []string{tenant}, BaseURL: "https://login.microsoftonline.com"}},
		{Name: "oidc", Settings: &oidc.Settings{KeyedApp: keyed, IssuerURL: "https://sso.corp.example:8443"}},
		{Name: "oauth2", Settings: &oauth2.Settings{App: app, IssuerURL: "https://id.corp.example", AuthorizeURL: "https://id.corp.example/authorize", TokenURL: "https://id.corp.example/token",
			UserinfoURL: "https://API.corp.example:8443/me", ClaimNames: upstream.ClaimNames{SubjectClaim: "/data/id"}}},
		{Name: "static", Settings: &static.Settings{}},
	}
	for _, name := range kinds.Names() {
		if !slices.ContainsFunc(bases, func(p connector.Config) bool { return p.Name == name }) {
			t.Errorf("provider %q has no row", name)
		}
	}
	for _, base := range bases {
		for _, how := range []struct {
			id   string
			keep bool
		}{{"", false}, {"corp", false}, {"corp", true}} {
			p := base
			p.ID, p.KeepSubjects = how.id, how.keep
			t.Run(p.Name+" "+namespace(&p)+" "+p.ID, func(t *testing.T) {
				if got, want := namespace(&p), signIn(t, p).Namespace; got != want {
					t.Errorf("%q, a sign-in gives %q", got, want)
				}
			})
		}
	}
}
