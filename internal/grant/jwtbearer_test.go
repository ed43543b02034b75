package grant_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
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
)

const (
	jwtBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	kubernetes = "https://kubernetes.default.svc.cluster.local"
	jagSecret  = "the-secret-of-the-enterprise-client-01234"
)

// world is a service with a trusted issuer of each kind.
type world struct {
	*servertest.Service
	cluster, platform, idp *oauthtest.Issuer
}

func newWorld(t testing.TB, edits ...func(*config.File)) *world {
	t.Helper()
	w := &world{cluster: oauthtest.NewIssuer(t), platform: oauthtest.NewIssuer(t), idp: oauthtest.NewIssuer(t)}
	at := []string{servertest.Resource}
	entry := func(kind, issuer string, rules ...assertion.Rule) assertion.File {
		var f assertion.File
		conf.SetDefaults(&f)
		f.Kind, f.Issuer, f.Rules = kind, issuer, rules
		return f
	}
	sa := entry("kubernetes", kubernetes, assertion.Rule{Name: "builders", Namespaces: []string{"ci"}, ServiceAccounts: []string{"builder"}, Scopes: []string{"notes:read", "notes:write"}, Resources: at})
	sa.JWKSURL = w.cluster.URL + "/keys"
	agents := entry("workload", w.platform.URL,
		assertion.Rule{Groups: []string{"support-eng"}, Scopes: []string{"notes:read"}, Resources: at},
		assertion.Rule{Roles: []string{"editor"}, Contexts: []string{"channel:C1"}, Scopes: []string{"notes:write"}, Resources: at},
		assertion.Rule{Claims: map[string]string{"/repository/name": "notes"}, Scopes: []string{"notes:read"}, Resources: at},
	)
	jag := entry("id-jag", w.idp.URL, assertion.Rule{Anyone: true, Scopes: []string{"notes:read", "notes:write"}, Resources: at})
	jag.Email = true
	w.Service = servertest.Start(t, servertest.Options{Edit: servertest.Edits(append([]func(*config.File){servertest.SecondHost, machines, func(f *config.File) {
		f.TrustedIssuers = []assertion.File{sa, agents, jag}
		f.IdentityHeaders.Actor, f.IdentityHeaders.Roles, f.IdentityHeaders.Context = "X-Actor", "X-Roles", "X-Context"
		f.IdentityHeaders.Signed.Enabled = true
		f.Introspection.Enabled = true
		f.Clients = append(f.Clients, registration.Known{ID: "enterprise", Secret: conf.NewSecret(jagSecret), GrantTypes: []string{jwtBearer}})
	}}, edits...)...), Files: map[string]string{"signer.jwks": `{"keys":[` + string(firstKey(w.cluster)) + `]}`}})
	return w
}

func firstKey(s *oauthtest.Issuer) json.RawMessage {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		panic(err)
	}
	return set.Keys[0]
}

// assertionClaims are those of a good assertion of each kind, with what differs.
func (w *world) assertionClaims(kind string, differs map[string]any) map[string]any {
	now, issuer := w.Clock.Now(), servertest.Issuer(servertest.Host)
	claims := map[string]any{"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": rand.Text(), "aud": issuer}
	switch kind {
	case "kubernetes":
		maps.Copy(claims, map[string]any{
			"iss": kubernetes, "sub": "system:serviceaccount:ci:builder", "aud": []string{issuer}, "exp": now.Add(time.Hour).Unix(),
			"kubernetes.io": map[string]any{"namespace": "ci", "serviceaccount": map[string]any{"name": "builder", "uid": "1"}},
		})
	case "workload":
		maps.Copy(claims, map[string]any{
			"iss": w.platform.URL, "sub": "agent-7f3d", "aud": []string{issuer, issuer + "/token"}, "name": "Support Triage", "groups": []string{"support-eng"},
			"roles": []string{"editor"}, "ctx": "channel:C1",
		})
	case "id-jag":
		maps.Copy(claims, map[string]any{
			"iss": w.idp.URL, "sub": "alice-1", "client_id": "enterprise", "resource": servertest.Resource, "scope": "notes:read notes:delete", "email": "alice@example.com",
		})
	}
	for name, v := range differs {
		if v == nil {
			delete(claims, name)
		} else {
			claims[name] = v
		}
	}
	return claims
}

// assertion signs claims as an issuer of the kind does.
func (w *world) assertion(kind string, differs map[string]any) string {
	claims := w.assertionClaims(kind, differs)
	switch kind {
	case "kubernetes":
		return w.cluster.Token(claims, map[string]any{"typ": nil})
	case "workload":
		return w.platform.Token(claims, map[string]any{"typ": "JWT"})
	}
	return w.idp.Token(claims, map[string]any{"typ": "oauth-id-jag+jwt"})
}

// show presents an assertion, an ID-JAG with its client; more is name, value, name, value.
func (w *world) show(t testing.TB, raw string, client bool, more ...string) *servertest.Answer {
	t.Helper()
	form := url.Values{"grant_type": {jwtBearer}, "assertion": {raw}, "resource": {servertest.Resource}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	if client {
		return ofMachine(t, w.Service, servertest.Host, "enterprise", jagSecret, form)
	}
	return ofMachine(t, w.Service, servertest.Host, "", "", form)
}

func (w *world) refusedWith(t testing.TB, a *servertest.Answer, status int, code, reason string) {
	t.Helper()
	if a.Status != status || a.String("error") != code || a.JSON["access_token"] != nil {
		t.Errorf("%d %s, want %d %s", a.Status, a.Body, status, code)
	}
	if e := w.Log.Last(audit.TokenRefused); e["reason"] != reason {
		t.Errorf("audit says %v, want %s", e, reason)
	}
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := w.assertion("kubernetes", nil)
	for range 2 { // pods show their token again and again
		a := w.show(t, raw, false)
		if a.Status != 200 || a.String("scope") != "notes:read notes:write" || a.JSON["refresh_token"] != nil || a.JSON["expires_in"] != 900.0 {
			t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
		}
		pass := w.MustPass(t, servertest.Resource, a.String("access_token"))
		if user, groups := pass.Header.Get("X-Auth-Request-User"), pass.Header.Get("X-Auth-Request-Groups"); user != "kubernetes.default.svc.cluster.local:system:serviceaccount:ci:builder" || groups != "system:serviceaccounts,system:serviceaccounts:ci" {
			t.Errorf("user %q, groups %q; want %q, %q", user, groups, "kubernetes.default.svc.cluster.local:system:serviceaccount:ci:builder", "system:serviceaccounts,system:serviceaccounts:ci")
		}
		if e := w.Log.Last(audit.TokenIssued); e["rules"] != "trustedIssuers[0].rules[0] (builders)" || e["subject"] != "kubernetes.default.svc.cluster.local:system:serviceaccount:ci:builder" {
			t.Errorf("audit says %v", e)
		}
	}
	if a := w.show(t, w.assertion("kubernetes", map[string]any{"exp": w.Clock.Now().Add(3 * time.Minute).Unix()}), false); a.Status != 200 || a.JSON["expires_in"].(float64) > 3*60+31 {
		t.Errorf("the token outlives what may be shown again: %s", a.Body)
	}
	account := func(namespace, name string) map[string]any {
		return map[string]any{"sub": "system:serviceaccount:" + namespace + ":" + name, "kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name}}}
	}
	for name, tt := range map[string]struct {
		differs map[string]any
		reason  string
	}{
		"AS-WIF-03 another namespace":       {account("prod", "builder"), "no_rule_for_assertion"},
		"AS-WIF-03 another account":         {account("ci", "default"), "no_rule_for_assertion"},
		"AS-WIF-02 the audience of the API": {map[string]any{"aud": []string{kubernetes}}, "invalid_assertion"},
		"AS-WIF-02 a second audience":       {map[string]any{"aud": []string{servertest.Issuer(servertest.Host), kubernetes}}, "invalid_assertion"},
		"AS-WIF-02 no audience":             {map[string]any{"aud": nil}, "invalid_assertion"},
		"AS-WIF-02 no exp":                  {map[string]any{"exp": nil}, "invalid_assertion"},
		"AS-WIF-02 dead":                    {map[string]any{"exp": w.Clock.Now().Add(-time.Hour).Unix(), "iat": w.Clock.Now().Add(-2 * time.Hour).Unix()}, "invalid_assertion"},
		"AS-WIF-02 from the future":         {map[string]any{"iat": w.Clock.Now().Add(time.Minute).Unix()}, "invalid_assertion"},
		"lives too long":                    {map[string]any{"exp": w.Clock.Now().Add(49 * time.Hour).Unix()}, "invalid_assertion"},
		"a user of the cluster":             {map[string]any{"sub": "system:admin"}, "invalid_assertion"},
		"sub and claim differ":              {map[string]any{"sub": "system:serviceaccount:prod:builder"}, "invalid_assertion"},
		"a name with a colon":               {map[string]any{"sub": "system:serviceaccount:ci:builder:x"}, "invalid_assertion"},
		"no claim of Kubernetes":            {map[string]any{"kubernetes.io": nil}, "invalid_assertion"},
		"bound to a key":                    {map[string]any{"cnf": map[string]any{"jkt": "x"}}, "invalid_assertion"},
		"bound to a good key":               {map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}}, "dpop_proof_missing"},
		"an ID token":                       {map[string]any{"nonce": "x"}, "invalid_assertion"},
		"AS-WIF-01 another issuer":          {map[string]any{"iss": "https://kubernetes.default.svc"}, "unknown_assertion_issuer"},
		"AS-WIF-01 no issuer":               {map[string]any{"iss": nil}, "unknown_assertion_issuer"},
		"AS-WIF-01 two issuers":             {map[string]any{"iss": []string{kubernetes}}, "unknown_assertion_issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			w.refusedWith(t, w.show(t, w.assertion("kubernetes", tt.differs), false), 400, "invalid_grant", tt.reason)
		})
	}
	t.Run("keys of another issuer", func(t *testing.T) {
		w.refusedWith(t, w.show(t, w.platform.Token(w.assertionClaims("kubernetes", nil), map[string]any{"typ": nil}), false), 400, "invalid_grant", "invalid_assertion")
	})
	t.Run("a resource that no rule names", func(t *testing.T) {
		w.refusedWith(t, w.show(t, raw, false, "resource", "https://mcp.example.com/wiki"), 400, "invalid_target", "resource_not_for_machine")
	})
	t.Run("a scope that no rule gives", func(t *testing.T) {
		w.refusedWith(t, w.show(t, raw, false, "scope", "notes:delete"), 400, "invalid_scope", "scope_not_granted")
	})
	t.Run("advertised where it works", func(t *testing.T) {
		for host, want := range map[string]bool{servertest.Host: true, "other.example.com": false} {
			doc := w.Get(t, servertest.Issuer(host)+"/.well-known/oauth-authorization-server").JSON
			if got := slices.Contains(doc["grant_types_supported"].([]any), any(jwtBearer)); got != want {
				t.Errorf("%s: %v", host, doc["grant_types_supported"])
			}
			if got := fmt.Sprint(doc["authorization_grant_profiles_supported"]) == "[urn:ietf:params:oauth:grant-profile:id-jag]"; got != want {
				t.Errorf("%s: %v", host, doc["authorization_grant_profiles_supported"])
			}
		}
		a := ofMachine(t, w.Service, "other.example.com", "", "", url.Values{"grant_type": {jwtBearer}, "assertion": {raw}})
		if a.Status >= 500 || a.String("error") != "invalid_client" && a.String("error") != "unsupported_grant_type" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := w.assertion("workload", nil)
	a := w.show(t, raw, false)
	if a.Status != 200 || a.String("scope") != "notes:read notes:write" || a.JSON["refresh_token"] != nil {
		t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
	}
	w.refusedWith(t, w.show(t, raw, false), 400, "invalid_grant", "assertion_used_twice")
	pass := w.MustPass(t, servertest.Resource, a.String("access_token"))
	subject := strings.TrimPrefix(w.platform.URL, "http://") + ":agent-7f3d"
	for header, want := range map[string]string{"X-Auth-Request-User": subject, "X-Auth-Request-Groups": "support-eng", "X-Roles": "editor", "X-Context": "channel:C1", "X-Actor": "-"} {
		if got := pass.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if id := payloadOf(t, pass.Header.Get("X-Auth-Request-Identity")); fmt.Sprint(id["roles"]) != "[editor]" || id["ctx"] != "channel:C1" || id["name"] != "Support Triage" || id["act"] != nil {
		t.Errorf("signed identity %v", id)
	}
	issuer := servertest.Issuer(servertest.Host)
	for name, tt := range map[string]struct {
		differs map[string]any
		scope   string // "" for a refusal
	}{
		"AS-WIF-02 the issuer alone":          {map[string]any{"aud": issuer}, "notes:read notes:write"},
		"AS-WIF-02 the issuer with a slash":   {map[string]any{"aud": issuer + "/"}, "notes:read notes:write"},
		"AS-WIF-02 the token endpoint alone":  {map[string]any{"aud": issuer + "/token"}, "notes:read notes:write"},
		"a workload that was never seen":      {map[string]any{"sub": "agent-" + rand.Text()}, "notes:read notes:write"},
		"other properties":                    {map[string]any{"groups": nil, "roles": nil, "repository": map[string]any{"name": "notes"}}, "notes:read"},
		"a role in another context":           {map[string]any{"ctx": "channel:C2"}, "notes:read"},
		"its own trust domain":                {map[string]any{"sub": "wimse://" + strings.TrimPrefix(w.platform.URL, "http://") + "/agent/1"}, "notes:read notes:write"},
		"ATK-53 another server beside us":     {map[string]any{"aud": []string{issuer, "https://elsewhere.example"}}, ""},
		"ATK-53 a look-alike endpoint":        {map[string]any{"aud": issuer + "/token/"}, ""},
		"AS-WIF-02 another host of ours":      {map[string]any{"aud": "https://other.example.com"}, ""},
		"AS-WIF-02 no jti":                    {map[string]any{"jti": nil}, ""},
		"AS-WIF-02 a jti that is a number":    {map[string]any{"jti": 1}, ""},
		"AS-WIF-02 no sub":                    {map[string]any{"sub": nil}, ""},
		"AS-WIF-02 no iat":                    {map[string]any{"iat": nil}, ""},
		"another trust domain":                {map[string]any{"sub": "wimse://evil.example/agent/1"}, ""},
		"AS-WIF-03 no property that is named": {map[string]any{"groups": []string{"other"}, "roles": []string{"reader"}}, ""},
		"groups that cannot be read":          {map[string]any{"groups": []any{1}}, ""},
		"roles that cannot be read":           {map[string]any{"roles": "a,b"}, ""},
		"lives too long":                      {map[string]any{"exp": w.Clock.Now().Add(2 * time.Hour).Unix()}, ""},
		"acts for another":                    {map[string]any{"act": map[string]any{"sub": "x"}}, ""},
		"details of authorization":            {map[string]any{"authorization_details": []any{}}, ""},
		"ATK-46 the address of its keys":      {map[string]any{"iss": "http://169.254.169.254/latest"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.show(t, w.assertion("workload", tt.differs), false)
			if tt.scope == "" {
				if a.Status != 400 || a.String("error") != "invalid_grant" {
					t.Errorf("status %d, want 400: %s", a.Status, a.Body)
				}
				return
			}
			if a.Status != 200 || a.String("scope") != tt.scope {
				t.Errorf("status %d, want 200: %s", a.Status, a.Body)
			}
		})
	}
	for name, header := range map[string]map[string]any{
		"symmetric": {"alg": "HS256"}, "none": {"alg": "none"}, "a key in it": {"jwk": map[string]any{"kty": "EC"}}, "where keys are": {"jku": "https://evil.example/keys"}, "a client assertion": {"typ": "client-authentication+jwt"}, "an access token": {"typ": "at+jwt"},
	} {
		t.Run("header "+name, func(t *testing.T) {
			typ := map[string]any{"typ": "JWT"}
			maps.Copy(typ, header)
			w.refusedWith(t, w.show(t, w.platform.Token(w.assertionClaims("workload", nil), typ), false), 400, "invalid_grant", "invalid_assertion")
		})
	}
	t.Run("none at all", func(t *testing.T) { w.refusedWith(t, w.show(t, "", false), 400, "invalid_request", "invalid_request") })
	t.Run("no JWT", func(t *testing.T) { w.refusedWith(t, w.show(t, "x", false), 400, "invalid_grant", "invalid_assertion") })
	t.Run("huge", func(t *testing.T) {
		w.refusedWith(t, w.show(t, strings.Repeat("a", assertion.MaxBytes+1), false), 400, "invalid_grant", "invalid_assertion")
	})
}

// Rules see the roles of workloads, and who acts.
func TestPolicyOfAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(f *config.File) {
		f.Policy.Rules = []rule.Rule{
			{Effect: "allow", Roles: []string{"edit*"}, Scopes: []string{"notes:write"}},
			{Effect: "allow", Actors: []string{"*"}, Scopes: []string{"notes:read"}},
			{Effect: "deny", Actors: []string{"agents.example:rogue*"}},
		}
	})
	if a := w.show(t, w.assertion("workload", nil), false); a.Status != 200 || a.String("scope") != "notes:write" {
		t.Errorf("status %d, want 200: %s", a.Status, a.Body)
	}
	act := func(sub string, before any) map[string]any {
		actor := map[string]any{"iss": "https://agents.example", "sub": sub}
		if before != nil {
			actor["act"] = before
		}
		return actor
	}
	for name, tt := range map[string]struct {
		act any
		ok  bool
	}{
		"no one acts":             {nil, false},
		"an agent acts":           {act("helper", nil), true},
		"a denied one":            {act("rogue-1", nil), false},
		"a denied one acts first": {act("helper", act("rogue-1", nil)), false},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.show(t, w.assertion("id-jag", map[string]any{"act": tt.act}), true)
			if ok := a.Status == 200; ok != tt.ok {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}

func payloadOf(t testing.TB, raw string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", raw)
	}
	plain, err := b64.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(plain, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
