// Package outbound says what an MCP server gets with an allowed request.
package outbound

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Headers is the `identityHeaders` section: the names of the identity headers that an
// allowed request carries. See docs/identity.md. After Resolve they are in canonical
// form, and User, Email and Groups are not empty.
type Headers struct {
	// Set of header names to start from. "auth-request": X-Auth-Request-User, -Email and -Groups, as oauth2-proxy calls them; "forwarded": X-Forwarded-User, -Email, -Groups and -Name.
	Preset string `json:"preset" default:"auth-request" enum:"auth-request forwarded"`
	// Header with the subject. Default "X-Auth-Request-User".
	User string `json:"user"`
	// Header with the verified e-mail address. Default "X-Auth-Request-Email".
	Email string `json:"email"`
	// Header with the groups, comma-joined. Default "X-Auth-Request-Groups".
	Groups string `json:"groups"`
	// Header with the display name, which people may choose themselves. Default: none.
	Name string `json:"name"`
	// Header with the id of the MCP client, shortened as in the audit log. Default: none.
	Client string `json:"client"`
	// Header with the scopes of the token, with spaces between. Default: none.
	Scope string `json:"scope"`
	// Header with the agents that act for the user, comma-joined, the one that acts now first: "ISSUER:SUBJECT" without the scheme. "-" if the user acts alone. Default: none.
	Actor string `json:"actor"`
	// Header with the roles of a workload, comma-joined, as its platform names them. Default: none.
	Roles string `json:"roles"`
	// Header with the context in which a workload acts (ctx), as its platform names it. Default: none.
	Context string `json:"context"`
	// All of it again as a signed token (JWT), which the MCP server can verify with the keys at /openid/v1/jwks.
	Signed Signed `json:"jwt"`

	JWT string // the header of Signed, "" if it is not set
}

// Signed is the `identityHeaders.jwt` section.
type Signed struct {
	// Whether the header is set. Default false.
	Enabled bool `json:"enabled"`
	// Its name.
	Header string `json:"header" default:"X-Auth-Request-Identity"`
	// How long the token is valid, from "30s" to "5m"; it is replaced after half of that time.
	Lifetime time.Duration `json:"lifetime" default:"5m" min:"30s" max:"5m"`
}

// Names lists the headers, the signed one last.
func (h *Headers) Names() []string {
	all := []string{h.User, h.Email, h.Groups, h.Name, h.Client, h.Scope, h.Actor, h.Roles, h.Context, h.JWT}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// presets are names for identity headers: those of oauth2-proxy, and those that
// applications behind other proxies know.
var presets = map[string]Headers{
	"auth-request": {User: "X-Auth-Request-User", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
	"forwarded":    {User: "X-Forwarded-User", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups", Name: "X-Forwarded-Name"},
}

// Resolve checks the section and fills in the names of the preset.
func (h *Headers) Resolve(c conf.Section) {
	preset, seen := presets[h.Preset], map[string]string{}
	for _, header := range []struct {
		key      string
		name     *string
		standard string
	}{
		{"user", &h.User, preset.User}, {"email", &h.Email, preset.Email}, {"groups", &h.Groups, preset.Groups},
		{"name", &h.Name, preset.Name}, {"client", &h.Client, ""}, {"scope", &h.Scope, ""},
		{"actor", &h.Actor, ""}, {"roles", &h.Roles, ""}, {"context", &h.Context, ""}, {"jwt.header", &h.Signed.Header, ""},
	} {
		name, at := cmp.Or(*header.name, header.standard), c.Key(header.key)
		if name == "" {
			continue
		}
		if problem := problem(name); problem != "" && !slices.Contains(forwardedIdentity, strings.ToLower(name)) {
			c.Add(at, "%s %s; use a name such as \"X-Auth-Request-User\"", conf.Show(name), problem)
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if other, taken := seen[name]; taken {
			c.Add(at, "%s is the header of %s too; each needs its own", conf.Show(name), other)
		}
		seen[name], *header.name = at, name
	}
	if !h.Signed.Enabled {
		h.Signed = Signed{}
	}
	h.JWT = h.Signed.Header
}

// reservedHeaders mean something to a gateway, an HTTP library or an MCP
// server: one that carries an identity would change the request instead, or
// the answer of a gateway that takes ours for the client's. Names with a trailing
// dash are prefixes.
var reservedHeaders = []string{
	// RFC 9110, section 7.6.1, and its predecessors.
	"connection", "keep-alive", "proxy-", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
	"accept", "accept-", "access-control-", "age", "alt-svc", "authorization", "baggage", "cache-control", "clear-site-data", "content-", "cookie",
	"date", "dpop", "early-data", "etag", "expect", "expires", "forwarded", "from", "host", "if-", "last-event-id", "link", "location", "max-forwards",
	"mcp-", "origin", "pragma", "priority", "range", "referer", "refresh", "retry-after", "sec-", "server", "set-cookie", "strict-transport-security",
	"traceparent", "tracestate", "user-agent", "vary", "via", "www-authenticate",
	"x-accel-", "x-content-type-options", "x-envoy-", "x-forwarded-", "x-frame-options", "x-http-method", "x-http-method-override", "x-method-override",
	"x-original-", "x-real-ip", "x-request-id", "x-rewrite-url", "x-sendfile",
	// What gateways tell us in, see docs/gateways.
	"path", "method",
}

// forwardedIdentity are the names of the "forwarded" kind that say who the user
// is; the others say what was asked for.
var forwardedIdentity = []string{"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-name", "x-forwarded-preferred-username"}

// KeyHeader checks the name of a header that API keys come in, "" for none, and
// returns it in canonical form.
func KeyHeader(c *conf.Check, at, name string) string {
	if name == "" {
		return ""
	}
	if problem := problem(name); problem != "" {
		c.Add(at, "%s %s; use a name such as \"X-API-Key\"", conf.Show(name), problem)
	}
	return http.CanonicalHeaderKey(name)
}

// TokenHeader checks the name of the header with the provider's token, and returns
// it in canonical form. Authorization is one: the MCP server never gets an access token of this service.
func TokenHeader(c *conf.Check, at, name string) string {
	canonical := http.CanonicalHeaderKey(name)
	if problem := problem(name); problem != "" && !slices.Contains([]string{"Authorization", "X-Forwarded-Access-Token"}, canonical) {
		c.Add(at, "%s %s; use Authorization, or a name such as \"X-Forwarded-Access-Token\"", conf.Show(name), problem)
	}
	return canonical
}

// problem says why name cannot be a header with a meaning of the operator's, or "".
// It is stricter than RFC 9110, section 5.1: nginx drops names with underscores, and
// CGI-like servers take them for dashes, so a client could send the twin.
func problem(name string) string {
	if len(name) > 64 || conf.HasOther(name, conf.Letters+"0123456789-") {
		return "is not a header name of at most 64 letters, digits and dashes"
	}
	lower := strings.ToLower(name)
	for _, reserved := range reservedHeaders {
		if lower == reserved || strings.HasSuffix(reserved, "-") && strings.HasPrefix(lower, reserved) {
			return "has a meaning of its own in HTTP or MCP"
		}
	}
	return ""
}
