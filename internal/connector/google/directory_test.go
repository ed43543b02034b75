package google_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var serviceKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// ways are all that lead to the directory.
func ways(t *testing.T) map[string]google.Workspace {
	t.Helper()
	text, object := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "token.json")
	for path, content := range map[string]string{text: oauthtest.WorkloadToken + "\n", object: `{"value":"` + oauthtest.WorkloadToken + `"}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	external := google.Workspace{
		Credentials: "external", ServiceAccount: oauthtest.WorkspaceAccount, Audience: oauthtest.WorkloadAudience,
		TokenType: "urn:ietf:params:oauth:token-type:jwt", TokenFile: text,
	}
	inJSON := external
	inJSON.TokenFile, inJSON.TokenField = object, "value"
	return map[string]google.Workspace{
		"key":              {Credentials: "key", ServiceAccount: oauthtest.WorkspaceAccount, Key: clientauth.NewKey(serviceKey(), "RS256", "key-1")},
		"metadata":         {Credentials: "metadata", ServiceAccount: oauthtest.WorkspaceAccount},
		"external":         external,
		"external in JSON": inJSON,
	}
}

func workspace(t *testing.T, w google.Workspace) (connectortest.Fixture, *oauthtest.Google) {
	t.Helper()
	g := oauthtest.NewGoogle(t)
	g.AddKey("key-1", serviceKey().Public())
	g.SignInAs(alice)
	g.SetAccount(alice.Subject, oauthtest.Account{Groups: []string{"ops@corp.example", "All@corp.example", "mcp-admins@corp.example"}})
	g.SetAccount("424242", oauthtest.Account{})
	if w.Admin == "" {
		w.Admin = oauthtest.WorkspaceAdmin
	}
	c := google.New(&google.Settings{App: connectortest.App(), HostedDomains: []string{"corp.example"}, Workspace: w}, connector.Properties{}, connectortest.Client(g))
	return connectortest.Fixture{Connector: c, Provider: g, Namespace: "google"}, g
}

func TestSuiteWithWorkspace(t *testing.T) {
	w := ways(t)["key"]
	w.Groups = true
	connectortest.Run(t, connectortest.Harness{
		New:                   func(t *testing.T) connectortest.Fixture { f, _ := workspace(t, w); return f },
		Alice:                 alice,
		AuthorizationURLNeeds: []oauthtest.Endpoint{oauthtest.Discovery},
		IdentifyNeeds:         []oauthtest.Endpoint{oauthtest.Token, oauthtest.Keys, oauthtest.ServiceToken, oauthtest.Directory, oauthtest.Memberships},
		RecheckNeeds:          []oauthtest.Endpoint{oauthtest.Token, oauthtest.Directory, oauthtest.Memberships},
	})
}

func TestWorkspace(t *testing.T) {
	// Whatever another program needs in the environment has no part in this.
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "attacker.json"))
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	for name, w := range ways(t) {
		t.Run(name, func(t *testing.T) {
			f, g := workspace(t, w)
			g.GiveRefreshTokens(true)
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if err != nil || id.Subject != alice.Subject || id.Groups != nil {
				t.Fatalf("%+v, %v", id, err)
			}
			again := func() error {
				_, s, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session)
				if s != (connector.Session{}) {
					session = s
				}
				return err
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			if n := g.Count(oauthtest.ServiceToken); n != 1 {
				t.Errorf("%d tokens of the service account for two questions", n)
			}
			for name, tt := range map[string]struct {
				change func()
				want   error
			}{
				"suspended":             {func() { g.SetAccount(alice.Subject, oauthtest.Account{Suspended: true}) }, connector.ErrNotAllowed},
				"archived":              {func() { g.SetAccount(alice.Subject, oauthtest.Account{Archived: true}) }, connector.ErrNotAllowed},
				"deleted":               {func() { g.DeleteAccount(alice.Subject) }, connector.ErrNotAllowed},
				"notAuthorized":         {func() { g.RefuseDirectory("notAuthorized") }, nil},
				"rateLimitExceeded":     {func() { g.RefuseDirectory("rateLimitExceeded") }, connector.ErrUnavailable},
				"userRateLimitExceeded": {func() { g.RefuseDirectory("userRateLimitExceeded") }, connector.ErrUnavailable},
				"quotaExceeded":         {func() { g.RefuseDirectory("quotaExceeded") }, connector.ErrUnavailable},
			} {
				atSignIn, atRefresh := tt.want, tt.want
				if tt.want == nil { // what is refused to us says nothing about the person
					atSignIn, atRefresh = connector.ErrMisconfigured, connector.ErrMisconfigured
				}
				tt.change()
				if id, err := connectortest.SignIn(t, f, connectortest.NewLogin()); !errors.Is(err, atSignIn) || id.Subject != "" {
					t.Errorf("%s: sign-in: %+v, %v", name, id, err)
				}
				if err := again(); !errors.Is(err, atRefresh) {
					t.Errorf("%s: refresh: %v", name, err)
				} else if atRefresh == connector.ErrNotAllowed { // which ends it at the provider's side too
					login := connectortest.NewLogin()
					g.RefuseDirectory("")
					g.SetAccount(alice.Subject, oauthtest.Account{})
					if _, session, err = f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login)); err != nil {
						t.Fatal(err)
					}
				}
				g.RefuseDirectory("")
				g.SetAccount(alice.Subject, oauthtest.Account{})
				if err := again(); err != nil {
					t.Errorf("%s is over: %v", name, err)
				}
			}
		})
	}
}

func TestWorkspaceGroups(t *testing.T) {
	w := ways(t)["metadata"]
	w.Groups = true
	f, g := workspace(t, w)
	g.GroupPage(2)
	id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
	if want := []string{"ops@corp.example", "all@corp.example", "mcp-admins@corp.example"}; err != nil || !slices.Equal(id.Groups, want) {
		t.Errorf("%v, %v", id.Groups, err)
	}
	var many []string
	for i := range 1001 {
		many = append(many, fmt.Sprintf("g%d@corp.example", i))
	}
	g.GroupPage(200)
	g.SetAccount(alice.Subject, oauthtest.Account{Groups: many})
	if id, err := connectortest.SignIn(t, f, connectortest.NewLogin()); !errors.Is(err, connector.ErrRejected) {
		t.Errorf("more groups than can be read: %d, %v", len(id.Groups), err)
	}
	g.SetAccount(alice.Subject, oauthtest.Account{Groups: many[:1000]})
	if id, err := connectortest.SignIn(t, f, connectortest.NewLogin()); err != nil || len(id.Groups) != 200 {
		t.Errorf("%d groups, %v", len(id.Groups), err)
	}
}

// A wrong setup admits no one, and says what to look at.
func TestWorkspaceSetUp(t *testing.T) {
	for name, spoil := range map[string]func(g *oauthtest.Google, w *google.Workspace){
		"no delegation": func(g *oauthtest.Google, _ *google.Workspace) { g.Delegate() },
		"no groups": func(g *oauthtest.Google, w *google.Workspace) {
			g.Delegate("https://www.googleapis.com/auth/admin.directory.user.readonly")
			w.Groups = true
		},
		"another administrator": func(_ *oauthtest.Google, w *google.Workspace) { w.Admin = "other@corp.example" },
		"another account": func(_ *oauthtest.Google, w *google.Workspace) {
			w.ServiceAccount = "other@project.iam.gserviceaccount.com"
		},
		"unknown key": func(_ *oauthtest.Google, w *google.Workspace) {
			if w.Credentials == "key" {
				w.Key = clientauth.NewKey(serviceKey(), "RS256", "key-2")
			} else {
				w.ServiceAccount = "x@y.z"
			}
		},
	} {
		for way, w := range ways(t) {
			t.Run(name+" "+way, func(t *testing.T) {
				g := oauthtest.NewGoogle(t)
				g.AddKey("key-1", serviceKey().Public())
				g.SignInAs(alice)
				g.SetAccount(alice.Subject, oauthtest.Account{})
				w.Admin = oauthtest.WorkspaceAdmin
				spoil(g, &w)
				f := connectortest.Fixture{Provider: g, Connector: google.New(&google.Settings{App: connectortest.App(), HostedDomains: []string{"corp.example"}, Workspace: w}, connector.Properties{}, connectortest.Client(g))}
				id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
				if !errors.Is(err, connector.ErrRejected) || id.Subject != "" {
					t.Errorf("%+v, %v", id, err)
				}
				for _, secret := range []string{"ya29", oauthtest.WorkloadToken, "eyJ"} {
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("the error shows a token: %v", err)
					}
				}
			})
		}
	}
}
