package config

import (
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
)

// apiKeys resolves the section, and holds the headers of the hosts to those of
// the identity, which c has already.
func (r *resolver) apiKeys(f File, c *Config) apikey.Config {
	where := apikey.Where{Resources: make(map[string]bool, len(c.Hosts)), Addresses: len(c.Listen.TrustedProxies) > 0}
	for i, h := range c.Hosts {
		where.Addresses = where.Addresses || h.Serving != nil
		if h.Serving != nil && h.KeyHeader != "" && slices.Contains(h.Serving.RequestHeaders, h.KeyHeader) {
			r.Add(conf.Element("proxy.hosts", i)+".apiKeys.header", "is one of serve.requestHeaders, and the MCP server must not get the key; choose another")
		}
		where.Resources[h.Scheme+"://"+h.Host+h.Path] = h.APIKeys
		if h.KeyHeader != "" && slices.Contains(c.IdentityHeaders.Names(), h.KeyHeader) {
			r.Add(conf.Element("proxy.hosts", i)+".apiKeys.header", "is a header of identityHeaders; choose another")
		}
	}
	return f.APIKeys.Resolve(conf.Section{Check: r.Check, At: "apiKeys"}, where, time.Now())
}

// keyHeader returns the canonical name of the header for keys, "" for none.
func (r *resolver) keyHeader(at string, f apikey.HostFile, personal bool) string {
	if f.Header != "" && !f.Enabled && !personal {
		r.Add(at, "has no meaning while apiKeys.enabled and personalKeys.enabled are off here")
	}
	return outbound.KeyHeader(r.Check, at, f.Header)
}
