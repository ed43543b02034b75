//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// startBare starts this program as the bare handler.
func startBare(ctx context.Context) (*watched.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return watched.Start(ctx, self, "-bare")
}

// verifyPath is where the bare handler verifies a signature first, so that the cost of
// one is known where it is done: between two system calls, with what the caches still hold.
const verifyPath = "/es256"

// serveBare answers 200 to everything, and OK over gRPC, on servers with the
// settings of the service's own.
func serveBare(ctx context.Context) error {
	defer runtime.KeepAlive(server.HeapFloor())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g, err := serveBareGRPC(ctx)
	if err != nil {
		return err
	}
	es256, err := newES256()
	if err != nil {
		return err
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == verifyPath && es256() != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
	}
	fmt.Printf("{\"grpc\":%q}\n{\"protocol\":%q}\n", g, l.Addr())
	srv := server.HTTPServer(http.HandlerFunc(handler), slog.New(slog.DiscardHandler))
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// allowAll is the bare gRPC handler, with Envoy's generated types.
type allowAll struct {
	auth.UnimplementedAuthorizationServer
}

func (allowAll) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return &auth.CheckResponse{Status: &rpcstatus.Status{}}, nil
}

func serveBareGRPC(ctx context.Context) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer(envoy.Options()...)
	auth.RegisterAuthorizationServer(s, allowAll{})
	context.AfterFunc(ctx, s.Stop)
	go s.Serve(l)
	return l.Addr(), nil
}
