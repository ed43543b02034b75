package mcpauth_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/mcpauth"
)

var update = flag.Bool("update", false, "write testdata/api.txt")

// configuration of an MCP server in the program, for scripts with a key.
func configuration(t *testing.T, edit func(string) string) (path, key string) {
	t.Helper()
	key, hash := apikey.NewKey()
	text := fmt.Sprintf(`
provider: {name: oidc, issuerURL: https://id.example.com, clientID: mcp, clientSecretFile: secret}
proxy:
  hosts:
    - host: mcp.example.com
      endpoint: http://in-process/mcp
      serve: {enabled: true}
      toolPolicy: strict
      apiKeys: {enabled: true}
      scopes:
        - {name: read, tools: [whoami, count]}
        - {name: write, tools: [delete]}
apiKeys:
  keys:
    - {name: nightly, hashes: [%q], scopes: [read], groups: [robots, "ä %%"], neverExpires: true}
keys: {source: seed, seedFiles: [seed]}
`, hash)
	if edit != nil {
		text = edit(text)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"config.yaml": text, "secret": "secret-of-the-provider", "seed": "fp9Rk2VwbqJ7x0cTn5LdY8sGmHuZ1eQa3oXiWv6K"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.yaml"), key
}

type with struct{ key string }

func (w with) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "mcp.example.com"
	if w.key != "" {
		r.Header.Set("Authorization", "Bearer "+w.key)
	}
	r.Header.Set("X-Auth-Request-User", "forged")
	r.Header.Set("X-Auth-In-Process-Scope", "write")
	return http.DefaultTransport.RoundTrip(r)
}

// server is an MCP server that says what it was told.
func server(seen *http.Header) http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "hello", Version: "1"}, nil)
	for _, name := range []string{"whoami", "count", "delete"} {
		mcp.AddTool(s, &mcp.Tool{Name: name}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			text := fmt.Sprint(r.Extra.TokenInfo.UserID, " ", r.Extra.TokenInfo.Scopes)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
		})
	}
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, DisableLocalhostProtection: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := mcpauth.FromContext(r.Context()); ok {
			*seen = r.Header.Clone()
			seen.Set("Principal", fmt.Sprintf("%s %q %q", p.Subject, p.Groups, p.Scopes))
		}
		h.ServeHTTP(w, r)
	})
}

func start(t *testing.T, path string, next http.Handler) (url string) {
	t.Helper()
	a, err := mcpauth.Open(mcpauth.Options{Config: path, Logger: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	public := httptest.NewServer(a.Middleware(next))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		public.Close()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("it does not stop")
		}
	})
	return public.URL
}

func TestMiddleware(t *testing.T) {
	path, key := configuration(t, nil)
	var seen http.Header
	url := start(t, path, server(&seen))

	c := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url + "/mcp", HTTPClient: &http.Client{Transport: with{key}}, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"count", "whoami"}) {
		t.Errorf("the key sees %q", names)
	}
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Content[0].(*mcp.TextContent).Text; !strings.Contains(got, "nightly [read]") {
		t.Errorf("the SDK was told %q", got)
	}
	if got := seen.Get("Principal"); !strings.Contains(got, `nightly ["robots" "ä %"] ["read"]`) {
		t.Errorf("the handler was told %q", got)
	}
	for name := range seen {
		if name == "Authorization" || strings.HasPrefix(name, "X-Auth-") {
			t.Errorf("the handler got %s: %q", name, seen[name])
		}
	}
	if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete"}); err == nil {
		t.Error("the key may delete")
	}
}

// Without a token there is a challenge, and the endpoints of OAuth answer.
func TestChallenge(t *testing.T) {
	path, _ := configuration(t, nil)
	url := start(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := mcpauth.FromContext(r.Context()); ok { // the service itself lists the tools
			t.Errorf("the handler was asked for %v", p)
		}
		http.NotFound(w, r)
	}))
	client := &http.Client{Transport: with{}}
	for at, want := range map[string]int{"/mcp": 401, "/.well-known/oauth-protected-resource/mcp": 200, "/.well-known/oauth-authorization-server": 200, "/openid/v1/jwks": 200, "/else": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+at, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || want == 401 && !strings.Contains(resp.Header.Get("WWW-Authenticate"), "resource_metadata=") {
			t.Errorf("%s: %d %q", at, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(string) string
		says string
	}{
		"not served":      {func(s string) string { return strings.Replace(s, "serve: {enabled: true}", "", 1) }, "set serve.enabled"},
		"nothing is here": {func(s string) string { return strings.Replace(s, "in-process", "elsewhere.example", 1) }, "no entry of proxy.hosts leads to this program"},
		"mistakes":        {func(s string) string { return strings.ReplaceAll(s, "name: oidc", "name: odic") }, "provider.name"},
	} {
		path, _ := configuration(t, tt.edit)
		if _, err := mcpauth.Open(mcpauth.Options{Config: path}); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mcpauth.Open(mcpauth.Options{Config: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a file that is not there is opened")
	}
}

// What a program can use of this package is frozen: a line that changes or goes breaks
// programs, and one that comes has to stay.
func TestAPI(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "mcpauth.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := doc.NewFromFiles(fset, []*ast.File{file}, "github.com/mcp-forward-auth/mcp-forward-auth/mcpauth")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	show := func(n ast.Node) {
		if err := printer.Fprint(&b, fset, n); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	for _, f := range pkg.Funcs {
		show(&ast.FuncDecl{Name: f.Decl.Name, Type: f.Decl.Type})
	}
	for _, c := range pkg.Consts {
		show(&ast.GenDecl{Tok: c.Decl.Tok, Specs: c.Decl.Specs})
	}
	for _, typ := range pkg.Types {
		show(typ.Decl)
		for _, f := range append(typ.Funcs, typ.Methods...) {
			show(&ast.FuncDecl{Recv: f.Decl.Recv, Name: f.Decl.Name, Type: f.Decl.Type})
		}
	}
	golden := filepath.Join("testdata", "api.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%v: it is now\n%s", err, &b)
	}
}
