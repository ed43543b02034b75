//go:build e2e

package e2e

import (
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// foreign is an authorization server that clients of MCP servers go to by
// themselves, and whose access tokens this service takes.
type foreign struct {
	name string
	// start runs it.
	start func(t *testing.T) guarding
}

// guarding prepares an authorization server for the MCP server at resource. It returns
// its entry of authorizationServers, and what the TypeScript client needs besides.
type guarding func(t *testing.T, resource string) (entry map[string]any, env []string)

var foreignServers = []foreign{
	{"oidc-provider, JWT", func(t *testing.T) guarding {
		issuer := startAuthorizationServer(t, "jwt")
		return func(*testing.T, string) (map[string]any, []string) { return map[string]any{"issuer": issuer}, nil }
	}},
	{"oidc-provider, opaque", func(t *testing.T) guarding {
		issuer := startAuthorizationServer(t, "opaque")
		return func(*testing.T, string) (map[string]any, []string) {
			return map[string]any{"issuer": issuer, "introspection": map[string]any{
				"endpoint": issuer + "/token/introspection", "clientID": "mfa-e2e", "clientSecret": clientSecret,
			}}, nil
		}
	}},
	{"oidc-provider, opaque, signed answers", func(t *testing.T) guarding {
		issuer := startAuthorizationServer(t, "opaque", "SIGNED_ANSWERS=1")
		return func(*testing.T, string) (map[string]any, []string) {
			return map[string]any{"issuer": issuer, "introspection": map[string]any{
				"endpoint": issuer + "/token/introspection", "clientID": "mfa-e2e", "clientSecret": clientSecret, "signed": true,
			}}, nil
		}
	}},
	{"Keycloak", func(t *testing.T) guarding { return startKeycloak(t).guards }},
}

// Where an MCP server takes the tokens of another authorization server alone, the
// client signs in there, with nothing of this service involved but the metadata and
// the decision: scopes, step-up, rules and identity headers are what they are for
// tokens of this service.
func TestForeignAuthorizationServers(t *testing.T) {
	for _, server := range foreignServers {
		t.Run(server.name, func(t *testing.T) {
			guards := server.start(t)
			for _, front := range []string{"nginx", "Envoy gRPC"} {
				t.Run(front, func(t *testing.T) {
					track(t)
					behindForeign(t, front, guards)
				})
			}
		})
	}
}

func behindForeign(t *testing.T, front string, guards guarding) {
	t.Helper()
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == front })]
	var entry map[string]any
	var env []string
	st := newStack(t, setup{provider: "none", gateway: &kind, change: func(file map[string]any) {
		host := file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)
		entry, env = guards(t, "http://"+host["host"].(string)+"/mcp")
		host["authorizationServers"], host["ownTokens"], host["defaultScopes"] = []any{entry}, false, []any{scopeRead}
		if front == "nginx" { // whose recipe has the lines under "Step-up"
			host["stepUp"] = "403"
		}
		host["policy"] = map[string]any{"rules": []any{map[string]any{"effect": "allow", "emailDomains": []any{"example.com"}}}}
		file["proxy"].(map[string]any)["hosts"] = []any{host}
	}})
	foreignClient(t, st, entry["issuer"].(string), env)
}

func foreignClient(t *testing.T, st *stack, issuer string, env []string) {
	t.Helper()
	u, err := url.Parse(issuer)
	if err != nil {
		t.Fatal(err)
	}
	st.stateless.requests()
	got := runTSClient(t, st.statelessURL, append(env, "TOOLS=read_notes", "STEP_UP=write_note")...)
	mustEqual(t, "where the person signed in", got.AuthorizationServer, u.Scheme+"://"+u.Host)
	who := got.Whoami.identity(t)
	mustEqual(t, "X-Auth-Request-Email", who.Email, "alice@example.com")
	if !strings.HasPrefix(who.User, u.Host+u.Path+":") {
		t.Errorf("X-Auth-Request-User is %q, which does not begin with the issuer", who.User)
	}
	for _, group := range []string{"admins", "engineering"} {
		if !slices.Contains(strings.Split(who.Groups, ","), group) {
			t.Errorf("X-Auth-Request-Groups is %q", who.Groups)
		}
	}
	mustEqual(t, "error of read_notes", got.Calls["read_notes"].Error, "")
	mustEqual(t, "what the client said to the refusal", got.StepUp.Refused, "UnauthorizedError")
	mustEqual(t, "error of write_note after it asked for more", got.StepUp.Call.Error, "")
	mustEqual(t, "calls of write_note that reached the MCP server", toolCalls(st.stateless.requests(), "write_note"), 1)

	// Nothing of an authorization server is here.
	for _, at := range []string{"GET /.well-known/oauth-authorization-server", "GET /authorize", "POST /token", "POST /register"} {
		method, path, _ := strings.Cut(at, " ")
		resp, _ := do(t, method, "http://127.0.0.1:"+st.port+path, nil)
		mustEqual(t, "status of "+at, resp.StatusCode, http.StatusNotFound)
	}
	// Bob signs in there like Alice. The rules here do not let him in.
	denied, said, err := attempted[tsReport](t, "ts-client.mjs", append(env, "LOGIN=bob:bob-password"), st.statelessURL)
	if err == nil || denied.Whoami.Result != nil || len(st.stateless.requests()) > 0 {
		t.Errorf("Bob is let in: %s", said)
	}
}

// startAuthorizationServer runs the certified provider as an authorization server.
func startAuthorizationServer(t *testing.T, format string, env ...string) (issuer string) {
	t.Helper()
	return startOIDC(t, append([]string{"RESOURCE_TOKENS=" + format, "CLIENT_SECRET=" + clientSecret}, env...), "http://127.0.0.1/unused")
}

// startOIDC runs the certified provider.
func startOIDC(t *testing.T, env []string, redirectURIs ...string) (issuer string) {
	t.Helper()
	port := freePorts(t, 1)[0]
	issuer = "http://127.0.0.1:" + port
	p := start(t, "oidc-provider", env, node(t), append([]string{filepath.Join(drivers, "idp.mjs"), port}, redirectURIs...)...)
	p.waitHTTP(t, issuer+"/.well-known/openid-configuration", http.StatusOK)
	return issuer
}

// guards makes a realm as docs/providers/keycloak.md has it: an audience that is the
// URL of the MCP server, scopes, and a public client.
func (k *keycloak) guards(t *testing.T, resource string) (map[string]any, []string) {
	t.Helper()
	u, err := url.Parse(resource)
	if err != nil {
		t.Fatal(err)
	}
	realm := "notes-" + u.Port()
	mapper := func(name, kind string, config map[string]any) map[string]any {
		return map[string]any{"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config}
	}
	scope := func(name string) map[string]any {
		return map[string]any{"name": name, "protocol": "openid-connect", "attributes": map[string]any{"include.in.token.scope": "true", "display.on.consent.screen": "false"}}
	}
	k.create(t, map[string]any{
		"realm": realm, "enabled": true,
		"groups": []any{map[string]any{"name": "engineering"}, map[string]any{"name": "admins"}},
		"users": []any{map[string]any{
			"username": alice.username, "enabled": true, "email": "alice@example.com", "emailVerified": true, "firstName": "Alice", "lastName": "Example",
			"groups":      []string{"/engineering", "/admins"},
			"realmRoles":  []string{"offline_access"}, // as people get it by default, but not those who are made in this way
			"credentials": []any{map[string]any{"type": "password", "value": alice.password, "temporary": false}},
		}, map[string]any{
			"username": "bob", "enabled": true, "email": "bob@elsewhere.example", "emailVerified": true, "firstName": "Bob", "lastName": "Elsewhere",
			"realmRoles":  []string{"offline_access"},
			"credentials": []any{map[string]any{"type": "password", "value": "bob-password", "temporary": false}},
		}},
	})
	for _, name := range []string{scopeRead, scopeWrite} {
		k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/client-scopes", scope(name), http.StatusCreated)
	}
	k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/clients", map[string]any{
		"clientId": "notes-server", "enabled": true, "protocol": "openid-connect", "publicClient": false, "standardFlowEnabled": false,
		"attributes": map[string]any{"resource_url": resource},
	}, http.StatusCreated)
	k.admin(t, http.MethodPost, "/admin/realms/"+realm+"/clients", map[string]any{
		"clientId": "mcp-client", "enabled": true, "protocol": "openid-connect", "publicClient": true, "standardFlowEnabled": true,
		"redirectUris":         []string{"http://127.0.0.1:33418/callback"},
		"attributes":           map[string]any{"pkce.code.challenge.method": "S256"},
		"defaultClientScopes":  []string{"basic", "email", "profile"},
		"optionalClientScopes": []string{scopeRead, scopeWrite, "offline_access"},
		"protocolMappers": []any{
			mapper("audience", "oidc-audience-mapper", map[string]any{"included.client.audience": "notes-server", "access.token.claim": "true"}),
			mapper("groups", "oidc-group-membership-mapper", map[string]any{"claim.name": "groups", "full.path": "false", "access.token.claim": "true"}),
		},
	}, http.StatusCreated)
	return map[string]any{"issuer": k.base + "/realms/" + realm}, []string{"CLIENT_ID=mcp-client"}
}
