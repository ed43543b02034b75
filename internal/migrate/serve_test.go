package migrate_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/migrate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// toolServer is an MCP server with one tool, over streamable HTTP at /mcp and
// HTTP+SSE at /sse. It remembers the headers of the last call.
type toolServer struct {
	*httptest.Server
	mu   sync.Mutex
	last http.Header
}

func newToolServer(t *testing.T) *toolServer {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "echo_tool"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Text string `json:"text"`
	}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	get := func(*http.Request) *mcp.Server { return server }
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(get, nil))
	mux.Handle("/sse", mcp.NewSSEHandler(get, nil))
	s := new(toolServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-User") != "" || r.Header.Get("X-Auth-Request-User") != "" {
			s.mu.Lock()
			s.last = r.Header.Clone()
			s.mu.Unlock()
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *toolServer) header(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Get(name)
}

// bearing adds a header to every request, as a client that has a credential does.
type bearing struct {
	next        http.RoundTripper
	name, value string
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(b.name, b.value)
	return b.next.RoundTrip(r)
}

// callTool calls the tool as a client with this credential, over the transport.
func callTool(t *testing.T, s *servertest.Service, sse bool, name, value string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: bearing{s.Client().Transport, name, value}}
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: "https://" + servertest.Host + "/mcp", HTTPClient: client, MaxRetries: -1}
	if sse {
		transport = &mcp.SSEClientTransport{Endpoint: "https://" + servertest.Host + "/sse", HTTPClient: client}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil).Connect(ctx, transport, nil)
	if err != nil {
		return "", err
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo_tool", Arguments: map[string]any{"text": "moved in"}})
	if err != nil {
		return "", err
	}
	return result.Content[0].(*mcp.TextContent).Text, nil
}

func mustCall(t *testing.T, s *servertest.Service, sse bool, name, value string) {
	t.Helper()
	if got, err := callTool(t, s, sse, name, value); err != nil || got != "moved in" {
		t.Errorf("%q, %v", got, err)
	}
}

func mustNotCall(t *testing.T, s *servertest.Service, sse bool, name, value string) {
	t.Helper()
	if got, err := callTool(t, s, sse, name, value); err == nil {
		t.Errorf("a wrong credential called the tool: %q", got)
	}
}

// moved translates an example, with addresses of this test in place of its own,
// and runs the service with the result.
func moved(t *testing.T, kind, file string, r migrate.Request, replace ...string) (*servertest.Service, *migrate.Result) {
	t.Helper()
	r = request(t, kind, file, r)
	for i := range r.Files {
		r.Files[i].Text = []byte(strings.NewReplacer(replace...).Replace(string(r.Files[i].Text)))
	}
	result, err := migrate.Translate(r)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, s := range result.Secrets {
		files[s.Path] = s.Value.Reveal()
	}
	s := servertest.Start(t, servertest.Options{Text: result.Plain(), Files: files})
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.Log.String(), "MCP server lists its tools"); time.Sleep(20 * time.Millisecond) {
		s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource")
		if time.Now().After(deadline) {
			t.Fatal("the MCP server's tools never come")
		}
	}
	return s, result
}

// The example of obot's README, with another provider than Google: a person signs in,
// and the MCP server gets the four headers that it had.
func TestObotServes(t *testing.T) {
	t.Parallel()
	tools, idp := newToolServer(t), oauthtest.NewOIDCProvider(t)
	idp.SignInAs(servertest.Member("jane"))
	s, _ := moved(t, "obot", "readme-docker.sh", migrate.Request{URL: servertest.Resource},
		"https://accounts.google.com", idp.URL, "http://localhost:9000/mcp/gmail", tools.URL, "GOCSPX-3f9Qm1vXw8Kd0aRz", oauthtest.ClientSecret, "1234567890-gmail.apps.googleusercontent.com", oauthtest.ClientID)
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser())
	mustCall(t, s, false, "Authorization", "Bearer "+token)
	for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Name", "X-Forwarded-Access-Token"} {
		if got := tools.header(name); got == "" || got == "-" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := tools.header("Authorization"); got != "" {
		t.Errorf("the client's token reached the MCP server: %q", got)
	}
	mustNotCall(t, s, false, "Authorization", "Bearer x")
}

// wso2's own config.yaml: HTTP+SSE, tokens of the authorization server for the
// audience that it names, and the scope of the one tool.
func TestWSO2Serves(t *testing.T) {
	t.Parallel()
	tools, as := newToolServer(t), oauthtest.NewIssuer(t)
	s, _ := moved(t, "wso2", "config.yaml", migrate.Request{URL: "https://" + servertest.Host + "/sse"},
		"http://localhost:8000", tools.URL, "https://api.asgardeo.io/t/openmcpauthdemo/oauth2/token", as.URL, "  jwks_uri: https://api.asgardeo.io/t/openmcpauthdemo/oauth2/jwks\n", "")
	const audience = "2xGW_poFYoObUE_vUQxvGdPSUPwa"
	token := func(audience, scope string) string {
		return "Bearer " + as.Token(as.Claims(audience, s.Clock.Now(), map[string]any{"scope": scope}), nil)
	}
	mustCall(t, s, true, "Authorization", token(audience, "mcp_init mcp_echo_tool"))
	mustNotCall(t, s, true, "Authorization", token(audience, "mcp_init"))
	mustNotCall(t, s, true, "Authorization", token("https://other.example.com", "mcp_init mcp_echo_tool"))
}

// mcp-framework's three examples: keys of the authorization server, introspection,
// and API keys.
func TestFrameworkServes(t *testing.T) {
	t.Parallel()
	port := func(s *toolServer) string { return s.URL[strings.LastIndexByte(s.URL, ':')+1:] }
	t.Run("JWKS", func(t *testing.T) {
		tools, as := newToolServer(t), oauthtest.NewIssuer(t)
		s, _ := moved(t, "mcp-framework", "jwt.json", migrate.Request{}, "8080", port(tools),
			"https://auth.example.com/.well-known/jwks.json", as.URL+"/keys", "https://auth.example.com", as.URL)
		token := func(audience string) string {
			return "Bearer " + as.Token(as.Claims(audience, s.Clock.Now(), nil), nil)
		}
		mustCall(t, s, false, "Authorization", token("https://mcp.example.com"))
		mustNotCall(t, s, false, "Authorization", token("https://other.example.com"))
	})
	t.Run("introspection", func(t *testing.T) {
		tools := newToolServer(t)
		as := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, secret, _ := r.BasicAuth()
			said := map[string]any{"active": false}
			if token := r.PostFormValue("token"); id == "mcp-server" && secret == "u8Kd0aRz3f9Qm1vXw" && strings.HasPrefix(token, "opaque") {
				audience := map[string]string{"opaque-good": "https://mcp.example.com", "opaque-other": "https://other.example.com"}[token]
				said = map[string]any{"active": true, "sub": "jane", "client_id": "editor", "aud": audience, "exp": time.Now().Add(time.Hour).Unix()}
			}
			_ = json.NewEncoder(w).Encode(said)
		}))
		t.Cleanup(as.Close)
		s, _ := moved(t, "mcp-framework", "introspection.json", migrate.Request{Server: tools.URL + "/sse"}, "https://auth.example.com", as.URL)
		mustCall(t, s, true, "Authorization", "Bearer opaque-good")
		mustNotCall(t, s, true, "Authorization", "Bearer opaque-other")
		mustNotCall(t, s, true, "Authorization", "Bearer unknown")
	})
	t.Run("API key", func(t *testing.T) {
		tools := newToolServer(t)
		s, result := moved(t, "mcp-framework", "apikey.json", migrate.Request{URL: "https://" + servertest.Host, Server: tools.URL + "/sse"})
		mustCall(t, s, true, "X-API-Key", result.Secrets[0].Value.Reveal())
		mustNotCall(t, s, true, "X-API-Key", "an-old-key-of-the-framework")
	})
}

// sigbit's README, with a URL in place of the command that a bridge would start:
// the password opens the door, for the user name that the report tells.
func TestMCPAuthProxyServes(t *testing.T) {
	t.Parallel()
	tools := newToolServer(t)
	s, _ := moved(t, "mcp-auth-proxy", "readme.sh", migrate.Request{}, "--tls-accept-tos", "--no-auto-tls", "npx -y @modelcontextprotocol/server-filesystem ./", tools.URL+"/mcp")
	b := s.NewBrowser()
	b.Username, b.Password = "admin", "changeme"
	token := s.NewClient(t, servertest.Host, nil).AccessToken(t, b)
	mustCall(t, s, false, "Authorization", "Bearer "+token)
}
