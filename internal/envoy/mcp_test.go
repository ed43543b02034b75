package envoy

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// What Envoy 1.40 was seen to say of bodies, and what could be said to deceive.
func TestMCPMetadata(t *testing.T) {
	const call = `{"id":1,"is_mcp_request":true,"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"},"status":"mcp_ok"}`
	whole := func(method, name, uri string) *forwardauth.Parsed {
		return &forwardauth.Parsed{Whole: true, Method: method, Name: name, URI: uri}
	}
	part := func(method, name string) *forwardauth.Parsed {
		return &forwardauth.Parsed{Method: method, Name: name}
	}
	for name, tt := range map[string]struct {
		metadata string
		want     *forwardauth.Parsed
	}{
		"none":                      {`{}`, nil},
		"of another filter":         {`{"filterMetadata":{"envoy.filters.http.jwt":` + call + `}}`, nil},
		"a call":                    {`{"filterMetadata":{"a":{"b":1},"envoy.filters.http.mcp":` + call + `}}`, whole("tools/call", "read", "")},
		"a list":                    {mcp(`{"id":1,"is_mcp_request":true,"method":"tools/list","status":"mcp_ok"}`), whole("tools/list", "", "")},
		"a resource":                {mcp(`{"is_mcp_request":true,"method":"resources/read","params":{"uri":"note://1"},"status":"mcp_ok"}`), whole("resources/read", "", "note://1")},
		"a response":                {mcp(`{"id":1,"is_mcp_request":true,"method":"__jsonrpc_response","status":"mcp_ok"}`), whole("", "", "")},
		"no name":                   {mcp(`{"is_mcp_request":true,"method":"tools/call","status":"mcp_ok"}`), whole("tools/call", "", "")},
		"a name that is null":       {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":null},"status":"mcp_ok"}`), whole("tools/call", "", "")},
		"a name that is a number":   {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":5},"status":"mcp_ok"}`), whole("tools/call", "", "")},
		"a name that is a list":     {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":["read"]},"status":"mcp_ok"}`), whole("tools/call", "", "")},
		"params that are text":      {mcp(`{"is_mcp_request":true,"method":"tools/call","params":"read","status":"mcp_ok"}`), whole("tools/call", "", "")},
		"nothing":                   {mcp(`{}`), part("", "")},
		"no method":                 {mcp(`{"is_mcp_request":true,"status":"mcp_ok"}`), part("", "")},
		"not MCP":                   {mcp(`{"is_mcp_request":false,"method":"tools/call","params":{"name":"read"},"status":"mcp_ok"}`), part("tools/call", "read")},
		"MCP in words":              {mcp(`{"is_mcp_request":"true","method":"tools/call","params":{"name":"read"},"status":"mcp_ok"}`), part("tools/call", "read")},
		"another status":            {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":"read"},"status":"mcp_invalid"}`), part("tools/call", "read")},
		"no status":                 {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":"read"}}`), part("tools/call", "read")},
		"passed with a reservation": {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":"read"},"status":"mcp_ok","passthrough_reason":"mcp_duplicate_keys"}`), part("tools/call", "read")},
		"larger than its bound":     {mcp(`{"is_mcp_request":true,"method":"tools/call","params":{"name":"read"},"status":"mcp_ok","is_exceeding_limit":true}`), part("tools/call", "read")},
	} {
		t.Run(name, func(t *testing.T) {
			q := withMetadata(t, tt.metadata)
			if got := q.request().Parsed; (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func mcp(fields string) string { return `{"filterMetadata":{"envoy.filters.http.mcp":` + fields + `}}` }

// withMetadata reads a question with this core.Metadata, in JSON.
func withMetadata(t *testing.T, text string) *question {
	t.Helper()
	b, err := proto.Marshal(&auth.CheckRequest{Attributes: &auth.AttributeContext{
		MetadataContext: parseMetadata(t, text), Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: "POST", Path: "/mcp"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	q := new(question)
	if err := q.read(b); err != nil {
		t.Fatal(err)
	}
	return q
}

// A value that comes twice could be read in two ways.
func TestMCPMetadataTwice(t *testing.T) {
	once, err := proto.Marshal(&auth.CheckRequest{Attributes: &auth.AttributeContext{MetadataContext: parseMetadata(t, mcp(
		`{"is_mcp_request":true,"method":"tools/call","params":{"name":"read"},"status":"mcp_ok"}`))}})
	if err != nil {
		t.Fatal(err)
	}
	q := new(question)
	if err := q.read(append(once, once...)); err != nil {
		t.Fatal(err)
	}
	if q.mcp == nil || q.mcp.Whole {
		t.Errorf("%+v", q.mcp)
	}
}

func parseMetadata(t *testing.T, text string) *core.Metadata {
	t.Helper()
	var m core.Metadata
	if err := protojson.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return &m
}
