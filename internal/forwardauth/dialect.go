package forwardauth

import (
	"net/http"
	"strings"
)

// Dialect is the way in which a gateway says what the client asked for. The operator
// chooses it by the path that the gateway is configured to ask at. The client must not be
// able to choose: each dialect trusts only headers that its gateways always overwrite,
// and a gateway passes the headers of other dialects on as the client wrote them.
type Dialect uint8

// Dialects. The zero value is for a path without a dialect, which is always denied.
const (
	NoDialect Dialect = iota
	NGINX
	Forwarded
	EnvoyHTTP
	GatewayAPI
	EnvoyGRPC // ext_authz at the gRPC listener, see package envoy
	Served    // no gateway: the client's own request, see Direct
	ExtMCP    // ext_mcp at the gRPC listener: agentgateway asks about one MCP message
	dialects
)

// traits says what gateways of a dialect can do.
var traits = [dialects]struct {
	label string
	// strict: the gateways pass 401 and 403 on and turn every other denial into a 500,
	// and they pass WWW-Authenticate on with 401 only (ngx_http_auth_request_module).
	strict bool
	// body: some gateways of the dialect can forward the body of the request.
	body bool
	// statuses replace the statuses of some reasons.
	statuses map[Reason]int
}{
	NoDialect:  {label: "none", strict: true},
	NGINX:      {label: "nginx", strict: true},
	Forwarded:  {label: "forwarded", body: true},
	EnvoyHTTP:  {label: "envoy_http", body: true},
	GatewayAPI: {label: "gateway_api", strict: true, body: true},
	EnvoyGRPC:  {label: "envoy_grpc", body: true},
	ExtMCP:     {label: "ext_mcp", body: true},
	Served: {label: "served", body: true, statuses: map[Reason]int{
		UnknownHost: http.StatusMisdirectedRequest, UnknownResource: http.StatusNotFound, AmbiguousTarget: http.StatusBadRequest,
		BodyTooLarge: http.StatusRequestEntityTooLarge, BodyMissing: http.StatusBadRequest,
	}},
}

// String returns the dialect's metric label.
func (d Dialect) String() string { return traits[d].label }

// Dialects lists every dialect, for metrics and documentation.
func Dialects() []Dialect {
	out := make([]Dialect, dialects)
	for i := range out {
		out[i] = Dialect(i)
	}
	return out
}

// read reads the Request out of a gateway's HTTP request, whose target begins with Path.
func read(r *http.Request) Request {
	var q Request
	rest := strings.TrimPrefix(r.RequestURI, Path)
	where, query, _ := strings.Cut(rest, "?") // some gateways append the client's query
	switch {
	case where == "":
		q = nginx(r, query)
	case where == "/forwarded":
		q = forwarded(r)
	case where == "/gateway-api":
		q = gatewayAPI(r)
	case where == "/envoy" || strings.HasPrefix(where, "/envoy/"):
		q = envoy(r, where[len("/envoy"):], query)
	}
	q.Headers = headersOf(r.Header)
	return q
}

// one returns the value of a header that must come exactly once. ok is false otherwise.
func one(lines []string) (value string, ok bool) {
	if len(lines) != 1 {
		return "", false
	}
	return lines[0], true
}

// atMostOne returns the value of a header that may be missing, "" if it is. ok is false
// if it repeats.
func atMostOne(lines []string) (value string, ok bool) {
	if len(lines) == 0 {
		return "", true
	}
	return one(lines)
}

// pathOf cuts the query off a request target in origin form, without decoding
// anything.
func pathOf(target string) (path string, ok bool) {
	path, _, _ = strings.Cut(target, "?")
	return path, strings.HasPrefix(path, "/")
}

// queryOf returns the query that pathOf cuts off.
func queryOf(target string) string {
	_, query, _ := strings.Cut(target, "?")
	return query
}
