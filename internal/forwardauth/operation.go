package forwardauth

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Methods of MCP whose operand a scope may be needed for.
const (
	toolsCall     = "tools/call"
	resourcesRead = "resources/read"
	promptsGet    = "prompts/get"
)

// Methods of MCP whose answers list what there is.
const (
	toolsList     = "tools/list"
	promptsList   = "prompts/list"
	resourcesList = "resources/list"
	templatesList = "resources/templates/list"
)

// firstWithHeaders is the first revision of MCP in which a server must refuse headers
// that differ from the body. In older revisions the headers prove nothing.
const firstWithHeaders = "2026-07-28"

// operation is one thing that a request asks of the MCP server.
type operation struct {
	method string
	name   string // of the tool or prompt, or URI of the resource; else ""
}

// modern reports whether the revision of MCP that the request names lets us rely on its
// headers. A version that is not a date counts as an old one, so that the server can
// answer which versions it has (MCP, "Protocol Version Header").
func modern(lines []string) (bool, Reason) {
	version, ok := atMostOne(lines)
	if !ok || strings.IndexByte(version, ',') >= 0 {
		return false, RepeatedHeader
	}
	if len(version) != len(firstWithHeaders) {
		return false, Allowed
	}
	for i := range len(version) {
		if hyphen := i == 4 || i == 7; hyphen != (version[i] == '-') || !hyphen && (version[i] < '0' || version[i] > '9') {
			return false, Allowed
		}
	}
	return version >= firstWithHeaders, Allowed
}

// named reports whether requests of the method name their operand in Mcp-Name.
func named(method string) bool {
	return method == toolsCall || method == resourcesRead || method == promptsGet
}

// fromHeaders reads the operation out of Mcp-Method and Mcp-Name (MCP, "Standard Request
// Headers"). A comma is refused like a second line, because proxies may join two lines by
// one. No method has a comma, and a client can send a name with one in Base64. URIs with
// commas are common, so plainURI checks those when a pattern has to judge them.
func fromHeaders(h *Headers) (operation, Reason) {
	method, reason := single(h.MCPMethod)
	if reason != Allowed {
		return operation{}, reason
	}
	if strings.IndexByte(method, ',') >= 0 {
		return operation{}, RepeatedHeader
	}
	op := operation{method: method}
	if !named(method) {
		return op, Allowed
	}
	name, reason := single(h.MCPName)
	if reason != Allowed {
		return op, reason
	}
	if method != resourcesRead && strings.IndexByte(name, ',') >= 0 {
		return op, RepeatedHeader
	}
	decoded, ok := decodeName(name)
	if !ok {
		return op, MalformedHeader
	}
	op.name = decoded
	return op, Allowed
}

// single returns the value of a header of MCP that must come exactly once, in
// visible ASCII, space and tab (MCP, "Value Encoding"; RFC 9110, section 5.5).
func single(lines []string) (string, Reason) {
	if len(lines) > 1 {
		return "", RepeatedHeader
	}
	if len(lines) == 0 || lines[0] == "" {
		return "", MissingHeader
	}
	value := lines[0]
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return "", MalformedHeader
		}
	}
	return value, Allowed
}

const (
	sentinelStart = "=?base64?"
	sentinelEnd   = "?="
)

// decodeName decodes a name that a header cannot hold as it is (MCP, "Value Encoding"),
// once, and only if the markers are in lower case. The Base64 must be the one canonical
// spelling: with a lenient decoder two components could read different names.
func decodeName(value string) (name string, ok bool) {
	payload, ok := strings.CutPrefix(value, sentinelStart)
	if !ok {
		return value, true
	}
	payload, ok = strings.CutSuffix(payload, sentinelEnd)
	if !ok {
		return value, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(payload)
	if err != nil || len(b) == 0 || base64.StdEncoding.EncodedLen(len(b)) != len(payload) || !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}
