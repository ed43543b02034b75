package grant_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tokenexchange"
)

const (
	serverSecret   = "secret-of-the-notes-server-0123456789"
	otherHost      = "other.example.com"
	otherResource  = "https://other.example.com/mcp"
	jwtTokenType   = "urn:ietf:params:oauth:token-type:jwt"
	accessTokenURN = "urn:ietf:params:oauth:token-type:access_token"
	handleTokenURN = "urn:mcp-forward-auth:token-type:handle"
	tokenHeader    = "X-Forwarded-Access-Token"
	identityHeader = "X-Auth-Request-Identity"
)

// exchanger is a service whose first MCP server exchanges tokens, as the client
// notes-server.
type exchanger struct {
	*servertest.Service
	idp    *oauthtest.OIDCProvider
	client *servertest.Client
}

// exchanging turns it on: the provider's token is held for the first server, and it
// calls the one at the other host.
func exchanging(f *config.File) {
	servertest.SecondHost(f)
	secret := conf.NewSecret(serverSecret)
	for _, id := range []string{"notes-server", "other-server"} {
		f.Clients = append(f.Clients, registration.Known{ID: id, Secret: secret, GrantTypes: []string{tokenexchange.GrantType}})
	}
	f.Clients = append(f.Clients, registration.Known{ID: "job", Secret: secret, GrantTypes: []string{"client_credentials"}, Scopes: []string{"notes:read"}, Resources: []string{servertest.Resource}})
	f.IdentityHeaders.Signed.Enabled = true
	first, second := &f.Proxy.Hosts[0], &f.Proxy.Hosts[1]
	first.ProviderToken.Token, first.ProviderToken.Form = "access", "held"
	first.TokenExchange = tokenexchange.File{Clients: []string{"notes-server"}, Lifetime: 5 * time.Minute, Targets: []tokenexchange.Target{
		{Resource: otherResource, Scopes: []string{"notes:read"}},
		{Resource: otherResource, Scopes: []string{"notes:write"}, Requires: []string{"notes:write"}},
	}}
	second.TokenExchange = tokenexchange.File{Clients: []string{"other-server"}, Lifetime: 5 * time.Minute, Targets: []tokenexchange.Target{
		{Resource: servertest.Resource, Scopes: []string{"notes:read"}},
	}}
}

func startExchanger(t *testing.T, edits ...func(*config.File)) exchanger {
	t.Helper()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	idp.GiveRefreshTokens(true)
	idp.SetLife(10 * time.Minute)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(append([]func(*config.File){servertest.UseOIDC(idp), exchanging}, edits...)...), Files: servertest.ProviderFiles,
	})
	return exchanger{s, idp, s.NewClient(t, servertest.Host, servertest.WithRefresh)}
}

// signIn is a sign-in for all that the server has.
func (x exchanger) signIn(t *testing.T) servertest.Tokens {
	t.Helper()
	a := x.client.Begin().With("scope", "notes:read notes:write")
	answer := a.Exchange(t, a.Code(t, x.NewBrowser()))
	if answer.Status != 200 || answer.String("scope") != "notes:read notes:write" {
		t.Fatalf("status %d, want 200: %s", answer.Status, answer.Body)
	}
	return servertest.Tokens{Client: x.client, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
}

// told is what the server is told of a request with an access token.
func (x exchanger) told(t *testing.T, at, access string) http.Header {
	t.Helper()
	return x.MustPass(t, at, access).Header
}

// form is an exchange of an identity header; more is name, value, name, value.
func exchangeForm(subject string, more ...string) url.Values {
	form := url.Values{"grant_type": {tokenexchange.GrantType}, "subject_token": {subject}, "subject_token_type": {jwtTokenType}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func (x exchanger) exchange(t *testing.T, host, id string, form url.Values) *servertest.Answer {
	t.Helper()
	return ofMachine(t, x.Service, host, id, serverSecret, form)
}

// The server gets the provider's token, by the identity header and by a handle.
func TestExchangeForTheProvidersToken(t *testing.T) {
	t.Parallel()
	x := startExchanger(t)
	k := x.signIn(t)
	told := x.told(t, servertest.Resource, k.Access)
	for name, more := range map[string][]string{
		"named by nothing": nil, "by its resource": {"resource", servertest.Resource}, "by audience": {"audience", servertest.Resource},
		"by its issuer":      {"audience", servertest.Issuer(servertest.Host)},
		"as the Go SDK does": {"resource", servertest.Resource, "audience", servertest.Issuer(servertest.Host), "requested_token_type", accessTokenURN},
	} {
		a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(told.Get(identityHeader), more...))
		person, _, live := x.idp.Live(a.String("access_token"))
		if a.Status != 200 || !live || person.Subject != servertest.Person.Subject || a.String("issued_token_type") != accessTokenURN || a.String("token_type") != "Bearer" {
			t.Fatalf("%s: %d %s", name, a.Status, a.Body)
		}
		if life := a.JSON["expires_in"].(float64); life < 500 || life > 600 || a.Header.Get("Cache-Control") != "no-store" || a.JSON["refresh_token"] != nil {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	if e := x.Log.Last(audit.TokenExchanged); e["client"] != "notes-server" || e["actor"] != "client:notes-server" || e["resource"] != servertest.Resource || !strings.HasSuffix(e["subject"], ":"+servertest.Person.Subject) || e["family"] == "" {
		t.Errorf("audit: %v", e)
	}
	x.idp.SetSizes(oauthtest.Sizes{Access: 6000, Refresh: 1900})
	k = x.signIn(t)
	handle := x.told(t, servertest.Resource, k.Access).Get(tokenHeader + "-Handle")
	a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(handle, "subject_token_type", handleTokenURN))
	if _, _, live := x.idp.Live(a.String("access_token")); a.Status != 200 || !live || len(a.String("access_token")) < 6000 {
		t.Errorf("by a handle: %d %.100s", a.Status, a.Body)
	}
	if strings.Contains(x.Log.String(), a.String("access_token")) {
		t.Error("the log shows the provider's token")
	}
}

// A token for another server says who acts, holds what was given and no more, and dies
// with the sign-in.
func TestExchangeForAnotherServer(t *testing.T) {
	t.Parallel()
	x := startExchanger(t, func(f *config.File) { f.IdentityHeaders.Actor = "X-Auth-Request-Actor" })
	k := x.signIn(t)
	told := x.told(t, servertest.Resource, k.Access)
	ask := func(more ...string) *servertest.Answer {
		return x.exchange(t, servertest.Host, "notes-server", exchangeForm(told.Get(identityHeader), append(more, "resource", otherResource)...))
	}
	a := ask("scope", "notes:read", "audience", otherResource)
	if a.Status != 200 || a.String("scope") != "notes:read" || a.String("issued_token_type") != accessTokenURN || a.JSON["refresh_token"] != nil {
		t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
	}
	if life := a.JSON["expires_in"].(float64); life > 300 || life < 290 {
		t.Errorf("it lives for %v s", life)
	}
	there := x.told(t, otherResource, a.String("access_token"))
	if there.Get("X-Auth-Request-User") != told.Get("X-Auth-Request-User") || there.Get("X-Auth-Request-Email") != servertest.Person.Email || there.Get("X-Auth-Request-Actor") != "client:notes-server" || there.Get(tokenHeader) != "" {
		t.Errorf("the other server is told %v", there)
	}
	x.MustNotPass(t, servertest.Resource, a.String("access_token"), "invalid_token")
	if b := ask(); b.String("scope") != "notes:read notes:write" {
		t.Errorf("all that there is: %d %s", b.Status, b.Body)
	}
	// That server goes on with it: a chain of two.
	next := x.exchange(t, otherHost, "other-server", exchangeForm(there.Get(identityHeader), "resource", servertest.Resource))
	back := x.told(t, servertest.Resource, next.String("access_token"))
	if got := back.Get("X-Auth-Request-Actor"); got != "client:other-server,client:notes-server" {
		t.Errorf("actors %q, want %q", got, "client:other-server,client:notes-server")
	}
	servertest.MustRevoke(t, x.client, k.Refresh)
	for at, access := range map[string]string{otherResource: a.String("access_token"), servertest.Resource: next.String("access_token")} {
		x.MustNotPass(t, at, access, "invalid_token")
	}
	// And what ended is worth nothing at /token.
	if b := ask(); b.Status != 400 || b.String("error") != "invalid_request" || x.Log.Last(audit.TokenRefused)["reason"] != "family_revoked" {
		t.Errorf("after the end: status %d, want 400: %s %v", b.Status, b.Body, x.Log.Last(audit.TokenRefused))
	}
}

func TestExchangeRefuses(t *testing.T) {
	t.Parallel()
	x := startExchanger(t)
	k := x.signIn(t)
	told := x.told(t, servertest.Resource, k.Access)
	identity := told.Get(identityHeader)
	atOther := x.NewClient(t, otherHost, servertest.WithRefresh)
	otherIdentity := x.told(t, otherResource, servertest.SignIn(t, atOther).Access).Get(identityHeader)
	job := ofMachine(t, x.Service, servertest.Host, "job", serverSecret, url.Values{"grant_type": {"client_credentials"}})
	ofJob := x.told(t, servertest.Resource, job.String("access_token")).Get(identityHeader)
	dynamic := x.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic"})
	for name, c := range map[string]struct {
		host, id   string
		form       url.Values
		code, why  string
		alsoSecret string
	}{
		"no client":                          {form: exchangeForm(identity), code: "invalid_client", why: "client_id_missing"},
		"another server's client":            {id: "other-server", form: exchangeForm(identity), code: "invalid_request", why: "exchange_not_for_server"},
		"a client without the grant":         {id: "job", form: exchangeForm(identity), code: "unauthorized_client"},
		"a client that registered itself":    {id: dynamic.ID, alsoSecret: dynamic.Secret, form: exchangeForm(identity), code: "unauthorized_client"},
		"the client's access token":          {id: "notes-server", form: exchangeForm(k.Access), code: "invalid_request", why: "wrong_token_type"},
		"the same by its type":               {id: "notes-server", form: exchangeForm(k.Access, "subject_token_type", accessTokenURN), code: "invalid_request"},
		"a refresh token":                    {id: "notes-server", form: exchangeForm(k.Refresh), code: "invalid_request", why: "malformed_token"},
		"no subject_token":                   {id: "notes-server", form: exchangeForm(""), code: "invalid_request"},
		"no subject_token_type":              {id: "notes-server", form: exchangeForm(identity, "subject_token_type", ""), code: "invalid_request"},
		"one letter changed":                 {id: "notes-server", form: exchangeForm(altered(identity)), code: "invalid_request"},
		"told to another server, other host": {id: "other-server", form: exchangeForm(otherIdentity), code: "invalid_request", why: "wrong_issuer"},
		"another host's at its own":          {host: otherHost, id: "notes-server", form: exchangeForm(otherIdentity), code: "invalid_request", why: "exchange_not_for_server"},
		"of a machine":                       {id: "notes-server", form: exchangeForm(ofJob), code: "invalid_request", why: "nothing_to_exchange"},
		"a target that is not listed":        {id: "notes-server", form: exchangeForm(identity, "resource", "https://mcp.example.com/wiki"), code: "invalid_target", why: "exchange_target"},
		"a resource that is none":            {id: "notes-server", form: exchangeForm(identity, "resource", "https://evil.example/"), code: "invalid_target", why: "exchange_target"},
		"a resource that is no URL":          {id: "notes-server", form: exchangeForm(identity, "resource", "::"), code: "invalid_target", why: "exchange_target"},
		"resource and audience differ":       {id: "notes-server", form: exchangeForm(identity, "resource", otherResource, "audience", "https://evil.example"), code: "invalid_target", why: "exchange_target"},
		"scopes that would widen":            {id: "notes-server", form: exchangeForm(identity, "resource", otherResource, "scope", "notes:read notes:admin"), code: "invalid_scope", why: "scope_not_granted"},
		"scopes of the provider's token":     {id: "notes-server", form: exchangeForm(identity, "scope", "drive"), code: "invalid_scope", why: "scope_not_granted"},
		"another type of token":              {id: "notes-server", form: exchangeForm(identity, "requested_token_type", "urn:ietf:params:oauth:token-type:saml2"), code: "invalid_request"},
		"a server without a provider's":      {host: otherHost, id: "other-server", form: exchangeForm(otherIdentity), code: "invalid_target", why: "exchange_target"},
		"an actor beside a client":           {id: "notes-server", form: exchangeForm(identity, "actor_token", identity, "actor_token_type", jwtTokenType), code: "invalid_request"},
		"an actor of no type":                {form: exchangeForm(identity, "actor_token", identity), code: "invalid_request"},
		"an identity header for an actor":    {form: exchangeForm(identity, "actor_token", identity, "actor_token_type", jwtTokenType), code: "invalid_request", why: "invalid_assertion"},
		"a handle that is none":              {id: "notes-server", form: exchangeForm("abc", "subject_token_type", handleTokenURN), code: "invalid_request", why: "expired_token"},
	} {
		host, secret := c.host, c.alsoSecret
		if host == "" {
			host = servertest.Host
		}
		if secret == "" {
			secret = serverSecret
		}
		a := ofMachine(t, x.Service, host, c.id, secret, c.form)
		e := x.Log.Last(audit.TokenRefused)
		if a.String("error") != c.code || a.Status >= 500 || a.JSON["access_token"] != nil || c.why != "" && e["reason"] != c.why {
			t.Errorf("%s: %d %s, audit %s, want %s %s", name, a.Status, a.Body, e["reason"], c.code, c.why)
		}
	}
	x.Clock.Advance(5*time.Minute + time.Second)
	if a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(identity)); a.String("error") != "invalid_request" || x.Log.Last(audit.TokenRefused)["reason"] != "expired_token" {
		t.Errorf("an identity header of yesterday: %d %s", a.Status, a.Body)
	}
}

// altered is raw with another letter in the middle of its signature.
func altered(raw string) string {
	b := []byte(raw)
	if i := len(b) - 40; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// What the person may not do at the other server, no server may do there for them, and
// what its own scopes do not reach it does not get.
func TestExchangeAsksThePolicy(t *testing.T) {
	t.Parallel()
	rules := func(rules ...rule.Rule) func(*config.File) {
		return func(f *config.File) { f.Proxy.Hosts[1].Policy.Rules = rules }
	}
	for name, c := range map[string]struct {
		rules []rule.Rule
		want  string // "" for invalid_scope
	}{
		"the person has less there":     {[]rule.Rule{{Effect: "allow", Emails: []string{servertest.Person.Email}, Scopes: []string{"notes:read"}}}, "notes:read"},
		"another person alone":          {[]rule.Rule{{Effect: "allow", Emails: []string{"max@example.com"}}}, ""},
		"by who acts":                   {[]rule.Rule{{Effect: "allow", Actors: []string{"client:notes-server"}, Scopes: []string{"notes:write"}}}, "notes:write"},
		"denied to who acts":            {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Actors: []string{"client:*"}}}, ""},
		"by the client":                 {[]rule.Rule{{Effect: "allow", Clients: []string{"notes-server"}, Scopes: []string{"notes:read"}}}, "notes:read"},
		"a group that may be left out":  {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Groups: []string{"interns"}}}, "notes:read notes:write"},
		"the provider's people":         {[]rule.Rule{{Effect: "allow", Providers: []string{"oidc"}}}, "notes:read notes:write"},
		"the person by the whole name":  {[]rule.Rule{{Effect: "allow", Users: []string{servertest.Person.Subject}}}, "notes:read notes:write"},
		"clients that register, denied": {[]rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", ClientKinds: []string{"static"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := startExchanger(t, rules(c.rules...))
			identity := x.told(t, servertest.Resource, x.signIn(t).Access).Get(identityHeader)
			a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(identity, "resource", otherResource))
			if got := a.String("scope"); got != c.want || (c.want == "") != (a.String("error") == "invalid_scope") {
				t.Errorf("%d %s, want %q", a.Status, a.Body, c.want)
			}
		})
	}
	t.Run("groups that were left out deny in doubt", func(t *testing.T) {
		for many, want := range map[bool]string{false: "notes:read notes:write", true: ""} {
			x := startExchanger(t, rules(rule.Rule{Effect: "allow", Anyone: true}, rule.Rule{Effect: "deny", Groups: []string{"interns"}}))
			groups := []string{"staff"}
			for i := 0; many && i < 150; i++ {
				groups = append(groups, fmt.Sprint("a-group-with-a-rather-long-name-", i))
			}
			person := servertest.Member("anna", groups...)
			x.idp.SignInAs(person)
			identity := x.told(t, servertest.Resource, x.signIn(t).Access).Get(identityHeader)
			if omitted := identityClaims(t, identity)["groups_omitted"] == true; omitted != many {
				t.Fatalf("of %d groups omitted: %v, %d are there", len(groups), omitted, len(identityClaims(t, identity)["groups"].([]any)))
			}
			a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(identity, "resource", otherResource))
			if a.String("scope") != want {
				t.Errorf("%d groups: %d %s", len(groups), a.Status, a.Body)
			}
		}
	})
	t.Run("a caller that may only read", func(t *testing.T) {
		x := startExchanger(t)
		a := x.client.Begin().With("scope", "notes:read")
		k := a.Exchange(t, a.Code(t, x.NewBrowser()))
		identity := x.told(t, servertest.Resource, k.String("access_token")).Get(identityHeader)
		if a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(identity, "resource", otherResource)); a.String("scope") != "notes:read" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(identity, "resource", otherResource, "scope", "notes:write")); a.String("error") != "invalid_scope" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}

// A pod proves itself with the token of its ServiceAccount, and needs no secret.
func TestExchangeByAServiceAccount(t *testing.T) {
	t.Parallel()
	cluster := oauthtest.NewIssuer(t)
	const account = "system:serviceaccount:notes:server"
	x := startExchanger(t, func(f *config.File) {
		f.Proxy.Hosts[0].TokenExchange.Workloads = []tokenexchange.Workload{{Issuer: cluster.URL, Subject: account}}
		var trusted assertion.File
		conf.SetDefaults(&trusted)
		trusted.Kind, trusted.Issuer, trusted.JWKSURL = "kubernetes", cluster.URL, cluster.URL+"/keys"
		f.TrustedIssuers = []assertion.File{trusted}
	})
	identity := x.told(t, servertest.Resource, x.signIn(t).Access).Get(identityHeader)
	pod := func(sub, aud string) string {
		namespace, name := "notes", sub[strings.LastIndex(sub, ":")+1:]
		return cluster.Token(cluster.Claims(aud, x.Clock.Now(), map[string]any{
			"sub": sub, "client_id": nil, "scope": nil,
			"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name, "uid": "1"}},
		}), map[string]any{"typ": nil})
	}
	ask := func(actor string, more ...string) *servertest.Answer {
		return ofMachine(t, x.Service, servertest.Host, "", "", exchangeForm(identity, append(more, "actor_token", actor, "actor_token_type", jwtTokenType)...))
	}
	good := pod(account, servertest.Issuer(servertest.Host))
	a := ask(good)
	if _, _, live := x.idp.Live(a.String("access_token")); a.Status != 200 || !live {
		t.Fatalf("status %d, want 200: %s %v", a.Status, a.Body, x.Log.Last(audit.TokenRefused))
	}
	a = ask(good, "resource", otherResource, "scope", "notes:read")
	if a.Status != 200 || a.String("scope") != "notes:read" {
		t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
	}
	if e := x.Log.Last(audit.TokenExchanged); !strings.HasSuffix(e["actor"], ":"+account) {
		t.Errorf("audit: %v", e)
	}
	x.MustPass(t, otherResource, a.String("access_token"))
	for name, c := range map[string][2]string{
		"another account":           {pod("system:serviceaccount:notes:default", servertest.Issuer(servertest.Host)), "exchange_not_for_server"},
		"a token for another party": {pod(account, "https://kubernetes.default.svc"), "invalid_assertion"},
	} {
		if a := ask(c[0]); a.String("error") != "invalid_request" || x.Log.Last(audit.TokenRefused)["reason"] != c[1] {
			t.Errorf("%s: %d %s %v", name, a.Status, a.Body, x.Log.Last(audit.TokenRefused)["reason"])
		}
	}
}

// The assertion of a platform about a workload is good once, for an exchange too.
func TestExchangeByAWorkload(t *testing.T) {
	t.Parallel()
	platform := oauthtest.NewIssuer(t)
	x := startExchanger(t, func(f *config.File) {
		f.Proxy.Hosts[0].TokenExchange.Workloads = []tokenexchange.Workload{{Issuer: platform.URL, Subject: "server-7"}}
		var trusted assertion.File
		conf.SetDefaults(&trusted)
		trusted.Kind, trusted.Issuer = "workload", platform.URL
		f.TrustedIssuers = []assertion.File{trusted}
	})
	identity := x.told(t, servertest.Resource, x.signIn(t).Access).Get(identityHeader)
	assertion := func() string {
		return platform.Token(map[string]any{
			"iss": platform.URL, "sub": "server-7", "aud": servertest.Issuer(servertest.Host), "jti": rand.Text(), "iat": x.Clock.Now().Unix(), "exp": x.Clock.Now().Add(5 * time.Minute).Unix(),
		}, map[string]any{"typ": "JWT"})
	}
	ask := func(actor string, more ...string) *servertest.Answer {
		return ofMachine(t, x.Service, servertest.Host, "", "", exchangeForm(identity, append(more, "actor_token", actor, "actor_token_type", jwtTokenType)...))
	}
	actor := assertion()
	if a := ask(actor, "scope", "more"); a.String("error") != "invalid_scope" {
		t.Errorf("a mistake: %d %s", a.Status, a.Body)
	}
	if a := ask(actor); a.Status != 200 {
		t.Fatalf("the same, put right: status %d, want 200: %s %v", a.Status, a.Body, x.Log.Last(audit.TokenRefused))
	}
	if a := ask(actor); a.String("error") != "invalid_request" || x.Log.Last(audit.TokenRefused)["reason"] != "assertion_used_twice" {
		t.Errorf("once more: %d %s", a.Status, a.Body)
	}
	if a := ask(assertion(), "resource", otherResource); a.Status != 200 {
		t.Errorf("another: status %d, want 200: %s", a.Status, a.Body)
	}
}

// The chain of who acts for whom has an end.
func TestExchangeChainIsBounded(t *testing.T) {
	t.Parallel()
	x := startExchanger(t)
	access, at, hops := x.signIn(t).Access, servertest.Resource, 0
	for ; hops < 20; hops++ {
		host, id, next := servertest.Host, "notes-server", otherResource
		if at == otherResource {
			host, id, next = otherHost, "other-server", servertest.Resource
		}
		a := x.exchange(t, host, id, exchangeForm(x.told(t, at, access).Get(identityHeader), "resource", next, "scope", "notes:read"))
		if a.Status != 200 {
			if a.String("error") != "invalid_request" || x.Log.Last(audit.TokenRefused)["reason"] != "too_many_actors" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			break
		}
		access, at = a.String("access_token"), next
	}
	if hops != 8 {
		t.Errorf("%d hops, want 8", hops)
	}
}

// The grant is told of at the hosts where it works, and is unknown elsewhere.
func TestExchangeIsAdvertised(t *testing.T) {
	t.Parallel()
	x := startExchanger(t, func(f *config.File) { f.Proxy.Hosts[1].TokenExchange = servertest.NewHost("", "").TokenExchange })
	for host, want := range map[string]bool{servertest.Host: true, otherHost: false} {
		a := x.Get(t, servertest.Issuer(host)+"/.well-known/oauth-authorization-server")
		var types []string
		for _, g := range a.JSON["grant_types_supported"].([]any) {
			types = append(types, g.(string))
		}
		if slices.Contains(types, tokenexchange.GrantType) != want {
			t.Errorf("%s: %v", host, types)
		}
	}
	if a := x.exchange(t, otherHost, "other-server", exchangeForm("x")); a.String("error") != "unsupported_grant_type" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := x.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(otherHost)+"/dead-token", "", "Content-Type", "application/x-www-form-urlencoded")); a.Status != 400 {
		t.Errorf("/dead-token where nothing is exchanged: status %d, want 400: %s", a.Status, a.Body)
	}
}

// With form client the token comes with each request, and the error says so.
func TestExchangeInFormClient(t *testing.T) {
	t.Parallel()
	x := startExchanger(t, func(f *config.File) { f.Proxy.Hosts[0].ProviderToken.Form = "client" })
	told := x.told(t, servertest.Resource, x.signIn(t).Access)
	a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(told.Get(identityHeader)))
	if a.String("error") != "invalid_target" || !strings.Contains(a.String("error_description"), tokenHeader) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(told.Get(identityHeader), "resource", otherResource)); a.Status != 200 {
		t.Errorf("for another server: status %d, want 200: %s", a.Status, a.Body)
	}
}

// The consent page says where the server may act for the person.
func TestExchangeIsAgreedTo(t *testing.T) {
	t.Parallel()
	x := startExchanger(t)
	if text := x.NewBrowser().Open(t, x.client.Begin().URL()).Text(); !strings.Contains(text, "can call "+otherResource+" in your name and do there: notes:read , notes:write") {
		t.Errorf("the page says\n%s", text)
	}
}

// The ticket says nothing to anyone else, and no server has one that exchanges nothing.
func TestTicketIsSealed(t *testing.T) {
	t.Parallel()
	x := startExchanger(t, func(f *config.File) { f.Proxy.Hosts[1].TokenExchange = servertest.NewHost("", "").TokenExchange })
	k := x.signIn(t)
	told := x.told(t, servertest.Resource, k.Access)
	claims := identityClaims(t, told.Get(identityHeader))
	family := x.Log.Last(audit.TokenIssued)["family"]
	if ticket, _ := claims["ticket"].(string); ticket == "" || family == "" || strings.Contains(told.Get(identityHeader)+ticket, family) || strings.Contains(ticket, told.Get(tokenHeader)) {
		t.Errorf("ticket %q", claims["ticket"])
	}
	other := x.NewClient(t, otherHost, servertest.WithRefresh)
	if claims := identityClaims(t, x.told(t, otherResource, servertest.SignIn(t, other).Access).Get(identityHeader)); claims["ticket"] != nil {
		t.Error("a server that exchanges nothing has a ticket")
	}
}

func identityClaims(t *testing.T, raw string) (claims map[string]any) {
	t.Helper()
	plain, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err == nil {
		err = json.Unmarshal(plain, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// A server that another one called for its caller ends nothing of the caller's sign-in,
// which is at the other.
func TestDeadTokenOfAnotherServersSignIn(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			x := startExchanger(t, func(f *config.File) {
				f.Proxy.Hosts[1].ProviderToken.Token, f.Proxy.Hosts[1].ProviderToken.Form = "access", form
			})
			k := x.signIn(t)
			a := x.exchange(t, servertest.Host, "notes-server", exchangeForm(x.told(t, servertest.Resource, k.Access).Get(identityHeader), "resource", otherResource, "scope", "notes:read"))
			x.Clock.Advance(2 * time.Minute)
			there := x.told(t, otherResource, a.String("access_token"))
			if there.Get(tokenHeader) != "-" {
				t.Errorf("the other server gets %q, want %q", there.Get(tokenHeader), "-")
			}
			if b := x.exchange(t, otherHost, "other-server", exchangeForm(there.Get(identityHeader))); b.Status == 200 {
				t.Errorf("the other server gets the provider's token: %s", b.Body)
			}
			said := x.tellDeadAt(t, otherHost, "other-server", there.Get(identityHeader), jwtTokenType, "dead")
			if said.String("error") != "invalid_request" {
				t.Errorf("%d %s", said.Status, said.Body)
			}
			x.MustPass(t, servertest.Resource, k.Access)
		})
	}
}

func (x exchanger) tellDead(t *testing.T, id, subject, kind, dead string) *servertest.Answer {
	t.Helper()
	return x.tellDeadAt(t, servertest.Host, id, subject, kind, dead)
}

func (x exchanger) tellDeadAt(t *testing.T, host, id, subject, kind, dead string) *servertest.Answer {
	t.Helper()
	form := url.Values{"subject_token": {subject}, "subject_token_type": {kind}, "token": {dead}}
	req := servertest.Request(t, http.MethodPost, servertest.Issuer(host)+"/dead-token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, serverSecret)
	return x.Send(t, req)
}

// A server that got a dead token says so: the next request is refused, and the client
// signs in once more.
func TestDeadToken(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			x := startExchanger(t, func(f *config.File) { f.Proxy.Hosts[0].ProviderToken.Form = form })
			k := x.signIn(t)
			told := x.told(t, servertest.Resource, k.Access)
			dead := told.Get(tokenHeader)
			if a := x.tellDead(t, "notes-server", told.Get(identityHeader), jwtTokenType, dead); a.Status != 200 || a.JSON["ended"] != false {
				t.Errorf("of a token that is new: status %d, want 200: %s", a.Status, a.Body)
			}
			x.Clock.Advance(2 * time.Minute)
			if a := x.tellDead(t, "other-server", told.Get(identityHeader), jwtTokenType, dead); a.String("error") != "invalid_request" {
				t.Errorf("another server: %d %s", a.Status, a.Body)
			}
			if a := x.tellDead(t, "job", told.Get(identityHeader), jwtTokenType, dead); a.String("error") != "unauthorized_client" {
				t.Errorf("a client that is no server: %d %s", a.Status, a.Body)
			}
			if form == "held" {
				if a := x.tellDead(t, "notes-server", told.Get(identityHeader), jwtTokenType, "another"); a.JSON["ended"] != false {
					t.Errorf("of another token: %d %s", a.Status, a.Body)
				}
			}
			x.MustPass(t, servertest.Resource, k.Access)
			a := x.tellDead(t, "notes-server", told.Get(identityHeader), jwtTokenType, dead)
			if e := x.Log.Last(audit.ProviderTokenDead); a.Status != 200 || a.JSON["ended"] != true || e["client"] != "notes-server" || e["reason"] != "provider_token_dead" {
				t.Fatalf("status %d, want 200: %s %v", a.Status, a.Body, e)
			}
			x.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
			k.Refused(t, 400, "invalid_grant", "family_revoked")
			x.MustPass(t, servertest.Resource, x.signIn(t).Access)
			if strings.Contains(x.Log.String(), dead) {
				t.Error("the log shows the provider's token")
			}
		})
	}
}
