//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
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

func checks(tokens []string) []*auth.CheckRequest {
	out := make([]*auth.CheckRequest, len(tokens))
	for i, t := range tokens {
		out[i] = check(t)
	}
	return out
}

// callers ask over a few connections, as Envoy's workers do.
type callers []*grpc.ClientConn

func dialGRPC(address string, n int) (callers, error) {
	var c callers
	for range n {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		c = append(c, conn)
	}
	return c, nil
}

func (c callers) close() {
	for _, conn := range c {
		conn.Close()
	}
}

// send asks count questions, going round. Every answer must allow.
func (c callers) send(ctx context.Context, questions []*auth.CheckRequest, count int) error {
	failed := make([]error, len(c))
	var wg sync.WaitGroup
	for at, conn := range c {
		wg.Go(func() {
			client := auth.NewAuthorizationClient(conn)
			for i := at; i < count && failed[at] == nil; i += len(c) {
				out, err := client.Check(ctx, questions[i%len(questions)])
				if err == nil && out.GetStatus().GetCode() != int32(codes.OK) {
					err = fmt.Errorf("answered %v", out)
				}
				failed[at] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
