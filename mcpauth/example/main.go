// Command example is an MCP server with one tool that asks for a sign-in by itself.
//
//	go run ./mcpauth/example -config config.yaml
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/mcpauth"
)

func main() {
	config := flag.String("config", "config.yaml", "configuration `file`")
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	auth, err := mcpauth.Open(mcpauth.Options{Config: *config})
	if err != nil {
		log.Fatal(err)
	}
	s := &http.Server{Addr: *listen, Handler: auth.Middleware(server())}
	go func() { log.Print(s.ListenAndServe()); stop() }()
	if err := auth.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// server is the MCP server, which knows nothing of tokens.
func server() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "hello", Version: "1.0.0"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "whoami", Description: "Say who is signed in"},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			who := r.Extra.TokenInfo.UserID // of the Go SDK; mcpauth.FromContext says more to handlers of net/http
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: who}}}, nil, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, DisableLocalhostProtection: true})
}
