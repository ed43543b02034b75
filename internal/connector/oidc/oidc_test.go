package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var alice = oauthtest.User{
	Subject: "248289761001", Email: "alice@corp.example", EmailVerified: true, Name: "Alice", Groups: []string{"staff", "ops"},
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start returns a provider, the clock that it shares with the connector, and
// the connector after edit had a say.
func start(t *testing.T, edit func(*oidc.Options)) (connectortest.Fixture, *oauthtest.OIDCProvider, *clock) {
	p := oauthtest.NewOIDCProvider(t)
	p.SignInAs(alice)
	c := &clock{now: time.Now()}
	p.SetNow(c.Now)
	o := oidc.Options{
		Issuer:       p.Issuer,
		ClientID:     oauthtest.ClientID,
		ClientSecret: conf.NewSecret(oauthtest.ClientSecret),
		GroupsClaim:  "groups",
		HTTPClient:   connectortest.Client(p),
		Now:          c.Now,
	}
	if edit != nil {
		edit(&o)
	}
	f := connectortest.Fixture{Connector: oidc.New(o), Provider: p, Namespace: strings.TrimPrefix(p.Issuer, "http://")}
	return f, p, c
}

func signIn(t *testing.T, f connectortest.Fixture) (connector.Identity, error) {
	t.Helper()
	return connectortest.SignIn(t, f, connectortest.NewLogin())
}

func TestSuite(t *testing.T) {
	for _, thin := range []bool{false, true} {
		needs, again := []oauthtest.Endpoint{oauthtest.Token, oauthtest.Keys}, []oauthtest.Endpoint{oauthtest.Token}
		if thin {
			needs, again = append(needs, oauthtest.UserInfo), append(again, oauthtest.UserInfo)
		}
		t.Run(fmt.Sprintf("thin ID tokens %v", thin), func(t *testing.T) {
			connectortest.Run(t, connectortest.Harness{
				New: func(t *testing.T) connectortest.Fixture {
					f, p, _ := start(t, nil)
					p.ThinIDTokens(thin)
					return f
				},
				Alice:                 alice,
				AuthorizationURLNeeds: []oauthtest.Endpoint{oauthtest.Discovery},
				IdentifyNeeds:         needs,
				RecheckNeeds:          again,
			})
		})
	}
}

func fromSettings(t *testing.T, s oidc.Settings, p oauthtest.Provider) connector.Connector {
	t.Helper()
	s.ClientID, s.ClientSecret = oauthtest.ClientID, conf.NewSecret(oauthtest.ClientSecret)
	c, _, err := s.New(connector.Properties{}, connectortest.Client(p))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSettings(t *testing.T) {
	p := oauthtest.NewOIDCProviderAt(t, "https://idp.corp.example")
	p.SignInAs(alice)
	f := connectortest.Fixture{Provider: p, Connector: fromSettings(t, oidc.Settings{IssuerURL: "https://idp.corp.example", ClaimNames: upstream.ClaimNames{GroupsClaim: "groups"}}, p)}
	id, err := signIn(t, f)
	want := connector.Identity{Namespace: "idp.corp.example", Subject: alice.Subject, Email: alice.Email, Name: alice.Name, Groups: alice.Groups}
	if err != nil || !reflect.DeepEqual(id, want) {
		t.Errorf("identity %+v, %v, want %+v", id, err, want)
	}
	if n := p.Count(oauthtest.UserInfo); n != 0 {
		t.Errorf("%d userinfo requests for a complete ID token", n)
	}
}

func TestDiscoveryIsFetchedOnceAndRetried(t *testing.T) {
	f, p, c := start(t, nil)
	p.Break(oauthtest.Discovery, oauthtest.Status503)
	ask := func() error {
		_, err := f.Connector.AuthorizationURL(t.Context(), connectortest.NewLogin())
		return err
	}
	for range 5 {
		if err := ask(); !errors.Is(err, connector.ErrUnavailable) {
			t.Fatalf("AS-FED-10 provider down: %v", err)
		}
	}
	if n := p.Count(oauthtest.Discovery); n != 1 {
		t.Errorf("AS-FED-10 %d fetches within the pause after a failure", n)
	}
	p.Break(oauthtest.Discovery, oauthtest.Works)
	c.advance(3 * time.Second)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if err := ask(); err != nil {
				t.Errorf("AS-FED-10 provider up again: %v", err)
			}
		})
	}
	wait.Wait()
	if n := p.Count(oauthtest.Discovery); n != 2 {
		t.Errorf("AS-FED-10 %d fetches, want one more", n)
	}
	c.advance(61 * time.Minute)
	p.Break(oauthtest.Discovery, oauthtest.Status503)
	if err := ask(); !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("AS-FED-10 an old document was used: %v", err)
	}
}

func TestKeys(t *testing.T) {
	t.Run("AS-FED-10 kid flood", func(t *testing.T) {
		f, p, c := start(t, nil)
		if _, err := signIn(t, f); err != nil {
			t.Fatal(err)
		}
		p.Commit(oauthtest.UnknownKey)
		for range 3 {
			before := p.Count(oauthtest.Keys)
			for range 4 {
				var wait sync.WaitGroup
				for range 4 {
					login := connectortest.NewLogin()
					query := connectortest.Visit(t, f, login)
					wait.Go(func() {
						if _, _, err := f.Connector.Identify(t.Context(), login, query); !errors.Is(err, connector.ErrRejected) {
							t.Errorf("unknown kid: %v", err)
						}
					})
				}
				wait.Wait()
			}
			if n := p.Count(oauthtest.Keys) - before; n > 1 {
				t.Errorf("%d fetches within one interval", n)
			}
			c.advance(31 * time.Second)
		}
		if n := p.Count(oauthtest.Keys); n != 3 {
			t.Errorf("%d fetches in all, want 3: at first, and one in each later interval", n)
		}
	})
	t.Run("AS-FED-10 rotation", func(t *testing.T) {
		f, p, c := start(t, nil)
		if _, err := signIn(t, f); err != nil {
			t.Fatal(err)
		}
		p.RotateKey("key-2")
		c.advance(31 * time.Second)
		if _, err := signIn(t, f); err != nil {
			t.Error(err)
		}
		p.RotateKey("key-3")
		p.Break(oauthtest.Keys, oauthtest.Status500)
		c.advance(31 * time.Second)
		if _, err := signIn(t, f); !errors.Is(err, connector.ErrUnavailable) {
			t.Errorf("new key, key set down: %v", err)
		}
	})
	t.Run("AS-FED-10 withdrawn key", func(t *testing.T) {
		f, p, c := start(t, nil)
		if _, err := signIn(t, f); err != nil {
			t.Fatal(err)
		}
		p.RotateKey("key-2")
		p.Commit(oauthtest.WrongKey) // the withdrawn one
		c.advance(61 * time.Minute)
		if _, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) {
			t.Errorf("token of a withdrawn key: %v", err)
		}
	})
}

// TestWaiterGivesUp: one who leaves does not end the fetch for the others.
func TestWaiterGivesUp(t *testing.T) {
	f, p, _ := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Connector.AuthorizationURL(ctx, connectortest.NewLogin()); !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.Connector.AuthorizationURL(t.Context(), connectortest.NewLogin()); err != nil {
		t.Error(err)
	}
	if n := p.Count(oauthtest.Discovery); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestDiscoveryDocument(t *testing.T) {
	for _, c := range []struct {
		name    string
		options func(*oidc.Options)
		edit    func(map[string]any)
	}{
		{"AS-FED-10 issuer differs by a slash", func(o *oidc.Options) { o.Issuer += "/" }, nil},
		{"AS-FED-04 no acceptable algorithm", nil, func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"HS256", "none"}
		}},
		{"AS-FED-10 no key set", nil, func(d map[string]any) { delete(d, "jwks_uri") }},
		{"AS-FED-10 no token endpoint", nil, func(d map[string]any) { delete(d, "token_endpoint") }},
		{"AS-FED-10 script instead of a page", nil, func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }},
		{"AS-FED-10 password in a URL", nil, func(d map[string]any) { d["token_endpoint"] = "http://user:pass@127.0.0.1/token" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p, _ := start(t, c.options)
			p.EditMetadata(c.edit)
			address, err := f.Connector.AuthorizationURL(t.Context(), connectortest.NewLogin())
			if !errors.Is(err, connector.ErrRejected) || address != "" {
				t.Errorf("got %q, %v", address, err)
			}
		})
	}
	t.Run("AS-FED-10 plain http endpoint of an https issuer", func(t *testing.T) {
		for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
			p := oauthtest.NewOIDCProviderAt(t, "https://idp.corp.example")
			p.EditMetadata(func(d map[string]any) { d[name] = "http://idp.corp.example/x" })
			c := oidc.New(oidc.Options{Issuer: p.Issuer, ClientID: oauthtest.ClientID, HTTPClient: connectortest.Client(p)})
			if _, err := c.AuthorizationURL(t.Context(), connectortest.NewLogin()); !errors.Is(err, connector.ErrRejected) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestResponseIssuer(t *testing.T) {
	f, p, _ := start(t, nil)
	p.EditMetadata(func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") })
	login := connectortest.NewLogin()
	query := connectortest.Visit(t, f, login)
	t.Run("AS-FED-03 error from another issuer is not believed", func(t *testing.T) {
		_, _, err := f.Connector.Identify(t.Context(), login, url.Values{"error": {"access_denied"}, "iss": {"https://attacker.example"}})
		if !errors.Is(err, connector.ErrRejected) {
			t.Error(err)
		}
	})
	t.Run("AS-FED-03 not advertised, not sent", func(t *testing.T) {
		query.Del("iss")
		if _, _, err := f.Connector.Identify(t.Context(), login, query); err != nil {
			t.Error(err)
		}
	})
}

func TestClaims(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprint("group-", i)
	}
	type edit = func(map[string]any)
	whole := connector.Identity{Subject: alice.Subject, Email: alice.Email, Name: alice.Name, Groups: alice.Groups}
	with := func(change func(*connector.Identity)) connector.Identity {
		id := whole
		change(&id)
		return id
	}
	noEmail := with(func(id *connector.Identity) { id.Email = "" })
	unknownEmail := with(func(id *connector.Identity) { id.Email, id.Unknown.Email = "", true })
	groups := func(unknown bool, names ...string) connector.Identity {
		return with(func(id *connector.Identity) { id.Groups, id.Unknown.Groups = names, unknown })
	}
	says := func(value any) edit { return func(m map[string]any) { m["groups"] = value } }
	for _, c := range []struct {
		name     string
		claims   edit
		userInfo edit
		want     connector.Identity
	}{
		{"complete", nil, nil, whole},
		{"AS-FED-06 email_verified as text", func(m map[string]any) { m["email_verified"] = "true" }, nil, whole},
		{"AS-FED-06 email_verified as other text", func(m map[string]any) { m["email_verified"] = "yes" }, nil, noEmail},
		{"AS-FED-06 email_verified as number", func(m map[string]any) { m["email_verified"] = 1 }, nil, noEmail},
		{"AS-FED-06 userinfo cannot verify the ID token's address",
			func(m map[string]any) { m["email"] = "ceo@corp.example"; delete(m, "email_verified") },
			func(m map[string]any) { delete(m, "email") }, noEmail},
		{"AS-FED-06 address and its verification from userinfo", func(m map[string]any) { delete(m, "email_verified") }, nil, whole},
		{"address is not one", func(m map[string]any) { m["email"] = "alice" }, nil, unknownEmail},
		{"address breaks the line", func(m map[string]any) { m["email"] = "alice\r\nX-Evil: 1@corp.example" }, nil, unknownEmail},
		{"address is too long", func(m map[string]any) { m["email"] = strings.Repeat("a", 300) + "@corp.example" }, nil, unknownEmail},
		{"address of a wrong type", func(m map[string]any) { m["email"] = []string{alice.Email} }, nil, unknownEmail},
		{"no address", func(m map[string]any) { m["email"] = nil }, func(m map[string]any) { delete(m, "email") }, noEmail},
		{"name from userinfo", func(m map[string]any) { delete(m, "name") }, nil, whole},
		{"long name is cut", func(m map[string]any) { m["name"] = strings.Repeat("ä", 1000) }, nil,
			with(func(id *connector.Identity) { id.Name = strings.Repeat("ä", 128) })},
		{"one group as text", func(m map[string]any) { m["groups"] = "staff" }, nil,
			with(func(id *connector.Identity) { id.Groups = []string{"staff"} })},
		{"groups from userinfo", func(m map[string]any) { delete(m, "groups") }, nil, whole},
		{"no groups", says([]string{}), says([]string{}), groups(false)},
		{"groups that are null, here and there", says(nil), says(nil), groups(false)},
		{"groups as an object of objects, as Zitadel has them", says(map[string]any{"ops": map[string]any{"1": "x"}, "dev": map[string]any{}}), nil, groups(false, "dev", "ops")},
		{"groups as an object of yes and no", says(map[string]any{"staff": true, "dev": false}), nil, groups(false, "staff")},
		{"groups inside an object", says(map[string]any{"list": []string{"dev"}}), nil, groups(true)},
		{"groups as a number", says(7), nil, groups(true)},
		{"groups as true", says(true), nil, groups(true)},
		{"groups as objects in a list", says([]any{"staff", map[string]any{"name": "dev"}}), nil, groups(true, "staff")},
		{"groups as numbers in a list", says([]any{7}), nil, groups(true)},
		{"groups as text with commas", says("staff,dev"), nil, groups(true, "staff,dev")},
		{"groups as text with spaces", says("staff dev"), nil, groups(true, "staff dev")},
		{"groups as text with JSON in it", says(`["staff","dev"]`), nil, groups(true, `["staff","dev"]`)},
		{"one group as a distinguished name", says("CN=Domain Admins,OU=x,DC=corp"), nil, groups(false, "CN=Domain Admins,OU=x,DC=corp")},
		{"groups that are elsewhere", func(m map[string]any) {
			delete(m, "groups")
			m["_claim_names"], m["_claim_sources"] = map[string]any{"groups": "src1"}, map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/groups"}}
		}, func(m map[string]any) { delete(m, "groups") }, groups(true)},
		{"too many groups for Microsoft's tokens", func(m map[string]any) { delete(m, "groups"); m["hasgroups"] = true },
			func(m map[string]any) { delete(m, "groups") }, groups(true)},
		{"unusable groups are left out", says([]any{"staff", 7, "", "a\nb", strings.Repeat("x", 300), "ops"}), nil, groups(true, "staff", "ops")},
		{"many groups are cut", func(m map[string]any) { m["groups"] = many }, nil,
			with(func(id *connector.Identity) { id.Groups = many[:200] })},
		{"AS-FED-04 azp is ours", func(m map[string]any) { m["aud"] = []string{"x", oauthtest.ClientID}; m["azp"] = oauthtest.ClientID }, nil, whole},
		{"AS-FED-04 no at_hash", func(m map[string]any) { delete(m, "at_hash") }, nil, whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p, _ := start(t, nil)
			p.EditClaims(c.claims)
			p.EditUserInfo(c.userInfo)
			c.want.Namespace = f.Namespace
			id, err := signIn(t, f)
			if err != nil || !reflect.DeepEqual(id, c.want) {
				t.Errorf("identity %+v, %v\nwant     %+v", id, err, c.want)
			}
		})
	}
	for name, spoil := range map[string]edit{
		"AS-FED-05 subject too long":          func(m map[string]any) { m["sub"] = strings.Repeat("x", 256) },
		"AS-FED-05 subject breaks the line":   func(m map[string]any) { m["sub"] = "a\r\nb" },
		"AS-FED-05 subject of a wrong type":   func(m map[string]any) { m["sub"] = 42 },
		"AS-FED-04 azp of a wrong type":       func(m map[string]any) { m["azp"] = []string{oauthtest.ClientID} },
		"AS-FED-04 audience prefix":           func(m map[string]any) { m["aud"] = oauthtest.ClientID + "x" },
		"AS-FED-01 nonce prefix":              func(m map[string]any) { m["nonce"] = m["nonce"].(string)[:5] },
		"AS-FED-04 issuer differs by a slash": func(m map[string]any) { m["iss"] = m["iss"].(string) + "/" },
	} {
		t.Run(name, func(t *testing.T) {
			f, p, _ := start(t, nil)
			p.EditClaims(spoil)
			if id, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) || id.Subject != "" {
				t.Errorf("identity %+v, %v", id, err)
			}
		})
	}
}

func TestNoUserInfoEndpoint(t *testing.T) {
	f, p, _ := start(t, nil)
	p.ThinIDTokens(true)
	p.EditMetadata(func(d map[string]any) { delete(d, "userinfo_endpoint") })
	id, err := signIn(t, f)
	if want := (connector.Identity{Namespace: f.Namespace, Subject: alice.Subject}); err != nil || !reflect.DeepEqual(id, want) {
		t.Errorf("identity %+v, %v", id, err)
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Run("in the body if that is offered", func(t *testing.T) {
		f, p, _ := start(t, nil)
		p.EditMetadata(func(d map[string]any) {
			d["token_endpoint_auth_methods_supported"] = []string{"client_secret_basic", "client_secret_post"}
		})
		if _, err := signIn(t, f); err != nil {
			t.Fatal(err)
		}
		if p.Sent(oauthtest.Token).Get("client_secret") != oauthtest.ClientSecret {
			t.Error("secret was not in the body")
		}
	})
	t.Run("Basic by default", func(t *testing.T) {
		f, p, _ := start(t, nil)
		p.EditMetadata(func(d map[string]any) { delete(d, "token_endpoint_auth_methods_supported") })
		if _, err := signIn(t, f); err != nil {
			t.Fatal(err)
		}
		if p.Sent(oauthtest.Token).Has("client_secret") {
			t.Error("secret was in the body")
		}
	})
	t.Run("public client sends its id", func(t *testing.T) {
		f, p, _ := start(t, func(o *oidc.Options) { o.ClientSecret = conf.Secret{} })
		if _, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) { // the fake wants the secret
			t.Fatal(err)
		}
		if sent := p.Sent(oauthtest.Token); sent.Get("client_id") != oauthtest.ClientID || sent.Has("client_secret") {
			t.Errorf("sent %v", sent)
		}
	})
}

func TestAuthorizationParameters(t *testing.T) {
	f, p, _ := start(t, func(o *oidc.Options) {
		o.Scopes = []string{"email", "groups"}
		o.ExtraAuthParams = map[string]string{"audience": "corp", "state": "evil", "nonce": "evil", "redirect_uri": "https://attacker.example", "prompt": "none"}
	})
	login := connectortest.NewLogin()
	login.Prompt = "login"
	if _, err := connectortest.SignIn(t, f, login); err != nil {
		t.Fatal(err)
	}
	sent := p.Sent(oauthtest.Authorization)
	for name, want := range map[string]string{"audience": "corp", "scope": "openid email groups", "prompt": "login", "state": login.State, "nonce": login.Nonce} {
		if got := sent[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}

	f, p, _ = start(t, nil)
	p.EditMetadata(func(d map[string]any) { d["prompt_values_supported"] = []string{"none", "select_account"} })
	if _, err := connectortest.SignIn(t, f, login); err != nil {
		t.Fatal(err)
	}
	if sent := p.Sent(oauthtest.Authorization); sent.Has("prompt") {
		t.Errorf("a prompt that the provider does not know was sent: %q", sent["prompt"])
	}
}

func TestMapping(t *testing.T) {
	settings := oidc.Settings{
		IssuerURL:           "https://idp.corp.example",
		ClaimNames:          upstream.ClaimNames{EmailClaim: "mail", EmailVerifiedClaim: "/mail_info/checked", NameClaim: "https://corp.example/name", GroupsClaim: "/access/mcp/roles"},
		AuthorizationParams: upstream.AuthorizationParams{Params: map[string]string{"audience": "corp", "nonce": "evil"}},
	}
	settings.GroupsFilter = []string{"mcp-*"}
	claims := func(m map[string]any) {
		m["mail"], m["mail_info"] = "alice@work.example", map[string]any{"checked": true}
		m["https://corp.example/name"], m["access"] = "A. Lice", map[string]any{"mcp": map[string]any{"roles": []string{"mcp-read", "other"}}}
	}
	mapped := connector.Identity{Namespace: "idp.corp.example", Subject: alice.Subject, Email: "alice@work.example", Name: "A. Lice", Groups: []string{"mcp-read"}}
	unverified := mapped
	unverified.Email = ""
	for _, c := range []struct {
		name                string
		config              func(*oidc.Settings)
		inToken, atUserInfo func(map[string]any)
		want                connector.Identity
	}{
		{"in the ID token", nil, claims, nil, mapped},
		{"at userinfo", nil, nil, claims, mapped},
		{"AS-FED-06 email_verified is not about another claim", func(p *oidc.Settings) { p.EmailVerifiedClaim = "" }, claims, claims, unverified},
		{"AS-FED-06 not verified", nil, func(m map[string]any) { claims(m); m["mail_info"] = map[string]any{"checked": "no"} }, nil, unverified},
		{"AS-FED-06 the operator trusts", func(p *oidc.Settings) { p.EmailVerifiedClaim, p.InsecureTrustUnverifiedEmail = "", true }, claims, nil, mapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oauthtest.NewOIDCProviderAt(t, settings.IssuerURL)
			p.SignInAs(alice)
			p.EditClaims(c.inToken)
			p.EditUserInfo(c.atUserInfo)
			settings := settings
			if c.config != nil {
				c.config(&settings)
			}
			id, err := signIn(t, connectortest.Fixture{Provider: p, Connector: fromSettings(t, settings, p)})
			if err != nil || !reflect.DeepEqual(id, c.want) {
				t.Errorf("identity %+v, %v\nwant     %+v", id, err, c.want)
			}
			if sent := p.Sent(oauthtest.Authorization); sent.Get("audience") != "corp" || len(sent["nonce"]) != 1 || sent.Get("nonce") == "evil" {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

func TestContextClass(t *testing.T) {
	for acr, want := range map[string]error{"phr": nil, "mfa": nil, "pwd": connector.ErrNotAllowed, "": connector.ErrNotAllowed, "phr mfa": connector.ErrNotAllowed} {
		f, p, _ := start(t, func(o *oidc.Options) { o.ACRValues = []string{"phr", "mfa"} })
		p.EditClaims(func(m map[string]any) {
			if acr != "" {
				m["acr"] = acr
			}
		})
		if id, err := signIn(t, f); !errors.Is(err, want) || (err == nil) != (id.Subject != "") {
			t.Errorf("acr %q: %+v, %v", acr, id, err)
		}
		if got := p.Sent(oauthtest.Authorization).Get("acr_values"); got != "phr mfa" {
			t.Errorf("acr_values %q", got)
		}
	}
}
