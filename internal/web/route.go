package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Route is a path of the protocol listener, with everything that the server has
// to know about it. Each endpoint lists its own; the server mounts them all.
type Route struct {
	// Pattern is one of http.ServeMux, without a method and without a host.
	Pattern string
	// Methods are the methods it serves; GET includes HEAD. Others get 405.
	Methods []string
	Serve   HostHandler
	// Before, if set, answers or passes on a request before its host is looked up.
	Before func(next http.Handler) http.Handler

	// Public: browser code of any origin may call it (CORS), without credentials.
	Public bool
	// Person: a person reads the answer. Refusals are pages, and requests that a
	// browser makes on its own have no effect.
	Person bool
	// Issues: it belongs to the authorization server, so a host that takes no tokens
	// of this service does not have it.
	Issues bool
	// Waits: it waits for another party (an identity provider, the guard, a client's
	// document) or computes for long, so it counts for limits.requestsInFlight.
	// Never set it for /authenticate or a document, which wait for nothing.
	Waits bool
	// Begins: it begins something new, so it is refused before what was begun is.
	Begins bool
	// Refused is the event of a request that is refused because its address made too
	// many. "" does not count requests by address.
	Refused audit.Event
	// Registers: it counts for limits.registrations too.
	Registers bool
}

// Handler returns the handler of the route. onHost looks up the host of a
// request and applies the limits.
func (r Route) Handler(onHost func(HostHandler) http.Handler) http.Handler {
	h := onHost(r.Serve)
	if r.Before != nil {
		h = r.Before(h)
	}
	if r.Person {
		h = Deliberate(h)
	}
	h = Methods(h, r.Methods...)
	if r.Public {
		h = Public(strings.Join(r.Methods, ", "), h)
	}
	return h
}

// Covers reports whether a request for path belongs to one of routes: to its
// path, or below it.
func Covers(routes []Route, path string) bool {
	for _, r := range routes {
		own, _, _ := strings.Cut(strings.TrimSuffix(r.Pattern, "/"), "/{")
		if path == own || strings.HasPrefix(path, own+"/") {
			return true
		}
	}
	return false
}

// Where a person's browser signs in for the pages of a host, where it reads that a page
// is not for its person, and the parameter that says where it goes on to.
const (
	AccountPath = "/account"
	SignInPath  = AccountPath + "/sign-in"
	RefusedPath = AccountPath + "/refused"
	ReturnParam = "rd"
)

// SignInAgain is where a person whose browser may be signed in begins again, with an
// account of their choice, and goes on to a path of the host.
func SignInAgain(host *resource.Host, to string) string {
	return host.Issuer + SignInPath + "?" + url.Values{ReturnParam: {to}, "prompt": {"select_account"}}.Encode()
}
