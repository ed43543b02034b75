// Package extauthz speaks envoy.service.auth.v3 over gRPC for Envoy, Envoy
// Gateway, Istio, Contour and others. It translates and nothing more: what
// Envoy asks becomes a forwardauth.Request, the Decision becomes a
// CheckResponse, header for header. An answer that could be appended to what the
// client sent, instead of replacing it, is never given.
package extauthz

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// Bounds of the listener. Envoy sends at most the body that it is configured
// to buffer, with the request's headers.
const (
	maxMessageBytes   = 4 << 20
	connectionTimeout = 5 * time.Second
	idleTimeout       = 5 * time.Minute
)

// Decider makes the decision; *forwardauth.Endpoint is the one there is.
type Decider interface {
	Decide(ctx context.Context, q *forwardauth.Request) forwardauth.Decision
}

// NewServer returns a gRPC server with the Authorization and Health services.
func NewServer(decisions Decider, log *slog.Logger) *grpc.Server {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout}),
		grpc.ChainUnaryInterceptor(recovering(log)),
	)
	auth.RegisterAuthorizationServer(s, &service{decisions: decisions})
	healthpb.RegisterHealthServer(s, health.NewServer())
	return s
}

// recovering turns a panic into an error, which Envoy answers as it answers
// every failure of an authorization service: not by letting the request pass.
func recovering(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("internal error: panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				resp, err = nil, status.Error(codes.Internal, "internal error")
			}
		}()
		return next(ctx, req)
	}
}

type service struct {
	auth.UnimplementedAuthorizationServer
	decisions Decider
}

// Check implements envoy.service.auth.v3.Authorization.
func (s *service) Check(ctx context.Context, in *auth.CheckRequest) (*auth.CheckResponse, error) {
	q := request(in)
	d := s.decisions.Decide(ctx, &q)
	if d.Allowed() {
		return allow(&d), nil
	}
	return deny(&d), nil
}

// request reads what Envoy says of the client's request. Nothing in the headers
// can change where the request goes: host, path and method have fields of their own.
func request(in *auth.CheckRequest) forwardauth.Request {
	r := in.GetAttributes().GetRequest().GetHttp()
	path, _, _ := strings.Cut(r.GetPath(), "?")
	q := forwardauth.Request{
		Dialect: forwardauth.EnvoyGRPC, Method: r.GetMethod(), Host: r.GetHost(), Path: path,
		Ambiguous: r == nil || !strings.HasPrefix(path, "/"),
		Headers:   headers(r),
	}
	if raw := r.GetRawBody(); len(raw) > 0 {
		q.Body = bytes.NewReader(raw)
	} else if body := r.GetBody(); body != "" {
		q.Body = strings.NewReader(body)
	}
	q.BodyCut = cut(r)
	return q
}

// cut reports whether Envoy sent only the beginning of the body, in either place
// where it can say so. A client that says so itself is only denied.
func cut(r *auth.AttributeContext_HttpRequest) bool {
	const name = "x-envoy-auth-partial-body"
	says := func(value string) bool { return value != "" && value != "false" }
	for _, line := range r.GetHeaderMap().GetHeaders() {
		if strings.EqualFold(line.GetKey(), name) && (says(line.GetValue()) || says(string(line.GetRawValue()))) {
			return true
		}
	}
	return says(r.GetHeaders()[name])
}

// headers takes the headers a decision looks at. With encode_raw_headers Envoy
// sends every line; without, lines of one name come joined by commas, which the
// decision refuses where a header must not repeat.
func headers(r *auth.AttributeContext_HttpRequest) forwardauth.Headers {
	var h forwardauth.Headers
	if lines := r.GetHeaderMap().GetHeaders(); len(lines) > 0 {
		for _, line := range lines {
			if into := field(&h, strings.ToLower(line.GetKey())); into != nil {
				value := line.GetValue()
				if raw := line.GetRawValue(); len(raw) > 0 {
					value = string(raw)
				}
				*into = append(*into, value)
			}
		}
		return h
	}
	joined := r.GetHeaders()
	for _, name := range looked {
		if value, ok := joined[name]; ok {
			*field(&h, name) = []string{value}
		}
	}
	return h
}

// looked are the names that field knows.
var looked = [...]string{"authorization", "origin", "access-control-request-method", "mcp-protocol-version", "mcp-method", "mcp-name"}

// field returns where the lines of a header go, nil if no decision looks at it.
func field(h *forwardauth.Headers, name string) *[]string {
	switch name {
	case "authorization":
		return &h.Authorization
	case "origin":
		return &h.Origin
	case "access-control-request-method":
		return &h.PreflightMethod
	case "mcp-protocol-version":
		return &h.ProtocolVersion
	case "mcp-method":
		return &h.MCPMethod
	case "mcp-name":
		return &h.MCPName
	}
	return nil
}

func allow(d *forwardauth.Decision) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
			Headers:         lines(d.Headers),
			HeadersToRemove: d.Remove, ResponseHeadersToAdd: lines(d.Client),
		}},
		DynamicMetadata: metadata(d.Token),
	}
}

func deny(d *forwardauth.Decision) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(code(d.Status))},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status:  &envoytype.HttpStatus{Code: envoytype.StatusCode(d.Status)},
			Headers: append(lines(d.Headers), line("Cache-Control", "no-store")),
			Body:    d.Body,
		}},
	}
}

// code is the RPC status that goes with an HTTP denial. Any but OK denies.
func code(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}

func lines(headers forwardauth.Lines) []*core.HeaderValueOption {
	out := make([]*core.HeaderValueOption, 0, len(headers.Names)+1)
	for i, name := range headers.Names {
		out = append(out, line(name, headers.Values[i]))
	}
	return out
}

// line replaces whatever the request or answer has by that name. Older Envoys
// look only at the deprecated append field, whose absence means the same.
func line(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: name, Value: value},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// metadata is the verified token for later filters and access logs, in the
// namespace envoy.filters.http.ext_authz.
func metadata(t *forwardauth.Token) *structpb.Struct {
	if t == nil {
		return nil
	}
	text := structpb.NewStringValue
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"sub":       text(t.Subject),
		"client_id": text(t.Client),
		"jti":       text(t.ID),
		"scope":     text(t.Scope),
		"exp":       structpb.NewNumberValue(float64(t.Expires)),
	}}
}
