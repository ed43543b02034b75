//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// The same MCP server, where the body decides and where Envoy's reading of it does.
const (
	bodyHost    = "body.example.com"
	readingHost = "reading.example.com"
)

// evidence measures what it costs to be told more of a request than its headers: the
// body over HTTP, and over gRPC what Envoy's MCP filter read of it.
func evidence(ctx context.Context, b bench) error {
	ourHTTP, err := dial(b.subject.HTTP, connections)
	if err != nil {
		return err
	}
	defer ourHTTP.close()
	ourGRPC, err := dialGRPC(b.subject.GRPC, connections)
	if err != nil {
		return err
	}
	defer ourGRPC.close()
	tokens := map[string]string{}
	for _, at := range []string{host, bodyHost, readingHost} {
		minted, err := b.service.mintFor(at, "", "", 1)
		if err != nil {
			return err
		}
		tokens[at] = minted[0]
	}
	http := func(at string, text int) func(int) (time.Duration, error) {
		message := [][]byte{envoyRequest(at, tokens[at], text)}
		return func(int) (time.Duration, error) {
			return spent(b.subject, func() error { _, err := ourHTTP.send(message, warmSlice, "200"); return err })
		}
	}
	grpc := func(message *auth.CheckRequest) func(int) (time.Duration, error) {
		return func(int) (time.Duration, error) {
			return spent(b.subject, func() error { return ourGRPC.send(ctx, []*auth.CheckRequest{message}, warmSlice) })
		}
	}
	plain := called(host, tokens[host])
	read, err := withReading(called(readingHost, tokens[readingHost]))
	if err != nil {
		return err
	}
	const byHeaders, grpcByHeaders = "HTTP, decided by headers", "gRPC, decided by headers"
	return measureBeside(b, "CPU time of the service per question about a call", []slice{
		{byHeaders, byHeaders, warmSlice, http(host, 0)},
		{"HTTP, decided by a body of 0.1 KB", byHeaders, warmSlice, http(bodyHost, 1)},
		{"HTTP, decided by a body of 1 KB", byHeaders, warmSlice, http(bodyHost, 900)},
		{grpcByHeaders, grpcByHeaders, warmSlice, grpc(plain)},
		{"gRPC, decided by what Envoy read", grpcByHeaders, warmSlice, grpc(read)},
	})
}

// envoyRequest is what Envoy asks over HTTP, with the body if text is not 0.
func envoyRequest(at, bearer string, text int) []byte {
	body := ""
	if text > 0 {
		body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool_1","arguments":{"text":"` + strings.Repeat("a", text) + `"}}}`
	}
	return fmt.Appendf(nil, "POST /authenticate/envoy/mcp HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nContent-Type: application/json\r\n"+
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: tool_1\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", at, bearer, len(body), body)
}

// called is check for a call of a tool at a host.
func called(at, bearer string) *auth.CheckRequest {
	q := check(bearer)
	http := q.Attributes.Request.Http
	http.Host = at
	maps.Copy(http.Headers, map[string]string{":authority": at, "mcp-method": "tools/call", "mcp-name": "tool_1"})
	return q
}

// withReading adds what Envoy's MCP filter says of a call.
func withReading(q *auth.CheckRequest) (*auth.CheckRequest, error) {
	fields, err := structpb.NewStruct(map[string]any{
		"id": 1, "is_mcp_request": true, "jsonrpc": "2.0", "method": "tools/call", "params": map[string]any{"name": "tool_1"}, "status": "mcp_ok",
	})
	if err != nil {
		return nil, err
	}
	q.Attributes.MetadataContext = &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.mcp": fields}}
	return q, nil
}

// measureBeside is measure with ratios to a line of the same kind.
func measureBeside(b bench, title string, slices []slice) error {
	costs, err := b.rounded(slices)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\n%s\n%-38s %10s %8s\n", title, "", "µs", "x")
	for _, s := range slices {
		fmt.Fprintf(b.out, "%-38s %10.1f %8.3f\n", s.name, median(costs[s.name]), median(ratios(costs[s.name], costs[s.beside])))
	}
	return nil
}
