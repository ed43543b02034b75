package grant_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func TestIdentityAssertions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := w.assertion("id-jag", map[string]any{"act": map[string]any{"sub": "assistant-1", "act": map[string]any{"iss": "https://agents.example", "sub": "planner"}}})
	a := w.show(t, raw, true)
	if a.Status != 200 || a.String("scope") != "notes:read" || a.JSON["refresh_token"] != nil || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("AS-JAG-07 AS-JAG-08: status %d, want 200: %s", a.Status, a.Body)
	}
	host := strings.TrimPrefix(w.idp.URL, "http://")
	acting := host + ":assistant-1 < agents.example:planner"
	if e := w.Log.Last(audit.TokenIssued); e["actor"] != acting || e["subject"] != host+":alice-1" || e["client"] != "enterprise" || e["email"] != "alice@example.com" {
		t.Errorf("audit says %v", e)
	}
	w.refusedWith(t, w.show(t, raw, true), 400, "invalid_grant", "assertion_used_twice") // AS-JAG-06
	if strings.Contains(w.Log.String(), strings.Split(raw, ".")[2]) {
		t.Error("AS-JAG-08: the log holds the assertion")
	}
	token := a.String("access_token")
	t.Run("who acts, wherever it is said", func(t *testing.T) {
		pass := w.MustPass(t, servertest.Resource, token)
		if got := pass.Header.Get("X-Actor"); got != host+":assistant-1,agents.example:planner" {
			t.Errorf("header %q", got)
		}
		for where, claims := range map[string]map[string]any{
			"token": payloadOf(t, token), "identity": payloadOf(t, pass.Header.Get("X-Auth-Request-Identity")),
			"introspection": introspect(t, w.Service, servertest.Host, "person", strings.ReplaceAll(nightlySecret, " ", "-"), token).JSON,
		} {
			act, _ := claims["act"].(map[string]any)
			before, _ := act["act"].(map[string]any)
			if act["sub"] != "assistant-1" || act["iss"] != w.idp.URL || before["sub"] != "planner" {
				t.Errorf("%s: %v", where, claims["act"])
			}
		}
		if r := w.Ask(t, "https://mcp.example.com/wiki", token); r.Status != 401 {
			t.Errorf("at another MCP server: status %d, want 401", r.Status)
		}
	})
	issuer := servertest.Issuer(servertest.Host)
	deep := any(map[string]any{"sub": "a"})
	for range 8 {
		deep = map[string]any{"sub": "a", "act": deep}
	}
	for name, tt := range map[string]struct {
		differs map[string]any
		reason  string
	}{
		"AS-JAG-02 no iss":                   {map[string]any{"iss": nil}, "unknown_assertion_issuer"},
		"AS-JAG-02 no sub":                   {map[string]any{"sub": nil}, "invalid_assertion"},
		"AS-JAG-02 no aud":                   {map[string]any{"aud": nil}, "invalid_assertion"},
		"AS-JAG-02 no client_id":             {map[string]any{"client_id": nil}, "invalid_assertion"},
		"AS-JAG-02 no jti":                   {map[string]any{"jti": nil}, "invalid_assertion"},
		"AS-JAG-02 no exp":                   {map[string]any{"exp": nil}, "invalid_assertion"},
		"AS-JAG-02 no iat":                   {map[string]any{"iat": nil}, "invalid_assertion"},
		"AS-JAG-02 a long life":              {map[string]any{"exp": w.Clock.Now().Add(11 * time.Minute).Unix()}, "invalid_assertion"},
		"AS-JAG-03 two elements":             {map[string]any{"aud": []string{issuer, issuer + "/token"}}, "invalid_assertion"},
		"AS-JAG-03 ATK-53 with another":      {map[string]any{"aud": []string{issuer, "https://elsewhere.example"}}, "invalid_assertion"},
		"AS-JAG-03 the token endpoint":       {map[string]any{"aud": issuer + "/token"}, "invalid_assertion"},
		"AS-JAG-03 the resource":             {map[string]any{"aud": servertest.Resource}, "invalid_assertion"},
		"AS-JAG-04 another client's":         {map[string]any{"client_id": "nightly"}, "invalid_assertion"},
		"AS-JAG-05 a foreign resource":       {map[string]any{"resource": "https://elsewhere.example/mcp"}, "no_rule_for_assertion"},
		"AS-JAG-05 resources of no one":      {map[string]any{"resource": []string{"https://a.example/", "https://b.example/"}}, "no_rule_for_assertion"},
		"AS-JAG-05 another MCP server here":  {map[string]any{"resource": "https://mcp.example.com/wiki"}, "no_rule_for_assertion"},
		"AS-JAG-05 a number":                 {map[string]any{"resource": 1}, "invalid_assertion"},
		"AS-JAG-07 scopes of another":        {map[string]any{"scope": "notes:delete"}, "no_rule_for_assertion"},
		"AS-JAG-07 no scope in the claim":    {map[string]any{"scope": ""}, "no_rule_for_assertion"},
		"AS-JAG-07 a list":                   {map[string]any{"scope": []string{"notes:read"}}, "invalid_assertion"},
		"AS-JAG-09 bound to a key":           {map[string]any{"cnf": map[string]any{"jkt": "x"}}, "invalid_assertion"},
		"AS-JAG-09 details":                  {map[string]any{"authorization_details": []any{map[string]any{"type": "x"}}}, "invalid_assertion"},
		"AS-JAG-09 a tenant":                 {map[string]any{"tenant": "acme"}, "invalid_assertion"},
		"AS-JAG-09 a tenant of the audience": {map[string]any{"aud_tenant": "acme"}, "invalid_assertion"},
		"a chain too long":                   {map[string]any{"act": deep}, "invalid_assertion"},
		"an actor without a name":            {map[string]any{"act": map[string]any{"iss": "x"}}, "invalid_assertion"},
	} {
		t.Run(name, func(t *testing.T) {
			w.refusedWith(t, w.show(t, w.assertion("id-jag", tt.differs), true), 400, "invalid_grant", tt.reason)
		})
	}
	for name, tt := range map[string]struct {
		differs map[string]any
		more    []string
		scope   string
	}{
		"AS-JAG-03 an array of one":             {map[string]any{"aud": []string{issuer}}, nil, "notes:read"},
		"AS-JAG-05 no resource":                 {map[string]any{"resource": nil}, nil, "notes:read"},
		"AS-JAG-05 one of ours":                 {map[string]any{"resource": []string{"https://elsewhere.example/mcp", servertest.Resource}}, nil, "notes:read"},
		"AS-JAG-07 no scope":                    {map[string]any{"scope": nil}, nil, "notes:read notes:write"},
		"AS-JAG-07 asked for less":              {map[string]any{"scope": "notes:read notes:write"}, []string{"scope", "notes:write other"}, "notes:write"},
		"AS-JAG-02 the other spelling of typ":   {nil, nil, "notes:read"},
		"a fraction of a second in exp is fine": {map[string]any{"exp": float64(w.Clock.Now().Add(time.Minute).Unix()) + 0.5}, nil, "notes:read"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := w.idp.Token(w.assertionClaims("id-jag", tt.differs), map[string]any{"typ": "application/oauth-id-jag+jwt"})
			if a := w.show(t, raw, true, tt.more...); a.Status != 200 || a.String("scope") != tt.scope {
				t.Errorf("status %d, want 200: %s", a.Status, a.Body)
			}
		})
	}
	t.Run("AS-JAG-05 the request names another resource", func(t *testing.T) {
		w.refusedWith(t, w.show(t, w.assertion("id-jag", nil), true, "resource", "https://mcp.example.com/wiki"), 400, "invalid_target", "resource_not_for_machine")
	})
	t.Run("AS-JAG-04 without a client", func(t *testing.T) {
		w.refusedWith(t, w.show(t, w.assertion("id-jag", nil), false), 401, "invalid_client", "assertion_without_client")
	})
	t.Run("AS-JAG-04 a client without the grant", func(t *testing.T) {
		form := url.Values{"grant_type": {jwtBearer}, "assertion": {w.assertion("id-jag", map[string]any{"client_id": "nightly"})}}
		w.refusedWith(t, ofMachine(t, w.Service, servertest.Host, "nightly", strings.ReplaceAll(nightlySecret, " ", "-"), form), 400, "unauthorized_client", "unauthorized_client")
	})
	t.Run("AS-JAG-04 a client that registered itself", func(t *testing.T) {
		c := w.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_basic"})
		form := url.Values{"grant_type": {jwtBearer}, "assertion": {w.assertion("id-jag", map[string]any{"client_id": c.ID})}}
		w.refusedWith(t, ofMachine(t, w.Service, servertest.Host, c.ID, c.Secret, form), 400, "unauthorized_client", "unauthorized_client")
	})
	t.Run("a mistake costs the assertion nothing", func(t *testing.T) {
		raw := w.assertion("id-jag", nil)
		if a := w.show(t, raw, true, "scope", "x"); a.Status != 400 {
			t.Errorf("status %d, want 400: %s", a.Status, a.Body)
		}
		if a := w.show(t, raw, true); a.Status != 200 {
			t.Errorf("status %d, want 200: %s", a.Status, a.Body)
		}
	})
}

// The line of docs/machines.md says which agents acted for a person on a day.
func TestWhoActedYesterday(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	act := func(sub string) map[string]any {
		return map[string]any{"act": map[string]any{"iss": "https://agents.example", "sub": sub}}
	}
	for _, differs := range []map[string]any{act("helper"), act("helper"), act("planner"), {}, {"sub": "bob-2", "act": map[string]any{"sub": "x"}}} {
		if a := w.show(t, w.assertion("id-jag", differs), true); a.Status != 200 {
			t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
		}
	}
	page, err := os.ReadFile("../../docs/machines.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^    jq -r (.*)$`).FindString(string(page))
	line = strings.ReplaceAll(line, "login.example.com:alice-1", strings.TrimPrefix(w.idp.URL, "http://")+":alice-1")
	line = regexp.MustCompile(`2\d{3}-\d\d-\d\d`).ReplaceAllString(line, time.Now().Format(time.DateOnly))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), []byte(w.Log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", line)
	shell.Dir = dir
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (jq is needed): %s", err, out)
	}
	if got := strings.Join(strings.Fields(string(out)), " "); got != "2 agents.example:helper 1 agents.example:planner" {
		t.Errorf("the line says %q, want %q", got, "2 agents.example:helper 1 agents.example:planner")
	}
}

// AS-JAG-09: two tenants of one provider with the same sub are two people.
func TestIdentityAssertionsOfTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(f *config.File) { f.TrustedIssuers[2].Tenants = []string{"acme", "globex"} })
	users := map[string]bool{}
	for _, tenant := range []string{"acme", "globex"} {
		a := w.show(t, w.assertion("id-jag", map[string]any{"tenant": tenant}), true)
		if a.Status != 200 {
			t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
		}
		users[servertest.User(t, w.Service, a.String("access_token"))] = true
	}
	if len(users) != 2 {
		t.Errorf("%v", users)
	}
	for _, tenant := range []any{nil, "other", 1} {
		w.refusedWith(t, w.show(t, w.assertion("id-jag", map[string]any{"tenant": tenant}), true), 400, "invalid_grant", "invalid_assertion")
	}
}

// AS-JAG-09: the person of an assertion is the one who signs in at the same provider.
func TestIdentityAssertionIsThePerson(t *testing.T) {
	t.Parallel()
	idp := oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Person)
	keys := oauthtest.NewIssuer(t) // those that the provider signs assertions with
	s := servertest.Start(t, servertest.Options{Files: servertest.ProviderFiles, Edit: servertest.Edits(servertest.UseOIDC(idp), func(f *config.File) {
		var jag assertion.File
		conf.SetDefaults(&jag)
		jag.Kind, jag.Issuer = "id-jag", idp.Issuer
		jag.JWKSURL = keys.URL + "/keys"
		jag.Rules = []assertion.Rule{{Anyone: true, Scopes: []string{"notes:read"}, Resources: []string{servertest.Resource}}}
		f.TrustedIssuers = []assertion.File{jag}
		f.Clients = []registration.Known{{ID: "enterprise", Secret: conf.NewSecret(jagSecret), GrantTypes: []string{jwtBearer}}}
	})})
	signedIn := servertest.User(t, s, s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser()))
	raw := keys.Token(map[string]any{
		"iss": idp.Issuer, "sub": servertest.Person.Subject, "aud": servertest.Issuer(servertest.Host), "client_id": "enterprise",
		"jti": rand.Text(), "iat": s.Clock.Now().Unix(), "exp": s.Clock.Now().Add(time.Minute).Unix(),
	}, map[string]any{"typ": "oauth-id-jag+jwt"})
	a := ofMachine(t, s, servertest.Host, "enterprise", jagSecret, url.Values{"grant_type": {jwtBearer}, "assertion": {raw}})
	if a.Status != 200 {
		t.Fatalf("status %d, want 200: %s, audit says %v", a.Status, a.Body, s.Log.Last(audit.TokenRefused))
	}
	if user := servertest.User(t, s, a.String("access_token")); user != signedIn {
		t.Errorf("%q, who signs in as %q", user, signedIn)
	}
}

// ATK-27: each kind of token that the service takes or makes, offered as each other.
func TestNoTokenPassesForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	aud := servertest.Issuer(servertest.Host)
	claims := func(kind string) map[string]any { // everything that any of them needs
		all := w.assertionClaims("kubernetes", nil)
		maps.Copy(all, w.assertionClaims("workload", nil))
		maps.Copy(all, w.assertionClaims("id-jag", nil))
		maps.Copy(all, map[string]any{"aud": aud, "jti": rand.Text(), "exp": w.Clock.Now().Add(5 * time.Minute).Unix()})
		maps.Copy(all, map[string]map[string]any{
			"kubernetes": {"iss": kubernetes, "sub": "system:serviceaccount:ci:builder"}, "workload": {"iss": w.platform.URL, "sub": "agent"}, "id-jag": {"iss": w.idp.URL, "sub": "alice"},
			"client": {"iss": "signer", "sub": "signer"},
		}[kind])
		return all
	}
	access := w.show(t, w.assertion("kubernetes", nil), false).String("access_token")
	identity := w.MustPass(t, servertest.Resource, access).Header.Get("X-Auth-Request-Identity")
	tokens := map[string]func() string{
		"kubernetes": func() string { return w.cluster.Token(claims("kubernetes"), map[string]any{"typ": nil}) },
		"workload":   func() string { return w.platform.Token(claims("workload"), map[string]any{"typ": "JWT"}) },
		"id-jag":     func() string { return w.idp.Token(claims("id-jag"), map[string]any{"typ": "oauth-id-jag+jwt"}) },
		"client": func() string {
			return w.cluster.Token(claims("client"), map[string]any{"typ": "client-authentication+jwt"})
		},
		"access":   func() string { return access },
		"identity": func() string { return identity },
	}
	// issued reports what a subject comes of the token at a place, "" for a refusal.
	subject := func(a *servertest.Answer) string {
		if a.Status != 200 {
			return ""
		}
		return w.Log.Last(audit.TokenIssued)["subject"]
	}
	asAssertion := func(raw string) string { return subject(w.show(t, raw, true)) + subject(w.show(t, raw, false)) }
	places := map[string]func(raw string) bool{
		"kubernetes": func(raw string) bool { return strings.Contains(asAssertion(raw), "serviceaccount") },
		"workload":   func(raw string) bool { return strings.Contains(asAssertion(raw), ":agent") },
		"id-jag":     func(raw string) bool { return strings.Contains(asAssertion(raw), ":alice") },
		"client": func(raw string) bool {
			form := url.Values{"grant_type": {"client_credentials"}, "client_assertion": {raw}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
			return ofMachine(t, w.Service, servertest.Host, "", "", form).Status == 200
		},
		"access": func(raw string) bool { return w.Ask(t, servertest.Resource, raw).Status == 200 },
		// No endpoint takes an identity token; a server that does goes by its type.
		"identity": func(raw string) bool { return strings.Contains(headerOf(t, raw), `"typ":"mcp-identity+jwt"`) },
	}
	refused := 0
	for kind, make := range tokens {
		for place, takes := range places {
			switch took := takes(make()); {
			case took != (kind == place):
				t.Errorf("%s as %s: taken %v", kind, place, took)
			case !took:
				refused++
			}
		}
	}
	if refused != 30 {
		t.Errorf("%d of 30 refused, want 30", refused)
	}
}

func headerOf(t testing.TB, raw string) string {
	t.Helper()
	header, _, _ := strings.Cut(raw, ".")
	plain, err := b64.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// ATK-46: whatever issuers strangers name, nothing is fetched.
func TestUnknownIssuersFetchNothing(t *testing.T) {
	t.Parallel()
	stranger := oauthtest.NewIssuer(t)
	var asked atomic.Int32
	stranger.Behave(func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	w := newWorld(t)
	for _, issuer := range []*oauthtest.Issuer{w.cluster, w.platform, w.idp} {
		for issuer.Fetches() == 0 { // as it is at every start
			time.Sleep(time.Millisecond)
		}
	}
	before := w.cluster.Fetches() + w.platform.Fetches() + w.idp.Fetches()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 250 {
				claims := w.assertionClaims("workload", map[string]any{"iss": fmt.Sprintf("%s/%d/%d", stranger.URL, worker, i)})
				if i%2 == 0 {
					claims["iss"] = stranger.URL
				}
				form := url.Values{"grant_type": {jwtBearer}, "assertion": {stranger.Token(claims, map[string]any{"typ": []any{"JWT", "oauth-id-jag+jwt"}[i%2]})}}
				req, err := http.NewRequest(http.MethodPost, servertest.Issuer(servertest.Host)+"/token", strings.NewReader(form.Encode()))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if a, err := w.TrySend(req); err != nil || a.Status == 200 || a.Status >= 500 {
					t.Errorf("%v %v", a, err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests to the stranger, want 0", n)
	}
	if after := w.cluster.Fetches() + w.platform.Fetches() + w.idp.Fetches(); after != before {
		t.Errorf("%d fetches from the issuers of others", after-before)
	}
}
