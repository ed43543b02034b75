// Command mcpserver serves the sample MCP server at /mcp, for tests that need
// one as a program of its own.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

func main() {
	listen := flag.String("listen", ":8080", "`address` to listen on")
	sessions := flag.Bool("sessions", false, "keep sessions, as before revision 2026-07-28 of MCP")
	flag.Parse()
	mux := http.NewServeMux()
	mux.Handle("/mcp", sample.Handler(sample.Options{Stateless: !*sessions}))
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	srv := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	log.Fatal(srv.ListenAndServe())
}
