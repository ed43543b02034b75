package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

const extMCPName = "agentgateway.dev.ext_mcp.ExtMcp"

var extMCP = grpc.ServiceDesc{
	ServiceName: extMCPName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "CheckRequest", Handler: unary("CheckRequest", (*messages).checkRequest)},
		{MethodName: "CheckResponse", Handler: unary("CheckResponse", (*messages).checkResponse)},
	},
	Metadata: "ext_mcp.proto",
}

// unary makes the handler of a method that takes an mcpMessage.
func unary(name string, answer func(*messages, context.Context, *mcpMessage) message) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		q := new(mcpMessage)
		if err := decode(q); err != nil {
			return nil, err
		}
		m := srv.(*messages)
		handle := func(ctx context.Context, q any) (any, error) { return m.guarded(ctx, q.(*mcpMessage), answer) }
		if intercept == nil {
			return handle(ctx, q)
		}
		return intercept(ctx, q, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + extMCPName + "/" + name}, handle)
	}
}

// messages decides about single messages of MCP, which agentgateway has read: whether a
// request may reach the MCP server, and what the client sees of a list. The caller is
// in the metadata that the gateway's configuration adds, because a question about an
// answer has no headers. Without it everything is denied.
type messages struct {
	decisions Decider
	reads     Reader
	named     func() Headers
	log       *slog.Logger
	traced    bool
	lists     *filter.Cache
}

// guarded answers a question. A panic becomes an error, upon which agentgateway denies.
func (m *messages) guarded(ctx context.Context, q *mcpMessage, answer func(*messages, context.Context, *mcpMessage) message) (out message, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("internal error: panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out, err = nil, status.Error(codes.Internal, "internal error")
		}
	}()
	return answer(m, ctx, q), nil
}

// request is the input of a decision: the message as in a body, with the HTTP request
// that the metadata describes.
func (m *messages) request(ctx context.Context, q *mcpMessage) forwardauth.Request {
	r := forwardauth.Request{
		Dialect: forwardauth.ExtMCP, Method: http.MethodPost, Host: q.about["host"], Path: q.about["path"],
		// A list of several servers has names that none of them knows.
		Ambiguous: q.twice || q.about["host"] == "" || len(q.about["path"]) == 0 || q.about["path"][0] != '/' || q.services > 1,
		Body:      bytes.NewReader(q.body()),
	}
	r.ContentType = []string{"application/json"}
	if token := q.about["authorization"]; token != "" {
		r.Authorization = []string{token}
	}
	for written, name := range m.named().others {
		if value, ok := q.about[written]; ok {
			if r.Other == nil {
				r.Other = http.Header{}
			}
			r.Other[name] = []string{value}
		}
	}
	if m.traced {
		r.Trace = traceOf(ctx)
	}
	from(ctx, &r)
	return r
}

// checkRequest decides whether a message may reach the MCP server, with the headers
// that the server is to get.
func (m *messages) checkRequest(ctx context.Context, q *mcpMessage) (out message) {
	r := m.request(ctx, q)
	d := m.decisions.Decide(ctx, &r)
	if !d.Allowed() {
		out.refuse(&d)
		return out
	}
	out.end(out.begin(mcpPass))
	change := out.begin(mcpHeaders)
	for i, name := range d.Headers.Names {
		line := out.begin(mutationSet)
		out.text(headerKey, name)
		out.bytes(headerValue, []byte(d.Headers.Values[i]))
		out.end(line)
	}
	for _, name := range d.Remove {
		out.text(mutationRemove, name)
	}
	out.end(change)
	return out
}

// checkResponse filters the result of a request for a list. Other results are not read.
func (m *messages) checkResponse(ctx context.Context, q *mcpMessage) (out message) {
	if !forwardauth.IsList(q.method) {
		out.end(out.begin(mcpPass))
		return out
	}
	result := q.payload
	q.payload = nil // the request's params, which no list depends on
	r := m.request(ctx, q)
	v, _, ok := m.reads(ctx, &r)
	if !ok {
		r = m.request(ctx, q)
		d := m.decisions.Decide(ctx, &r)
		out.refuse(&d)
		return out
	}
	shown, err := m.lists.Result(result, v)
	switch {
	case err != nil:
		m.log.Warn("the list of an MCP server cannot be filtered, so it is not passed on", "host", r.Host, "reason", err.Error())
		out.refuseFor(mcpInvalid, "the answer of the MCP server cannot be passed on", "")
	case bytes.Equal(shown, result):
		out.end(out.begin(mcpPass))
	default:
		out.bytes(mcpMutated, shown)
	}
	return out
}

// refuse makes the error of a denial. The client gets the text as that of an error of
// JSON-RPC, with the answer of other gateways as its data.
func (m *message) refuse(d *forwardauth.Decision) {
	code := mcpUnknown
	switch d.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		code = mcpDenied
	case http.StatusTooManyRequests:
		code = mcpExhausted
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
		code = mcpInvalid
	}
	var told struct {
		Description string `json:"error_description"`
	}
	text := "access denied"
	if json.Unmarshal([]byte(d.Body), &told) == nil && told.Description != "" {
		text = told.Description
	}
	m.refuseFor(code, text, d.Body)
}
