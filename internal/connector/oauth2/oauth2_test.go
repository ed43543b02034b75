package oauth2_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oauth2"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var alice = oauthtest.User{
	Subject: "1001", Email: "alice@corp.example", EmailVerified: true, Name: "Alice", Groups: []string{"staff", "ops"},
}

func start(t *testing.T, edit func(*oauth2.Settings)) (connectortest.Fixture, *oauthtest.OAuth2) {
	p := oauthtest.NewOAuth2(t)
	p.SignInAs(alice)
	settings := &oauth2.Settings{
		App: connectortest.App(), IssuerURL: "https://id.corp.example",
		AuthorizeURL: "https://id.corp.example/authorize", TokenURL: "https://id.corp.example/token", UserinfoURL: "https://api.corp.example/me",
		ClaimNames: upstream.ClaimNames{SubjectClaim: "/data/id", EmailClaim: "/data/email", EmailVerifiedClaim: "/data/confirmed", NameClaim: "/data/full_name", GroupsClaim: "/data/teams"},
	}
	if edit != nil {
		edit(settings)
	}
	return connectortest.Fixture{Connector: oauth2.New(settings, connectortest.Client(p)), Provider: p, Namespace: "oauth2@api.corp.example"}, p
}

func TestSuite(t *testing.T) {
	excluded := map[oauthtest.Fault]string{}
	for _, fault := range oauthtest.Faults {
		switch fault {
		case oauthtest.WrongResponseIssuer, oauthtest.NoSubject:
		default:
			excluded[fault] = "there is no ID token and no discovery"
		}
	}
	connectortest.Run(t, connectortest.Harness{
		New:           func(t *testing.T) connectortest.Fixture { f, _ := start(t, nil); return f },
		Alice:         alice,
		IdentifyNeeds: []oauthtest.Endpoint{oauthtest.Token, oauthtest.UserInfo},
		RecheckNeeds:  []oauthtest.Endpoint{oauthtest.UserInfo},
		NoNonce:       "OAuth 2.0 knows no nonce; PKCE binds the code to the visit",
		NotApplicable: excluded,
	})
}

func TestClaims(t *testing.T) {
	whole := connector.Identity{Namespace: "oauth2@api.corp.example", Subject: "1001", Email: alice.Email, Name: "Alice", Groups: alice.Groups}
	with := func(change func(*connector.Identity)) connector.Identity {
		id := whole
		change(&id)
		return id
	}
	data := func(m map[string]any) map[string]any { return m["data"].(map[string]any) }
	for _, c := range []struct {
		name   string
		config func(*oauth2.Settings)
		answer func(map[string]any)
		want   connector.Identity
		err    error
	}{
		{"AS-FED-05 a number is a subject", nil, nil, whole, nil},
		{"AS-FED-05 so is text", nil, func(m map[string]any) { data(m)["id"] = "1001" }, whole, nil},
		{"AS-FED-05 a large number keeps its digits", nil, func(m map[string]any) { data(m)["id"] = uint64(18446744073709551615) },
			with(func(id *connector.Identity) { id.Subject = "18446744073709551615" }), nil},
		{"AS-FED-05 a fraction is none", nil, func(m map[string]any) { data(m)["id"] = 1.5 }, connector.Identity{}, connector.ErrRejected},
		{"AS-FED-05 nor a list", nil, func(m map[string]any) { data(m)["id"] = []int{1} }, connector.Identity{}, connector.ErrRejected},
		{"AS-FED-05 nor null", nil, func(m map[string]any) { data(m)["id"] = nil }, connector.Identity{}, connector.ErrRejected},
		{"AS-FED-06 the address is not vouched for", func(p *oauth2.Settings) { p.EmailVerifiedClaim = "" }, nil, with(func(id *connector.Identity) { id.Email = "" }), nil},
		{"AS-FED-06 the operator does", func(p *oauth2.Settings) { p.EmailVerifiedClaim, p.InsecureTrustUnverifiedEmail = "", true }, nil, whole, nil},
		{"filtered groups", func(p *oauth2.Settings) { p.GroupsFilter = []string{"op*"} }, nil, with(func(id *connector.Identity) { id.Groups = []string{"ops"} }), nil},
		{"the answer is a list", nil, func(m map[string]any) { m["data"] = []any{m["data"]} }, connector.Identity{}, connector.ErrRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := start(t, c.config)
			p.EditUserInfo(c.answer)
			id, err := connectortest.SignIn(t, f, connectortest.NewLogin())
			if !errors.Is(err, c.err) || !reflect.DeepEqual(id, c.want) {
				t.Errorf("identity %+v, %v\nwant     %+v", id, err, c.want)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	for _, inBody := range []bool{false, true} {
		f, p := start(t, func(c *oauth2.Settings) {
			c.ClientAuthMethod, c.Scopes = map[bool]string{true: "client_secret_post", false: "client_secret_basic"}[inBody], []string{"read", "teams"}
			c.Params = map[string]string{"audience": "x", "state": "evil", "redirect_uri": "https://attacker.example"}
		})
		if _, err := connectortest.SignIn(t, f, connectortest.NewLogin()); err != nil {
			t.Fatal(err)
		}
		if got := p.Sent(oauthtest.Token).Has("client_secret"); got != inBody {
			t.Errorf("secret in the body: %v, want %v", got, inBody)
		}
		sent := p.Sent(oauthtest.Authorization)
		if sent.Get("scope") != "read teams" || sent.Get("audience") != "x" || len(sent["state"]) != 1 || sent.Get("state") == "evil" {
			t.Errorf("sent %v", sent)
		}
	}
}

// A provider that starts to send iss says so in our log, and signs no one in
// until the operator has named it.
func TestUnknownIssuer(t *testing.T) {
	f, _ := start(t, func(c *oauth2.Settings) { c.IssuerURL = "" })
	login := connectortest.NewLogin()
	query := connectortest.Visit(t, f, login)
	query.Set("iss", "https://id.corp.example")
	_, _, err := f.Connector.Identify(t.Context(), login, query)
	if !errors.Is(err, connector.ErrRejected) || !strings.Contains(err.Error(), "provider.issuerURL") {
		t.Errorf("AS-FED-03 %v", err)
	}
}

func TestRecheckExpired(t *testing.T) {
	f, p := start(t, nil)
	for _, refresh := range []bool{false, true} {
		p.GiveRefreshTokens(refresh)
		login := connectortest.NewLogin()
		id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
		if err != nil {
			t.Fatal(err)
		}
		session.Expires = 1
		_, _, err = f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session)
		if want := map[bool]error{false: connector.ErrSessionOver, true: nil}[refresh]; !errors.Is(err, want) {
			t.Errorf("AS-FED-09 expired, refresh token %v: %v", refresh, err)
		}
	}
}
