package relay

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// File is the `proxy.hosts[].serve` section.
type File struct {
	// Without a gateway, this service itself receives the requests to the MCP server at its own listener, and relays the allowed ones to endpoint. The body decides what a request is, as with body. See docs/served-hosts.md. Default false.
	Enabled bool `json:"enabled"`
	// How long the MCP server may send nothing before its answer, or an open stream, is cut off; an answer as a whole may take any time. Default "1h".
	IdleTimeout time.Duration `json:"idleTimeout" min:"10s" max:"24h"`
	// Headers of the client that reach the MCP server although they are removed by default, such as "X-Api-Key" for a credential of the server's own. The access token in Authorization cannot be one of them. Default: none.
	RequestHeaders []string `json:"requestHeaders" max:"100"`
	// Set-Cookie of the MCP server reaches the client. With "Cookie" in requestHeaders, sessions by cookies work. Default false.
	Cookies bool `json:"cookies"`
}

// standardIdle is the default of idleTimeout. Streams of notifications may be silent for
// long.
const standardIdle = time.Hour

// Resolve checks the section. It returns nil for a server that is behind a gateway.
func (f *File) Resolve(c conf.Section) *resource.Serving {
	if !f.Enabled {
		for _, key := range []string{"idleTimeout", "requestHeaders", "cookies"} {
			if c.IsSet(c.Key(key)) {
				c.Add(c.Key(key), "has no effect while %s is false", c.Key("enabled"))
			}
		}
		return nil
	}
	s := &resource.Serving{IdleTimeout: cmp.Or(f.IdleTimeout, standardIdle), Cookies: f.Cookies}
	at := c.Key("requestHeaders")
	known := stripping(&resource.Serving{}, nil, "")
	for i, name := range f.RequestHeaders {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !plainName(name):
			c.Add(conf.Element(at, i), "%s is not the name of a header: letters, digits and hyphens", conf.Show(name))
		case slices.Contains(neverPassed, canonical):
			c.Add(conf.Element(at, i), "%s never reaches the MCP server", canonical)
		case known.toServer(canonical):
			c.Add(conf.Element(at, i), "%s reaches the MCP server already", canonical)
		case slices.Contains(s.RequestHeaders, canonical):
			c.Add(conf.Element(at, i), "%s is listed twice", canonical)
		}
		s.RequestHeaders = append(s.RequestHeaders, canonical)
	}
	return s
}

// neverPassed are headers that no configuration can pass on: those with credentials for
// this service or a proxy, those that this service sets itself, and those for the next
// hop only.
var neverPassed = []string{
	"Authorization", "Dpop", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Proxy", "Proxy-Connection", "Proxy-Authorization", "Expect", "Upgrade", "Http2-Settings",
}
