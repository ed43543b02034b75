//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// mcpServer is an MCP server behind the gateway. It remembers what reached it
// through the gateway, and not what the service itself asks at direct.
type mcpServer struct {
	*httptest.Server
	direct *httptest.Server
	// relayed: the service asks for itself where it relays to, so only requests with
	// an identity, which every relayed one has, are remembered.
	relayed bool
	mu      sync.Mutex
	seen    []*http.Request
}

// address is host:port, for nginx.
func (s *mcpServer) address() string { return strings.TrimPrefix(s.URL, "http://") }

// requests returns what has reached the server since the last call.
func (s *mcpServer) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// startMCP runs an MCP server with three tools, two of them behind scopes that
// it advertises in the _meta of tools/list, and two plain HTTP probes.
func startMCP(t *testing.T, stateless bool) *mcpServer {
	t.Helper()
	server := newSample()
	streamable := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{
			Stateless: stateless,
			// Behind a gateway the Host is that of the outside.
			DisableLocalhostProtection: true,
		})
	mux := http.NewServeMux()
	mux.Handle("/mcp", streamable)
	mux.Handle(strictPath, streamable)
	mux.HandleFunc("/mcp/probe/events", slowEvents)
	mux.HandleFunc("/mcp/probe/echo", echo)
	mux.HandleFunc("/mcp/probe/accepted", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted) // as a server of HTTP+SSE does
		_, _ = io.WriteString(w, "Accepted")
	})
	mux.HandleFunc("/mcp/probe/page", func(w http.ResponseWriter, r *http.Request) {
		// An MCP server that cares for web pages itself.
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Expose-Headers", "Mcp-Session-Id")
		echo(w, r)
	})
	s := &mcpServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.relayed && r.Header.Get(identityHeaders[0]) == "" {
			mux.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(context.WithoutCancel(r.Context())))
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	s.direct = httptest.NewServer(mux)
	t.Cleanup(func() {
		for _, server := range []*httptest.Server{s.Server, s.direct} {
			server.CloseClientConnections()
			server.Close()
		}
	})
	return s
}

// identity is what the gateway told the MCP server about the caller.
type identity struct {
	User   string `json:"user"`
	Email  string `json:"email"`
	Groups string `json:"groups"`
}

func identityOf(h http.Header) identity {
	return identity{
		User:   strings.Join(h.Values(identityHeaders[0]), "|"),
		Email:  strings.Join(h.Values(identityHeaders[1]), "|"),
		Groups: strings.Join(h.Values(identityHeaders[2]), "|"),
	}
}

const (
	scopeRead  = "notes:read"
	scopeWrite = "notes:write"
)

func newSample() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "notes", Version: "1.0.0"}, nil)
	type nothing struct{}
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Says who the gateway says you are"},
		func(_ context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
			return jsonResult(identityOf(req.Extra.Header)), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "read_notes", Description: "Reads all notes"},
		func(context.Context, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, any, error) {
			return jsonResult([]string{"buy milk"}), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "write_note", Description: "Adds a note"},
		func(context.Context, *mcp.CallToolRequest, nothing) (*mcp.CallToolResult, any, error) {
			return jsonResult("written"), nil, nil
		})
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			res, err := next(ctx, method, req)
			if list, ok := res.(*mcp.ListToolsResult); ok && err == nil {
				list.Meta = mcp.Meta{"scopes": []map[string]any{
					{"name": scopeRead, "description": "Read your notes", "tools": []string{"whoami", "read_notes"}},
					{"name": scopeWrite, "description": "Add and change notes", "tools": []string{"write_note"}},
				}}
			}
			return res, err
		}
	})
	return server
}

func jsonResult(v any) *mcp.CallToolResult {
	text, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}}
}

const (
	eventCount = 5
	eventPause = 200 * time.Millisecond
)

// slowEvents streams eventCount server-sent events with pauses between them, or
// one each second for as many as the query says.
func slowEvents(w http.ResponseWriter, r *http.Request) {
	count, pause := eventCount, eventPause
	if seconds, err := strconv.Atoi(r.FormValue("seconds")); err == nil {
		count, pause = seconds+1, time.Second
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for n := range count {
		fmt.Fprintf(w, `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}`+"\n\n", n)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return
		}
	}
}

// echo says what arrived.
func echo(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "bytes": n, "identity": identityOf(r.Header)})
}
