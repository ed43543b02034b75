package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A server of HTTP+SSE, configured as the FAQ says: its tools are on the consent
// page, and both of its paths are open to a token.
func TestHTTPSSEServer(t *testing.T) {
	t.Parallel()
	m := mcp.NewServer(&mcp.Implementation{Name: "older"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "look", Title: "Look around"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})
	sse := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return m }, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.RawQuery == "" {
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed) // as Python's servers do
			return
		}
		sse.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].Endpoint, f.Proxy.Hosts[0].Path = server.URL+"/sse", "/"
	}})
	c := s.NewClient(t, servertest.Host, nil)
	c.Resource = "https://" + servertest.Host + "/sse"
	page := s.NewBrowser().Consent(t, c.Begin().URL())
	if text := page.Text(); !strings.Contains(text, "Look around") || strings.Contains(text, "did not answer") {
		t.Errorf("the page: %s", text)
	}
	token := c.AccessToken(t, s.NewBrowser())
	for _, path := range []string{"/sse", "/messages/?session_id=1"} {
		s.MustPass(t, "https://"+servertest.Host+path, token)
	}
}
