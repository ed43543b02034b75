package providertoken

import (
	"cmp"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// File is the `proxy.hosts[].providerToken` section.
type File struct {
	// Which token of the identity provider the MCP server gets: "access", the access token of the sign-in; "id", the ID token; "exchange", one that the provider exchanges the access token for, as `exchange` says. Default: none, and the provider's tokens stay here. See docs/provider-tokens.md.
	Token string `json:"token" enum:"access id exchange"`
	// Who renews the token. "client": it travels sealed in the client's access token, which expires no later, and each refresh of the client is a refresh at the provider; nothing is stored. "held": this service keeps the session with the provider sealed in the guard and renews it while it is used, whatever the client does; needs a guard that replicas share, or a single replica.
	Form string `json:"form" default:"client" enum:"client held"`
	// Id of the provider whose people's tokens are passed on; people of others have none. Required where there are several providers; not for one.
	Provider string `json:"provider"`
	// Header that carries the token: "Authorization", as "Bearer TOKEN", or a name of your own.
	Header string `json:"header" default:"X-Forwarded-Access-Token"`
	// Scopes to ask of the provider at sign-ins for this MCP server, besides provider.scopes: what the server may do there in the person's name. The consent page shows them. Default: none.
	Scopes []string `json:"scopes" max:"50" check:"scopes"`
	// Further parameters of the authorization request at sign-ins for this MCP server, such as Auth0's audience. They replace those of provider.authorizationParams. Default: none.
	Params map[string]string `json:"authorizationParams"`
	// How the token is exchanged, for token "exchange".
	Exchange ExchangeFile `json:"exchange"`
	// How many bytes the gateway accepts for all headers of this service's answer. If a token does not fit, form "held" sends a handle instead, in the header with "-Handle" after its name; form "client" refuses the sign-in. nginx accepts 4096 by default.
	HeaderBytes int `json:"gatewayHeaderBytes" default:"3800" min:"2000" max:"32000"`
	// With form "client", the shortest acceptable lifetime of an access token, from "10s" to "1h". If the provider's token has a shorter one, the sign-in is refused with that reason.
	MinLifetime time.Duration `json:"minLifetime" default:"2m" min:"10s" max:"1h"`
	// With form "held", lifetime of access tokens for this MCP server, "1m" to "24h": for clients that never refresh. The provider is still asked about the person each time its token is renewed. Default: tokens.accessTokenLifetime.
	AccessTokenLifetime time.Duration `json:"accessTokenLifetime" min:"1m" max:"24h"`
}

// ExchangeFile is the `proxy.hosts[].providerToken.exchange` section.
type ExchangeFile struct {
	// "token-exchange" (RFC 8693), as Keycloak has it, or "on-behalf-of", as Microsoft has it.
	Method string `json:"method" default:"token-exchange" enum:"token-exchange on-behalf-of"`
	// Audience to ask for, with token-exchange; at Keycloak the client id of the MCP server. Default: none.
	Audience string `json:"audience" check:"text"`
	// Scopes to ask for; on-behalf-of needs one, such as "https://graph.microsoft.com/.default". Default: none.
	Scopes []string `json:"scopes" max:"50" check:"scopes"`
}

var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// Resolve checks the section. It returns nil for a server that gets no token of the
// provider.
func (f *File) Resolve(c conf.Section) *resource.ProviderToken {
	if f.Token == "" {
		for _, key := range []string{"form", "provider", "header", "scopes", "authorizationParams", "exchange", "gatewayHeaderBytes", "minLifetime", "accessTokenLifetime"} {
			if c.IsSet(c.Key(key)) {
				c.Add(c.Key("token"), "is required with %s: access, id or exchange", c.Key(key))
				break
			}
		}
		return nil
	}
	t := &resource.ProviderToken{
		Token: f.Token, Held: f.Form == "held", Provider: f.Provider, Header: outbound.TokenHeader(c.Check, c.Key("header"), f.Header),
		Scopes: f.Scopes, Params: f.Params, MaxBytes: f.HeaderBytes, MinLifetime: f.MinLifetime, Lifetime: f.AccessTokenLifetime,
	}
	if t.Held {
		t.HandleHeader = handleHeader(t.Header)
		if c.IsSet(c.Key("minLifetime")) {
			c.Add(c.Key("minLifetime"), "is for form client")
		}
	} else if f.AccessTokenLifetime != 0 {
		c.Add(c.Key("accessTokenLifetime"), "is for form held: with form client an access token lives as long as the token in it")
	}
	f.params(c)
	f.exchange(c, t)
	return t
}

// handleHeader is the name of the header for the handle of a token that does not fit.
func handleHeader(header string) string {
	if header == "Authorization" {
		header = http.CanonicalHeaderKey(standardHeader)
	}
	return header + "-Handle"
}

const standardHeader = "X-Forwarded-Access-Token"

func (f *File) params(c conf.Section) {
	at := c.Key("authorizationParams")
	if c.TooMany(at, len(f.Params), conf.MaxScopes) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.Params)) {
		at := conf.Join(at, conf.ShowKey(name))
		switch {
		case !paramName.MatchString(name):
			c.Add(at, "is not the name of a parameter")
		case slices.Contains(connector.ProtocolParams, strings.ToLower(name)), name == "prompt":
			c.Add(at, "is a parameter of the protocol, which this service sets itself")
		}
		c.Text(at, f.Params[name])
	}
}

func (f *File) exchange(c conf.Section, t *resource.ProviderToken) {
	at := c.Sub("exchange")
	if f.Token != "exchange" {
		if c.IsSet(at.At) {
			c.Add(at.At, "is for token exchange")
		}
		return
	}
	t.OnBehalfOf, t.Audience, t.ExchangeScopes = f.Exchange.Method == "on-behalf-of", f.Exchange.Audience, f.Exchange.Scopes
	switch {
	case t.OnBehalfOf && len(t.ExchangeScopes) == 0:
		c.Add(at.Key("scopes"), `is required for "on-behalf-of", such as "https://graph.microsoft.com/.default"`)
	case t.OnBehalfOf && t.Audience != "":
		c.Add(at.Key("audience"), `is for "token-exchange"; with "on-behalf-of" the scopes name the API`)
	case !t.OnBehalfOf && t.Audience == "" && len(t.ExchangeScopes) == 0:
		c.Add(at.Key("audience"), "is required, or scopes: an exchange for the same audience gives the same token")
	}
}

// Check holds a resolved section against the rest of the configuration.
func Check(c conf.Section, t *resource.ProviderToken, around Surroundings) {
	ids := around.Providers
	switch {
	case len(ids) == 0:
		c.Add(c.Key("token"), "needs an identity provider; people sign in elsewhere")
	case len(ids) == 1 && t.Provider != "":
		c.Add(c.Key("provider"), "is for several providers; there is one")
	case len(ids) > 1 && t.Provider == "":
		c.Add(c.Key("provider"), "is required: the id of the provider whose tokens the MCP server gets, one of %s", conf.Names(ids))
	case t.Provider != "" && !slices.Contains(ids, t.Provider):
		c.Add(c.Key("provider"), "%s is not one of %s", conf.Show(t.Provider), conf.Names(ids))
	default:
		known := around.Tokens[slices.Index(ids, cmp.Or(t.Provider, ids[0]))]
		switch {
		case len(known) == 0:
			c.Add(c.Key("token"), "needs an identity provider with tokens of its own; this one has none")
		case !slices.Contains(known, t.Token):
			c.Add(c.Key("token"), "the provider has no such token for MCP servers: %s", strings.Join(known, " or "))
		}
	}
	for _, name := range []string{t.Header, t.HandleHeader} {
		if name != "" && slices.Contains(around.Taken, name) {
			c.Add(c.Key("header"), "%s is a header of identityHeaders or of apiKeys; each needs its own", name)
		}
	}
	if t.Held && !around.Shared {
		c.Warn(c.Key("form"), `held with guard.backend "memory" is for one replica, and a restart ends every session with the provider, so that people sign in again; set guard.backend to redis or postgres`)
	}
	if !t.Held && !around.Refresh {
		c.Warn(c.Key("form"), "client without tokens.refreshTokens lets people sign in again each time that the provider's token ends; turn refresh tokens on, or use form held")
	}
	if around.NoConsent {
		c.Warn(c.Key("token"), "lets the MCP server act for people at the identity provider, and proxy.disableConsentScreen keeps them from being told")
	}
}

// Surroundings are what Check needs to know of the rest of the configuration.
type Surroundings struct {
	Providers []string   // their ids
	Tokens    [][]string // of each, see connector.Settings
	Taken     []string   // headers with another meaning, canonical
	Shared    bool       // replicas share the guard
	Refresh   bool       // there are refresh tokens
	NoConsent bool       // there is no consent page
}
