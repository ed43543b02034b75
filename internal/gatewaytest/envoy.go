package gatewaytest

import (
	"context"
	"net/http"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// Envoy asks as Envoy does behind its MCP filter: by ext_authz about a request, and by
// ext_proc about its answer.
type Envoy struct {
	T    testing.TB
	Conn *grpc.ClientConn
}

// metadata is what the MCP filter says of a message without reservation.
func (e Envoy) metadata(method string, params map[string]any) *core.Metadata {
	e.T.Helper()
	s, err := structpb.NewStruct(map[string]any{"is_mcp_request": true, "status": "mcp_ok", "method": method, "params": params})
	if err != nil {
		e.T.Fatal(err)
	}
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.mcp": s}}
}

// Passes reports whether a message may pass, and the headers that its server gets.
func (e Envoy) Passes(host, token, method string, params map[string]any) (bool, http.Header) {
	e.T.Helper()
	answer, err := auth.NewAuthorizationClient(e.Conn).Check(context.Background(), &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: http.MethodPost, Host: host, Path: "/mcp",
			Headers: map[string]string{"authorization": "Bearer " + token, "content-type": "application/json"},
		}},
		MetadataContext: e.metadata(method, params),
	}})
	if err != nil {
		e.T.Fatal(err)
	}
	h := http.Header{}
	for _, line := range answer.GetOkResponse().GetHeaders() {
		h.Set(line.GetHeader().GetKey(), line.GetHeader().GetValue())
	}
	return answer.GetStatus().GetCode() == 0 && answer.GetOkResponse() != nil, h
}

// Shown returns what becomes of a document that answers a message; ok is false where it
// is not passed on.
func (e Envoy) Shown(host, token, method, document string) (shown string, ok bool) {
	e.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := proc.NewExternalProcessorClient(e.Conn).Process(ctx)
	if err != nil {
		e.T.Fatal(err)
	}
	header := func(lines ...string) *proc.HttpHeaders {
		m := new(core.HeaderMap)
		for i := 0; i < len(lines); i += 2 {
			m.Headers = append(m.Headers, &core.HeaderValue{Key: lines[i], RawValue: []byte(lines[i+1])})
		}
		return &proc.HttpHeaders{Headers: m}
	}
	for _, r := range []*proc.ProcessingRequest{
		{
			Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: header(
				":method", http.MethodPost, ":path", "/mcp", ":authority", host, "authorization", "Bearer "+token, "content-type", "application/json")},
			MetadataContext: e.metadata(method, nil),
		},
		{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: header(":status", "200", "content-type", "application/json")}},
		{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte(document), EndOfStream: true}}},
	} {
		if s.Send(r) != nil {
			return "", false
		}
		answer, err := s.Recv()
		if err != nil || answer.GetImmediateResponse() != nil {
			return "", false
		}
		if body := answer.GetResponseBody().GetResponse().GetBodyMutation(); body != nil {
			return string(body.GetBody()), true
		}
	}
	return "", false
}
