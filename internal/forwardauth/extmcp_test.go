package forwardauth

import (
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// A message that agentgateway asks about is decided by itself, at hosts whose
// configuration says so, and the gateway's other question leaves it to that.
func TestMessagesOfAgentgateway(t *testing.T) {
	f := newFixture(t, "a.example/mcp strict.example/mcp both.example/mcp plain.example/mcp envoy.example/mcp", func(uri string, r *rule.Rules) {
		r.ExtMCP = !strings.Contains(uri, "plain") && !strings.Contains(uri, "envoy")
		r.Body, r.EnvoyMCP = strings.Contains(uri, "both"), strings.Contains(uri, "envoy")
		if strings.Contains(uri, "strict") {
			r.ToolPolicy = rule.Strict
		}
	})
	const call = `{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"NAME"}}`
	json := Headers{ContentType: []string{"application/json"}}
	modern := json
	modern.ProtocolVersion, modern.MCPMethod, modern.MCPName = []string{"2026-07-28"}, []string{"tools/call"}, []string{"put"}
	for _, tt := range []struct {
		name    string
		dialect Dialect
		host    string
		headers Headers
		body    string
		want    Reason
	}{
		{"an opened tool", ExtMCP, "a", json, strings.Replace(call, "NAME", "list", 1), Allowed},
		{"another tool", ExtMCP, "a", json, strings.Replace(call, "NAME", "put", 1), InsufficientScope},
		{"another tool, strict", ExtMCP, "strict", json, strings.Replace(call, "NAME", "put", 1), InsufficientScope},
		{"an opened tool, strict", ExtMCP, "strict", json, strings.Replace(call, "NAME", "list", 1), Allowed},
		{"unknown tool", ExtMCP, "both", json, strings.Replace(call, "NAME", "drop", 1), NoScope},
		{"two names", ExtMCP, "a", json, `{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"list","name":"put"}}`, MalformedBody},
		{"params that leave theirs", ExtMCP, "a", json, `{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{"name":"list"},"method":"tools/list"}`, MalformedBody},
		{"no message", ExtMCP, "a", json, "", BodyMissing},
		{"not turned on", ExtMCP, "plain", json, strings.Replace(call, "NAME", "list", 1), NotServedThatWay},
		{"for Envoy", ExtMCP, "envoy", json, strings.Replace(call, "NAME", "list", 1), NotServedThatWay},
		{"the request before, of an old revision", EnvoyGRPC, "a", json, "", Allowed},
		{"the request before, of an old revision, strict", EnvoyGRPC, "strict", json, "", Allowed},
		{"the request before, headers that need more", EnvoyGRPC, "a", modern, "", InsufficientScope},
		{"the request before, with its body", EnvoyGRPC, "both", json, strings.Replace(call, "NAME", "put", 1), InsufficientScope},
		{"the request before, without its body", EnvoyGRPC, "both", json, "", BodyMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := tt.host + ".example"
			q := Request{Dialect: tt.dialect, Method: "POST", Host: host, Path: "/mcp", Headers: tt.headers, Body: strings.NewReader(tt.body)}
			q.Authorization = []string{"Bearer " + f.token(t, "https://"+host+"/mcp", "read")}
			d := f.Decide(t.Context(), &q)
			if d.Reason != tt.want {
				t.Errorf("%s, want %s", d.Reason, tt.want)
			}
			q.Body = strings.NewReader(strings.ReplaceAll(tt.body, "tools/call", "tools/list"))
			_, lists, ok := f.Reads(t.Context(), &q)
			if allowed := tt.dialect == ExtMCP && tt.want != NotServedThatWay && tt.want != MalformedBody && tt.want != BodyMissing; ok != allowed || lists != allowed {
				t.Errorf("reads: %v, %v; want %v, %v", lists, ok, allowed, allowed)
			}
		})
	}
}
