//go:build e2e

// Command library is an MCP server that asks for a sign-in by itself, with mcpauth. Its
// tools are those of another server, which it tells who asks as a gateway would.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mcp-forward-auth/mcp-forward-auth/mcpauth"
)

func main() {
	config, listen := flag.String("config", "", "configuration `file`"), flag.String("listen", "", "public `address`")
	management, tools := flag.String("management", "", "`address` of /readyz"), flag.String("tools", "", "`URL` of the other server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	to, err := url.Parse(*tools)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := mcpauth.Open(mcpauth.Options{Config: *config, Logger: slog.New(slog.NewJSONHandler(os.Stdout, nil))})
	if err != nil {
		log.Fatal(err)
	}
	for address, handler := range map[string]http.Handler{*listen: auth.Middleware(telling(to)), *management: auth.Management()} {
		s := &http.Server{Addr: address, Handler: handler}
		go func() { log.Print(s.ListenAndServe()); stop() }()
	}
	if err := auth.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// telling passes requests on with what mcpauth knows of their person.
func telling(to *url.URL) http.Handler {
	return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		if p, ok := mcpauth.FromContext(r.In.Context()); ok {
			r.Out.Header.Set("X-Auth-Request-User", p.Subject)
			r.Out.Header.Set("X-Auth-Request-Email", p.Email)
			r.Out.Header.Set("X-Auth-Request-Groups", strings.Join(p.Groups, ","))
		}
	}}
}
