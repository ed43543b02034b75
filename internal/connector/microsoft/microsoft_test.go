package microsoft_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/connectortest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/microsoft"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

const (
	home   = oauthtest.MicrosoftTenant
	other  = "11111111-2222-3333-4444-55555555555a"
	object = "690222be-ff1a-4d56-abd1-7e4f7d38e474"
)

var alice = oauthtest.User{
	Subject: home + "/" + object, Login: "alice@corp.example", Email: "alice@corp.example", EmailVerified: true, Name: "Alice",
}

func start(t *testing.T, edit func(*microsoft.Settings)) (connectortest.Fixture, *oauthtest.Microsoft) {
	m := oauthtest.NewMicrosoft(t)
	m.SignInAs(alice)
	settings := &microsoft.Settings{Tenants: []string{home}, KeyedApp: upstream.KeyedApp{App: connectortest.App()}}
	if edit != nil {
		edit(settings)
	}
	return connectortest.Fixture{Connector: microsoft.New(settings, connectortest.Client(m)), Provider: m, Namespace: "microsoft"}, m
}

func tenants(ids ...string) func(*microsoft.Settings) {
	return func(p *microsoft.Settings) { p.Tenants = ids }
}

func manyGroups(n int) []string {
	var groups []string
	for i := range n {
		groups = append(groups, fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
	}
	return groups
}

func TestSuite(t *testing.T) {
	many := alice
	many.Groups = manyGroups(300)
	for _, c := range []struct {
		name  string
		edit  func(*microsoft.Settings)
		alice oauthtest.User
		needs []oauthtest.Endpoint
	}{
		{"one tenant", nil, alice, nil},
		{"several tenants", tenants(other, home), alice, nil},
		{"many groups", nil, many, []oauthtest.Endpoint{oauthtest.Graph}},
	} {
		t.Run(c.name, func(t *testing.T) {
			connectortest.Run(t, connectortest.Harness{
				New:                   func(t *testing.T) connectortest.Fixture { f, _ := start(t, c.edit); return f },
				Alice:                 c.alice,
				AuthorizationURLNeeds: []oauthtest.Endpoint{oauthtest.Discovery},
				IdentifyNeeds:         append([]oauthtest.Endpoint{oauthtest.Token, oauthtest.Keys}, c.needs...),
				RecheckNeeds:          append([]oauthtest.Endpoint{oauthtest.Token}, c.needs...),
				NotApplicable: map[oauthtest.Fault]string{
					oauthtest.NoResponseIssuer: "Microsoft advertises no iss response parameter",
					oauthtest.OtherUserInfo:    "the userinfo endpoint is not used: it does not know oid",
				},
			})
		})
	}
}

func signIn(t *testing.T, f connectortest.Fixture) (connector.Identity, error) {
	t.Helper()
	return connectortest.SignIn(t, f, connectortest.NewLogin())
}

func TestTenants(t *testing.T) {
	for _, c := range []struct {
		name      string
		tenants   []string
		authority string
		subject   string
		claims    func(map[string]any)
		err       error
	}{
		{"AS-FED-06 one", []string{home}, home, alice.Subject, nil, nil},
		{"AS-FED-06 one of several", []string{other, home}, "organizations", alice.Subject, nil, nil},
		{"AS-FED-06 personal accounts", []string{microsoft.ConsumerTenant, home}, "common", microsoft.ConsumerTenant + "/" + object, nil, nil},
		{"AS-FED-06 any", nil, "common", alice.Subject, nil, nil},
		{"AS-FED-06 a tenant that is not admitted", []string{other, "22222222-2222-3333-4444-55555555555a"}, "organizations", alice.Subject, nil, connector.ErrNotAllowed},
		{"AS-FED-06 another tenant where one is configured", []string{other}, other, alice.Subject, nil, connector.ErrRejected},
		{"AS-FED-04 tid that issuer and key do not bear out", []string{other, home}, "organizations", alice.Subject,
			func(m map[string]any) { m["tid"] = other }, connector.ErrRejected},
		{"AS-FED-04 tid that is not an id", nil, "common", alice.Subject,
			func(m map[string]any) {
				m["tid"] = "x/../" + home
				m["iss"] = "https://login.microsoftonline.com/x/../" + home + "/v2.0"
			}, connector.ErrRejected},
		{"AS-FED-04 no tid", []string{home}, home, alice.Subject, func(m map[string]any) { delete(m, "tid") }, connector.ErrRejected},
		{"AS-FED-04 tid of a wrong type", nil, "common", alice.Subject, func(m map[string]any) { m["tid"] = []string{home} }, connector.ErrRejected},
		{"AS-FED-04 issuer of version 1.0", nil, "common", alice.Subject,
			func(m map[string]any) { m["iss"] = "https://sts.windows.net/" + home + "/" }, connector.ErrRejected},
		{"AS-FED-04 the template itself", nil, "common", alice.Subject,
			func(m map[string]any) {
				m["iss"] = "https://login.microsoftonline.com/{tenantid}/v2.0"
				m["tid"] = "{tenantid}"
			}, connector.ErrRejected},
		{"AS-FED-05 oid that is no id", []string{home}, home, alice.Subject, func(m map[string]any) { m["oid"] = "alice" }, connector.ErrRejected},
		{"AS-FED-05 sub alone may change", []string{home}, home, alice.Subject, func(m map[string]any) { m["sub"] = "another application's" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := start(t, tenants(c.tenants...))
			user := alice
			user.Subject = c.subject
			m.SignInAs(user)
			m.EditClaims(c.claims)
			login := connectortest.NewLogin()
			address, err := f.Connector.AuthorizationURL(t.Context(), login)
			if err != nil || !strings.HasPrefix(address, "https://login.microsoftonline.com/"+c.authority+"/oauth2/v2.0/authorize?") {
				t.Fatalf("%s, %v", address, err)
			}
			id, err := connectortest.SignIn(t, f, login)
			if !errors.Is(err, c.err) || (err == nil) != (id.Subject == c.subject) {
				t.Errorf("identity %+v, %v, want %v", id, err, c.err)
			}
			f, m = start(t, tenants(c.tenants...)) // the same where a key does not say whose it is
			m.SignInAs(user)
			m.EditClaims(c.claims)
			m.KeyIssuer("")
			if id, err := signIn(t, f); !errors.Is(err, c.err) || (err == nil) != (id.Subject == c.subject) {
				t.Errorf("key without issuer: identity %+v, %v, want %v", id, err, c.err)
			}
		})
	}
}

// Microsoft publishes keys of several issuers in one set.
func TestKeyIssuer(t *testing.T) {
	for issuer, want := range map[string]error{
		"https://login.microsoftonline.com/{tenantid}/v2.0":   nil,
		"https://login.microsoftonline.com/" + home + "/v2.0": nil,
		"": nil,
		"https://login.microsoftonline.com/" + other + "/v2.0":                    connector.ErrRejected,
		"https://login.microsoftonline.com/" + microsoft.ConsumerTenant + "/v2.0": connector.ErrRejected,
	} {
		for _, ids := range [][]string{{home}, {other, home}} {
			f, m := start(t, tenants(ids...))
			m.KeyIssuer(issuer)
			if _, err := signIn(t, f); !errors.Is(err, want) {
				t.Errorf("AS-FED-04 key of %q, tenants %v: %v, want %v", issuer, ids, err, want)
			}
		}
	}
}

func TestResponseIssuer(t *testing.T) {
	f, _ := start(t, tenants())
	for iss, want := range map[string]error{
		"https://login.microsoftonline.com/" + home + "/v2.0":  nil,
		"https://login.microsoftonline.com/" + other + "/v2.0": connector.ErrRejected,
		"https://login.microsoftonline.com/common/v2.0":        connector.ErrRejected,
	} {
		login := connectortest.NewLogin()
		query := connectortest.Visit(t, f, login)
		query.Set("iss", iss)
		if _, _, err := f.Connector.Identify(t.Context(), login, query); !errors.Is(err, want) {
			t.Errorf("AS-FED-03 iss %s: %v, want %v", iss, err, want)
		}
	}
}

func TestEmail(t *testing.T) {
	for _, c := range []struct {
		name   string
		trust  bool
		claims func(map[string]any)
		want   string
	}{
		{"AS-FED-06 verified domain", false, nil, alice.Email},
		{"AS-FED-06 as a number", false, func(m map[string]any) { m["xms_edov"] = 1 }, alice.Email},
		{"AS-FED-06 as text", false, func(m map[string]any) { m["xms_edov"] = "1" }, alice.Email},
		{"AS-FED-06 email alone", false, func(m map[string]any) { delete(m, "xms_edov") }, ""},
		{"AS-FED-06 not verified", false, func(m map[string]any) { m["xms_edov"] = 0 }, ""},
		{"AS-FED-06 email_verified is not Microsoft's", false, func(m map[string]any) { delete(m, "xms_edov"); m["email_verified"] = true }, ""},
		{"AS-FED-06 login names are no addresses", true, func(m map[string]any) { delete(m, "email"); m["upn"] = alice.Email }, ""},
		{"AS-FED-06 the operator trusts", true, func(m map[string]any) { delete(m, "xms_edov") }, alice.Email},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := start(t, func(p *microsoft.Settings) { p.InsecureTrustUnverifiedEmail = c.trust })
			m.EditClaims(c.claims)
			if id, err := signIn(t, f); err != nil || id.Email != c.want {
				t.Errorf("e-mail %q, %v, want %q", id.Email, err, c.want)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	const g1, g2 = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
	last := manyGroups(2500)[2499:]
	user := func(groups, roles []string) oauthtest.User {
		u := alice
		u.Groups, u.Roles = groups, roles
		return u
	}
	for _, c := range []struct {
		name    string
		user    oauthtest.User
		tenants []string
		filter  []string
		prepare func(*oauthtest.Microsoft)
		want    []string
		asked   int
		err     error
	}{
		{"none", alice, []string{home}, nil, nil, nil, 0, nil},
		{"groups and roles", user([]string{g1, g2}, []string{"Admin"}), []string{home}, nil, nil, []string{"role:Admin", g1, g2}, 0, nil},
		{"a group cannot be a role", user([]string{"role:Admin", g1}, nil), []string{home}, nil, nil, []string{g1}, 0, nil},
		{"several tenants cannot name each other's groups", user([]string{g1}, []string{"Admin"}), []string{home, other}, nil, nil,
			[]string{home + "/role:Admin", home + "/" + g1}, 0, nil},
		{"200 in the token", user(manyGroups(200), nil), []string{home}, nil, nil, manyGroups(200), 0, nil},
		{"more come from Graph", user(manyGroups(201), nil), []string{home}, last, nil, nil, 1, nil},
		{"in pages", user(manyGroups(2500), nil), []string{home}, last, nil, last, 3, nil},
		{"directory roles are no groups", user(manyGroups(201), nil), []string{home}, []string{"ffffffff-*"}, nil, nil, 1, nil},
		{"by filter", user([]string{g1, g2}, []string{"Admin"}), []string{home}, []string{"role:*", g2}, nil, []string{"role:Admin", g2}, 0, nil},
		{"too many pages", user(manyGroups(300), nil), []string{home}, nil, func(m *oauthtest.Microsoft) { m.PageSize(50) }, nil, 5, connector.ErrRejected},
		{"the next page is elsewhere", user(manyGroups(1200), nil), []string{home}, nil,
			func(m *oauthtest.Microsoft) { m.NextLink("https://attacker.example/v1.0/me/x") }, nil, 1, connector.ErrRejected},
		{"the next page is by http", user(manyGroups(1200), nil), []string{home}, nil,
			func(m *oauthtest.Microsoft) { m.NextLink("http://graph.microsoft.com/v1.0/me/x") }, nil, 1, connector.ErrRejected},
		{"Graph refuses", user(manyGroups(300), nil), []string{home}, nil, func(m *oauthtest.Microsoft) { m.RefuseGraph(403) }, nil, 1, connector.ErrRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := start(t, func(p *microsoft.Settings) { p.Tenants, p.GroupsFilter = c.tenants, c.filter })
			m.SignInAs(c.user)
			if c.prepare != nil {
				c.prepare(m)
			}
			id, err := signIn(t, f)
			if !errors.Is(err, c.err) || !slices.Equal(id.Groups, c.want) || m.Count(oauthtest.Graph) != c.asked {
				t.Errorf("%d groups %.3q, %d requests, %v", len(id.Groups), id.Groups, m.Count(oauthtest.Graph), err)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	f, m := start(t, nil)
	if _, err := signIn(t, f); err != nil {
		t.Fatal(err)
	}
	for _, e := range []oauthtest.Endpoint{oauthtest.Authorization, oauthtest.Token} {
		if m.Sent(e).Has("resource") {
			t.Errorf("%s: resource was sent, which version 2.0 refuses", e)
		}
	}
	if got, want := m.Sent(oauthtest.Authorization).Get("scope"), "openid email profile User.Read offline_access"; got != want {
		t.Errorf("scope %q, want %q", got, want)
	}
}

func TestRecheck(t *testing.T) {
	begin := func(t *testing.T, user oauthtest.User) (*oauthtest.Microsoft, func() error, connector.Identity) {
		f, m := start(t, nil)
		m.SignInAs(user)
		m.GiveRefreshTokens(true)
		login := connectortest.NewLogin()
		id, session, err := f.Connector.Identify(t.Context(), login, connectortest.Visit(t, f, login))
		if err != nil || session.RefreshToken == "" {
			t.Fatal(session.RefreshToken, err)
		}
		return m, func() error {
			now, next, err := f.Connector.(connector.Rechecker).Recheck(t.Context(), id, session)
			if err == nil {
				session = next
				if now.Namespace != id.Namespace || now.Subject != id.Subject {
					t.Errorf("re-check made %+v of %+v", now, id)
				}
				id = now
			}
			return err
		}, id
	}
	t.Run("AS-FED-09 still there, with new groups", func(t *testing.T) {
		m, recheck, id := begin(t, alice)
		moved := alice
		moved.Groups = manyGroups(300)
		m.Change(moved)
		if err := recheck(); err != nil || m.Count(oauthtest.Graph) != 1 {
			t.Errorf("%+v: %v", id, err)
		}
		if err := recheck(); err != nil {
			t.Error("again:", err)
		}
	})
	t.Run("AS-FED-09 account disabled", func(t *testing.T) {
		m, recheck, _ := begin(t, alice)
		m.Remove(alice.Subject)
		if err := recheck(); !errors.Is(err, connector.ErrGone) {
			t.Error(err)
		}
	})
	t.Run("AS-FED-09 another account", func(t *testing.T) {
		m, recheck, _ := begin(t, alice)
		m.EditClaims(func(c map[string]any) { c["oid"] = "00000000-0000-0000-0000-000000000001" })
		if err := recheck(); !errors.Is(err, connector.ErrGone) {
			t.Error(err)
		}
	})
	for status, want := range map[int]error{401: connector.ErrMisconfigured, 403: connector.ErrMisconfigured, 429: connector.ErrUnavailable, 503: connector.ErrUnavailable} {
		t.Run(fmt.Sprint("AS-FED-09 Graph's refusal is not the end of a person ", status), func(t *testing.T) {
			many := alice
			many.Groups = manyGroups(300)
			m, recheck, _ := begin(t, many)
			m.RefuseGraph(status)
			if err := recheck(); !errors.Is(err, want) {
				t.Error(err)
			}
		})
	}
}

// In the cloud of another country people are others, and so is Graph.
func TestCloud(t *testing.T) {
	const us = "https://login.microsoftonline.us"
	f, m := start(t, func(p *microsoft.Settings) { p.BaseURL = us })
	m.EditMetadata(func(d map[string]any) { d["issuer"] = us + "/" + home + "/v2.0" })
	m.EditClaims(func(c map[string]any) { c["iss"] = us + "/" + home + "/v2.0" })
	m.KeyIssuer(us + "/{tenantid}/v2.0")
	if id, err := signIn(t, f); err != nil || id.Namespace != "microsoft@login.microsoftonline.us" {
		t.Errorf("%+v, %v", id, err)
	}
	many := alice
	many.Groups = manyGroups(1200)
	m.SignInAs(many)
	if _, err := signIn(t, f); !errors.Is(err, connector.ErrRejected) { // the fake's next page is at graph.microsoft.com
		t.Error("a page of the other cloud's Graph was followed:", err)
	}
}
