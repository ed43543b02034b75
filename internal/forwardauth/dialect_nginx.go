package forwardauth

import (
	"net/http"
	"strings"
)

// nginx reads the dialect of nginx and ingress-nginx: X-Original-URL is the
// client's URL and X-Original-Method its method, both always set by the gateway.
// Host is the client's, or that of the auth-url when the gateway calls us by a
// name of its own. Without X-Original-URL the Host's only resource is meant.
// The body is never forwarded.
//
// A client may name one host in the request line ("GET https://b/mcp HTTP/1.1")
// and another in its Host header. nginx routes by the first, which is $host, and
// ingress-nginx makes X-Original-URL of the second. So the operator adds the
// query "host=$host"; a client that could write one would only be denied for it.
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
