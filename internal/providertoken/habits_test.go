package providertoken_test

import (
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oauth2"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// fakeProvider is what the test needs of each kind of fake.
type fakeProvider interface {
	SignInAs(oauthtest.User)
	Behave(oauthtest.Habits)
	Live(token string) (u oauthtest.User, scopes string, ok bool)
	Reused() []oauthtest.Reuse
}

// ofKind starts the fake for a provider by its kind here.
func ofKind(t *testing.T, name string) (fakeProvider, func(*config.File)) {
	t.Helper()
	switch name {
	case "GitHub App", "GitHub OAuth App":
		g := oauthtest.NewGitHub(t)
		return g, servertest.UseGitHub(g)
	case "plain OAuth 2.0":
		p := oauthtest.NewOAuth2(t)
		return p, func(f *config.File) {
			f.Provider = config.ProviderFile{Name: "oauth2", AllowAnyUser: true, Settings: &oauth2.Settings{
				App: servertest.App(), ClaimNames: upstream.ClaimNames{SubjectClaim: "/data/id", EmailClaim: "/data/email", EmailVerifiedClaim: "/data/confirmed"}, AuthorizeURL: p.URL + "/authorize", TokenURL: p.URL + "/token", UserinfoURL: p.URL + "/me",
			}}
		}
	}
	p := oauthtest.NewOIDCProvider(t)
	return p, servertest.UseOIDC(p)
}

// With the sizes, lives and refresh tokens of each provider that has a row in
// docs/provider-tokens.md, the token in the header is a good one for a day of use, in both
// forms, and no refresh token is used twice.
func TestHabitsOfProviders(t *testing.T) {
	t.Parallel()
	for name, habits := range oauthtest.ByProvider {
		for _, form := range []string{"client", "held"} {
			t.Run(name+" "+form, func(t *testing.T) {
				t.Parallel()
				idp, use := ofKind(t, name)
				idp.SignInAs(servertest.Person)
				idp.Behave(habits)
				s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(use, gets(func(f *providertoken.File) { f.Form = form }))})
				k := servertest.SignIn(t, s.NewClient(t, servertest.Host, servertest.WithRefresh))
				seen := map[string]time.Time{} // by the clock of the service, which the fake does not have
				for at := time.Duration(0); at < 24*time.Hour; at += 3 * time.Minute {
					if at%(4*time.Hour) == 0 { // the client is away for a while, and then back
						s.Clock.Advance(50 * time.Minute)
						k = k.Again(t)
					}
					a := s.Ask(t, servertest.Resource, k.Access)
					if a.Status == 401 {
						k = k.Again(t)
						a = s.Ask(t, servertest.Resource, k.Access)
					}
					if _, _, live := idp.Live(a.Header.Get(header)); a.Status != 200 || !live {
						t.Fatalf("after %s: %d %q", at, a.Status, a.Header.Get(header))
					}
					got := a.Header.Get(header)
					if first, before := seen[got]; !before {
						seen[got] = s.Clock.Now()
					} else if old := s.Clock.Now().Sub(first); habits.Life > 0 && old >= habits.Life {
						t.Fatalf("after %s: a token that is %s old", at, old)
					}
					s.Clock.Advance(3 * time.Minute)
					if at > 2*time.Hour && at < 20*time.Hour {
						at += 57 * time.Minute
						s.Clock.Advance(57 * time.Minute)
						k = k.Again(t)
					}
				}
				if habits.Life > 0 && habits.Life < 12*time.Hour && len(seen) < 3 {
					t.Errorf("%d tokens in a day", len(seen))
				}
				if n := len(idp.Reused()); n > 0 {
					t.Errorf("%d refresh tokens were used twice", n)
				}
			})
		}
	}
}
