package envoy

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewaytest"
)

// newAgentgateway returns an agentgateway that asks what decides as d says.
func newAgentgateway(t *testing.T, d *door) (*gatewaytest.Agentgateway, *grpc.ClientConn) {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := newServer(d, d.reads, slog.New(slog.DiscardHandler), questionTime)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	conn := connect(t, l)
	return gatewaytest.NewAgentgateway(t, conn), conn
}

// door decides as forwardauth would for a token that opens the tool read.
type door struct {
	asked forwardauth.Request
	body  string
}

func (d *door) Others() []string { return []string{"X-Api-Key"} }

func (d *door) Decide(_ context.Context, q *forwardauth.Request) forwardauth.Decision {
	d.asked, d.body = *q, ""
	if q.Body != nil {
		b, _ := io.ReadAll(q.Body)
		d.body = string(b)
	}
	switch {
	case q.Ambiguous || q.Host != "mcp.example" || q.Path != "/mcp":
		return forwardauth.Decision{Status: 403, Body: `{"error":"access_denied","error_description":"no MCP server"}` + "\n"}
	case len(q.Authorization) != 1 || q.Authorization[0] != "Bearer good":
		return forwardauth.Decision{Status: 401, Body: `{"error":"invalid_token","error_description":"an access token is required"}` + "\n"}
	case strings.Contains(d.body, `"delete"`):
		return forwardauth.Decision{Status: 403, Body: `{"error":"insufficient_scope","error_description":"lacks a scope"}` + "\n"}
	case strings.Contains(d.body, `"later"`):
		return forwardauth.Decision{Status: 503, Body: "{"}
	case strings.Contains(d.body, `"broken"`):
		panic("broken")
	case strings.Contains(d.body, `"odd"`):
		return forwardauth.Decision{Status: 400, Body: `{"error":"invalid_request","error_description":"odd"}`}
	}
	return forwardauth.Decision{Status: 200, Headers: forwardauth.Lines{Names: []string{"X-User"}, Values: []string{"jane"}}, Remove: []string{"x_user"}}
}

func (d *door) reads(ctx context.Context, q *forwardauth.Request) (filter.View, bool, bool) {
	answer := d.Decide(ctx, q)
	return onlyRead{}, true, answer.Allowed()
}

func asking(changes ...any) map[string]any {
	all := map[string]any{"authorization": "Bearer good", "host": "mcp.example", "path": "/mcp"}
	for i := 0; i < len(changes); i += 2 {
		if all[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(all, changes[i].(string))
		}
	}
	return all
}

func TestCheckRequest(t *testing.T) {
	d := new(door)
	g, _ := newAgentgateway(t, d)
	for _, tt := range []struct {
		name, method, params string
		about                map[string]any
		services             []string
		result, code, reason string
	}{
		{"a tool", "tools/call", `{"name":"read","arguments":{}}`, asking(), []string{"notes"}, "pass", "", ""},
		{"a list", "tools/list", "", asking(), []string{"notes"}, "pass", "", ""},
		{"another tool", "tools/call", `{"name":"delete"}`, asking(), []string{"notes"}, "error", "PERMISSION_DENIED", "lacks a scope"},
		{"temporary", "tools/call", `{"name":"later"}`, asking(), []string{"notes"}, "error", "UNKNOWN", "access denied"},
		{"malformed", "tools/call", `{"name":"odd"}`, asking(), []string{"notes"}, "error", "INVALID", "odd"},
		{"no metadata", "tools/call", `{"name":"read"}`, nil, []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"no token", "tools/call", `{"name":"read"}`, asking("authorization", nil), []string{"notes"}, "error", "PERMISSION_DENIED", "an access token is required"},
		{"an empty token", "tools/call", `{"name":"read"}`, asking("authorization", ""), []string{"notes"}, "error", "PERMISSION_DENIED", "an access token is required"},
		{"a token that is no text", "tools/call", `{"name":"read"}`, asking("authorization", []any{"Bearer good"}), []string{"notes"}, "error", "PERMISSION_DENIED", "an access token is required"},
		{"no host", "tools/call", `{"name":"read"}`, asking("host", nil), []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"another host", "tools/call", `{"name":"read"}`, asking("host", "other.example"), []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"no path", "tools/call", `{"name":"read"}`, asking("path", nil), []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"a path that is none", "tools/call", `{"name":"read"}`, asking("path", "mcp"), []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"a path that is a number", "tools/call", `{"name":"read"}`, asking("path", 7), []string{"notes"}, "error", "PERMISSION_DENIED", "no MCP server"},
		{"several servers", "tools/list", "", asking(), []string{"notes", "mail"}, "error", "PERMISSION_DENIED", "no MCP server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := g.Ask("CheckRequest", g.Question("McpRequest", tt.method, tt.params, tt.about, tt.services...))
			if err != nil {
				t.Fatal(err)
			}
			if got.Result != tt.result || got.Result == "error" && (got.Code != tt.code || got.Reason != tt.reason) {
				t.Errorf("%+v", got)
			}
			if got.Result == "error" && len(got.Set) > 0 {
				t.Errorf("a denial sets headers: %v", got.Set)
			}
			if d.asked.Dialect != forwardauth.ExtMCP || d.asked.Method != "POST" {
				t.Errorf("asked %+v", d.asked)
			}
		})
	}
	got, err := g.Ask("CheckRequest", g.Question("McpRequest", "tools/call", `{"name":"read"}`, asking("x-api-key", "k", "x-other", "o"), "notes"))
	if err != nil || !maps.Equal(got.Set, map[string]string{"X-User": "jane"}) || !slices.Equal(got.Remove, []string{"x_user"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if d.body != `{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"read"}}` {
		t.Errorf("body %s", d.body)
	}
	if d.asked.Other.Get("X-Api-Key") != "k" || len(d.asked.Other) != 1 || d.asked.Peer == "" {
		t.Errorf("other headers %v, from %q", d.asked.Other, d.asked.Peer)
	}
	if _, err := g.Ask("CheckRequest", g.Question("McpRequest", "tools/call", `{"name":"broken"}`, asking(), "notes")); status.Code(err) != codes.Internal {
		t.Errorf("a panic: %v", err)
	}
}

// No name of a tool that is hidden comes back, whatever is wrong.
func TestCheckResponse(t *testing.T) {
	d := new(door)
	g, _ := newAgentgateway(t, d)
	const list = `{"tools":[{"name":"read"},{"name":"delete"}],"nextCursor":"c"}`
	for _, tt := range []struct {
		name, method, result string
		about                map[string]any
		want, mutated        string
	}{
		{"a list", "tools/list", list, asking(), "mutated", `{"tools":[{"name":"read"}],"nextCursor":"c"}`},
		{"the same again", "tools/list", list, asking(), "mutated", `{"tools":[{"name":"read"}],"nextCursor":"c"}`},
		{"nothing to hide", "tools/list", `{"tools":[{"name":"read"}]}`, asking(), "pass", ""},
		{"prompts", "prompts/list", `{"prompts":[{"name":"delete"}]}`, asking(), "pass", ""},
		{"a tool's answer is not read", "tools/call", `delete`, nil, "pass", ""},
		{"initialize", "initialize", `{"capabilities":{}}`, asking(), "pass", ""},
		{"no metadata", "tools/list", list, nil, "error", ""},
		{"no token", "tools/list", list, asking("authorization", nil), "error", ""},
		{"a token that has ended", "tools/list", list, asking("authorization", "Bearer gone"), "error", ""},
		{"another host", "tools/list", list, asking("host", "other.example"), "error", ""},
		{"no result", "tools/list", "", asking(), "error", ""},
		{"no JSON", "tools/list", "delete", asking(), "error", ""},
		{"no object", "tools/list", `["delete"]`, asking(), "error", ""},
		{"more than one result", "tools/list", list + list, asking(), "error", ""},
		{"members that repeat", "tools/list", `{"tools":[],"tools":[{"name":"delete"}]}`, asking(), "error", ""},
		{"members in another case", "tools/list", `{"Tools":[{"name":"delete"}]}`, asking(), "error", ""},
		{"tools that are no list", "tools/list", `{"tools":{"delete":1}}`, asking(), "error", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := g.Ask("CheckResponse", g.Question("McpResponse", tt.method, tt.result, tt.about, "notes"))
			if err != nil || got.Result != tt.want || got.Mutated != tt.mutated {
				t.Fatalf("%+v, %v", got, err)
			}
			if got.Result != "error" {
				return
			}
			if strings.Contains(got.Reason+got.Data, "delete") || got.Reason == "" {
				t.Errorf("the error says %q, %q", got.Reason, got.Data)
			}
		})
	}
}

// raw is a message as it stands on the wire.
type raw []byte

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(raw); ok {
		return b, nil
	}
	return proto.Marshal(v.(proto.Message))
}
func (rawCodec) Unmarshal(b []byte, v any) error { return proto.Unmarshal(b, v.(proto.Message)) }
func (rawCodec) Name() string                    { return "proto" }

type rawCodec struct{}

// A peer that sends nonsense gets an error, or a denial, and one that hangs is cut off.
func TestExtMCPNonsense(t *testing.T) {
	d := new(door)
	g, conn := newAgentgateway(t, d)
	good, _ := proto.Marshal(g.Question("McpRequest", "tools/call", `{"name":"read"}`, asking(), "notes"))
	twice, _ := proto.Marshal(g.Question("McpRequest", "tools/call", `{"name":"read"}`, asking("path", "/other"), "notes"))
	for name, b := range map[string]raw{
		"empty": nil, "cut": good[:len(good)/2], "no protobuf": raw("delete delete"), "two metadata": append(slices.Clone(good), twice...),
		"a method that is not UTF-8": {2<<3 | 2, 1, 0xff},
	} {
		answer := g.Message("McpRequestResult")
		err := conn.Invoke(t.Context(), "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest", b, answer, grpc.ForceCodec(rawCodec{}))
		if err == nil && answer.WhichOneof(answer.Descriptor().Oneofs().Get(0)).Name() != "error" {
			t.Errorf("%s: %v", name, answer)
		}
	}
	big := g.Question("McpResponse", "tools/list", `{"tools":[{"name":"`+strings.Repeat("x", maxMessageBytes)+`"}]}`, asking(), "notes")
	if _, err := g.Ask("CheckResponse", big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a list beyond the bound: %v", err)
	}
	slow := connect(t, listening(t, 50*time.Millisecond))
	s, err := slow.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(g.Message("McpRequestResult")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a question that does not come: %v", err)
	}
}
