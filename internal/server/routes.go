package server

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/account"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/idjag"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/discovery"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// endpoints are those of the protocol listener, but for the forward-auth endpoint.
type endpoints struct {
	browser       *authorize.Endpoint
	tokens        *grant.Endpoint
	introspection bool
	pushed        bool
	registration  *registration.Endpoint // nil where clients cannot register
	documents     *discovery.Endpoint
	account       *account.Endpoint // nil where no host has a browser session
	events        *ssf.Receiver     // nil where no security events are taken
}

// routes is the table of routes.
func (e endpoints) routes() []web.Route {
	routes := append(e.browser.Routes(), e.tokens.Routes()...)
	if e.introspection {
		routes = append(routes, e.tokens.IntrospectionRoute())
	}
	if e.pushed {
		routes = append(routes, e.tokens.PushRoute())
	}
	if e.tokens.Devices != nil {
		routes = append(routes, e.tokens.DeviceRoute())
	}
	if e.tokens.Exchanges != nil {
		routes = append(routes, e.tokens.DeadTokenRoute())
	}
	if e.registration != nil {
		routes = append(routes, e.registration.Routes()...)
	}
	if e.account != nil {
		routes = append(routes, e.account.Routes()...)
	}
	for i := range routes {
		routes[i].Issues = true
	}
	if e.events != nil {
		routes = append(routes, e.events.Routes()...)
	}
	return append(routes, e.documents.Routes()...)
}

// everyRoute is the table of routes of a service that has everything turned on.
// Its handlers must not be called.
func everyRoute() []web.Route {
	devices := &device.Codes{}
	return endpoints{&authorize.Endpoint{Sessions: &session.Sessions{}, Devices: devices}, &grant.Endpoint{Devices: devices, Exchanges: &grant.Exchanges{}}, true, true, &registration.Endpoint{}, &discovery.Endpoint{}, &account.Endpoint{}, &ssf.Receiver{}}.routes()
}

// Owns reports whether a path belongs to the service on every host, whatever is
// turned on; a gateway sends requests for it to the service. /authenticate is
// not among them: it is for gateways alone.
func Owns(path string) bool { return owns(everyRoute(), path) }

func owns(routes []web.Route, path string) bool {
	return web.Covers(routes, path) || strings.Contains(path, "/.well-known/")
}

// features are the endpoints that the metadata documents announce.
func (e endpoints) features(clients *registration.Clients) discovery.Features {
	f := discovery.Features{
		AuthorizationPath: authorize.Path, TokenPath: grant.Path, RevocationPath: grant.RevocationPath,
		GrantTypes: e.tokens.GrantTypes, GrantProfiles: e.grantProfiles, OfflineAccess: e.tokens.Refresh != nil, AuthMethods: registration.AuthMethods,
		AuthSigningAlgs: registration.SigningAlgNames(), MetadataDocuments: announceDocuments(clients),
		DPoPAlgs: dpop.Algorithms(),
	}
	if e.introspection {
		f.IntrospectionPath, f.IntrospectionAuthMethods = grant.IntrospectionPath, grant.IntrospectionAuthMethods
	}
	if e.pushed {
		f.PushPath, f.PushedOnly = grant.PushPath, e.browser.PushedOnly
	}
	if e.tokens.Devices != nil {
		f.DevicePath = grant.DevicePath
	}
	if e.registration != nil {
		f.RegistrationPath = registration.Path
	}
	return f
}

// grantProfiles are those that work at a host.
func (e endpoints) grantProfiles(host *resource.Host) []string {
	if e.tokens.OffersAssertions(host, idjag.Name) {
		return []string{idjag.Profile}
	}
	return nil
}

// mux puts the routes on a multiplexer.
func (e endpoints) mux(table *resource.Table, pages *page.Pages, limits *limits, load *load) *http.ServeMux {
	mux := http.NewServeMux()
	handler := func(r web.Route) http.Handler {
		return orPage(pages, r, r.Handler(func(h web.HostHandler) http.Handler {
			return web.OnHost(table, limits.before(r, load.before(r, issuing(r, h))))
		}))
	}
	for _, r := range e.routes() {
		mux.Handle(r.Pattern, handler(r))
	}
	appended, nothing := handler(e.documents.AppendedRoute()), web.OnHost(table, nothingHere(pages))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if discovery.IsAppended(r.URL.EscapedPath()) {
			appended.ServeHTTP(w, r)
			return
		}
		nothing.ServeHTTP(w, r)
	})
	return mux
}

// issuing hides the endpoints of the authorization server at hosts that have none.
func issuing(r web.Route, next web.HostHandler) web.HostHandler {
	if !r.Issues {
		return next
	}
	return func(w http.ResponseWriter, req *http.Request, host *resource.Host) {
		if !host.TakesOwnTokens() {
			notFound(w, req, host)
			return
		}
		next(w, req, host)
	}
}

// notFound answers programs at a path without a route.
func notFound(w http.ResponseWriter, _ *http.Request, _ *resource.Host) {
	web.JSON(w, http.StatusNotFound, web.ErrorBody{Error: "not_found", Description: "there is nothing at this path"})
}

// protocol is the handler of the protocol listener. A panic is a 500 everywhere:
// at the gateway that is no yes. Requests to MCP servers that are served here
// are for served; nil serves none.
func protocol(log *slog.Logger, table *resource.Table, decisions, served, rest http.Handler) http.Handler {
	next := route(decisions, rest)
	if served != nil {
		next = serving(table, served, next, rest)
	}
	return web.Recover(log, next)
}

// route sends forward-auth requests past the multiplexer, which would clean
// their paths and redirect.
func route(decisions, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if forwardauth.Owns(r.RequestURI) {
			decisions.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// serving sends requests for MCP servers of a served host past the multiplexer. The
// service keeps its own paths there, except /authenticate: without a gateway it would
// give clients the headers that are for MCP servers.
func serving(table *resource.Table, served, next, rest http.Handler) http.Handler {
	routes := everyRoute()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := table.Host(r.Host)
		switch {
		case host == nil || !host.Serves():
			next.ServeHTTP(w, r)
		case owns(routes, r.URL.Path):
			rest.ServeHTTP(w, r)
		case forwardauth.Owns(r.RequestURI) && !host.ServesAll():
			next.ServeHTTP(w, r)
		case forwardauth.Owns(r.RequestURI):
			rest.ServeHTTP(w, r)
		default:
			served.ServeHTTP(w, r)
		}
	})
}
