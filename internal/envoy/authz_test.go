package envoy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// decider answers with what the test says and keeps what it was asked.
type decider struct {
	answer forwardauth.Decision
	asked  forwardauth.Request
	body   string
	broken bool
}

func (d *decider) Decide(_ context.Context, q *forwardauth.Request) forwardauth.Decision {
	if d.broken {
		panic("broken")
	}
	d.asked = *q
	if q.Body != nil {
		b, _ := io.ReadAll(q.Body)
		d.body = string(b)
	}
	return d.answer
}

// dial serves d and returns a connection that Envoy's own client code would use.
func dial(t testing.TB, d envoy.Decider) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := envoy.NewServer(d, nil, slog.New(slog.DiscardHandler))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func question(http *auth.AttributeContext_HttpRequest) *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: http}}}
}

func TestRequest(t *testing.T) {
	d := &decider{answer: forwardauth.Decision{Status: http.StatusForbidden}}
	client := auth.NewAuthorizationClient(dial(t, d))
	ask := func(t *testing.T, r *auth.AttributeContext_HttpRequest) forwardauth.Request {
		t.Helper()
		d.body = ""
		if _, err := client.Check(t.Context(), question(r)); err != nil {
			t.Fatal(err)
		}
		return d.asked
	}
	t.Run("host, path and method come from their own fields", func(t *testing.T) {
		q := ask(t, &auth.AttributeContext_HttpRequest{
			Method: "POST", Host: "mcp.example.com", Path: "/mcp?x=1", Scheme: "https",
			Headers: map[string]string{
				":path": "/other", "host": "evil.example", "x-original-url": "https://evil.example/", "x-forwarded-host": "evil.example",
				"x-forwarded-uri": "/evil", "path": "/evil", "method": "GET",
				"authorization": "Bearer t", "mcp-method": "tools/call", "mcp-name": "whoami", "mcp-protocol-version": "2026-07-28", "origin": "https://app.example",
			},
		})
		if q.Dialect != forwardauth.EnvoyGRPC || q.Method != "POST" || q.Host != "mcp.example.com" || q.Path != "/mcp" || q.Ambiguous || q.AskedAs != "" {
			t.Errorf("request %+v", q)
		}
		for name, lines := range map[string][]string{"Bearer t": q.Authorization, "tools/call": q.MCPMethod, "whoami": q.MCPName, "2026-07-28": q.ProtocolVersion, "https://app.example": q.Origin} {
			if len(lines) != 1 || lines[0] != name {
				t.Errorf("header lines %q, want one %q", lines, name)
			}
		}
	})
	t.Run("ATK-32 raw header lines keep their repetition", func(t *testing.T) {
		q := ask(t, &auth.AttributeContext_HttpRequest{Method: "POST", Host: "h", Path: "/mcp", HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{
			{Key: "authorization", RawValue: []byte("Bearer a")}, {Key: "authorization", Value: "Bearer b"},
		}}})
		if len(q.Authorization) != 2 {
			t.Errorf("authorization lines %q", q.Authorization)
		}
	})
	t.Run("body", func(t *testing.T) {
		if q := ask(t, &auth.AttributeContext_HttpRequest{Path: "/mcp", Body: "text"}); q.Body == nil || d.body != "text" || q.BodyCut {
			t.Errorf("body %q, cut %v", d.body, q.BodyCut)
		}
		q := ask(t, &auth.AttributeContext_HttpRequest{Path: "/mcp", RawBody: []byte("raw"), HeaderMap: &core.HeaderMap{Headers: []*core.HeaderValue{
			{Key: "x-envoy-auth-partial-body", RawValue: []byte("true")},
		}}})
		if !q.BodyCut {
			t.Error("with encode_raw_headers a cut body is taken for a whole one")
		}
		q = ask(t, &auth.AttributeContext_HttpRequest{Path: "/mcp", RawBody: []byte("raw"), Headers: map[string]string{"x-envoy-auth-partial-body": "true"}})
		if d.body != "raw" || !q.BodyCut {
			t.Errorf("body %q, cut %v", d.body, q.BodyCut)
		}
		if q := ask(t, &auth.AttributeContext_HttpRequest{Path: "/mcp"}); q.Body != nil {
			t.Error("a body where there is none")
		}
	})
	t.Run("an empty question is ambiguous", func(t *testing.T) {
		if q := ask(t, nil); !q.Ambiguous {
			t.Error("no request at all was taken for one")
		}
		if q := ask(t, &auth.AttributeContext_HttpRequest{Host: "h"}); !q.Ambiguous {
			t.Error("a request without a path was taken for one")
		}
	})
}

func TestAllow(t *testing.T) {
	d := &decider{answer: forwardauth.Decision{
		Status:  http.StatusOK,
		Headers: forwardauth.Lines{Names: []string{"X-Auth-Request-User"}, Values: []string{"static:alice"}},
		Remove:  []string{"x_auth_request_user"},
		Token:   forwardauth.NewToken(&forwardauth.Grant{Scope: "a b"}, 1_800_000_000, revocation.Facts{Subject: "static:alice", Client: "c", TokenID: "j"}, nil),
	}}
	resp, err := auth.NewAuthorizationClient(dial(t, d)).Check(t.Context(), question(&auth.AttributeContext_HttpRequest{Path: "/mcp"}))
	if err != nil {
		t.Fatal(err)
	}
	ok := resp.GetOkResponse()
	if resp.GetStatus().GetCode() != int32(codes.OK) || len(ok.GetHeaders()) != 1 || resp.GetDeniedResponse() != nil {
		t.Fatalf("answer %v", resp)
	}
	h := ok.GetHeaders()[0]
	if h.GetHeader().GetKey() != "X-Auth-Request-User" || h.GetHeader().GetValue() != "static:alice" {
		t.Errorf("header %v", h)
	}
	// Appending would leave the client's own copy in place, and first.
	if h.GetAppendAction() != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || h.ProtoReflect().Has(h.ProtoReflect().Descriptor().Fields().ByName("append")) {
		t.Errorf("RS-FWD-04: header is not set to overwrite: %v", h)
	}
	if got := ok.GetHeadersToRemove(); len(got) != 1 || got[0] != "x_auth_request_user" {
		t.Errorf("headers to remove: %q", got)
	}
	m := resp.GetDynamicMetadata().AsMap()
	if m["sub"] != "static:alice" || m["scope"] != "a b" || m["client_id"] != "c" || m["exp"] != float64(1_800_000_000) {
		t.Errorf("metadata %v", m)
	}
}

func TestDeny(t *testing.T) {
	d := &decider{}
	client := auth.NewAuthorizationClient(dial(t, d))
	for status, want := range map[int]codes.Code{
		http.StatusUnauthorized: codes.Unauthenticated, http.StatusForbidden: codes.PermissionDenied,
		http.StatusBadRequest: codes.PermissionDenied, http.StatusServiceUnavailable: codes.Unavailable, 0: codes.PermissionDenied,
	} {
		d.answer = forwardauth.Decision{Status: status, Headers: forwardauth.Lines{Names: []string{"Www-Authenticate"}, Values: []string{"Bearer"}}, Body: "{}"}
		resp, err := client.Check(t.Context(), question(&auth.AttributeContext_HttpRequest{Path: "/mcp"}))
		if err != nil {
			t.Fatal(err)
		}
		denied := resp.GetDeniedResponse()
		if codes.Code(resp.GetStatus().GetCode()) != want || int(denied.GetStatus().GetCode()) != status || denied.GetBody() != "{}" || resp.GetOkResponse() != nil {
			t.Errorf("%d: %v", status, resp)
		}
		var seen []string
		for _, h := range denied.GetHeaders() {
			seen = append(seen, h.GetHeader().GetKey()+": "+h.GetHeader().GetValue())
		}
		if got := strings.Join(seen, "; "); got != "Www-Authenticate: Bearer; Cache-Control: no-store" {
			t.Errorf("%d: headers %s", status, got)
		}
	}
}

func TestPanicDeniesAndDoesNotKill(t *testing.T) {
	d := &decider{broken: true}
	conn := dial(t, d)
	_, err := auth.NewAuthorizationClient(conn).Check(t.Context(), question(&auth.AttributeContext_HttpRequest{Path: "/mcp"}))
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health after a panic: %v, %v", health, err)
	}
}

type tracedDecider struct{ seen forwardauth.TraceContext }

func (*tracedDecider) Traced() bool { return true }
func (d *tracedDecider) Decide(_ context.Context, q *forwardauth.Request) forwardauth.Decision {
	d.seen = q.Trace
	return forwardauth.Decision{Status: 403}
}

// The trace of a question is the one that Envoy names, not the client.
func TestTrace(t *testing.T) {
	d := &tracedDecider{}
	client := auth.NewAuthorizationClient(dial(t, d))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-a-b-01", "tracestate", "x=y")
	if _, err := client.Check(ctx, &auth.CheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(d.seen.Parent) != 1 || d.seen.Parent[0] != "00-a-b-01" || len(d.seen.State) != 1 {
		t.Errorf("got %+v", d.seen)
	}
}
