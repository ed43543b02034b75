package resource

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Entry is one protected MCP server of the configuration: a public URL and where the service itself
// reaches the server to list its tools. Several may share a host with different paths.
type Entry struct {
	Host   string // lower case, with a port if it is not the scheme's default
	Scheme string // "https", or "http" on loopback
	Path   string // public path, "" or "/mcp"; never a trailing slash
	// Endpoint is where tools/list is sent.
	Endpoint *url.URL
	// Authorities are trusted for the certificate of Endpoint, in PEM; empty for
	// those of the system.
	Authorities []byte
	// DisplayName names the server on the consent page.
	DisplayName string
	// DefaultScopes are asked for at first; empty means all the server advertises.
	DefaultScopes []string
	Rules         rule.Rules
	// Serving is nil where a gateway stands in front of the server.
	Serving *Serving
	// Policy says who may do what; nil is no policy, so that everyone may ask
	// for every scope. What holds here of the default is already in it.
	Policy []rule.Rule
	// Issuers are the other authorization servers whose tokens are taken, by their
	// issuer URLs.
	Issuers []string
	// ScopeNames are what scopes are called by an issuer that has other names for
	// them: by issuer, from the name here.
	ScopeNames map[string]map[string]string
	// OwnTokensOff: tokens of this service are not taken.
	OwnTokensOff bool
	// DPoP says whether tokens may or must be bound to a key of the client.
	DPoP DPoP
	// APIKeys: API keys are taken, in Authorization and, if it is not "", in the
	// header KeyHeader, a canonical name.
	APIKeys   bool
	KeyHeader string
	// Pages are for people's browsers, and Account says that the host has the pages
	// where people see what they allowed.
	Pages   []Page
	Account bool
	// DeviceGrant: devices without a browser may have people sign in for it.
	DeviceGrant bool
	// PersonalKeys: keys that people make for themselves are taken.
	PersonalKeys bool
	// ProviderToken is nil where the server gets no token of the identity provider.
	ProviderToken *ProviderToken
	// Exchange is nil where the server exchanges no tokens.
	Exchange *Exchange
}

// Exchange says who the server is that exchanges what it was told of a caller, and what
// for. The zero value is no one.
type Exchange struct {
	Clients   []string // ids of clients of the configuration
	Workloads []Workload
	Targets   []Target
	// Lifetime bounds that of the access tokens.
	Lifetime time.Duration
}

// Workload is one that shows an assertion of a trusted issuer.
type Workload struct{ Issuer, Subject string }

// Target is another MCP server that the server calls for its callers.
type Target struct {
	Resource string
	Scopes   oauth.Scopes
	// Requires are scopes that the caller's own request must have, all of them.
	Requires oauth.Scopes
}

// Summary says for the operator what the server may exchange, "" for nothing.
func (x *Exchange) Summary() string {
	if x == nil {
		return ""
	}
	var who, where []string
	who = append(who, x.Clients...)
	for _, w := range x.Workloads {
		who = append(who, w.Subject)
	}
	for _, t := range x.Targets {
		where = append(where, t.Resource+" ("+t.Scopes.String()+")")
	}
	if len(where) == 0 {
		return ", exchanges tokens as " + strings.Join(who, ", ")
	}
	return ", exchanges tokens as " + strings.Join(who, ", ") + ", also for " + strings.Join(where, ", ")
}

// ProviderToken says which token of a person's identity provider an MCP server gets.
type ProviderToken struct {
	Token string // "access", "id" or "exchange"
	// Held: the session with the provider is kept here; else the client's tokens carry it.
	Held     bool
	Provider string // the id of the one whose people have tokens; "" for the only one
	// Header carries the token, HandleHeader a handle of one that is too large; ""
	// where there are no handles. Canonical names.
	Header, HandleHeader string
	// MaxBytes is what the gateway takes of all headers of an answer.
	MaxBytes int
	// Scopes and Params are asked for at sign-ins for the server.
	Scopes []string
	Params map[string]string
	// OnBehalfOf, Audience and ExchangeScopes are about token "exchange".
	OnBehalfOf     bool
	Audience       string
	ExchangeScopes []string
	// MinLifetime is how long an access token has to live that is not Held.
	MinLifetime time.Duration
	// Lifetime is that of access tokens if it is Held; 0 for that of all.
	Lifetime time.Duration
}

// Names are the headers of the token.
func (t *ProviderToken) Names() []string {
	switch {
	case t == nil:
		return nil
	case t.HandleHeader == "":
		return []string{t.Header}
	}
	return []string{t.Header, t.HandleHeader}
}

// Line is the value of Header for a token.
func (t *ProviderToken) Line(token string) string {
	if t.Header == "Authorization" {
		return "Bearer " + token
	}
	return token
}

// roomForIdentity is what a token leaves of the headers to those that say who the
// person is.
const roomForIdentity = 800

// Room is how long a token may be that goes in Header, in bytes.
func (t *ProviderToken) Room() int { return t.MaxBytes - roomForIdentity }

// Summary says for the operator what the server gets, "" for nothing.
func (t *ProviderToken) Summary() string {
	switch {
	case t == nil:
		return ""
	case t.Held:
		return fmt.Sprintf(", gets the provider's %s token in %s, held here; one of more than %d bytes as a handle in %s", t.Token, t.Header, t.Room(), t.HandleHeader)
	}
	return fmt.Sprintf(", gets the provider's %s token in %s, of at most %d bytes, renewed by the client", t.Token, t.Header, min(t.Room(), MaxCarried))
}

// MaxCarried is how long a token may be that an access token carries, in bytes: it
// grows to 16/9 there, and has to leave room for the rest.
const MaxCarried = 3000

// Of reports whether people of the provider with this id have a token for the server.
func (t *ProviderToken) Of(provider string) bool {
	return t != nil && (t.Provider == "" || t.Provider == provider)
}

// Page is a part of an MCP host that people open in a browser: a path and what is
// below it, but for longer paths that are of something else.
type Page struct {
	Path string // "" for the whole host
	// Scope is what the rules must allow a person, "" for nothing.
	Scope string
	// Tokens: the tokens and keys of the MCP server open the page too.
	Tokens bool
}

// Serving says that this service itself relays requests to the server, and how.
type Serving struct {
	// IdleTimeout bounds the wait for the next byte of an answer.
	IdleTimeout time.Duration
	// RequestHeaders of the client reach the server though they are taken away by
	// default, and Cookies those of the server reach the client. Canonical names.
	RequestHeaders []string
	Cookies        bool
}

// PublicHost is a host as browsers see it.
type PublicHost struct {
	Host   string // as that of Entry
	Scheme string
}

// DPoP says whether a server takes access tokens that are bound to a key, with
// proofs of that key (RFC 9449). The zero value takes none.
type DPoP string

// The values of DPoP.
const (
	DPoPAccepted DPoP = "accepted"
	DPoPRequired DPoP = "required"
)

// Accepts reports whether bound tokens are taken.
func (d DPoP) Accepts() bool { return d == DPoPAccepted || d == DPoPRequired }

// Requires reports whether no other tokens are taken.
func (d DPoP) Requires() bool { return d == DPoPRequired }
