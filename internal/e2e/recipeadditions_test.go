//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// kindNamed is one of gatewayKinds.
func kindNamed(t *testing.T, name string) gateway {
	t.Helper()
	for _, kind := range gatewayKinds {
		if kind.name == name {
			return kind
		}
	}
	t.Fatalf("there is no gateway %q", name)
	return gateway{}
}

// accessLogs turns on what the gateway writes by default about each request, with a way
// to read it.
var accessLogs = map[string]func(t *testing.T, kind gateway) (logging gateway, log func() string){
	"nginx": func(t *testing.T, kind gateway) (gateway, func() string) {
		path := filepath.Join(t.TempDir(), "access.log")
		// The question to the service is a request of its own, which may be logged too.
		edits := append([]string{"server_name mcp.example.com;", "server_name mcp.example.com;\n    log_subrequest on;\n    access_log " + path + " combined;"}, providerTokenEdits["nginx"]...)
		return edited(kind, edits, nil), func() string {
			text, _ := os.ReadFile(path)
			return string(text)
		}
	},
	"Envoy HTTP": envoyLogging,
	"Envoy gRPC": envoyLogging,
}

// envoyLogging has Envoy's own format, and what the service tells Envoy of a request.
func envoyLogging(_ *testing.T, kind gateway) (gateway, func() string) {
	const (
		logger = `
                  - name: envoy.access_loggers.stdout
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`
		logged = "\n                access_log:" + logger + logger + `
                      log_format: {text_format_source: {inline_string: "told %DYNAMIC_METADATA(envoy.filters.http.ext_authz)% of %REQ(:PATH)%\n"}}`
	)
	logging := edited(kind, append([]string{"stat_prefix: mcp", "stat_prefix: mcp" + logged}, providerTokenEdits[kind.name]...), nil)
	var running *process
	started := logging.start
	logging.start = func(t *testing.T, path string, site gatewaySite) *process {
		running = started(t, path, site)
		return running
	}
	return logging, func() string { return running.out.String() }
}

// Trap: the provider's token in the access log of the gateway. With the recipes and what
// docs/provider-tokens.md adds to them, neither the token nor its handle nor the client's
// token stands there, for requests that pass and for one that does not.
func TestGatewayLogsHaveNoProviderToken(t *testing.T) {
	for name, turnOn := range accessLogs {
		t.Run(name, func(t *testing.T) {
			kind := kindNamed(t, name)
			kind.path(t) // ends here if there is none
			logging, log := turnOn(t, kind)
			idp := oauthtest.NewOIDCProvider(t)
			idp.SignInAs(oauthtest.User{Subject: "alice-1", Email: "alice@example.com", EmailVerified: true})
			idp.GiveRefreshTokens(true)
			idp.SetLife(time.Hour)
			st := tokenStack(t, logging, idp, map[string]any{"token": "access", "form": "held"})
			secrets := map[string]string{}
			for _, size := range []oauthtest.Sizes{oauthtest.ShortTokens, {Access: 6000, Refresh: 1900}} {
				idp.SetSizes(size)
				g, _ := signIn(t, st.statelessURL, alice)
				st.stateless.requests()
				if resp, body := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, bearer(g)...); resp.StatusCode != http.StatusOK {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
				got := st.stateless.requests()[0].Header
				secrets["the client's token"] = g.AccessToken
				for _, name := range []string{"X-Forwarded-Access-Token", "X-Forwarded-Access-Token-Handle"} {
					if value := got.Get(name); value != "-" {
						secrets[name] = value
					}
				}
			}
			if len(secrets) != 3 {
				t.Fatalf("the server got no token, or no handle: %d secrets", len(secrets))
			}
			do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, "Authorization", "Bearer "+secrets["the client's token"]+"x", "X-Forwarded-Access-Token", secrets["X-Forwarded-Access-Token"])
			waitUntil(t, "three requests in the access log", func() bool { return strings.Count(log(), "/mcp/probe/echo") >= 3 })
			for name, value := range secrets {
				// Any part: beginnings are alike, and a log may cut.
				for at := 0; at+40 <= len(value); at += 40 {
					if part := value[at : at+40]; strings.Contains(log(), part) && !strings.HasPrefix(value, part) {
						t.Errorf("%s is in the access log: %s", name, part)
						break
					}
				}
			}
		})
	}
}

// waitUntil waits for a condition, ten seconds at most.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// With what docs/server-credential.md adds to each recipe, the credential reaches the
// server instead of the client's token.
func TestServerCredentialAtGateways(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.path(t) // ends here if there is none
			passing := edited(kind, authorizationEdits[kind.name], authorizationLua)
			credential := write(t, "credential", "the-credential-of-the-server\n")
			st := newStack(t, setup{provider: "static", gateway: &passing, change: func(file map[string]any) {
				section := map[string]any{"file": credential}
				if !kind.serves {
					section["toGateway"] = true
				}
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["serverCredential"] = section
			}})
			g, _ := signIn(t, st.statelessURL, alice)
			st.stateless.requests()
			resp, body := do(t, http.MethodGet, st.statelessURL+"/probe/echo", nil, bearer(g)...)
			seen := st.stateless.requests()
			if resp.StatusCode != http.StatusOK || len(seen) != 1 {
				t.Fatalf("%d %s, %d requests", resp.StatusCode, body, len(seen))
			}
			if got := seen[0].Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer the-credential-of-the-server" {
				t.Errorf("the server gets %q", got)
			}
			if strings.Contains(string(body), "the-credential-of-the-server") && !strings.Contains(string(body), "X-Auth-Request-User") {
				t.Errorf("the client gets the credential: %s", body)
			}
		})
	}
}

// With the line of docs/token-exchange.md in its list of paths each gateway sends
// /dead-token to the service; without it no one outside gets there, with a token or not.
func TestDeadTokenAtGateways(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs", "token-exchange.md"))
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string]string{
		"nginx": "token|dead-token|revoke", "Envoy HTTP": "token|dead-token|revoke", "Envoy gRPC": "token|dead-token|revoke", "Traefik": "token|dead-token|revoke",
		"Caddy": "/token /dead-token /revoke", "HAProxy": "/token /dead-token /revoke",
	}
	for _, kind := range gatewayKinds {
		if kind.serves {
			continue
		}
		line := lists[kind.name]
		if line == "" || !strings.Contains(string(page), line) {
			t.Errorf("docs/token-exchange.md does not say what %s needs: %q", kind.name, line)
			continue
		}
		before := strings.NewReplacer("dead-token|", "", "/dead-token ", "").Replace(line)
		for name, routed := range map[string]gateway{"as it is": kind, "with the path": edited(kind, []string{before, line}, nil)} {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				kind.path(t) // ends here if there is none
				secret := write(t, "secret", "the-secret-of-the-notes-server-0123456789\n")
				st := newStack(t, setup{provider: "static", gateway: &routed, change: func(file map[string]any) {
					hosts := file["proxy"].(map[string]any)["hosts"].([]any)
					first, second := hosts[0].(map[string]any), hosts[1].(map[string]any)
					first["tokenExchange"] = map[string]any{"clients": []any{"notes-server"}, "targets": []any{map[string]any{
						"resource": "http://" + second["host"].(string) + "/mcp", "scopes": []any{scopeRead},
					}}}
					file["identityHeaders"] = map[string]any{"jwt": map[string]any{"enabled": true}}
					file["clients"] = []any{map[string]any{"id": "notes-server", "secretFiles": []any{secret}, "grantTypes": []any{"urn:ietf:params:oauth:grant-type:token-exchange"}}}
				}})
				g, _ := signIn(t, st.statelessURL, alice)
				st.stateless.requests()
				for _, header := range [][]string{nil, bearer(g)} {
					resp, body := do(t, http.MethodPost, origin(st.statelessURL)+"/dead-token", strings.NewReader("token=x"), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
					reached := strings.Contains(string(body), "invalid_client") // no one has proved to be the server
					if reached != (name == "with the path") || resp.StatusCode < 400 || resp.StatusCode >= 500 {
						t.Errorf("%d %s", resp.StatusCode, body)
					}
				}
				mustEqual(t, "requests that reached the MCP server", len(st.stateless.requests()), 0)
			})
		}
	}
}
