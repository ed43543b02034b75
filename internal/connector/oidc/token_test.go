package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// The suite, with a key in place of the secret.
func TestSuiteWithKey(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	connectortest.Run(t, connectortest.Harness{
		New: func(t *testing.T) connectortest.Fixture {
			f, p, _ := start(t, func(o *oidc.Options) {
				o.ClientSecret, o.ClientKey = conf.Secret{}, clientauth.NewKey(key, "EdDSA", "key-1")
				o.Now = time.Now
			})
			p.SetNow(time.Now)
			p.RegisterKey(key.Public(), "EdDSA", "key-1", p.Issuer+"/token")
			return f
		},
		Alice:                 alice,
		AuthorizationURLNeeds: []oauthtest.Endpoint{oauthtest.Discovery},
		IdentifyNeeds:         []oauthtest.Endpoint{oauthtest.Token, oauthtest.Keys},
		RecheckNeeds:          []oauthtest.Endpoint{oauthtest.Token},
	})
}

func TestPrivateKeyJWT(t *testing.T) {
	long, _ := rsa.GenerateKey(rand.Reader, 2048)
	short, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for name, tt := range map[string]struct {
		key                            crypto.Signer
		algorithm                      string
		forIssuer                      bool
		registered, registeredAudience string
		want                           error
	}{
		"RS256":                   {long, "RS256", false, "RS256", "/token", nil},
		"PS256 for the issuer":    {long, "PS256", true, "PS256", "", nil},
		"ES256":                   {short, "ES256", false, "ES256", "/token", nil},
		"another algorithm":       {long, "RS256", false, "PS256", "/token", connector.ErrRejected},
		"another audience":        {short, "ES256", false, "ES256", "", connector.ErrRejected},
		"issuer where not wanted": {short, "ES256", true, "ES256", "/token", connector.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			f, p, _ := start(t, func(o *oidc.Options) {
				o.ClientSecret, o.AssertionForIssuer = conf.Secret{}, tt.forIssuer
				o.ClientKey = clientauth.NewKey(tt.key, tt.algorithm, "kid")
				o.Now = time.Now
			})
			p.SetNow(time.Now)
			p.SignInAs(alice)
			p.GiveRefreshTokens(true)
			p.RegisterKey(tt.key.Public(), tt.registered, "kid", p.Issuer+tt.registeredAudience)
			login := connectortest.NewLogin()
			id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
			if !errors.Is(err, tt.want) {
				t.Fatalf("%+v, %v", id, err)
			}
			if tt.want != nil {
				return
			}
			for range 2 { // each with an assertion of its own
				var now connector.Identity
				if now, session, err = f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session); err != nil || !reflect.DeepEqual(now, id) {
					t.Fatalf("%+v, %v", now, err)
				}
			}
			if sent := p.Sent(oauthtest.Token); sent.Has("client_secret") || strings.Contains(sent.Encode(), oauthtest.ClientSecret) {
				t.Error("a secret was sent too")
			}
		})
	}
}

func TestClientAuthMethod(t *testing.T) {
	for method, inBody := range map[string]bool{"client_secret_basic": false, "client_secret_post": true} {
		f, p, _ := start(t, func(o *oidc.Options) { o.ClientAuthMethod = method })
		p.SignInAs(alice)
		p.EditMetadata(func(m map[string]any) { // the operator knows better
			m["token_endpoint_auth_methods_supported"] = []string{"client_secret_basic", "client_secret_post"}
		})
		if _, err := signIn(t, f); err != nil || p.Sent(oauthtest.Token).Has("client_secret") != inBody {
			t.Errorf("%s: %v, %v", method, p.Sent(oauthtest.Token), err)
		}
	}
}

func TestSubjectClaim(t *testing.T) {
	f, p, _ := start(t, func(o *oidc.Options) { o.SubjectClaim = "/ext/employee" })
	p.SignInAs(alice)
	p.ThinIDTokens(true) // so that userinfo is asked, by sub
	p.GiveRefreshTokens(true)
	p.EditClaims(func(c map[string]any) { c["ext"] = map[string]any{"employee": 4711} })
	login := connectortest.NewLogin()
	id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
	if err != nil || id.Subject != "4711" || id.Email != alice.Email {
		t.Fatalf("%+v, %v", id, err)
	}
	now, session, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session)
	if err != nil || !reflect.DeepEqual(now, id) {
		t.Errorf("%+v, %v", now, err)
	}
	p.EditClaims(func(c map[string]any) { c["ext"] = map[string]any{"employee": 4712} })
	if now, _, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session); !errors.Is(err, connector.ErrGone) {
		t.Errorf("another number: %+v, %v", now, err)
	}
	p.Commit(oauthtest.OtherUserInfo)
	if id, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) {
		t.Errorf("userinfo of another: %+v, %v", id, err)
	}
	p.Commit(oauthtest.None)
	p.EditClaims(nil)
	if id, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) {
		t.Errorf("without the claim: %+v, %v", id, err)
	}
}
