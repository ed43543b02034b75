//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
)

// The examples of the predecessors' documents, with values instead of placeholders,
// are translated by the program, changed as its comments and its report ask for, and
// run: a client signs in and calls a tool, over the transport of the example and at its
// own ports and paths.
func TestPredecessorsReadme(t *testing.T) {
	t.Run("mcp-oauth2-proxy", movesFromMCPOAuth2Proxy)
	t.Run("obot", movesFromObot)
	t.Run("obot with PostgreSQL", movesFromObotWithPostgreSQL)
	t.Run("wso2 with HTTP+SSE", movesFromWSO2)
	t.Run("wso2 with scopes", movesFromWSO2WithScopes)
	t.Run("wso2 with stdio", movesFromWSO2WithStdio)
	t.Run("mcp-framework with JWTs", movesFromFramework)
	t.Run("mcp-framework with introspection", movesFromFrameworkWithIntrospection)
	t.Run("mcp-framework with API keys", movesFromFrameworkWithKeys)
	t.Run("oauth2-proxy", movesFromOAuth2Proxy)
	t.Run("mcp-auth-proxy", movesFromMCPAuthProxy)
}

// managementOfExamples is the default of listen.management.
const managementOfExamples = "127.0.0.1:9090"

// moved is an example after its translation.
type moved struct {
	config, secrets string // a file and a directory
	report          string // what the program says of the translation
	service         *process
}

// migrated translates an example with the program. ports are those that it names.
func migrated(t *testing.T, ports []string, kind, file string, args ...string) *moved {
	t.Helper()
	track(t)
	ownPorts(t, append(ports, "9090")...)
	m := &moved{config: filepath.Join(t.TempDir(), "config.yaml"), secrets: filepath.Join(t.TempDir(), "secrets")}
	cmd := exec.Command(serviceBinary(t), append([]string{"migrate", "--from", kind, filepath.Join("..", "migrate", "testdata", kind, file), "--secrets", m.secrets}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if m.report = said.String(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, m.report)
	}
	mustWrite(t, m.config, text)
	return m
}

// ownPorts keeps other runs of these tests from ports, and wants them to be free.
func ownPorts(t *testing.T, ports ...string) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "mcp-forward-auth-e2e.ports"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() }) // which ends the lock
	for deadline := time.Now().Add(5 * time.Minute); syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			notRun(t, "another run has the ports of the examples")
		}
	}
	for _, port := range ports {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			notRun(t, "port %s of the example is taken: %v", port, err)
		}
		l.Close()
	}
}

// change is what the comments of the translation leave to the operator.
func (m *moved) change(t *testing.T, oldnew ...string) {
	t.Helper()
	text, err := os.ReadFile(m.config)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, m.config, []byte(substitute(t, string(text), oldnew...)))
}

// secret reads a file that the program has written.
func (m *moved) secret(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.secrets, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

var catalogueKnown = regexp.MustCompile(`(?m)^mcp_forward_auth_catalogue_known\{.*\} 1$`)

// serve runs the service with the result, once check-config takes it, and waits until
// the tools of the MCP server are known.
func (m *moved) serve(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(serviceBinary(t), "check-config", "--config", m.config).CombinedOutput(); err != nil {
		t.Fatalf("check-config: %v\n%s", err, out)
	}
	m.service = start(t, "mcp-forward-auth", nil, serviceBinary(t), "serve", "--config", m.config)
	m.service.waitHTTP(t, "http://"+managementOfExamples+"/readyz", http.StatusOK)
	waitFor(t, "the tools of the MCP server", func() bool {
		_, metrics := do(t, http.MethodGet, "http://"+managementOfExamples+"/metrics", nil)
		return catalogueKnown.Match(metrics)
	})
}

// refuses: without a credential there is a challenge that says where to sign in, and
// with a wrong one too.
func (m *moved) refuses(t *testing.T, target string) {
	t.Helper()
	for _, header := range [][]string{nil, {"Authorization", "Bearer x"}} {
		resp, _ := do(t, http.MethodPost, target, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), append(header, "Content-Type", "application/json")...)
		mustEqual(t, "status of "+strings.Join(header, ": "), resp.StatusCode, http.StatusUnauthorized)
		if c := oneChallenge(t, resp); !strings.Contains(c, "resource_metadata=") {
			t.Errorf("challenge %s", c)
		}
	}
}

// says waits until the audit log has the reason.
func (m *moved) says(t *testing.T, reason string) {
	t.Helper()
	waitFor(t, reason+" in the audit log", func() bool { return strings.Contains(m.service.out.String(), `"reason":"`+reason+`"`) })
}

// callText calls a tool and returns its text.
func callText(t *testing.T, session *mcp.ClientSession, tool string, arguments any) string {
	t.Helper()
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil || res.IsError || len(res.Content) == 0 {
		t.Fatalf("%s: %v %+v", tool, err, res)
	}
	return res.Content[0].(*mcp.TextContent).Text
}

// echoes calls echo of server-everything.
func echoes(t *testing.T, session *mcp.ClientSession) {
	t.Helper()
	mustEqual(t, "answer of echo", callText(t, session, "echo", map[string]any{"message": "moved in"}), "Echo: moved in")
}

// startEverything runs server-everything over transport at port.
func startEverything(t *testing.T, transport, port string) {
	t.Helper()
	start(t, "server-everything", []string{"PORT=" + port}, node(t),
		filepath.Join(drivers, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js"), transport).waitTCP(t, "127.0.0.1:"+port)
}

// startEcho runs a FastMCP server with the tools echo_tool and headers.
func startEcho(t *testing.T, transport, port, path string) {
	t.Helper()
	start(t, "FastMCP", nil, python(t), filepath.Join(drivers, "echo-server.py"), transport, port, path).waitTCP(t, "127.0.0.1:"+port)
}

// httpsTo runs nginx with TLS for a host, as the examples have a gateway of their own
// before them, and has clients find it by that name. locations are those of its one
// server.
func httpsTo(t *testing.T, host, locations string) (address, certificate string) {
	t.Helper()
	dir := t.TempDir()
	roots := selfSigned(t, dir, []string{host})
	address, certificate = "127.0.0.1:"+freePorts(t, 1)[0], filepath.Join(dir, "tls.crt")
	startConfD(t, program(t, "nginx", "/usr/sbin/nginx"), "server {\n  listen "+address+" ssl;\n  server_name "+host+";\n  ssl_certificate "+certificate+
		";\n  ssl_certificate_key "+filepath.Join(dir, "tls.key")+";\n"+locations+"}\n").waitTCP(t, address)
	everythingTo(t, address, roots)
	return address, certificate
}

// relayTo is the location of a gateway that only ends TLS.
const relayTo = `  location / {
    proxy_pass http://127.0.0.1:8081;
    proxy_set_header Host $host;
    proxy_http_version 1.1;
    proxy_buffering off;
  }
`

// asking are the locations of a gateway that asks the service, as ingress-nginx makes them.
func asking(t *testing.T, service, server string) string {
	t.Helper()
	var locations bytes.Buffer
	route := nginxRoute{Service: service, Path: "/mcp", MCP: server, AuthHost: "auth.mcp.svc.cluster.local"}
	if err := nginxConf.ExecuteTemplate(&locations, "locations", route); err != nil {
		t.Fatal(err)
	}
	return locations.String()
}

// The values of matheuscscp/mcp-oauth2-proxy: an nginx like that of ingress-nginx asks,
// the MCP server declares its scopes in tools/list, and people of one domain come in.
func movesFromMCPOAuth2Proxy(t *testing.T) {
	m := migrated(t, []string{"8080"}, "mcp-oauth2-proxy", "values.yaml")
	notes := startMCP(t, true)
	issuer := startOIDC(t, []string{
		"CLIENT_ID=1234567890-dq9048dt1kjlrmlevevcdb5vb0snc8hd.apps.googleusercontent.com", "CLIENT_SECRET=" + m.secret(t, "client-secret"), "ALICE=alice@my-org.com",
	}, "https://mcp.example.com/callback")
	m.change(t, "name: google", "name: oidc\n  issuerURL: "+issuer, "http://mcp.mcp-ns.svc.cluster.local./mcp", notes.direct.URL+"/mcp")
	httpsTo(t, "mcp.example.com", asking(t, "127.0.0.1:8080", notes.address()))
	m.serve(t)

	const target = "https://mcp.example.com/mcp"
	m.refuses(t, target)
	session := connectGoSDK(t, target, modern, alice)
	who := whoami(t, session)
	mustEqual(t, "X-Auth-Request-Email", who.Email, "alice@my-org.com")
	mustCall(t, session, "write_note")
	m.refusesBob(t, target)
	reader := alice
	reader.keep = func(scope string) bool { return scope != scopeWrite }
	g, a := signIn(t, target, reader)
	if !slices.Contains(a.visitor.offered, scopeWrite) {
		t.Errorf("the consent page offered %q", a.visitor.offered)
	}
	resp, _ := callTool(t, target, "write_note", g)
	mustEqual(t, "status of a tool that was not agreed to", resp.StatusCode, http.StatusUnauthorized)
}

// refusesBob: his domain is not that of the example, and he is told so.
func (m *moved) refusesBob(t *testing.T, target string) {
	t.Helper()
	session, _, err := tryGoSDK(t, target, modern, visitor{username: "bob", password: "bob-password"})
	if err == nil {
		session.Close()
		t.Error("Bob signed in")
	}
	m.says(t, "email_domain_not_allowed")
}

// obot's `docker run` before an MCP server that acts at the provider: it gets the four
// headers, and the token in the last one is the provider's.
func movesFromObot(t *testing.T) {
	m := migrated(t, []string{"8080", "9000"}, "obot", "readme-docker.sh", "--url", "http://localhost:8080/mcp/gmail")
	startEcho(t, "http", "9000", "/mcp/gmail")
	issuer := startOIDC(t, []string{
		"CLIENT_ID=1234567890-gmail.apps.googleusercontent.com", "CLIENT_SECRET=" + m.secret(t, "client-secret"),
		"SCOPES=https://www.googleapis.com/auth/gmail.readonly",
	}, "http://localhost:8080/callback")
	m.change(t, "name: google", "name: oidc\n  issuerURL: "+issuer, `example\.invalid`, `example\.com`)
	m.serve(t)

	const target = "http://localhost:8080/mcp/gmail"
	m.refuses(t, target)
	session := connectGoSDK(t, target, modern, alice)
	mustEqual(t, "answer of echo_tool", callText(t, session, "echo_tool", map[string]any{"message": "hello"}), "Tool echo: hello")
	var seen map[string]string
	if err := json.Unmarshal([]byte(callText(t, session, "headers", nil)), &seen); err != nil {
		t.Fatal(err)
	}
	if user := seen["x-forwarded-user"]; !strings.HasSuffix(user, ":u-1001") {
		t.Errorf("X-Forwarded-User is %q", user)
	}
	mustEqual(t, "X-Forwarded-Email", seen["x-forwarded-email"], "alice@example.com")
	mustEqual(t, "X-Forwarded-Name", seen["x-forwarded-name"], "Alice Example")
	mustEqual(t, "Authorization", seen["authorization"], "")
	resp, text := do(t, http.MethodGet, issuer+"/me", nil, "Authorization", "Bearer "+seen["x-forwarded-access-token"])
	if resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"u-1001"`)) {
		t.Errorf("the provider says to X-Forwarded-Access-Token: %s %s", resp.Status, text)
	}
	m.refusesBob(t, target)
}

// obot with variables and DATABASE_DSN: what must happen once is in PostgreSQL.
func movesFromObotWithPostgreSQL(t *testing.T) {
	m := migrated(t, []string{"8080", "3000"}, "obot", "readme.env", "--url", "http://localhost:8080/mcp", "--email-domain", "example.com")
	startEverything(t, "streamableHttp", "3000")
	issuer := startOIDC(t, []string{"CLIENT_ID=11111111-aaaa-bbbb-cccc-222222222222", "CLIENT_SECRET=" + m.secret(t, "client-secret"), "SCOPES=User.Read Mail.Read"}, "http://localhost:8080/callback")
	db := startPostgres(t)
	db.sql(t, "CREATE ROLE oauth_user LOGIN PASSWORD 'oauth_password'")
	db.sql(t, "CREATE DATABASE oauth_proxy OWNER oauth_user")
	dsn := filepath.Join(m.secrets, "postgres-url")
	mustWrite(t, dsn, []byte(substitute(t, m.secret(t, "postgres-url"), "@postgres:5432/", "@127.0.0.1:"+db.port+"/", "sslmode=verify-full", "sslmode=disable")))
	m.change(t, "name: microsoft", "name: oidc\n  issuerURL: "+issuer, "  tenants: [00000000-0000-0000-0000-000000000000]\n", "")
	m.serve(t)

	const target = "http://localhost:8080/mcp"
	m.refuses(t, target)
	echoes(t, connectGoSDK(t, target, legacy, alice))
	_, a := signIn(t, target, alice)
	if again := a.redeem(t); again.Error != "invalid_grant" {
		t.Errorf("a code redeemed twice: %d %s", again.status, again.Error)
	}
	if n := db.countIn(t, "oauth_proxy", "SELECT count(*) FROM pg_tables WHERE tableowner = 'oauth_user'"); n == 0 {
		t.Error("nothing is in the database")
	}
}

// issuerOfWSO2 runs the authorization server whose tokens are for the audience that
// WSO2's examples name, with scopes besides.
func issuerOfWSO2(t *testing.T, scopes string) (issuer string) {
	t.Helper()
	return startAuthorizationServer(t, "jwt", "AUDIENCE=2xGW_poFYoObUE_vUQxvGdPSUPwa", "SCOPES="+scopes)
}

// WSO2's README with Asgardeo, before a server that speaks HTTP+SSE.
func movesFromWSO2(t *testing.T) {
	m := migrated(t, []string{"8080", "8000"}, "wso2", "asgardeo.yaml")
	startEcho(t, "sse", "8000", "/sse")
	issuer := issuerOfWSO2(t, "")
	m.change(t, "https://api.asgardeo.io/t/acme/oauth2/token", issuer, "https://api.asgardeo.io/t/acme/oauth2/jwks", issuer+"/jwks")
	m.serve(t)
	m.refuses(t, "http://localhost:8080/sse")
	byPython(t, "http://localhost:8080/sse", nil, "echo_tool", hello, "Tool echo: hello")
}

// byPython has the Python SDK sign in at the authorization server and call a tool, over
// HTTP+SSE where the target is a stream of that.
func byPython(t *testing.T, target string, env []string, tool, arguments, answer string) servedReport {
	t.Helper()
	p := newPerson(t, "")
	p.agrees = true
	got := reportedIn(t, p, env, python(t), filepath.Join(drivers, "sdk-client.py"), target, tool, arguments)
	if !strings.Contains(got.Echo, answer) || got.Error != "" {
		t.Errorf("%s answered %q, %s", tool, got.Echo, got.Error)
	}
	mustEqual(t, "number of sign-ins", len(p.asked()), 1)
	return got
}

// The config.yaml that WSO2's README starts with --demo: the tool wants a scope.
func movesFromWSO2WithScopes(t *testing.T) {
	m := migrated(t, []string{"8080", "8000"}, "wso2", "config.yaml")
	startEcho(t, "sse", "8000", "/sse")
	issuer := issuerOfWSO2(t, "mcp_init mcp_echo_tool")
	m.change(t, "https://api.asgardeo.io/t/openmcpauthdemo/oauth2/token", issuer, "https://api.asgardeo.io/t/openmcpauthdemo/oauth2/jwks", issuer+"/jwks")
	m.serve(t)
	m.refuses(t, "http://localhost:8080/sse")
	got := byPython(t, "http://localhost:8080/sse", nil, "echo_tool", hello, "Tool echo: hello")
	if !slices.Contains(got.Before, "echo_tool") {
		t.Errorf("the client sees %q", got.Before)
	}
	token := tokenAt(t, issuer, "http://localhost:8080", "mcp_init")
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e-go", Version: "1.0.0"}, nil).Connect(t.Context(), &mcp.SSEClientTransport{
		Endpoint: "http://localhost:8080/sse", HTTPClient: &http.Client{Transport: withHeader{"Authorization", "Bearer " + token}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo_tool", Arguments: map[string]any{"message": "hello"}}); err == nil {
		t.Error("the tool answers without its scope")
	}
	m.says(t, "insufficient_scope")
}

// tokenAt has alice sign in at the authorization server for a token with scope alone.
func tokenAt(t *testing.T, issuer, resource, scope string) string {
	t.Helper()
	_, registered := do(t, http.MethodPost, issuer+"/reg", strings.NewReader(`{"redirect_uris":["`+redirectURI+`"],"token_endpoint_auth_method":"none"}`), "Content-Type", "application/json")
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal(registered, &client); err != nil {
		t.Fatalf("%s: %v", registered, err)
	}
	c := oauth2.Config{ClientID: client.ID, RedirectURL: redirectURI, Scopes: []string{scope}, Endpoint: oauth2.Endpoint{AuthURL: issuer + "/auth", TokenURL: issuer + "/token", AuthStyle: oauth2.AuthStyleInParams}}
	verifier, named := oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("resource", resource)
	person := alice
	answer, err := person.walk(t, c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier), named), redirectURI)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier), named)
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// bridgeOfReport is the command that the report asks the operator to start.
var bridgeOfReport = regexp.MustCompile(`(?m)mcp-forward-auth (bridge .*)$`)

// bridge starts what the report asks for, with server-everything of npm instead of
// another server, and variables.
func (m *moved) bridge(t *testing.T, server string, env []string) {
	t.Helper()
	found := bridgeOfReport.FindStringSubmatch(m.report)
	if found == nil {
		t.Fatalf("the report names no bridge:\n%s", m.report)
	}
	args := strings.Fields(substitute(t, found[1], server, "@modelcontextprotocol/server-everything"))
	program(t, "npx")
	// npx finds what is installed in that directory, and fetches nothing.
	bridge := start(t, "bridge", env, serviceBinary(t), slices.Insert(args, 1, "--dir", drivers)...)
	bridge.waitHTTP(t, "http://127.0.0.1:3000/readyz", http.StatusOK)
}

// WSO2's stdio mode, with the command of another server from npm: the bridge starts
// it, as the report says.
func movesFromWSO2WithStdio(t *testing.T) {
	m := migrated(t, []string{"8080", "3000"}, "wso2", "stdio.yaml")
	issuer := startAuthorizationServer(t, "jwt", "SCOPES=github")
	m.change(t, "https://login.example.com/realms/corp", issuer)
	m.bridge(t, "@modelcontextprotocol/server-github", strings.Fields(m.secret(t, "bridge.env")))
	m.serve(t)

	const target = "http://localhost:8080/mcp"
	m.refuses(t, target)
	byPython(t, target, nil, "get-env", "{}", `"GITHUB_PERSONAL_ACCESS_TOKEN": "gitPAT"`)
}

// mcp-framework with OAuth and the keys of the authorization server.
func movesFromFramework(t *testing.T) {
	m := migrated(t, []string{"8080", "8081"}, "mcp-framework", "jwt.json")
	startEverything(t, "streamableHttp", "8080")
	issuer := startAuthorizationServer(t, "jwt", "AUDIENCE=https://mcp.example.com", "JWKS_PATH=/.well-known/jwks.json")
	m.change(t, "https://auth.example.com", issuer)
	address, certificate := httpsTo(t, "mcp.example.com", relayTo)
	m.serve(t)
	m.refuses(t, "https://mcp.example.com/mcp")
	byPython(t, "https://mcp.example.com/mcp", named(t, address, certificate), "echo", hello, "Echo: hello")
}

// mcp-framework with introspection, of opaque tokens, before a server of HTTP+SSE.
func movesFromFrameworkWithIntrospection(t *testing.T) {
	m := migrated(t, []string{"8080", "8081"}, "mcp-framework", "introspection.json")
	startEverything(t, "sse", "8080")
	issuer := startAuthorizationServer(t, "opaque", "AUDIENCE=https://mcp.example.com", "INTROSPECTION_PATH=/oauth/introspect",
		"CLIENT_ID=mcp-server", "CLIENT_SECRET="+m.secret(t, "introspection-secret"))
	m.change(t, "https://auth.example.com", issuer)
	address, certificate := httpsTo(t, "mcp.example.com", relayTo)
	m.serve(t)
	m.refuses(t, "https://mcp.example.com/sse")
	byPython(t, "https://mcp.example.com/sse", named(t, address, certificate), "echo", hello, "Echo: hello")
}

// hello is what the tools echo.
const hello = `{"message": "hello"}`

// named are the variables by which programs in other languages than Go find the names
// of an example at address, and trust its certificate.
func named(t *testing.T, address, certificate string) []string {
	return []string{"HTTPS_PROXY=" + tunnelTo(t, address), "SSL_CERT_FILE=" + certificate}
}

// tunnelTo is a proxy for https whose every tunnel leads to address.
func tunnelTo(t *testing.T, address string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		to, err := dial(t, address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = to.SetDeadline(time.Time{})
		_, _ = from.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		go func() { _, _ = buffered.WriteTo(to); to.Close() }()
		_, _ = to.(*net.TCPConn).WriteTo(from)
		from.Close()
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// mcp-framework with API keys, over HTTP+SSE: the new key opens, and the old one does not.
func movesFromFrameworkWithKeys(t *testing.T) {
	m := migrated(t, []string{"8080", "8081"}, "mcp-framework", "apikey.json", "--url", "https://mcp.example.com")
	startEverything(t, "sse", "8080")
	httpsTo(t, "mcp.example.com", relayTo)
	m.serve(t)
	connect := func(key string) (*mcp.ClientSession, error) {
		return mcp.NewClient(&mcp.Implementation{Name: "e2e-go", Version: "1.0.0"}, nil).Connect(t.Context(), &mcp.SSEClientTransport{
			Endpoint: "https://mcp.example.com/sse", HTTPClient: &http.Client{Transport: withHeader{"X-API-Key", key}},
		}, nil)
	}
	session, err := connect(m.secret(t, "migrated-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	echoes(t, session)
	if _, err := connect("an-old-key-of-the-framework"); err == nil {
		t.Error("the old key opens")
	}
}

// oauth2-proxy's command for Keycloak: an nginx asks, and people of the groups come in.
func movesFromOAuth2Proxy(t *testing.T) {
	port := freePorts(t, 1)[0]
	m := migrated(t, []string{"4180"}, "oauth2-proxy", "keycloak.sh", "--server", "http://127.0.0.1:"+port+"/mcp")
	startEverything(t, "streamableHttp", port)
	issuer := startOIDC(t, []string{"CLIENT_ID=mcp", "CLIENT_SECRET=" + m.secret(t, "client-secret"), "ALICE=alice@yourcompany.com", "ALICE_GROUPS=/engineers /others"},
		"https://internal.yourcompany.com/callback")
	m.change(t, "https://keycloak.yourcompany.com/realms/corp", issuer)
	httpsTo(t, "internal.yourcompany.com", asking(t, "127.0.0.1:4180", "127.0.0.1:"+port))
	m.serve(t)
	const target = "https://internal.yourcompany.com/mcp"
	m.refuses(t, target)
	echoes(t, connectGoSDK(t, target, legacy, alice))
	m.refusesBob(t, target)
}

// sigbit/mcp-auth-proxy's README: one program with a certificate by ACME, a password,
// and a server that speaks stdio, which the bridge starts.
func movesFromMCPAuthProxy(t *testing.T) {
	m := migrated(t, []string{"3000"}, "mcp-auth-proxy", "readme.sh")
	a := startPebble(t)
	m.change(t, ":443", "127.0.0.1:"+a.tlsPort, "redirect: :80", "redirect: 127.0.0.1:"+a.httpPort,
		"agreeToTerms: true", "agreeToTerms: true\n    directoryURL: "+a.directory+"\n    caFile: "+a.caFile)
	m.bridge(t, "@modelcontextprotocol/server-filesystem ./", nil)
	m.serve(t)
	everythingTo(t, "127.0.0.1:"+a.tlsPort, a.roots)
	const target = "https://mcp.example.com/mcp"
	waitFor(t, "the certificate", func() bool {
		resp, err := browser.Get(target)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	m.refuses(t, target)
	echoes(t, connectGoSDK(t, target, legacy, visitor{username: "admin", password: "changeme"}))
	if _, _, err := tryGoSDK(t, target, legacy, visitor{username: "admin", password: "changeyou"}); err == nil {
		t.Error("another password opens")
	}
}

// withHeader adds a header to every request.
type withHeader struct{ name, value string }

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return http.DefaultTransport.RoundTrip(r)
}
