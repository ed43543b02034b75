package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

const serviceName = "envoy.service.auth.v3.Authorization"

var authorization = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*checker)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: check}},
	Metadata:    "envoy/service/auth/v3/external_auth.proto",
}

type checker interface {
	question() *question
	check(ctx context.Context, q *question) (message, error)
}

func check(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	q := srv.(checker).question()
	if err := decode(q); err != nil {
		return nil, err
	}
	if intercept == nil {
		return srv.(checker).check(ctx, q)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + serviceName + "/Check"}
	return intercept(ctx, q, info, func(ctx context.Context, q any) (any, error) { return srv.(checker).check(ctx, q.(*question)) })
}

type service struct {
	decisions Decider
	log       *slog.Logger
	traced    bool
	named     func() Headers
}

func (s *service) question() *question { return &question{others: s.named().others} }

// Headers are the headers that decisions read besides those in every question.
type Headers struct{ others others }

// Named returns the headers with these names.
func Named(names []string) Headers {
	if len(names) == 0 {
		return Headers{}
	}
	o := others{}
	for _, name := range names {
		o[strings.ToLower(name)] = name
	}
	return Headers{o}
}

// Naming is a Decider whose further headers are not always the same.
type Naming interface{ Named() Headers }

// namedBy returns the function that names the headers that decisions read.
func namedBy(decisions Decider) func() Headers {
	if d, ok := decisions.(Naming); ok {
		return d.Named
	}
	var fixed Headers
	if d, ok := decisions.(interface{ Others() []string }); ok {
		fixed = Named(d.Others())
	}
	return func() Headers { return fixed }
}

// from returns the origin of a question, if decisions need it.
func from(ctx context.Context, r *forwardauth.Request) {
	if r.Other == nil {
		return
	}
	if p, ok := peer.FromContext(ctx); ok {
		r.Peer = p.Addr.String()
	}
}

// traceOf returns the trace that the gateway's question is part of.
func traceOf(ctx context.Context) forwardauth.TraceContext {
	return forwardauth.TraceContext{Parent: metadata.ValueFromIncomingContext(ctx, "traceparent"), State: metadata.ValueFromIncomingContext(ctx, "tracestate")}
}

// traced reports whether decisions need the trace that a question is part of.
func traced(decisions Decider) bool {
	d, ok := decisions.(interface{ Traced() bool })
	return ok && d.Traced()
}

// check answers a question. A panic becomes an error, upon which Envoy refuses the
// request, as for every failure of an authorization service.
func (s *service) check(ctx context.Context, q *question) (out message, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("internal error: panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out, err = nil, status.Error(codes.Internal, "internal error")
		}
	}()
	r := q.request()
	if s.traced { // Envoy's own span of the question, not what the client sent
		r.Trace = traceOf(ctx)
	}
	from(ctx, &r)
	d := s.decisions.Decide(ctx, &r)
	return respond(&d), nil
}
