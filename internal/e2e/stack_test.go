//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/mcpauth"
)

// stack is one running installation: nginx in front, two MCP servers and the
// service behind, an identity provider beside.
type stack struct {
	port string
	// name and otherName are those of the two hosts, without the port.
	name, otherName string
	// statelessURL and statefulURL are the public URLs of the two MCP servers,
	// on two hosts, so that each has an issuer of its own.
	statelessURL, statefulURL string
	stateless, stateful       *mcpServer
	service                   *process
	serviceAddress            string
	managementAddress         string
	grpcAddress               string
	config                    string
	inside                    bool // the service is a part of the MCP server's program
	idp                       *process
	issuer                    string // of idp
}

// setup varies a stack.
type setup struct {
	// provider is "oidc" (the certified provider), "static", "several" for both, or "own" for what idp starts, "none" where no sign-in is here.
	provider string
	// idp starts another one on a port and returns its configuration.
	idp func(t *testing.T, st *stack, port string) map[string]any
	// claims says where the oidc provider puts e-mail and groups: "userinfo",
	// as the specification has it, or "id_token".
	claims string
	// sid says how the oidc provider names a session that ended, see LOGOUT_SID of its driver.
	sid string
	// authHost is the Host header of the forward-auth sub-request.
	authHost string
	// snippet is the configuration-snippet annotation, and modules what it needs.
	snippet string
	modules []string
	// http are lines of nginx for everything.
	http string
	// change edits the configuration file before it is written.
	change func(file map[string]any)
	// callback is a loopback address with the one callback of both hosts.
	callback string
	// gateway stands in front instead of an nginx like that of ingress-nginx,
	// with the stateless MCP server alone.
	gateway *gateway
}

func newStack(t *testing.T, s setup) *stack {
	t.Helper()
	track(t)
	binary := serviceBinary(t)
	ports, address := freePorts(t, 5), "127.0.0.1"
	if s.gateway != nil && s.gateway.address != "" {
		address = s.gateway.address
	}
	st := &stack{
		port:              ports[0],
		name:              "127.0.0.1",
		otherName:         "localhost",
		serviceAddress:    address + ":" + ports[1],
		managementAddress: "127.0.0.1:" + ports[2],
		grpcAddress:       address + ":" + ports[4],
		stateless:         startMCP(t, true),
		stateful:          startMCP(t, false),
	}
	if s.gateway != nil && s.gateway.wantsNames {
		st.name, st.otherName = st.otherName, st.name
	}
	st.statelessURL = "http://" + st.name + ":" + st.port + "/mcp"
	st.statefulURL = "http://" + st.otherName + ":" + st.port + "/mcp"

	if s.authHost == "" {
		s.authHost = "$http_host"
	}
	switch {
	case s.gateway != nil && s.gateway.serves:
		st.serviceAddress, st.stateless.relayed = "127.0.0.1:"+st.port, true
	case s.gateway != nil:
		site := gatewaySite{Port: st.port, Service: st.serviceAddress, GRPC: st.grpcAddress, MCP: st.stateless.address()}
		s.gateway.start(t, s.gateway.path(t), site).waitTCP(t, site.public())
	default:
		startNginx(t, nginxSite{Port: st.port, Service: st.serviceAddress, Modules: s.modules, Callback: s.callback, HTTP: s.http, Routes: []nginxRoute{
			{Host: "127.0.0.1", Path: "/mcp", MCP: st.stateless.address(), AuthHost: s.authHost, Snippet: s.snippet},
			{Host: "localhost", Path: "/mcp", MCP: st.stateful.address(), AuthHost: s.authHost, Snippet: s.snippet},
		}})
	}
	file := st.file()
	redirectURIs := st.callbacks()
	if s.callback != "" {
		redirectURIs = []string{"http://" + s.callback + ":" + st.port + "/callback"}
		file["proxy"].(map[string]any)["callbackHost"] = s.callback + ":" + st.port
	}
	switch s.provider {
	case "static":
		file["provider"] = staticProvider(t)
	case "several": // one of each kind
		for i := range redirectURIs {
			redirectURIs[i] += "/corp"
		}
		corp, guests := st.startIDP(t, ports[3], s.claims, s.sid, redirectURIs...), staticProvider(t)
		corp["id"], corp["displayName"], guests["id"] = "corp", "Example Corp", "guests"
		file["providers"] = []any{corp, guests}
	case "none":
	case "own":
		file["provider"] = s.idp(t, st, ports[3])
	default:
		file["provider"] = st.startIDP(t, ports[3], s.claims, s.sid, redirectURIs...)
	}
	if s.change != nil {
		s.change(file)
	}
	if s.gateway != nil && s.gateway.serves {
		for _, host := range file["proxy"].(map[string]any)["hosts"].([]any) {
			host := host.(map[string]any)
			host["serve"] = map[string]any{"enabled": true}
			to := st.stateless.URL
			if st.inside = s.gateway.inside; st.inside {
				to = "http://" + mcpauth.InProcess
			}
			host["endpoint"] = strings.Replace(host["endpoint"].(string), st.stateless.direct.URL, to, 1)
		}
	}
	st.config = filepath.Join(t.TempDir(), "config.yaml")
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(st.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	st.startService(t, binary)
	return st
}

// startService runs the service, again if the test has stopped it.
func (st *stack) startService(t *testing.T, binary string) {
	t.Helper()
	if st.inside {
		st.service = start(t, "library", nil, libraryBinary(t), "-config", st.config, "-listen", st.serviceAddress, "-management", st.managementAddress, "-tools", st.stateless.URL)
	} else {
		st.service = start(t, "mcp-forward-auth", nil, binary, "serve", "--config", st.config)
	}
	st.service.waitHTTP(t, "http://"+st.managementAddress+"/readyz", http.StatusOK)
}

func (st *stack) file() map[string]any {
	host := func(name string, s *mcpServer, display string) map[string]any {
		return map[string]any{
			"host": name + ":" + st.port, "scheme": "http", "path": "/mcp",
			"endpoint": s.direct.URL + "/mcp", "displayName": display,
			"cors": map[string]any{"allowedOrigins": []any{"https://inspector.example"}},
		}
	}
	return map[string]any{
		"listen":  map[string]any{"http": st.serviceAddress, "management": st.managementAddress, "grpc": st.grpcAddress},
		"logging": map[string]any{"level": "debug"},
		"proxy": map[string]any{"hosts": []any{
			host(st.name, st.stateless, "Notes"),
			host(st.otherName, st.stateful, "Notes with sessions"),
		}},
	}
}

const clientSecret = "e2e-secret"

// callbacks are those of the two hosts.
func (st *stack) callbacks() []string {
	return []string{"http://127.0.0.1:" + st.port + "/callback", "http://localhost:" + st.port + "/callback"}
}

// startIDP runs the certified OpenID provider and returns its configuration.
func (st *stack) startIDP(t *testing.T, port, claims, sid string, redirectURIs ...string) map[string]any {
	t.Helper()
	env := []string{"CLIENT_SECRET=" + clientSecret, "CLAIMS=" + claims, "LOGOUT_SID=" + sid}
	if st.statelessURL != "" { // several replicas have none of their own
		env = append(env, "BACKCHANNEL_LOGOUT="+origin(st.statelessURL)+"/account/backchannel-logout")
	}
	st.idp = start(t, "oidc-provider", env,
		node(t), append([]string{filepath.Join(drivers, "idp.mjs"), port}, redirectURIs...)...)
	issuer := "http://127.0.0.1:" + port
	st.issuer = issuer
	st.idp.waitHTTP(t, issuer+"/.well-known/openid-configuration", http.StatusOK)
	return map[string]any{
		"name": "oidc", "issuerURL": issuer, "clientID": "mfa-e2e", "clientSecret": clientSecret,
		"scopes":              []string{"openid", "email", "profile", "groups"},
		"allowedEmailDomains": []string{`example\.com`},
	}
}

// staticProvider has the same users as the real one.
func staticProvider(t *testing.T) map[string]any {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(alice.password), 10)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"name": "static", "users": []any{map[string]any{
		"username": alice.username, "passwordHash": string(hash), "email": "alice@example.com",
		"name": "Alice Example", "groups": []string{"engineering", "admins"},
	}}}
}

// logs is what the service has written.
func (st *stack) logs() string { return st.service.out.String() }

// origin is the issuer of an MCP URL.
func origin(mcpURL string) string { return strings.TrimSuffix(mcpURL, "/mcp") }

// both names the two MCP servers for sub-tests.
func (st *stack) both(t *testing.T, f func(t *testing.T, mcpURL string)) {
	t.Helper()
	for _, c := range []struct{ name, url string }{{"stateless", st.statelessURL}, {"stateful", st.statefulURL}} {
		t.Run(c.name, func(t *testing.T) {
			track(t)
			f(t, c.url)
		})
	}
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %s, want %s", what, fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want))
	}
}
