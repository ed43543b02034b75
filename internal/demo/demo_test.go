package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
)

const callback = "http://127.0.0.1:1/callback"

// spoofer is a client that claims to be another user.
type spoofer struct{}

func (spoofer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for _, name := range []string{"X-Auth-Request-User", "x-auth-request-email", "X-Auth-Request-Groups"} {
		r.Header.Add(name, "mallory")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// person signs in as a user does who reads the pages: allow, user name, password.
func person(t *testing.T, password string) auth.AuthorizationCodeFetcher {
	return func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return nil, err
		}
		var back *url.URL
		browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), callback) {
				back = r.URL
				return http.ErrUseLastResponse
			}
			return nil
		}}
		page := func(resp *http.Response, err error) string {
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var b bytes.Buffer
			b.ReadFrom(resp.Body)
			return b.String()
		}
		base, err := url.Parse(args.URL)
		if err != nil {
			return nil, err
		}
		at := func(path string) string { return "http://" + base.Host + path }
		value := func(html, name string) string {
			m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(html)
			if m == nil {
				t.Fatalf("no %s in %s", name, html)
			}
			return m[1]
		}
		consent := page(browser.Get(args.URL))
		login := page(browser.PostForm(at("/consent"), url.Values{
			"request": {value(consent, "request")}, "decision": {"allow"}, "scope": {"notes:read", "profile"},
		}))
		page(browser.PostForm(at("/login"), url.Values{"state": {value(login, "state")}, "username": {"demo"}, "password": {password}}))
		if back == nil {
			t.Fatal("the browser was not sent back")
		}
		q := back.Query()
		return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
	}
}

// out gets the instructions.
type out struct {
	sync.Mutex
	bytes.Buffer
}

func (o *out) Write(p []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.Write(p)
}

func TestDemo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	o := new(out)
	go func() {
		done <- Run(ctx, Options{Address: address, Password: "demo password", Logger: slog.New(slog.DiscardHandler), Version: "test", Out: o, Network: nowhere})
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the demo ended with: %v", err)
		}
	}()
	endpoint := "http://" + address + "/mcp"
	for range 1000 {
		if resp, err := http.Get(endpoint); err == nil {
			resp.Body.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{ClientName: "go-sdk", RedirectURIs: []string{callback}}},
		RedirectURL:                     callback,
		AuthorizationCodeFetcher:        person(t, "demo password"),
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: endpoint, OAuthHandler: handler, HTTPClient: &http.Client{Transport: spoofer{}}, MaxRetries: -1, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil || len(tools.Tools) != 6 {
		t.Fatalf("%v %v", tools, err)
	}
	t.Run("RS-FWD-04 the tool sees the person, not what the client claims", func(t *testing.T) {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
		if err != nil || result.IsError {
			t.Fatalf("%+v %v", result, err)
		}
		text, err := json.Marshal(result.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "demo@example.com") || !strings.Contains(string(text), "engineering") || strings.Contains(string(text), "mallory") {
			t.Errorf("%s", text)
		}
	})
	t.Run("metadata documents are not announced where they cannot be fetched", func(t *testing.T) {
		resp, err := http.Get("http://" + address + "/.well-known/oauth-authorization-server")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var m map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m["issuer"] == nil || m["client_id_metadata_document_supported"] != nil {
			t.Errorf("%v %v", err, m)
		}
		o.Lock()
		defer o.Unlock()
		if !strings.Contains(o.String(), "register here instead") {
			t.Error("the instructions do not say so")
		}
	})
	t.Run("RS-ERR-01 nobody gets a challenge", func(t *testing.T) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := spoofer{}.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "http://"+address+"/.well-known/oauth-protected-resource/mcp") {
			t.Errorf("%d %q", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	})
}

// nowhere is a network that leads out of no computer.
var nowhere = egress.Network{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}}

// Where documents cannot be fetched clients are not told of them, and the person
// is told why; where they can, neither.
func TestProbe(t *testing.T) {
	err := probe(t.Context(), nowhere)
	if text := offline(err); err == nil || !strings.Contains(text, "no such host") || !strings.Contains(text, "register here instead") {
		t.Errorf("offline: %v %q", err, text)
	}
	internet := egresstest.New(t)
	internet.Site("claude.ai", http.NotFoundHandler())
	if err := probe(t.Context(), internet.Network()); err != nil || offline(err) != "" {
		t.Errorf("an answer is a way out: %v", err)
	}
	if n := len(internet.Dialed()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:8970", ":8970", "[::]:8970", "192.0.2.1:8970", "example.com:80", "nonsense"} {
		if err := Run(t.Context(), Options{Address: address, Logger: slog.New(slog.DiscardHandler), Out: new(out)}); err == nil {
			t.Errorf("it listened on %s", address)
		}
	}
}
