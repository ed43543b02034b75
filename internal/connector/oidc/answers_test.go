package oidc_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// A certificate beside a key is optional (RFC 7517, section 4.7): one that does
// not parse stops no sign-in.
func TestKeyWithACertificateThatDoesNotParse(t *testing.T) {
	f, p, _ := start(t, nil)
	p.EditKey(func(key map[string]any) {
		key["x5c"] = []string{"bm90IGEgY2VydGlmaWNhdGU="}
		key["x5t"], key["x5t#S256"], key["x5u"] = "AA", "AA", "::"
	})
	if id, err := signIn(t, f); err != nil || id.Subject != alice.Subject {
		t.Errorf("%+v, %v", id, err)
	}
}

// The userinfo endpoint is asked for what the configuration uses and the ID token
// lacks. If it fails, a person signs in where nothing needs it; where something does,
// the error blames this client and not the person.
func TestUserInfoOnlyWhereItIsNeeded(t *testing.T) {
	unused := connector.Properties{Name: true, Groups: true}
	for name, tt := range map[string]struct {
		edit    func(*oidc.Options)
		claims  func(map[string]any)
		asked   bool
		unknown bool
		want    error
	}{
		"e-mail address alone is there": {func(o *oidc.Options) { o.Unused = unused },
			func(m map[string]any) { delete(m, "name"); delete(m, "groups") }, false, false, nil},
		"the name is used": {func(o *oidc.Options) { o.Unused = connector.Properties{Groups: true} },
			func(m map[string]any) { delete(m, "name") }, true, false, connector.ErrMisconfigured},
		"groups are used": {func(o *oidc.Options) { o.Unused = connector.Properties{Name: true} },
			func(m map[string]any) { delete(m, "groups") }, true, false, connector.ErrMisconfigured},
		"the address is missing": {func(o *oidc.Options) { o.Unused = unused },
			func(m map[string]any) { delete(m, "email") }, true, false, connector.ErrMisconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			f, p, _ := start(t, tt.edit)
			p.GiveRefreshTokens(true)
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if err != nil {
				t.Fatal(err)
			}
			p.RefuseUserInfo(http.StatusForbidden)
			p.EditClaims(tt.claims)
			before := p.Count(oauthtest.UserInfo)
			_, err = signIn(t, f)
			if !errors.Is(err, tt.want) || (p.Count(oauthtest.UserInfo) > before) != tt.asked {
				t.Errorf("sign-in: %v, %d requests", err, p.Count(oauthtest.UserInfo)-before)
			}
			// The refresh token was good, so this says nothing about the person.
			if _, _, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session); !errors.Is(err, tt.want) {
				t.Errorf("refresh: %v", err)
			}
		})
	}
}

// Groups that nothing in the configuration uses are asked for if the provider
// says that it has them; where that fails they are unknown, and people sign in.
func TestUserInfoThatFailsLeavesGroupsUnknown(t *testing.T) {
	f, p, _ := start(t, func(o *oidc.Options) { o.Unused = connector.Properties{Name: true, Groups: true} })
	p.EditMetadata(func(m map[string]any) { m["claims_supported"] = []string{"sub", "email", "groups"} })
	p.EditClaims(func(m map[string]any) { delete(m, "groups") })
	if id, err := signIn(t, f); err != nil || !reflect.DeepEqual(id.Groups, alice.Groups) || id.Unknown.Groups {
		t.Errorf("%+v, %v", id, err)
	}
	for _, status := range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
		p.RefuseUserInfo(status)
		if id, err := signIn(t, f); err != nil || id.Groups != nil || !id.Unknown.Groups {
			t.Errorf("%d: %+v, %v", status, id, err)
		}
	}
	p.RefuseUserInfo(0)
	p.Commit(oauthtest.OtherUserInfo)
	p.EditClaims(func(m map[string]any) { delete(m, "groups") })
	if id, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) {
		t.Errorf("userinfo about another subject: %+v, %v", id, err)
	}
}

// A provider whose public address cannot be reached from here: discovery, keys,
// tokens and userinfo go through the back channel, browsers go to the public
// address, and iss is compared as ever.
func TestBackChannel(t *testing.T) {
	const issuer = "https://sso.corp.example"
	begin := func(t *testing.T, edit func(m map[string]any, internal string)) (connectortest.Fixture, *oauthtest.OIDCProvider) {
		p := oauthtest.NewOIDCProviderAt(t, issuer)
		p.SignInAs(alice)
		p.ThinIDTokens(true)
		p.GiveRefreshTokens(true)
		p.EditMetadata(func(m map[string]any) {
			if edit != nil {
				edit(m, p.URL)
			}
		})
		c := oidc.New(oidc.Options{
			Issuer: issuer, BackChannel: p.URL, ClientID: oauthtest.ClientID, ClientSecret: conf.NewSecret(oauthtest.ClientSecret), GroupsClaim: "groups",
			HTTPClient: &http.Client{Transport: onlyTo{strings.TrimPrefix(p.URL, "http://"), http.DefaultTransport}},
		})
		return connectortest.Fixture{Connector: c, Provider: p, Namespace: "sso.corp.example"}, p
	}
	for name, edit := range map[string]func(map[string]any, string){
		"the document names public addresses": nil,
		"the document names internal addresses": func(m map[string]any, internal string) {
			for _, name := range []string{"token_endpoint", "jwks_uri", "userinfo_endpoint"} {
				m[name] = strings.Replace(m[name].(string), issuer, internal, 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := begin(t, edit)
			address, err := f.Connector.AuthorizationURL(t.Context(), connectortest.NewLogin())
			if err != nil || !strings.HasPrefix(address, issuer+"/authorize?") {
				t.Fatalf("%s, %v", address, err)
			}
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if err != nil || id.Email != alice.Email || id.Namespace != f.Namespace {
				t.Fatalf("%+v, %v", id, err)
			}
			if _, _, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session); err != nil {
				t.Error(err)
			}
		})
	}
	for name, edit := range map[string]func(map[string]any, string){
		"another issuer":               func(m map[string]any, internal string) { m["issuer"] = internal },
		"a token endpoint by http":     func(m map[string]any, _ string) { m["token_endpoint"] = "http://elsewhere.example/token" },
		"an authorization page inside": func(m map[string]any, internal string) { m["authorization_endpoint"] = internal + "/authorize" },
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := begin(t, edit)
			if address, err := f.Connector.AuthorizationURL(t.Context(), connectortest.NewLogin()); !errors.Is(err, connector.ErrMisconfigured) {
				t.Errorf("%s, %v", address, err)
			}
		})
	}
	t.Run("AS-FED-04 iss of the back channel", func(t *testing.T) {
		f, p := begin(t, nil)
		p.EditClaims(func(m map[string]any) { m["iss"] = p.URL })
		if id, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) {
			t.Errorf("%+v, %v", id, err)
		}
	})
}

// onlyTo fails the test's request to every other host, as a network without a way
// to the public address does.
type onlyTo struct {
	host string
	next http.RoundTripper
}

func (o onlyTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host {
		return nil, fmt.Errorf("no route to %s", r.URL.Host)
	}
	return o.next.RoundTrip(r)
}
