package conformance

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var refusalsPass = twins(errorsBecomePasses("/token", 400, 401))

var machineChecks = []Check{
	{IDs: "AS-CC-01", Run: onlyConfiguredMachines, Twins: twins(errorsBecomePasses("/token", 400, 401), setMember("/token", "refresh_token", "x"))},
	{IDs: "AS-CC-02", Run: machineSubjects, Twins: twins(configTwin("id: nightly", "id: weekly"))},
	{IDs: "AS-CC-03", Run: machinesAreAdvertised, Twins: twins(dropMember("/.well-known/oauth-authorization-server", "token_endpoint_auth_methods_supported"), setMember("/.well-known/oauth-authorization-server", "grant_types_supported", []string{"authorization_code"}))},
	{IDs: "AS-JAG-01", Run: jagSignature, Twins: refusalsPass},
	{IDs: "AS-JAG-02", Run: jagClaims, Twins: refusalsPass},
	{IDs: "AS-JAG-03", Run: jagAudience, Twins: refusalsPass},
	{IDs: "AS-JAG-04", Run: jagClient, Twins: refusalsPass},
	{IDs: "AS-JAG-05", Run: jagResource, Twins: refusalsPass},
	{IDs: "AS-JAG-06", Run: jagOnce, Twins: refusalsPass},
	{IDs: "AS-JAG-07", Run: jagScope, Twins: twins(setMember("/token", "scope", "notes:read notes:write"))},
	{IDs: "AS-JAG-08", Run: jagLeavesNothing, Twins: twins(setMember("/token", "refresh_token", "x"))},
	{IDs: "AS-JAG-09", Run: jagSubject, Twins: refusalsPass},
	{IDs: "AS-WIF-01", Run: workloadIssuer, Twins: refusalsPass},
	{IDs: "AS-WIF-02", Run: workloadClaims, Twins: refusalsPass},
	{IDs: "AS-WIF-03", Run: workloadRules, Twins: refusalsPass},
}

const (
	machineSecret = "a-secret-of-the-conformance-suite-secret-new"
	bearerGrant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// machines is a service with a platform of workloads, an identity provider that makes
// ID-JAGs, and clients for both.
type machines struct {
	*world
	platform, idp *oauthtest.Issuer
}

func newMachines(t *T) *machines {
	m := &machines{platform: oauthtest.NewIssuer(t.TB), idp: oauthtest.NewIssuer(t.TB)}
	m.world = t.World(own, configured("", fmt.Sprintf(`clients:
- {id: nightly, secretFiles: [secret-new], grantTypes: [client_credentials], scopes: ['notes:read'], resources: ['%[1]s']}
- {id: person, secretFiles: [secret-new], redirectURIs: ['%[2]s'], scopes: ['notes:read'], resources: ['%[1]s']}
- {id: enterprise, secretFiles: [secret-new], grantTypes: ['%[3]s']}
trustedIssuers:
- {kind: workload, issuer: '%[4]s', rules: [{groups: [support], scopes: ['notes:read'], resources: ['%[1]s']}]}
- {kind: id-jag, issuer: '%[5]s', rules: [{anyone: true, scopes: ['notes:read', 'notes:write'], resources: ['%[1]s']}]}`,
		resourceMCP, callback, bearerGrant, m.platform.URL, m.idp.URL)))
	return m
}

// as asks for a token as a client of the configuration.
func (m *machines) as(id string, form url.Values) *answer {
	form.Set("client_id", id)
	form.Set("client_secret", machineSecret)
	return m.form(issuerMCP+"/token", form)
}

func alone(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// merged are claims with what differs; nil takes one out.
func merged(claims, differs map[string]any) map[string]any {
	for name, v := range differs {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	return claims
}

func (m *machines) times() map[string]any {
	now := m.clock.Now()
	return map[string]any{"aud": issuerMCP, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
}

func (m *machines) jag(differs map[string]any) string {
	claims := merged(m.times(), map[string]any{"iss": m.idp.URL, "sub": "alice-1", "client_id": "enterprise", "resource": resourceMCP, "scope": "notes:read notes:delete"})
	return m.idp.Token(merged(claims, differs), map[string]any{"typ": "oauth-id-jag+jwt"})
}

func (m *machines) workload(differs map[string]any) string {
	claims := merged(m.times(), map[string]any{"iss": m.platform.URL, "sub": "agent-1", "groups": []string{"support"}, "aud": []string{issuerMCP, issuerMCP + "/token"}})
	return m.platform.Token(merged(claims, differs), map[string]any{"typ": "JWT"})
}

func (m *machines) enterprise(raw string, more ...string) *answer {
	form := url.Values{"grant_type": {bearerGrant}, "assertion": {raw}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return m.as("enterprise", form)
}

func (m *machines) agent(raw string) *answer {
	return m.form(issuerMCP+"/token", url.Values{"grant_type": {bearerGrant}, "assertion": {raw}, "resource": {resourceMCP}})
}

func onlyConfiguredMachines(t *T) {
	m := newMachines(t)
	a := m.as("nightly", alone())
	t.Want(a.Status == 200 && a.JSON()["refresh_token"] == nil, "a configured machine: %d %s", a.Status, a.Body)
	m.as("person", alone()).Refused(400, "unauthorized_client")
	m.form(issuerMCP+"/token", alone("client_id", "nightly")).Refused(401, "invalid_client")
	c := m.register(hostMCP, metadata())
	m.form(issuerMCP+"/token", alone("client_id", c.id)).Refused(400, "unauthorized_client")
}

func machineSubjects(t *T) {
	m := newMachines(t)
	a := m.as("nightly", alone())
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	t.Want(t.claims(a.Text("access_token"))["sub"] == "client:nightly", "%v", t.claims(a.Text("access_token")))
	person := m.newToken(hostMCP, resourceMCP)
	t.Want(!strings.HasPrefix(fmt.Sprint(t.claims(person)["sub"]), "client:"), "a person's subject begins as a machine's")
}

func machinesAreAdvertised(t *T) {
	m := newMachines(t)
	doc := m.get(issuerMCP + "/.well-known/oauth-authorization-server").JSON()
	has := func(member, value string) bool {
		list, _ := doc[member].([]any)
		return slices.Contains(list, any(value))
	}
	t.Want(has("grant_types_supported", "client_credentials") && has("grant_types_supported", bearerGrant), "grants %v", doc["grant_types_supported"])
	for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt"} {
		t.Want(has("token_endpoint_auth_methods_supported", method), "%s is not advertised", method)
	}
	t.Want(has("authorization_grant_profiles_supported", "urn:ietf:params:oauth:grant-profile:id-jag"), "the profile is not advertised")
	t.Want(m.as("nightly", alone()).Status == 200, "client_secret_post")
	req, err := http.NewRequest(http.MethodPost, issuerMCP+"/token", strings.NewReader(alone().Encode()))
	if err != nil {
		t.Setupf("%v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("nightly", machineSecret)
	t.Want(m.send(req).Status == 200, "client_secret_basic")
	other := m.get(issuerRoot + "/.well-known/oauth-authorization-server").JSON()
	t.Want(!strings.Contains(fmt.Sprint(other["grant_types_supported"]), "client_credentials") && other["authorization_grant_profiles_supported"] == nil, "advertised where no machine may: %v", other)
}

func jagSignature(t *T) {
	m := newMachines(t)
	claims := func() map[string]any { return t.claims(m.jag(nil)) }
	for name, header := range map[string]map[string]any{
		"no typ": {"typ": nil}, "JWT": {"typ": "JWT"}, "at+jwt": {"typ": "at+jwt"}, "client assertion": {"typ": "client-authentication+jwt"}, "none": {"typ": "oauth-id-jag+jwt", "alg": "none"},
		"HS256": {"typ": "oauth-id-jag+jwt", "alg": "HS256"}, "jku": {"typ": "oauth-id-jag+jwt", "jku": "https://evil.example/keys"}, "an unknown key": {"typ": "oauth-id-jag+jwt", "kid": "other"},
	} {
		a := m.enterprise(m.idp.Token(claims(), header))
		t.Want(a.Status == 400 && a.Text("error") == "invalid_grant", "%s: %d %s", name, a.Status, a.Body)
	}
	m.enterprise(m.platform.Token(claims(), map[string]any{"typ": "oauth-id-jag+jwt"})).Refused(400, "invalid_grant")
	m.idp.Rotate(t.TB, "key-2")
	m.clock.Move(11 * time.Second) // keys are fetched again no sooner
	a := m.enterprise(m.jag(nil))
	t.Want(a.Status == 200, "after the keys were rotated: %d %s", a.Status, a.Body)
}

func jagClaims(t *T) {
	m := newMachines(t)
	for _, name := range []string{"iss", "sub", "aud", "client_id", "jti", "exp", "iat"} {
		m.enterprise(m.jag(map[string]any{name: nil})).Refused(400, "invalid_grant")
	}
	now := m.clock.Now()
	for name, differs := range map[string]map[string]any{
		"a long life": {"exp": now.Add(time.Hour).Unix()}, "dead": {"iat": now.Add(-10 * time.Minute).Unix(), "exp": now.Add(-5 * time.Minute).Unix()}, "not yet": {"nbf": now.Add(5 * time.Minute).Unix()},
	} {
		a := m.enterprise(m.jag(differs))
		t.Want(a.Status == 400, "%s: %d", name, a.Status)
	}
	t.Want(m.enterprise(m.jag(nil)).Status == 200, "a whole one is refused")
}

func jagAudience(t *T) {
	m := newMachines(t)
	for _, aud := range []any{issuerMCP + "/token", issuerRoot, resourceMCP, []string{issuerMCP, "https://evil.example"}, []string{issuerMCP, issuerMCP + "/token"}, []string{}, 1} {
		a := m.enterprise(m.jag(map[string]any{"aud": aud}))
		t.Want(a.Status == 400 && a.Text("error") == "invalid_grant", "aud %v: %d", aud, a.Status)
	}
	t.Want(m.enterprise(m.jag(map[string]any{"aud": []string{issuerMCP}})).Status == 200, "an array with our issuer alone is refused")
}

func jagClient(t *T) {
	m := newMachines(t)
	m.enterprise(m.jag(map[string]any{"client_id": "person"})).Refused(400, "invalid_grant")
	m.agent(m.jag(nil)).Refused(401, "invalid_client")
	m.as("person", url.Values{"grant_type": {bearerGrant}, "assertion": {m.jag(map[string]any{"client_id": "person"})}}).Refused(400, "unauthorized_client")
	t.Want(m.enterprise(m.jag(nil)).Status == 200, "its own client is refused")
}

func jagResource(t *T) {
	m := newMachines(t)
	m.enterprise(m.jag(map[string]any{"resource": "https://elsewhere.example/mcp"})).Refused(400, "invalid_grant")
	m.enterprise(m.jag(nil), "resource", "https://elsewhere.example/mcp").Refused(400, "invalid_target")
	for name, differs := range map[string]map[string]any{"as it is": nil, "none": {"resource": nil}, "one here and one elsewhere": {"resource": []string{"https://elsewhere.example/mcp", resourceMCP}}} {
		a := m.enterprise(m.jag(differs))
		t.Want(a.Status == 200 && t.claims(a.Text("access_token"))["aud"] == resourceMCP, "%s: %d %s", name, a.Status, a.Body)
	}
}

func jagOnce(t *T) {
	m := newMachines(t)
	raw := m.jag(nil)
	t.Want(m.enterprise(raw).Status == 200, "the first use is refused")
	m.enterprise(raw).Refused(400, "invalid_grant")
}

func jagScope(t *T) {
	m := newMachines(t)
	for _, row := range []struct {
		asserted      any
		asked, expect string
	}{{"notes:read notes:delete", "", "notes:read"}, {"notes:read notes:write", "notes:write", "notes:write"}, {nil, "notes:read", "notes:read"}} {
		a := m.enterprise(m.jag(map[string]any{"scope": row.asserted}), "scope", row.asked)
		t.Want(a.Status == 200 && a.Text("scope") == row.expect, "%+v: %d %s", row, a.Status, a.Body)
	}
	m.enterprise(m.jag(map[string]any{"scope": "notes:delete"})).Refused(400, "invalid_grant")
}

func jagLeavesNothing(t *T) {
	m := newMachines(t)
	raw := m.jag(nil)
	a := m.enterprise(raw)
	t.Want(a.Status == 200 && a.JSON()["refresh_token"] == nil && a.Header.Get("Cache-Control") == "no-store", "%d %s", a.Status, a.Body)
	t.Want(!strings.Contains(m.log.String(), strings.Split(raw, ".")[2]), "the assertion is in the log")
	query := m.do(http.MethodPost, issuerMCP+"/token?grant_type="+url.QueryEscape(bearerGrant)+"&assertion="+m.jag(nil), "", "Content-Type", "application/x-www-form-urlencoded")
	t.Want(query.Status >= 400, "an assertion in the URL is taken: %d", query.Status)
}

func jagSubject(t *T) {
	m := newMachines(t)
	for name, differs := range map[string]map[string]any{
		"a tenant": {"tenant": "acme"}, "a tenant of the audience": {"aud_tenant": "acme"}, "a key without proof": {"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}},
		"another confirmation": {"cnf": map[string]any{"x5t#S256": "x"}}, "details": {"authorization_details": []any{map[string]any{"type": "x"}}},
	} {
		a := m.enterprise(m.jag(differs))
		t.Want(a.Status == 400 && a.Text("error") == "invalid_grant", "%s: %d %s", name, a.Status, a.Body)
	}
	t.Want(m.enterprise(m.jag(nil)).Status == 200, "a plain one is refused")
}

func workloadIssuer(t *T) {
	m := newMachines(t)
	a := m.agent(m.workload(nil))
	t.Want(a.Status == 200 && a.JSON()["refresh_token"] == nil, "a workload: %d %s", a.Status, a.Body)
	stranger := oauthtest.NewIssuer(t.TB)
	before, dials := m.platform.Fetches(), m.web.dials()
	m.agent(stranger.Token(t.claims(m.workload(map[string]any{"iss": stranger.URL})), map[string]any{"typ": "JWT"})).Refused(400, "invalid_grant")
	t.Want(stranger.Fetches() == 0 && m.platform.Fetches() == before && m.web.dials() == dials, "an issuer that is not configured made a request")
}

func workloadClaims(t *T) {
	m := newMachines(t)
	for _, name := range []string{"sub", "aud", "exp", "iat", "jti"} {
		m.agent(m.workload(map[string]any{name: nil})).Refused(400, "invalid_grant")
	}
	for _, aud := range []any{issuerRoot, []string{issuerMCP, "https://evil.example"}, resourceMCP} {
		m.agent(m.workload(map[string]any{"aud": aud})).Refused(400, "invalid_grant")
	}
	for _, aud := range []any{issuerMCP, issuerMCP + "/", issuerMCP + "/token", []string{issuerMCP + "/token", issuerMCP}} {
		a := m.agent(m.workload(map[string]any{"aud": aud}))
		t.Want(a.Status == 200, "aud %v: %d %s", aud, a.Status, a.Body)
	}
}

func workloadRules(t *T) {
	m := newMachines(t)
	m.agent(m.workload(map[string]any{"groups": []string{"sales"}})).Refused(400, "invalid_grant")
	a := m.agent(m.workload(map[string]any{"sub": "agent-" + rand.Text(), "scope": "notes:write", "email": "alice@example.com"}))
	if a.Status != 200 {
		t.Fatalf("one that was never seen: %d %s", a.Status, a.Body)
	}
	claims := t.claims(a.Text("access_token"))
	t.Want(claims["scope"] == "notes:read" && strings.HasPrefix(fmt.Sprint(claims["sub"]), strings.TrimPrefix(m.platform.URL, "http://")+":agent-"), "%v", claims)
}
