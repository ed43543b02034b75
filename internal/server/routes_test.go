package server

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/account"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/discovery"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// An MCP server must not have a path of the service: its requests would not reach
// it, and a route of the service would be reached through it.
func TestConfigurationRefusesEveryRoute(t *testing.T) {
	const provider = "provider: {name: google, clientID: x, clientSecretFile: /secret, allowedEmailDomains: ['example\\.com']}\n"
	secret := func(string) ([]byte, error) { return []byte("secret"), nil }
	for _, r := range everyRoute() {
		first, _, _ := strings.Cut(r.Pattern[1:], "/")
		_, err := config.Parse([]byte(provider+"proxy: {hosts: [{host: mcp.example.com, path: /"+first+", endpoint: http://mcp:8080/mcp}]}"), secret)
		if err == nil || err.Error() != fmt.Sprintf(`proxy.hosts[0].path: "/%[1]s" collides with /%[1]s, which this service serves itself`, first) {
			t.Errorf("an MCP server at /%s: %v", first, err)
		}
		if !Owns(strings.TrimSuffix(r.Pattern, "/{provider}")) {
			t.Errorf("a gateway would not send %s to the service", r.Pattern)
		}
	}
	for path, want := range map[string]bool{
		"/callback/google": true, "/mcp/.well-known/openid-configuration": true, "/authenticate": false, "/mcp": false, "/tokens": false, "/": false,
	} {
		if Owns(path) != want {
			t.Errorf("Owns(%q) is %v", path, !want)
		}
	}
}

// What begins something is refused first when there is too much to do, and a
// route with a page does not answer browser code of other origins.
func TestRoutesAreConsistent(t *testing.T) {
	for _, r := range everyRoute() {
		switch {
		case r.Begins && !r.Waits:
			t.Errorf("%s begins something and is not bounded", r.Pattern)
		case r.Registers && r.Refused == "":
			t.Errorf("%s is limited and has no event for that", r.Pattern)
		case r.Person && r.Public:
			t.Errorf("%s is a page for browser code of any origin", r.Pattern)
		case len(r.Methods) == 0:
			t.Errorf("%s serves no method", r.Pattern)
		}
	}
}

// The metadata names an endpoint if and only if there is a route to it.
func TestAdvertisedEndpointsHaveRoutes(t *testing.T) {
	optional := map[string]string{"RegistrationPath": registration.Path, "IntrospectionPath": grant.IntrospectionPath, "PushPath": grant.PushPath, "DevicePath": grant.DevicePath}
	for _, on := range []bool{true, false} {
		e := endpoints{&authorize.Endpoint{}, &grant.Endpoint{}, on, on, nil, &discovery.Endpoint{}, &account.Endpoint{}, &ssf.Receiver{}}
		if on {
			e.registration, e.tokens.Devices = &registration.Endpoint{}, &device.Codes{}
		}
		f := reflect.ValueOf(e.features(&registration.Clients{}))
		for i := range f.NumField() {
			name := f.Type().Field(i).Name
			if !strings.HasSuffix(name, "Path") {
				continue
			}
			path := f.Field(i).String()
			if path == "" {
				if path = optional[name]; on || path == "" {
					t.Errorf("%s is empty", name)
				}
			}
			routed := slices.ContainsFunc(e.routes(), func(r web.Route) bool { return r.Pattern == path && r.Issues })
			if advertised := f.Field(i).String() != ""; advertised != routed {
				t.Errorf("%s: advertised %v, routed %v", path, advertised, routed)
			}
		}
	}
}
