package grant

import (
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Grant is one of the grants of the token endpoint (RFC 6749, section 1.3). Its
// zero value is open to no client and cannot be registered.
type Grant struct {
	// Type is the value of grant_type, and what discovery names.
	Type  string
	serve func(*Endpoint, *call) (*Response, error)
	// offered reports whether the endpoint has the grant at a host; nil means always.
	offered func(*Endpoint, *resource.Host) bool
	// registrable says that clients which register themselves may ask for the grant.
	registrable bool
	// signIn says that the grant continues a person's sign-in. What the client presents
	// was given to it, and serve checks that, so the grant is open to every client. Every
	// other grant is open only to clients that have registered it.
	signIn bool
	// configured says that the grant is only for clients in the configuration, each with
	// credentials, scopes and resources.
	configured bool
	// clientless says that what the grant takes proves by itself who sends the request,
	// so that no client is needed. A client that is named must authenticate nevertheless,
	// and a client of the configuration must have the grant in its entry.
	clientless bool
}

// All returns all grants, in the order in which metadata and messages name them.
func All() []Grant {
	return []Grant{
		{Type: "authorization_code", serve: (*Endpoint).redeemCode, registrable: true, signIn: true},
		{Type: "refresh_token", serve: (*Endpoint).refresh, registrable: true, signIn: true, offered: func(e *Endpoint, _ *resource.Host) bool { return e.Refresh != nil }},
		{Type: device.GrantType, serve: (*Endpoint).redeemDevice, registrable: true, offered: func(_ *Endpoint, h *resource.Host) bool { return h.SignsInDevices() }},
		{Type: clientCredentialsType, serve: (*Endpoint).clientCredentials, configured: true, offered: func(e *Endpoint, h *resource.Host) bool {
			return slices.ContainsFunc(h.Resources, func(r *resource.Resource) bool {
				return !r.OwnTokensOff && e.Clients.Reaches(clientCredentialsType, r.URI)
			})
		}},
		{Type: tokenExchangeType, serve: (*Endpoint).tokenExchange, clientless: true, offered: func(e *Endpoint, h *resource.Host) bool { return e.Exchanges != nil && h.Exchanges() }},
		{Type: jwtBearerType, serve: (*Endpoint).jwtBearer, clientless: true, offered: func(e *Endpoint, h *resource.Host) bool { return e.OffersAssertions(h, "") }},
	}
}

// Types returns the types of the grants that which accepts; nil accepts all.
func Types(grants []Grant, which func(Grant) bool) []string {
	var out []string
	for _, g := range grants {
		if which == nil || which(g) {
			out = append(out, g.Type)
		}
	}
	return out
}

// Registrable, SignIn and Configured report a property of a grant. They are for Types.
func Registrable(g Grant) bool { return g.registrable }
func SignIn(g Grant) bool      { return g.signIn }
func Configured(g Grant) bool  { return g.configured }

// offered returns the grants that e has at a host.
func (e *Endpoint) offered(h *resource.Host) []Grant {
	var out []Grant
	for _, g := range e.Grants {
		if g.offered == nil || g.offered(e, h) {
			out = append(out, g)
		}
	}
	return out
}

// GrantTypes lists the grant types that e has at a host, for discovery.
func (e *Endpoint) GrantTypes(h *resource.Host) []string { return Types(e.offered(h), nil) }

// open reports whether a client may use the grant.
func (g Grant) open(client *registration.Client) bool {
	if g.signIn || g.clientless && (client == nil || !client.PreRegistered) {
		return true
	}
	return client != nil && client.MayUse(g.Type)
}

// withoutClient reports whether c names no client and its grant needs none.
func (e *Endpoint) withoutClient(c *call) bool {
	return namesNoClient(c) && slices.ContainsFunc(e.offered(c.host), func(g Grant) bool { return g.clientless && g.Type == c.params.Get("grant_type") })
}

// namesNoClient reports whether c says nothing about which client sends it.
func namesNoClient(c *call) bool {
	if len(c.Header.Values("Authorization")) > 0 {
		return false
	}
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if c.params.Get(name) != "" {
			return false
		}
	}
	return true
}

// grant returns the grant that c asks for.
func (e *Endpoint) grant(c *call) (Grant, error) {
	asked := c.params.Get("grant_type")
	if asked == "" {
		return Grant{}, oauth.Errorf(oauth.InvalidRequest, "grant_type is missing")
	}
	for _, g := range e.offered(c.host) {
		if g.Type != asked {
			continue
		}
		if !g.open(c.client) {
			return Grant{}, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", g.Type)
		}
		return g, nil
	}
	return Grant{}, oauth.Errorf(oauth.UnsupportedGrantType, "grant_type must be one of %s", strings.Join(e.GrantTypes(c.host), ", "))
}
