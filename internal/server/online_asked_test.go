package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
)

// The keys of a transmitter of security events are read, too.
func TestOnlineStream(t *testing.T) {
	keys := oauthtest.NewIssuer(t)
	cfg := &config.Config{}
	for _, address := range []string{keys.URL + "/keys", keys.URL + "/no-such"} {
		cfg.SecurityEvents = append(cfg.SecurityEvents, ssf.Stream{StreamFile: ssf.StreamFile{Issuer: keys.URL, JWKSURL: address}})
	}
	found := Online(t.Context(), cfg, nil)
	if len(found) != 2 || !found[0].OK || found[0].Path != "securityEvents.streams[0]" || found[1].OK || !strings.Contains(found[1].Said, "404") {
		t.Errorf("%+v", found)
	}
}

// What check-config --online says of servers that are asked about credentials, and of
// the collector: by their keys, OK or what is wrong.
func TestOnlineAsked(t *testing.T) {
	keys := oauthtest.NewIssuer(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	answers := func(status int, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return s
	}
	knows := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id != "us" || secret != "right" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"active": %t}`, !strings.HasPrefix(r.FormValue("token"), "check-config-"))
	}))
	t.Cleanup(knows.Close)
	takesTraces := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			w.WriteHeader(http.StatusNotFound)
		} else if r.Header.Get("X-Key") != "of-the-collector" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(takesTraces.Close)
	private := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(private.Close)
	grpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { grpc.Close() })
	go func() {
		for {
			conn, err := grpc.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(conn))                                                // what it is does not matter
			io.WriteString(conn, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00\n") // SETTINGS of HTTP/2
			conn.Close()
		}
	}()
	header := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(header, []byte("X-Key: of-the-collector\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	introspected := func(endpoint, secret, tokens string) string {
		return fmt.Sprintf(", authorizationServers: [{issuer: %q, introspection: {endpoint: %q, tokens: %s, clientID: us, clientSecret: %q}}]", keys.URL, endpoint, tokens, secret)
	}
	hook := func(address string) string {
		return fmt.Sprintf("apiKeys: {webhook: {url: %q, prefixes: ['ok1-']}}\n", address)
	}
	collector := func(address string) string { return fmt.Sprintf("tracing: {otlp: {endpoint: %q}}\n", address) }
	const at, issuer, ofHook, ofTraces = "proxy.hosts[0].authorizationServers[0].introspection", "+proxy.hosts[0].authorizationServers[0]: keys", "apiKeys.webhook: ", "tracing.otlp: "
	for name, test := range map[string]struct {
		host, rest string
		want       []string // of each contact behind those of every configuration
	}{
		"introspection":                      {introspected(knows.URL, "right", "opaque"), "", []string{issuer, "+" + at + ": it knows this service"}},
		"introspection of all tokens":        {introspected(knows.URL, "right", "all"), "", []string{"+" + at + ": it knows this service"}},
		"a wrong secret":                     {introspected(knows.URL, "wrong", "all"), "", []string{"-" + at + ": refuses this service with status 401; check clientID, its secret or key"}},
		"everything is active":               {introspected(answers(200, `{"active": true}`).URL, "right", "all"), "", []string{"-" + at + ": never issued is active"}},
		"everything is active, for no one":   {introspected(answers(200, `{"active": true, "token_type": "mtls"}`).URL, "right", "all"), "", []string{"-" + at + ": never issued is active"}},
		"a page for introspection":           {introspected(answers(200, "<html>").URL, "right", "all"), "", []string{"-" + at + ": the introspection endpoint's answer"}},
		"no introspection endpoint":          {introspected(answers(404, "").URL, "right", "all"), "", []string{"-" + at + ": status 404"}},
		"introspection that does not run":    {introspected(closed.URL, "right", "all"), "", []string{"-" + at + ": see whether it runs"}},
		"introspection of a private CA":      {introspected(private.URL, "right", "all"), "", []string{"-" + at + ": name that in proxy.hosts[0].authorizationServers[0].caFile"}},
		"introspection without TLS":          {introspected(strings.Replace(knows.URL, "http:", "https:", 1), "right", "all"), "", []string{"-" + at + ": it does not speak TLS"}},
		"a webhook":                          {"", hook(answers(403, `{"allowed": false}`).URL), []string{"+" + ofHook + "refuses the key"}},
		"a webhook that allows":              {"", hook(answers(200, `{"allowed": true, "sub": "x"}`).URL), []string{"-" + ofHook + "allows a key that was never issued"}},
		"a webhook that refuses us":          {"", hook(answers(401, "").URL), []string{"-" + ofHook + "apiKeys.webhook.tokenFile"}},
		"a webhook that fails":               {"", hook(answers(500, "").URL), []string{"-" + ofHook + "status 500"}},
		"a webhook that does not run":        {"", hook(closed.URL), []string{"-" + ofHook + "see whether it runs"}},
		"a webhook at a name that is no one": {"", hook("https://no-such-name.invalid/"), []string{"-" + ofHook + "correct the host of the URL"}},
		"a collector":                        {"", "tracing: {otlp: {endpoint: '" + takesTraces.URL + "', headersFile: " + header + "}}\n", []string{"+" + ofTraces + "it accepts traces"}},
		"a collector that wants a key":       {"", collector(takesTraces.URL), []string{"-" + ofTraces + "see tracing.otlp.headersFile"}},
		"another path of the collector":      {"", collector(takesTraces.URL + "/v2"), []string{"-" + ofTraces + "mostly /v1/traces"}},
		"the collector's port for gRPC":      {"", collector("http://" + grpc.Addr().String()), []string{"-" + ofTraces + "4317 is for gRPC"}},
		"a collector that does not run":      {"", collector(closed.URL), []string{"-" + ofTraces + "see whether it runs"}},
		"a collector of a private CA":        {"", collector(private.URL), []string{"-" + ofTraces + "name that in tracing.otlp.caFile"}},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(test.rest, "apiKeys") {
				test.host += ", apiKeys: {enabled: true}"
			}
			text := fmt.Sprintf("provider: {name: static, users: [{username: jane, passwordHash: %q, email: jane@example.com}]}\nproxy: {hosts: [{host: '127.0.0.1:8970', scheme: http, endpoint: %q%s}]}\n%s",
				"$2a$10$zMhjRG5dUfn2fasBODR5i.xuXvHtpddYA8HLk2W8v7S3tSMP5KcCG", closed.URL+"/mcp", test.host, test.rest)
			cfg, err := config.Parse([]byte(text), os.ReadFile)
			if err != nil {
				t.Fatal(err)
			}
			found := Online(t.Context(), cfg, nil)[2:] // behind the endpoint and the name of the host
			if len(found) != len(test.want) {
				t.Fatalf("%d contacts: %+v", len(found), found)
			}
			for i, c := range found {
				path, said, _ := strings.Cut(test.want[i][1:], ": ")
				if c.OK != (test.want[i][0] == '+') || c.Path != path || !strings.Contains(c.Said, said) || c.Asked == "" {
					t.Errorf("%+v, want %s", c, test.want[i])
				}
				if strings.Contains(c.Said, "wrong") && strings.Contains(name, "secret") {
					t.Errorf("a secret is shown: %s", c.Said)
				}
			}
		})
	}
}
