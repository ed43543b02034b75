// Package tokenexchange owns the section of the configuration that says which MCP
// server may exchange what it was told of a caller for a token to act with (RFC 8693),
// and at which other servers. Without the section no server may. What an exchange
// checks is for package grant.
package tokenexchange

import (
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// GrantType is the grant that clients need.
const GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"

// File is the `proxy.hosts[].tokenExchange` section.
type File struct {
	// Clients that are this MCP server, by the id of an entry of `clients` with a secret or a key and the grant type "urn:ietf:params:oauth:grant-type:token-exchange". With the identity header of a request each gets the identity provider's token, where providerToken has the form "held", and tokens for targets. See docs/token-exchange.md. Default: none, and nothing is exchanged.
	Clients []string `json:"clients" max:"20" check:"unique"`
	// Workloads that are this MCP server, such as the ServiceAccount of its pods. Default: none.
	Workloads []Workload `json:"workloads" max:"20"`
	// Other MCP servers that this one calls for its callers. The consent page names them. Default: none.
	Targets []Target `json:"targets" max:"50"`
	// Lifetime of access tokens for targets, "1m" to "1h". They expire no later than the caller's own.
	Lifetime time.Duration `json:"lifetime" default:"5m" min:"1m" max:"1h"`
}

// Workload is one entry of `proxy.hosts[].tokenExchange.workloads`.
type Workload struct {
	// Issuer of an entry of trustedIssuers, of kind "kubernetes" or "workload". Required.
	Issuer string `json:"issuer"`
	// Subject exactly as in sub, such as "system:serviceaccount:notes:server". Required.
	Subject string `json:"subject" check:"text"`
}

// Target is one entry of `proxy.hosts[].tokenExchange.targets`.
type Target struct {
	// MCP server that is called, by its public URL: another entry of proxy.hosts. Required.
	Resource string `json:"resource"`
	// All scopes that this server may have there for a caller. The policy of that server may leave less. Required.
	Scopes []string `json:"scopes" max:"50" check:"scopes"`
	// Scopes that the caller's own request must have here, all of them, so that a caller who may only read here cannot write there. Default: none.
	Requires []string `json:"requires" max:"50" check:"scopes"`
}

// On reports whether the section names anyone.
func (f *File) On() bool { return len(f.Clients)+len(f.Workloads) > 0 }

// Resolve checks the section by itself; nil is a server that exchanges nothing.
func (f *File) Resolve(c conf.Section) *resource.Exchange {
	if !f.On() {
		for _, key := range []string{"targets", "lifetime"} {
			if c.IsSet(c.Key(key)) {
				c.Add(c.Key("clients"), "is required with %s, or workloads: who the MCP server is", key)
				break
			}
		}
		return nil
	}
	x := &resource.Exchange{Clients: f.Clients, Lifetime: f.Lifetime}
	for i, w := range f.Workloads {
		at := conf.Element(c.Key("workloads"), i)
		if w.Issuer == "" || w.Subject == "" {
			c.Add(at, "needs issuer and subject")
		}
		x.Workloads = append(x.Workloads, resource.Workload{Issuer: w.Issuer, Subject: w.Subject})
	}
	for i, t := range f.Targets {
		at := conf.Section{Check: c.Check, At: conf.Element(c.Key("targets"), i)}
		if len(t.Scopes) == 0 {
			c.Add(at.Key("scopes"), "is required: all that the server may have there")
		}
		x.Targets = append(x.Targets, resource.Target{Resource: t.Resource, Scopes: oauth.Scopes(t.Scopes), Requires: oauth.Scopes(t.Requires)})
	}
	return x
}

// Surroundings are what Check needs to know of the rest of the configuration.
type Surroundings struct {
	Own       string             // public URL of the server itself
	Resources map[string]bool    // public URLs of the servers that take tokens of this service
	Clients   map[string]Client  // of the configuration, by id
	Issuers   map[string]Trusted // trusted issuers
	Signed    bool               // the signed identity header is on
}

// Client is what is to be known of a client.
type Client struct{ Proven, Granted bool }

// Trusted is what is to be known of a trusted issuer: whether its assertions are about
// workloads.
type Trusted struct{ Workloads bool }

// Check holds a resolved section to the rest of the configuration.
func Check(c conf.Section, x *resource.Exchange, around Surroundings) {
	if !around.Signed {
		c.Add(c.Key("clients"), "needs identityHeaders.jwt.enabled: the signed identity header is what an MCP server exchanges")
	}
	for i, id := range x.Clients {
		at := conf.Element(c.Key("clients"), i)
		known, ok := around.Clients[id]
		switch {
		case !ok:
			c.Add(at, "%s is not the id of an entry of clients", conf.Show(id))
		case !known.Proven:
			c.Add(at, "%s has no secret and no key, and its id is no proof", conf.Show(id))
		case !known.Granted:
			c.Add(at, "%s lacks the grant type %q in its grantTypes", conf.Show(id), GrantType)
		}
	}
	for i, w := range x.Workloads {
		at := conf.Section{Check: c.Check, At: conf.Element(c.Key("workloads"), i)}
		known, ok := around.Issuers[w.Issuer]
		switch {
		case w.Issuer == "": // told already
		case !ok:
			c.Add(at.Key("issuer"), "%s is not the issuer of an entry of trustedIssuers", conf.ShowURL(w.Issuer))
		case !known.Workloads:
			c.Add(at.Key("issuer"), "%s makes assertions about people", conf.ShowURL(w.Issuer))
		case slices.Contains(x.Workloads[:i], w):
			c.Add(at.At, "is there already")
		}
	}
	for i, t := range x.Targets {
		at := conf.Section{Check: c.Check, At: conf.Element(c.Key("targets"), i)}.Key("resource")
		switch takes, ok := around.Resources[t.Resource]; {
		case t.Resource == "":
			c.Add(at, "is required: the public URL of the MCP server that is called")
		case t.Resource == around.Own:
			c.Add(at, "is this server itself")
		case !ok:
			c.Add(at, "%s is not the public URL of an entry of proxy.hosts", conf.Show(t.Resource))
		case !takes:
			c.Add(at, "takes no tokens of this service (ownTokens is off), so there is nothing to get")
		}
	}
}
