package forwardauth

import (
	"net/http"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// What the gateway read out of the body decides for every revision of MCP, and
// nothing that the client's headers say changes it.
func TestParsedByTheGateway(t *testing.T) {
	f := newFixture(t, "a.example/mcp strict.example/mcp plain.example/mcp", func(uri string, r *rule.Rules) {
		r.EnvoyMCP = uri != "https://plain.example/mcp"
		r.Scopes = []rule.Scope{{Name: "notes", Resources: []string{"note://*"}}}
		if uri == "https://strict.example/mcp" {
			r.ToolPolicy = rule.Strict
		}
	})
	f.scopes.names = append(f.scopes.names, "notes")
	read := func(method, name, uri string) *Parsed {
		return &Parsed{Whole: true, Method: method, Name: name, URI: uri}
	}
	json := Headers{ContentType: []string{"application/json"}}
	modern := func(method, name string) Headers {
		h := json
		h.ProtocolVersion, h.MCPMethod = []string{"2026-07-28"}, []string{method}
		if name != "" {
			h.MCPName = []string{name}
		}
		return h
	}
	lying := json
	lying.ProtocolVersion, lying.MCPMethod, lying.MCPName = []string{"2025-11-25"}, []string{"tools/list"}, []string{"list"}
	utf16, gzip := json, json
	utf16.ContentType = []string{"application/json; charset=utf-16"}
	gzip.ContentEncoding = []string{"gzip"}
	for name, tt := range map[string]struct {
		method  string
		headers Headers
		parsed  *Parsed
		want    Reason
	}{
		"an opened tool":                {"POST", json, read("tools/call", "list", ""), Allowed},
		"another tool":                  {"POST", json, read("tools/call", "put", ""), InsufficientScope},
		"another tool, lying headers":   {"POST", lying, read("tools/call", "put", ""), InsufficientScope},
		"unknown tool":                  {"POST", json, read("tools/call", "drop", ""), NoScope},
		"a list":                        {"POST", json, read("tools/list", "", ""), Allowed},
		"a response":                    {"POST", json, read("", "", ""), Allowed},
		"a resource":                    {"POST", json, read("resources/read", "", "note://1"), InsufficientScope},
		"a resource under another name": {"POST", json, read("resources/read", "note://1", ""), MalformedBody},
		"a call without a name":         {"POST", json, read("tools/call", "", ""), MalformedBody},
		"a name with NUL":               {"POST", json, read("tools/call", "list\x00put", ""), MalformedBody},
		"a name with half a pair":       {"POST", json, read("tools/call", "list\ufffd", ""), MalformedBody},
		"modern, agrees":                {"POST", modern("tools/call", "list"), read("tools/call", "list", ""), Allowed},
		"modern, another name":          {"POST", modern("tools/call", "list"), read("tools/call", "put", ""), HeaderMismatch},
		"modern, another method":        {"POST", modern("tools/list", ""), read("tools/call", "put", ""), HeaderMismatch},
		"not whole":                     {"POST", json, &Parsed{Method: "tools/call", Name: "list"}, MalformedBody},
		"the gateway says nothing":      {"POST", modern("tools/call", "list"), nil, BodyMissing},
		"nothing, method not told":      {"", json, nil, BodyMissing},
		"a stream":                      {"GET", Headers{}, nil, Allowed},
		"the end of a session":          {"DELETE", Headers{}, nil, Allowed},
		"another charset":               {"POST", utf16, read("tools/call", "list", ""), WrongMediaType},
		"compressed":                    {"POST", gzip, read("tools/call", "list", ""), EncodedBody},
		"no content type":               {"POST", Headers{}, read("tools/call", "list", ""), MediaTypeMissing},
	} {
		for _, host := range []string{"a.example", "strict.example"} {
			t.Run(name+"/"+host, func(t *testing.T) {
				q := Request{Dialect: EnvoyGRPC, Method: tt.method, Host: host, Path: "/mcp", Headers: tt.headers, Parsed: tt.parsed}
				q.Authorization = []string{"Bearer " + f.token(t, "https://"+host+"/mcp", "read")}
				if d := f.Decide(t.Context(), &q); d.Reason != tt.want {
					t.Errorf("%s, want %s", d.Reason, tt.want)
				}
			})
		}
	}
	t.Run("only where the configuration says so", func(t *testing.T) {
		q := Request{Dialect: EnvoyGRPC, Method: http.MethodPost, Host: "plain.example", Path: "/mcp", Headers: modern("tools/call", "put"), Parsed: read("tools/call", "list", "")}
		q.Authorization = []string{"Bearer " + f.token(t, "https://plain.example/mcp", "read")}
		if d := f.Decide(t.Context(), &q); d.Reason != InsufficientScope {
			t.Errorf("%s, want %v", d.Reason, InsufficientScope)
		}
	})
}
