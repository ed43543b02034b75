//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// check is what Envoy asks about the request that request is about.
func check(bearer string) *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
		Method: "POST", Host: host, Path: "/mcp", Scheme: "https", Headers: map[string]string{
			":authority": host, ":method": "POST", ":path": "/mcp", ":scheme": "https", "authorization": "Bearer " + bearer,
			"content-type": "application/json", "accept": "application/json, text/event-stream", "user-agent": "mcp-client/1.0",
			"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list", "x-forwarded-for": "192.0.2.1",
		},
	}}}}
}

// measureGRPC is measure over gRPC: every answer must allow.
func (p *process) measureGRPC(ctx context.Context, in *auth.CheckRequest, count int) (time.Duration, error) {
	before, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	failed := make([]error, connections)
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() { failed[c] = p.ask(ctx, in, count/connections) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return 0, err
	}
	after, err := cpuTime(p.cmd.Process.Pid)
	return (after - before) / time.Duration(count), err
}

func (p *process) ask(ctx context.Context, in *auth.CheckRequest, count int) error {
	conn, err := grpc.NewClient(p.grpcAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := auth.NewAuthorizationClient(conn)
	for range count {
		out, err := client.Check(ctx, in)
		if err != nil {
			return err
		}
		if out.GetStatus().GetCode() != int32(codes.OK) {
			return fmt.Errorf("answered %v", out)
		}
	}
	return nil
}

// allowAll is the bare gRPC handler.
type allowAll struct {
	auth.UnimplementedAuthorizationServer
}

func (allowAll) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return &auth.CheckResponse{Status: &rpcstatus.Status{}}, nil
}

// serveBareGRPC answers OK to everything until ctx ends.
func serveBareGRPC(ctx context.Context) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer()
	auth.RegisterAuthorizationServer(s, allowAll{})
	context.AfterFunc(ctx, s.Stop)
	go s.Serve(l)
	return l.Addr(), nil
}
