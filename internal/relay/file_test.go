package relay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

func TestFile(t *testing.T) {
	const at = "proxy.hosts[0].serve."
	for serve, want := range map[string]string{
		"{}":              "",
		"{enabled: true}": "",
		"{enabled: true, idleTimeout: 10m, requestHeaders: [x-api-key, Cookie], cookies: true}": "",
		"{cookies: true, idleTimeout: 1h}":                           at + "idleTimeout: has no effect while " + at + "enabled is false\n" + at + "cookies: has no effect while " + at + "enabled is false",
		"{enabled: true, idleTimeout: 1s}":                           at + `idleTimeout: "1s" is not between 10s and 24h`,
		"{enabled: true, idleTimeout: soon}":                         at + `idleTimeout: "soon" is not a duration such as "30m" or "1h"`,
		"{enabled: true, requestHeaders: [Authorization, X-Tenant]}": at + "requestHeaders[0]: Authorization never reaches the MCP server\n" + at + "requestHeaders[1]: X-Tenant reaches the MCP server already",
		"{enabled: true, requestHeaders: [X_Api_Key]}":               at + `requestHeaders[0]: "X_Api_Key" is not the name of a header: letters, digits and hyphens`,
		"{enabled: true, requestHeaders: [Cookie, cookie]}":          at + "requestHeaders[1]: Cookie is listed twice",
		"{enabled: true}, extMCP: true":                              "proxy.hosts[0].extMCP: is for a gateway, and serve has none; remove one of the two",
		"{enabled: true}, envoyMCP: true":                            "proxy.hosts[0].envoyMCP: is for a gateway, and serve has none; remove one of the two",
	} {
		c, err := config.Parse([]byte(`
listen: {grpc: ":9001"}
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: none}
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://mcp/mcp", serve: `+serve+`}]}
`), nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", serve, got, want)
		}
		if err != nil {
			continue
		}
		switch s := c.Hosts[0].Serving; {
		case (s != nil) != strings.Contains(serve, "enabled: true"):
			t.Errorf("%s: %v", serve, s)
		case (s != nil) != strings.Contains(c.Summary(), "served without a gateway"):
			t.Errorf("%s: the summary is\n%s", serve, c.Summary())
		case s != nil && !c.Hosts[0].Rules.Body:
			t.Errorf("%s: the body does not decide", serve)
		case s != nil && s.IdleTimeout != time.Hour && !strings.Contains(serve, "10m"):
			t.Errorf("%s: %s", serve, s.IdleTimeout)
		}
	}
}
