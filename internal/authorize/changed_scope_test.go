package authorize_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// changingServer is an MCP server with the tools look, make and drop, whose
// scope "write" opens what the test says.
func changingServer(t *testing.T, write *atomic.Pointer[[]string]) *httptest.Server {
	t.Helper()
	m := mcp.NewServer(&mcp.Implementation{Name: "changing"}, nil)
	for _, name := range []string{"look", "make", "drop"} {
		mcp.AddTool(m, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
	}
	m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if list, ok := res.(*mcp.ListToolsResult); ok && list != nil {
				list.Meta = mcp.Meta{"scopes": []map[string]any{
					{"name": "read", "tools": []string{"look"}}, {"name": "write", "tools": *write.Load()},
				}}
			}
			return res, err
		}
	})
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(srv.Close)
	return srv
}

// A scope that gains a tool is asked again (AS-CONS-17): the consent was to
// what the page showed.
func TestScopeThatGainsATool(t *testing.T) {
	t.Parallel()
	var write atomic.Pointer[[]string]
	write.Store(&[]string{"make"})
	tools := changingServer(t, &write)
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) { f.Proxy.Hosts[0].Endpoint = tools.URL + "/mcp" }})
	client := s.NewClient(t, servertest.Host, servertest.WithRefresh)
	scope := func(k servertest.Tokens, more ...string) string {
		a := k.Client.Token(t, servertest.RefreshForm(k.Client, k.Refresh, more...))
		if a.Status != http.StatusOK {
			t.Fatalf("refresh: status %d, want %v: %s", a.Status, http.StatusOK, a.Body)
		}
		return a.String("scope")
	}

	both, onlyWrite := servertest.SignIn(t, client), servertest.Tokens{}
	client.Scope = "write"
	onlyWrite = servertest.SignIn(t, client)
	waiting := s.NewBrowser()
	client.Scope = "read write"
	open := waiting.Consent(t, client.Begin().URL())
	if got := scope(both); got != "read write" {
		t.Fatalf("before anything changed a refresh gave %q, want %q", got, "read write")
	}

	write.Store(&[]string{"make", "drop"})
	s.Restart() // and with it the catalogue is read again
	s.NewBrowser().Consent(t, client.Begin().URL())

	t.Run("AS-CONS-17 a refresh leaves the scope out", func(t *testing.T) {
		if got := scope(both); got != "read" {
			t.Errorf("the refreshed token has %q, want read", got)
		}
	})
	t.Run("AS-CONS-17 nothing else is left", func(t *testing.T) {
		onlyWrite.Refused(t, http.StatusBadRequest, "invalid_grant", "scopes_changed")
	})
	t.Run("ATK-59 the page that was open is shown again", func(t *testing.T) {
		page := waiting.Submit(t, open, "decision", "allow")
		if page.Status != http.StatusOK || page.Form == nil || !strings.Contains(page.Text(), "has changed while this page was open") {
			t.Fatalf("%d %s %s", page.Status, page.Location(), page.Text())
		}
		if next := waiting.Submit(t, page, "decision", "allow"); next.Location() == "" {
			t.Errorf("allowing what is shown now: %d %s", next.Status, next.Text())
		}
	})
	t.Run("the tool is gone again, and the scope is back", func(t *testing.T) {
		write.Store(&[]string{"make"})
		s.Restart()
		s.NewBrowser().Consent(t, client.Begin().URL())
		again := servertest.Tokens{Client: client, Refresh: both.Refresh}
		if got := scope(again); got != "read write" {
			t.Errorf("the refreshed token has %q, want %q", got, "read write")
		}
	})
}
