package relay_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// authorized adds the token to each request, as an MCP client does.
type authorized struct {
	base  http.RoundTripper
	token string
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+a.token)
	return a.base.RoundTrip(r)
}

func (s *served) client() *http.Client {
	return &http.Client{Transport: authorized{s.Client().Transport, s.token}}
}

// A real server and a real client of HTTP+SSE understand each other, whether the
// public path is the stream's or above it.
func TestHTTPSSE(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "older"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "look"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "seen"}}}, nil, nil
	})
	sse := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return m }, nil)
	for _, path := range []string{"/", "", "/notes/sse"} {
		s := serve(t, sse.ServeHTTP, func(h *config.HostFile) {
			h.Path, h.Endpoint = path, strings.TrimSuffix(h.Endpoint, "/mcp")+"/sse"
			if path == "" {
				h.Path = "/sse"
			}
		})
		stream := path
		if stream == "" || stream == "/" {
			stream = "/sse"
		}
		session, err := mcp.NewClient(&mcp.Implementation{Name: "older"}, nil).Connect(t.Context(), &mcp.SSEClientTransport{
			Endpoint: "https://" + servertest.Host + stream, HTTPClient: s.client(),
		}, nil)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "look"})
		if err != nil || r.Content[0].(*mcp.TextContent).Text != "seen" {
			t.Errorf("%q: %v %v", path, r, err)
		}
		if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "put"}); err == nil {
			t.Errorf("%q: a tool of another scope can be called", path)
		}
		session.Close()
	}
}

// The address for messages leads to the server and no further, and is of no use
// to another person.
func TestEndpointEvent(t *testing.T) {
	t.Parallel()
	var stream string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			io.WriteString(w, strings.ReplaceAll(stream, "ORIGIN", "http://"+r.Host))
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}, func(h *config.HostFile) { h.Path, h.Endpoint = "/", strings.TrimSuffix(h.Endpoint, "/mcp")+"/sse" })
	read := func(t *testing.T) (string, error) {
		resp, err := s.Do(s.request(t, http.MethodGet, "/sse", ""))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	for name, tt := range map[string]struct{ stream, path string }{
		"path":             {"event: endpoint\ndata: /messages/?session_id=1\n\nevent: message\ndata: {}\n\n", "/messages/?session_id=1&"},
		"without a query":  {"event: endpoint\ndata: /messages\n\n", "/messages?"},
		"whole URL":        {"event: endpoint\ndata: ORIGIN/messages?session_id=1\n\n", "/messages?session_id=1&"},
		"relative":         {"event: endpoint\ndata: messages?session_id=1\n\n", "/messages?session_id=1&"},
		"query alone":      {"event: endpoint\ndata: ?session_id=1\n\n", "/sse?session_id=1&"},
		"CRLF":             {": hello\r\nevent: endpoint\r\ndata: /messages?a=b\r\n\r\n", "/messages?a=b&"},
		"CR, no spaces":    {"event:endpoint\rdata:/messages?a=b\r\r", "/messages?a=b&"},
		"id before":        {"id: 1\nevent: endpoint\nid: 2\ndata: /messages?a=b\n\n", "/messages?a=b&"},
		"after a message":  {"data: {}\n\nevent: endpoint\ndata: /messages?a=b\n\n", "/messages?a=b&"},
		"elsewhere":        {"event: endpoint\ndata: https://evil.example/messages\n\n", ""},
		"another port":     {"event: endpoint\ndata: http://127.0.0.1:1/messages\n\n", ""},
		"no scheme":        {"event: endpoint\ndata: //evil.example/messages\n\n", ""},
		"dots":             {"event: endpoint\ndata: /a/%2e%2e/messages\n\n", ""},
		"user":             {"event: endpoint\ndata: ORIGIN@evil.example/messages\n\n", ""},
		"our own path":     {"event: endpoint\ndata: /token\n\n", ""},
		"event after data": {"data: /messages\nevent: endpoint\n\n", ""},
		"two lines":        {"event: endpoint\ndata: /messages\ndata: /more\n\n", ""},
		"our own word":     {"event: endpoint\ndata: /messages?relay_session=x\n\n", ""},
		"a long line":      {"event: endpoint\ndata: /messages?a=" + strings.Repeat("a", 8<<10) + "\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			stream = tt.stream
			text, err := read(t)
			address := ""
			for lines := bufio.NewScanner(strings.NewReader(strings.ReplaceAll(text, "\r", "\n"))); lines.Scan(); {
				if data, ok := strings.CutPrefix(lines.Text(), "data: /"); ok {
					address = "/" + data
				}
			}
			if tt.path == "" {
				// an event without its end counts for nothing
				if whole := strings.Contains(text, "\n\n"); err == nil || whole || strings.Contains(text, "evil") || s.Log.Last(audit.RelayFailed)["reason"] != "mcp_server_answer" {
					t.Errorf("%v, the client got\n%s", err, text)
				}
				return
			}
			if err != nil || !strings.HasPrefix(address, tt.path+"relay_session=") {
				t.Fatalf("%v, the client got\n%s", err, text)
			}
			s.forget()
			own := strings.TrimRight(tt.path, "&?")
			if a := s.Send(t, s.request(t, http.MethodPost, address, look)); a.Status != 202 || s.last().RequestURI != own {
				t.Errorf("%s: %d, the server got %v", address, a.Status, s.last())
			}
			other := s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "another"})
			other.Resource, other.Scope = "https://"+servertest.Host, "use"
			s.forget()
			for _, changed := range []string{own, address + "x", address + "&a=b", strings.Replace(address, "relay_session=", "a=b&relay_session=", 1)} {
				if a := s.Send(t, s.request(t, http.MethodPost, changed, look)); a.Status != 404 || s.last() != nil {
					t.Errorf("%s: %d", changed, a.Status)
				}
			}
			if name != "path" {
				return
			}
			if a := s.Send(t, s.request(t, http.MethodPost, address, look, "Authorization", "Bearer "+other.AccessToken(t, s.NewBrowser()))); a.Status != 404 || s.last() != nil {
				t.Errorf("another client: status %d, want 404", a.Status)
			}
		})
	}
}
