package forwardauth

import "net/http"

// forwarded reads the dialect of Traefik, Caddy, HAProxy and APISIX, which set
// X-Forwarded-Method, -Host and -Uri. Their Host header names this service.
// X-Forwarded-Proto is not used, because the public scheme is configured.
func forwarded(r *http.Request) Request {
	method, ok := atMostOne(r.Header["X-Forwarded-Method"])
	host, ok2 := one(r.Header["X-Forwarded-Host"])
	uri, ok3 := one(r.Header["X-Forwarded-Uri"])
	path, ok4 := pathOf(uri)
	return Request{
		Dialect: Forwarded, Method: method, Host: host, Path: path, Query: queryOf(uri),
		Ambiguous: !ok || !ok2 || !ok3 || !ok4,
	}
}
