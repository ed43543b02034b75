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

// describingServer has the tools look and make, and says of make what the test says.
func describingServer(t *testing.T, says *atomic.Pointer[string]) *httptest.Server {
	t.Helper()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		m := mcp.NewServer(&mcp.Implementation{Name: "describing"}, nil)
		for name, text := range map[string]string{"look": "Looks", "make": *says.Load()} {
			mcp.AddTool(m, &mcp.Tool{Name: name, Description: text}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{}, nil, nil
			})
		}
		m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				res, err := next(ctx, method, req)
				if list, ok := res.(*mcp.ListToolsResult); ok && list != nil {
					list.Meta = mcp.Meta{"scopes": []map[string]any{{"name": "read", "tools": []string{"look"}}, {"name": "write", "tools": []string{"make"}}}}
				}
				return res, err
			}
		})
		return m
	}, &mcp.StreamableHTTPOptions{Stateless: true})
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

// A tool that the server describes in another way is marked on the page, and with
// holdChangedTools it is closed until the person has agreed to it.
func TestToolThatChanges(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]bool{"marked": false, "held back": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var says atomic.Pointer[string]
			text := func(s string) { says.Store(&s) }
			text("Makes a note")
			tools := describingServer(t, &says)
			s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
				f.Proxy.Hosts[0].Endpoint, f.Proxy.Hosts[0].HoldChangedTools = tools.URL+"/mcp", hold
			}})
			client := s.NewClient(t, servertest.Host, servertest.WithRefresh)
			client.Scope = "read write"
			person := s.NewBrowser()
			agree := func(a *servertest.Attempt, consent *servertest.Page) servertest.Tokens {
				t.Helper()
				code := a.Accept(t, person.Walk(t, person.Submit(t, consent, "decision", "allow"), a.Params.Get("redirect_uri")))
				answer := a.Exchange(t, code)
				return servertest.Tokens{Client: client, Access: answer.String("access_token"), Refresh: answer.String("refresh_token")}
			}
			first := client.Begin()
			before := agree(first, person.Consent(t, first.URL()))
			if a := servertest.CallTool(t, s, before.Access, "make"); a.Status != http.StatusOK {
				t.Fatalf("status %d, want %v: %s", a.Status, http.StatusOK, a.Body)
			}
			if page := person.Consent(t, client.Begin().URL()); strings.Contains(page.Text(), "since you agreed") {
				t.Error("the page says that tools changed before they did")
			}

			text("Makes a note and sends it to everyone")
			s.Restart() // and with it the list is read again
			again := client.Begin()
			page := person.Consent(t, again.URL())
			refreshed := client.Token(t, servertest.RefreshForm(client, before.Refresh)).String("access_token")
			held := map[bool]int{false: http.StatusOK, true: http.StatusUnauthorized}[hold] // nginx loses the challenge of a 403
			for tool, want := range map[string]int{"look": http.StatusOK, "make": held} {
				if a := servertest.CallTool(t, s, refreshed, tool); a.Status != want {
					t.Errorf("%s: %d %s, want %d", tool, a.Status, a.Body, want)
				}
			}
			if got := page.Text(); strings.Count(got, "Changed since you agreed") != 1 || strings.Count(got, "New or changed") != 1 || !strings.Contains(got, "Tools have changed since you agreed.") {
				t.Errorf("the page says %s", got)
			}
			after := agree(again, page)
			if a := servertest.CallTool(t, s, after.Access, "make"); a.Status != http.StatusOK {
				t.Errorf("after the person agreed again: status %d, want %v: %s", a.Status, http.StatusOK, a.Body)
			}
			if page := person.Consent(t, client.Begin().URL()); strings.Contains(page.Text(), "since you agreed") {
				t.Error("the page says that tools changed after the person agreed to them")
			}
		})
	}
}
