//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
)

// Known to hack/e2e/install.sh as well.
const authgentVersion = "0.3.4"

const (
	bearerGrant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypes    = "urn:ietf:params:oauth:token-type:"
)

// asked is the answer to a form, which must be JSON.
func asked(t *testing.T, at string, form url.Values, header ...string) (status int, answer grant) {
	t.Helper()
	resp, body := do(t, http.MethodPost, at, strings.NewReader(form.Encode()), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %s %s", at, resp.Status, body)
	}
	return resp.StatusCode, answer
}

// trusting is a stack whose first MCP server is open to what rules say of an issuer's
// workloads, with more keys of the entry. The issuer has to be asked for tokens for the
// MCP server's own issuer, which prepare is told.
func trusting(t *testing.T, issuer string, more map[string]any, rule map[string]any, prepare func(audience string)) *stack {
	t.Helper()
	return newStack(t, setup{provider: "static", change: func(file map[string]any) {
		host := file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)
		own := "http://" + host["host"].(string)
		host["dpop"] = "accepted"
		prepare(own)
		rule["scopes"], rule["resources"] = []string{scopeRead}, []string{own + "/mcp"}
		entry := map[string]any{"kind": "workload", "issuer": issuer, "rules": []any{rule}}
		for name, value := range more {
			entry[name] = value
		}
		file["trustedIssuers"] = []any{entry}
	}})
}

// callsWith has a tool called with an access token, and returns who the MCP server was told of.
func callsWith(t *testing.T, st *stack, token string) identity {
	t.Helper()
	st.stateless.requests()
	resp, body := do(t, http.MethodPost, st.statelessURL, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`),
		append(bearer(grant{AccessToken: token}), "Content-Type", "application/json", "Accept", "application/json, text/event-stream", "MCP-Protocol-Version", legacy)...)
	seen := st.stateless.requests()
	if resp.StatusCode != http.StatusOK || len(seen) != 1 {
		t.Fatalf("%s %s, %d requests reached the MCP server\n%s", resp.Status, body, len(seen), tail(st.logs(), 1500))
	}
	return identityOf(seen[0].Header)
}

// A service account of Keycloak is a workload: the token that Keycloak gives it, for this
// service alone, becomes one for the MCP server. Where Keycloak binds its tokens to a key,
// they are taken at the MCP server with the proofs of that key.
func TestKeycloakWorkload(t *testing.T) {
	k := startKeycloak(t)
	const realm, secret = "workloads", "a-secret-of-the-job"
	issuer := k.base + "/realms/" + realm
	k.create(t, map[string]any{"realm": realm, "enabled": true})
	client := func(id, audience string, attributes map[string]any) {
		k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/clients", map[string]any{
			"clientId": id, "enabled": true, "protocol": "openid-connect", "publicClient": false, "secret": secret, "serviceAccountsEnabled": true, "standardFlowEnabled": false, "fullScopeAllowed": false,
			"attributes": attributes, "defaultClientScopes": []string{"basic", "service_account"},
			"protocolMappers": []any{map[string]any{
				"name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
				"config": map[string]any{"included.custom.audience": audience, "access.token.claim": "true"},
			}},
		}, http.StatusCreated)
	}
	token := func(id string, header ...string) string {
		status, got := asked(t, issuer+"/protocol/openid-connect/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}, header...)
		if status != http.StatusOK {
			t.Fatalf("Keycloak answers %d %s", status, got.Error)
		}
		return got.AccessToken
	}
	st := trusting(t, issuer, nil, map[string]any{"claims": map[string]any{"client_id": "nightly-job"}}, func(audience string) {
		client("nightly-job", audience, nil)
		client("other-job", audience, nil)
		client("elsewhere", audience+"/elsewhere", nil)
	})
	at, resource := origin(st.statelessURL)+"/token", st.statelessURL
	show := func(assertion string) (int, grant) {
		return asked(t, at, url.Values{"grant_type": {bearerGrant}, "assertion": {assertion}, "resource": {resource}})
	}
	raw := token("nightly-job")
	status, got := show(raw)
	if status != http.StatusOK || got.Scope != scopeRead || got.RefreshToken != "" {
		t.Fatalf("%d %+v\n%s", status, got, tail(st.logs(), 1500))
	}
	who := callsWith(t, st, got.AccessToken)
	if !strings.HasPrefix(who.User, host(issuer)+":") {
		t.Errorf("the MCP server is told of %q", who.User)
	}
	for name, assertion := range map[string]string{"the same again": raw, "of another client": token("other-job"), "for another": token("elsewhere")} {
		if status, got := show(assertion); status != http.StatusBadRequest || got.Error != "invalid_grant" {
			t.Errorf("%s: %d %s", name, status, got.Error)
		}
	}
	if resp, _ := do(t, http.MethodGet, resource, nil, bearer(grant{AccessToken: token("nightly-job")})...); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("Keycloak's token at the MCP server itself: %d", resp.StatusCode)
	}
	t.Run("bound to a key", func(t *testing.T) {
		boundByKeycloak(t, issuer, func(id, audience string) { client(id, audience, map[string]any{"dpop.bound.access.tokens": "true"}) }, token)
	})
}

// boundByKeycloak is RS-DPOP-03 with the tokens of a real authorization server.
func boundByKeycloak(t *testing.T, issuer string, client func(id, audience string), token func(id string, header ...string) string) {
	t.Helper()
	front := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "nginx" })]
	st := newStack(t, setup{provider: "none", gateway: &front, change: func(file map[string]any) {
		host := file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)
		client("bound-job", "http://"+host["host"].(string)+"/mcp")
		host["authorizationServers"], host["ownTokens"], host["dpop"] = []any{map[string]any{"issuer": issuer, "addScopes": []string{scopeRead}}}, false, "required"
		host["policy"] = map[string]any{"rules": []any{map[string]any{"effect": "allow", "anyone": true}}}
		file["proxy"].(map[string]any)["hosts"] = []any{host}
	}})
	key, other := dpoptest.New("ES256"), dpoptest.New("ES256")
	raw := token("bound-job", "DPoP", key.Proof("POST", issuer+"/protocol/openid-connect/token"))
	echo := st.statelessURL + "/probe/echo"
	if payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1]); err != nil || !strings.Contains(string(payload), key.Thumbprint()) {
		t.Fatalf("Keycloak does not bind the token: %s", payload)
	}
	for name, tt := range map[string]struct {
		header []string
		status int
	}{
		"its proof":          {[]string{"Authorization", "DPoP " + raw, "DPoP", key.Proof("GET", echo, dpoptest.Token(raw))}, http.StatusOK},
		"another key":        {[]string{"Authorization", "DPoP " + raw, "DPoP", other.Proof("GET", echo, dpoptest.Token(raw))}, http.StatusUnauthorized},
		"no proof":           {[]string{"Authorization", "DPoP " + raw}, http.StatusUnauthorized},
		"as Bearer":          {[]string{"Authorization", "Bearer " + raw, "DPoP", key.Proof("GET", echo, dpoptest.Token(raw))}, http.StatusUnauthorized},
		"for another method": {[]string{"Authorization", "DPoP " + raw, "DPoP", key.Proof("POST", echo, dpoptest.Token(raw))}, http.StatusUnauthorized},
	} {
		if resp, _ := do(t, http.MethodGet, echo, nil, tt.header...); resp.StatusCode != tt.status {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
}

// authgent-server gives agents JWTs for other authorization servers (identity chaining):
// one for this service is an assertion of a workload here.
func TestAuthgent(t *testing.T) {
	program := filepath.Join(cached("authgent-server-"+authgentVersion), "bin", "authgent-server")
	_, err := os.Stat(program)
	optional(t, err == nil, "authgent-server in the cache (hack/e2e/install.sh)")
	port := freePorts(t, 1)[0]
	issuer := "http://127.0.0.1:" + port
	p := start(t, "authgent-server", []string{
		"AUTHGENT_SECRET_KEY=" + strings.Repeat("5e", 32), "AUTHGENT_SERVER_URL=" + issuer, "AUTHGENT_DATABASE_URL=sqlite+aiosqlite:///" + filepath.Join(t.TempDir(), "agents.db"),
	}, program, "run", "--host", "127.0.0.1", "--port", port)
	p.waitHTTP(t, issuer+"/.well-known/oauth-authorization-server", http.StatusOK)
	type agent struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	register := func(name string) (a agent) {
		text, _ := json.Marshal(map[string]any{"client_name": name, "grant_types": []string{"client_credentials", exchangeGrant}, "scope": scopeRead})
		resp, body := do(t, http.MethodPost, issuer+"/register", strings.NewReader(string(text)), "Content-Type", "application/json")
		if err := json.Unmarshal(body, &a); err != nil || a.Secret == "" {
			t.Fatalf("%s %s", resp.Status, body)
		}
		return a
	}
	triage, visitor := register("triage"), register("visitor")
	own := ""
	st := trusting(t, issuer, map[string]any{"jwksURL": issuer + "/.well-known/jwks.json"}, map[string]any{"subjects": []string{"client:" + triage.ID}}, func(audience string) { own = audience })
	// chained is what an agent exchanges its own token for.
	chained := func(a agent, audience string) string {
		proof := url.Values{"client_id": {a.ID}, "client_secret": {a.Secret}, "grant_type": {"client_credentials"}, "scope": {scopeRead}}
		status, got := asked(t, issuer+"/token", proof)
		if status != http.StatusOK {
			t.Fatalf("authgent answers %d %s", status, got.Error)
		}
		proof.Set("grant_type", exchangeGrant)
		proof.Set("subject_token", got.AccessToken)
		proof.Set("subject_token_type", tokenTypes+"access_token")
		proof.Set("requested_token_type", tokenTypes+"jwt")
		proof.Set("audience", audience)
		if status, got = asked(t, issuer+"/token", proof); status != http.StatusOK {
			t.Fatalf("authgent answers %d %s", status, got.Error)
		}
		return got.AccessToken
	}
	show := func(assertion string) (int, grant) {
		return asked(t, own+"/token", url.Values{"grant_type": {bearerGrant}, "assertion": {assertion}, "resource": {st.statelessURL}})
	}
	raw := chained(triage, own)
	status, got := show(raw)
	if status != http.StatusOK || got.Scope != scopeRead || got.RefreshToken != "" {
		t.Fatalf("%d %+v\n%s", status, got, tail(st.logs(), 1500))
	}
	mustEqual(t, "who the MCP server is told of", callsWith(t, st, got.AccessToken).User, host(issuer)+":client:"+triage.ID)
	for name, assertion := range map[string]string{"the same again": raw, "of another agent": chained(visitor, own), "for another server": chained(triage, "https://elsewhere.example")} {
		if status, got := show(assertion); status != http.StatusBadRequest || got.Error != "invalid_grant" {
			t.Errorf("%s: %d %s", name, status, got.Error)
		}
	}
}
