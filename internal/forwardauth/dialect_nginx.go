package forwardauth

import (
	"net/http"
	"strings"
)

// nginx reads the dialect of nginx and ingress-nginx. The gateway always sets
// X-Original-URL to the client's URL and X-Original-Method to its method. The Host header
// is the client's, or that of auth-url if the gateway calls this service by a name of its
// own. Without X-Original-URL the request is for the only resource of the Host. The body
// is never forwarded.
//
// A client may name one host in the request line ("GET https://b/mcp HTTP/1.1") and
// another in its Host header. nginx routes by the first, which is $host, and
// ingress-nginx builds X-Original-URL from the second. So the operator adds the query
// "host=$host" to the URL that nginx asks at. If a client could write that query, it
// could only get itself denied.
func nginx(r *http.Request, query string) Request {
	q := Request{Dialect: NGINX}
	q.RoutedAs, q.Routed = strings.CutPrefix(query, "host=")
	method, ok := atMostOne(r.Header["X-Original-Method"])
	q.Method = method
	original := r.Header["X-Original-Url"]
	switch {
	case !ok || len(original) > 1:
		q.Host, q.Ambiguous = r.Host, true
	case len(original) == 0:
		q.Host, q.NoPath = r.Host, true
	default:
		q.AskedAs = r.Host
		q.Host, q.Path, ok = splitURL(original[0])
		q.Ambiguous, q.Query = !ok, queryOf(original[0])
	}
	return q
}

// splitURL splits "scheme://host/path?query" without decoding anything.
func splitURL(raw string) (hostport, path string, ok bool) {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", "", false
	}
	slash := strings.IndexByte(rest, '/')
	if slash <= 0 {
		return "", "", false
	}
	path, ok = pathOf(rest[slash:])
	return rest[:slash], path, ok
}
