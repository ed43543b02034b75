package authorize_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// listing is what an MCP server answers to tools/list; the zero value refuses.
type listing struct {
	tools  []string
	scopes map[string][]string // nil: it declares none
	hangs  bool
}

// listings serves as an MCP server whose answer is the listing of the moment.
func listings(t *testing.T, now *atomic.Pointer[listing]) *httptest.Server {
	t.Helper()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		l := now.Load()
		m := mcp.NewServer(&mcp.Implementation{Name: "listing"}, &mcp.ServerOptions{Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}})
		for _, name := range l.tools {
			mcp.AddTool(m, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{}, nil, nil
			})
		}
		m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				res, err := next(ctx, method, req)
				if list, ok := res.(*mcp.ListToolsResult); ok && list != nil && l.scopes != nil {
					var scopes []map[string]any
					for name, tools := range l.scopes {
						scopes = append(scopes, map[string]any{"name": name, "tools": tools})
					}
					list.Meta = mcp.Meta{"scopes": scopes}
				}
				return res, err
			}
		})
		return m
	}, &mcp.StreamableHTTPOptions{Stateless: true})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch l := now.Load(); {
		case l.hangs:
			io.Copy(io.Discard, r.Body) // or the server does not see that the client leaves
			<-r.Context().Done()
		case l.tools == nil:
			http.Error(w, "no", http.StatusUnauthorized)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv
}

// What the consent page promised is what the token opens, whatever the replica
// that showed the page and the one that decides know of the MCP server. A
// replica that knows nothing opens only what the configuration names.
func TestPageAndDecisionAgree(t *testing.T) {
	t.Parallel()
	all := []string{"look", "make", "drop", "named", "ghost"}
	known := []struct {
		name string
		listing
	}{
		{"declared", listing{tools: []string{"look", "make", "named"}, scopes: map[string][]string{"read": {"look"}, "write": {"make"}}}},
		{"shrunk", listing{tools: []string{"look", "named"}, scopes: map[string][]string{"read": {"look"}}}},
		{"grown", listing{tools: []string{"look", "make", "drop", "named"}, scopes: map[string][]string{"read": {"look"}, "write": {"make"}, "admin": {"drop"}}}},
		{"undeclared", listing{tools: []string{"look", "make", "named"}}},
		{"empty", listing{tools: []string{}}},
		// The last stay unknown, so what the server answers to their retries must not change.
		{"never fetched", listing{hangs: true}},
		{"fetch failed", listing{}},
	}
	for _, toolPolicy := range []rule.ToolPolicy{rule.Enforce, rule.Strict} {
		t.Run(string(toolPolicy), func(t *testing.T) {
			var now atomic.Pointer[listing]
			now.Store(&known[0].listing)
			server := listings(t, &now)
			first := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
				f.Proxy.Hosts[0].Endpoint, f.Proxy.Hosts[0].ToolPolicy = server.URL+"/mcp", toolPolicy
				f.Proxy.Hosts[0].Scopes = []rule.Scope{{Name: "ours", Tools: []string{"named"}}}
			}})
			c := first.NewClient(t, servertest.Host, nil)
			replicas := make([]*servertest.Service, len(known))
			for i := range known {
				now.Store(&known[i].listing)
				if replicas[i] = first; i > 0 {
					replicas[i] = first.Replica()
				}
				if known[i].tools != nil {
					readList(t, replicas[i])
				}
			}
			for i, shown := range known {
				page := replicas[i].NewBrowser().Consent(t, c.On(replicas[i]).Begin().URL())
				if says := strings.Contains(page.Text(), "The list of tools is not available right now"); says != (shown.tools == nil) {
					t.Errorf("page %s: it says that the tools are not known: %v", shown.name, says)
				}
				promised := promises(shown.listing, page.Form.Offered)
				token := c.On(replicas[i]).AccessToken(t, replicas[i].NewBrowser())
				for j, knows := range known {
					t.Run("page "+shown.name+", decision "+knows.name, func(t *testing.T) {
						var opened []string
						for _, tool := range all {
							if servertest.CallTool(t, replicas[j], token, tool).Status == http.StatusOK {
								opened = append(opened, tool)
							}
						}
						for _, tool := range opened {
							if !promised(tool) {
								t.Errorf("%s is open, and the page did not say so", tool)
							}
						}
						if knows.tools == nil && !slices.Equal(opened, []string{"named"}) {
							t.Errorf("a replica that knows no tools opens %q", opened)
						}
						if i == j && knows.tools != nil && !slices.Contains(opened, "named") {
							t.Errorf("what the configuration names is closed: %q", opened)
						}
					})
				}
			}
		})
	}
}

// promises returns which tools the consent page says that its boxes, all
// ticked, open: the catch-all stands for all of them.
func promises(l listing, boxes []string) func(tool string) bool {
	return func(tool string) bool {
		switch {
		case tool == "named":
			return slices.Contains(boxes, "ours")
		case slices.Contains(boxes, "mcp"):
			return true
		}
		return slices.ContainsFunc(boxes, func(scope string) bool { return slices.Contains(l.scopes[scope], tool) })
	}
}

// readList waits until s has read the MCP server's list: before, no scopes are
// published.
func readList(t *testing.T, s *servertest.Service) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-protected-resource/mcp").Body, `"scopes_supported"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the list never comes")
		}
	}
}
