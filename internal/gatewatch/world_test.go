package gatewatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const host = "mcp.example.com"

var errRefused = errors.New("connection refused")

// gateway is a gateway in front of an MCP server, and the network before it. It
// is what the clients of a real one see.
type gateway struct {
	mu    sync.Mutex
	front http.HandlerFunc // nil for a network that is away
	asked atomic.Int64
}

func (g *gateway) set(front http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.front = front
}

func (g *gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	g.mu.Lock()
	front := g.front
	g.mu.Unlock()
	g.asked.Add(1)
	if front == nil {
		return nil, errRefused
	}
	r := httptest.NewRequestWithContext(req.Context(), req.Method, "http://"+host+"/", req.Body)
	r.URL, r.Host, r.Header, r.RequestURI = req.URL, req.Host, req.Header, req.URL.RequestURI()
	w := &response{header: http.Header{}, ready: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		front(w, r)
		w.WriteHeader(http.StatusOK)
	}()
	select {
	case status := <-w.ready:
		if w.stream() {
			return &http.Response{StatusCode: status, Header: w.header, Body: http.NoBody}, nil
		}
		<-ended
		return &http.Response{StatusCode: status, Header: w.header, Body: io.NopCloser(&w.body)}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

type response struct {
	header http.Header
	once   sync.Once
	ready  chan int
	body   bytes.Buffer
}

func (w *response) Header() http.Header    { return w.header }
func (w *response) WriteHeader(status int) { w.once.Do(func() { w.ready <- status }) }
func (w *response) stream() bool           { return w.header.Get("Content-Type") == "text/event-stream" }
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// mcpServer is an MCP server that anyone may use.
func mcpServer(w http.ResponseWriter, r *http.Request) {
	var message struct{ Method string }
	switch {
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		<-r.Context().Done()
	case r.Method == http.MethodDelete:
		http.Error(w, "no session", http.StatusBadRequest)
	case json.NewDecoder(r.Body).Decode(&message) == nil && message.Method == "initialize":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", "1")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"serverInfo":{"name":"notes"}}}`)
	default:
		http.Error(w, "what?", http.StatusBadRequest)
	}
}

// strictServer answers at its own path and at no other.
func strictServer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/mcp" {
		http.NotFound(w, r)
		return
	}
	mcpServer(w, r)
}

// service is the denial of this service.
func service(w http.ResponseWriter, r *http.Request) bool {
	challenge := fmt.Sprintf("Bearer scope=\"notes:read\", resource_metadata=\"https://%s/.well-known/oauth-protected-resource%s\"", host, r.URL.EscapedPath())
	if r.Header.Get("Authorization") != "" {
		challenge = strings.Replace(challenge, "Bearer ", `Bearer error="invalid_token", `, 1)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, `{"error":"unauthorized"}`)
	return false
}

// site is what a gateway is configured to do. Each field can be got wrong.
type site struct {
	ask    func(w http.ResponseWriter, r *http.Request) (pass bool) // the question to the service
	serves func(host string) bool
	ours   func(path string) bool // belongs to the MCP server
	public func(uri string) bool  // needs no token, and goes to the service
	past   func(r *http.Request) bool
	server http.HandlerFunc
}

func nameOf(h string) string {
	h, _, _ = strings.Cut(h, ":")
	return strings.TrimSuffix(strings.ToLower(h), ".")
}

// good is a gateway as the pages have it.
func good() *site {
	return &site{
		ask:    service,
		serves: func(h string) bool { return nameOf(h) == host },
		ours:   func(path string) bool { return path == "/mcp" || strings.HasPrefix(path, "/mcp/") },
		public: func(uri string) bool { return strings.HasPrefix(uri, "/.well-known/oauth-protected-resource") },
		past:   func(*http.Request) bool { return false },
		server: mcpServer,
	}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.past(r):
		s.server(w, r)
	case !s.serves(r.Host):
		http.Error(w, "no such site", http.StatusNotFound)
	case s.public(r.RequestURI):
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"resource":"https://mcp.example.com/mcp"}`)
	case !s.ours(r.URL.Path):
		http.NotFound(w, r)
	case s.ask(w, r):
		s.server(w, r)
	}
}

func oneServer(t *testing.T) *resource.Table {
	t.Helper()
	table, err := resource.NewTable([]resource.Entry{{Host: host, Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "notes"}}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// journal keeps what the watch logs.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(p))
	return len(p), nil
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.lines
	j.lines = nil
	return out
}

// begin starts a watch over g, which ends with the test.
func begin(t *testing.T, g http.RoundTripper, table *resource.Table) (*Watch, *journal) {
	log := &journal{}
	w := New(Config{Enabled: true, Interval: time.Minute}, Options{Table: table, Logger: slog.New(slog.NewTextHandler(log, nil)), Transport: g})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return w, log
}

// state is the state of the only gate.
func state(t *testing.T, w *Watch) State {
	t.Helper()
	gates := w.Gates()
	if len(gates) != 1 {
		t.Fatalf("%d gates", len(gates))
	}
	return gates[0].State
}

// counting is told when a request begins and ends.
type counting struct {
	mu         sync.Mutex
	begin, end func(host string)
}

func (c *counting) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.begin(req.URL.Host)
	c.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	c.mu.Lock()
	c.end(req.URL.Host)
	c.mu.Unlock()
	return &http.Response{StatusCode: http.StatusBadGateway, Header: http.Header{}, Body: http.NoBody}, nil
}
