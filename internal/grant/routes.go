package grant

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Routes returns the routes of the token and revocation endpoints.
func (e *Endpoint) Routes() []web.Route {
	post := []string{http.MethodPost}
	return []web.Route{
		{Pattern: Path, Methods: post, Serve: e.Token, Public: true, Waits: true, Refused: audit.TokenRefused},
		{Pattern: RevocationPath, Methods: post, Serve: e.Revoke, Public: true, Waits: true, Refused: audit.RevocationRefused},
	}
}

// DeviceRoute returns the route of the device authorization endpoint.
func (e *Endpoint) DeviceRoute() web.Route {
	return web.Route{Pattern: DevicePath, Methods: []string{http.MethodPost}, Serve: e.Device, Public: true, Waits: true, Begins: true, Refused: audit.DeviceRefused}
}

// IntrospectionRoute returns the route of the introspection endpoint. It is not for
// browsers, because its callers have secrets. It may wait, because the key set of a
// caller may have to be fetched.
func (e *Endpoint) IntrospectionRoute() web.Route {
	return web.Route{Pattern: IntrospectionPath, Methods: []string{http.MethodPost}, Serve: e.Introspect, Waits: true}
}
