package forwardauth

import (
	"net/http"
	"strings"
)

// Dialect is a gateway's way to say what the client asked for. The operator
// chooses it by the path that the gateway is configured with, so that a client
// cannot: each dialect trusts only what its gateways always overwrite, and
// every gateway passes the headers of other dialects on as the client wrote them.
type Dialect uint8

// Dialects. The zero value is that of a path which has none; it is always denied.
const (
	NoDialect Dialect = iota
	NGINX
	Forwarded
	EnvoyHTTP
	GatewayAPI
	EnvoyGRPC // spoken by the gRPC listener, not by a path
	Served    // no gateway: the client's own request, see Direct
	ExtMCP    // spoken by the gRPC listener: agentgateway asks about one message of MCP
	dialects
)

// traits says what the gateways of a dialect can carry.
var traits = [dialects]struct {
	label string
	// strict gateways pass 401 and 403 on and turn every other denial into a
	// 500, and they keep WWW-Authenticate for 401 only (ngx_http_auth_request_module).
	strict bool
	// body: some gateways of the dialect can forward the request body.
	body bool
	// statuses take the place of the statuses of some reasons.
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

// read makes the Request out of a gateway's HTTP request. Its target has the
// prefix Path.
func read(r *http.Request) Request {
	var q Request
	rest := strings.TrimPrefix(r.RequestURI, Path)
	where, query, _ := strings.Cut(rest, "?") // a query is the client's, at some gateways
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

// one returns the value of a header that must come exactly once.
func one(lines []string) (value string, ok bool) {
	if len(lines) != 1 {
		return "", false
	}
	return lines[0], true
}

// atMostOne returns the value of a header that may be missing.
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

// queryOf returns what pathOf cuts off.
func queryOf(target string) string {
	_, query, _ := strings.Cut(target, "?")
	return query
}
