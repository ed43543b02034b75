package forwardauth

import "net/http"

// gatewayAPI reads what NGINX Gateway Fabric sends for the ExternalAuth filter
// of Gateway API: the client's Host, and headers literally named Path and Method.
func gatewayAPI(r *http.Request) Request {
	method, ok := one(r.Header["Method"])
	target, ok2 := one(r.Header["Path"])
	path, ok3 := pathOf(target)
	return Request{
		Dialect: GatewayAPI, Method: method, Host: r.Host, Path: path, Query: queryOf(target),
		Ambiguous: !ok || !ok2 || !ok3,
	}
}
