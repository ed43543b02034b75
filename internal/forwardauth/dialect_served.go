package forwardauth

import "net/http"

// Direct reads a client's own request to a served host, which has no gateway. It uses
// only the request line, the Host and the headers of Headers.
func Direct(r *http.Request) Request {
	path, ok := pathOf(r.RequestURI)
	return Request{
		Dialect: Served, Method: r.Method, Host: r.Host, Path: path, Query: queryOf(r.RequestURI), Ambiguous: !ok,
		Headers: headersOf(r.Header), Peer: r.RemoteAddr, Body: r.Body,
	}
}
