package bridge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// codeHeaders: the headers differ from the body (2026-07-28).
const codeHeaders = -32020

const codeParams = -32602

// protocolVersion is the member of _meta with a message's revision.
const protocolVersion = "io.modelcontextprotocol/protocolVersion"

// gone are methods that revision 2026-07-28 no longer has.
var gone = map[string]bool{
	"initialize": true, "notifications/initialized": true, "ping": true, "logging/setLevel": true, "resources/subscribe": true, "resources/unsubscribe": true,
}

// nameOf is the member of the body, by method, that Mcp-Name repeats.
var nameOf = map[string]string{
	"tools/call": "name", "prompts/get": "name", "resources/read": "uri", "tasks/get": "taskId", "tasks/cancel": "taskId", "tasks/update": "taskId",
}

// wrong is a difference between a request's headers and body.
type wrong struct {
	status, code int
	text         string
}

// agree checks that the headers of a request agree with its body, as revision
// 2026-07-28 requires of servers. A gateway may have decided by the headers.
func agree(r *http.Request, m *message) *wrong {
	version := r.Header.Get(versionHeader)
	if version < modern && !mayHave(m.Params, protocolVersion) {
		return nil
	}
	var params map[string]json.RawMessage
	_ = json.Unmarshal(m.Params, &params) // what is no object has no members
	said, has := member(params, "_meta", protocolVersion)
	mismatch := func(format string, args ...any) *wrong {
		return &wrong{http.StatusBadRequest, codeHeaders, fmt.Sprintf(format, args...)}
	}
	switch {
	case version < modern && has:
		return mismatch("the body says revision %.40q of MCP, and the header %s does not", said, versionHeader)
	case version < modern || m.response():
		return nil
	case m.request() && !has:
		return &wrong{http.StatusBadRequest, codeParams, "the member _meta lacks " + protocolVersion}
	case has && said != version:
		return mismatch("%s is %.40q, and the body says %.40q", versionHeader, version, said)
	case gone[m.Method]:
		return &wrong{http.StatusNotFound, codeNoMethod, "this revision of MCP has no method " + m.Method}
	}
	method := r.Header.Values("Mcp-Method")
	if len(method) != 1 || strings.TrimSpace(method[0]) != m.Method {
		return mismatch("Mcp-Method does not say the method of the body, %.80q", m.Method)
	}
	key := nameOf[m.Method]
	if key == "" {
		return nil
	}
	name, _ := member(params, key)
	if values := r.Header.Values("Mcp-Name"); len(values) != 1 || plainName(values[0]) != name || name == "" {
		return mismatch("Mcp-Name does not say the %s of the body, %.80q", key, name)
	}
	return nil
}

// member returns the text at a path of an object.
func member(object map[string]json.RawMessage, path ...string) (text string, ok bool) {
	raw, there := object[path[0]]
	if len(path) == 1 {
		return text, there && json.Unmarshal(raw, &text) == nil
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(raw, &inner) != nil {
		return "", false
	}
	return member(inner, path[1:]...)
}

// plainName decodes the encoding of non-ASCII text in a header; "" for an invalid one.
func plainName(value string) string {
	if plain, ok := decodeHeader(value); ok {
		return plain
	}
	return ""
}

// decodeHeader decodes the encoding of non-ASCII text in a header. A value that has
// only its beginning or its end is plain text.
func decodeHeader(value string) (plain string, ok bool) {
	value = strings.TrimSpace(value)
	inner, begins := strings.CutPrefix(value, "=?base64?")
	inner, ends := strings.CutSuffix(inner, "?=")
	if !begins || !ends {
		return value, true
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(inner)
	return string(decoded), err == nil
}

// statusOf is the HTTP status of an answer, which revision 2026-07-28 binds to the
// code of an error.
func statusOf(answer []byte, current bool) int {
	if !current {
		return http.StatusOK
	}
	var m struct{ Error json.RawMessage }
	if json.Unmarshal(answer, &m) != nil || m.Error == nil {
		return http.StatusOK
	}
	switch codeOf(m.Error) {
	case codeNoMethod:
		return http.StatusNotFound
	case codeParams, codeHeaders, codeUnsupported, -32021: // the last: a capability that the client lacks
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// codeOf is the code of an error of JSON-RPC, 0 where it has none.
func codeOf(raw json.RawMessage) int {
	var e struct{ Code int }
	_ = json.Unmarshal(raw, &e)
	return e.Code
}
