package forwardauth

import "net/http"

// envoy reads the dialect of Envoy's ext_authz over HTTP with a path_prefix: the
// request line is the client's, behind the prefix, with its method and Host.
func envoy(r *http.Request, target, query string) Request {
	path, ok := pathOf(target)
	return Request{
		Dialect: EnvoyHTTP, Method: r.Method, Host: r.Host, Path: path, Query: query, Ambiguous: !ok,
		// with_request_body and allow_partial_message; spoofed, it only denies.
		BodyCut: len(r.Header["X-Envoy-Auth-Partial-Body"]) > 0 && r.Header["X-Envoy-Auth-Partial-Body"][0] != "false",
	}
}
