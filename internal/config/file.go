package config

import (
	"fmt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/certificate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/introspection"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/personal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/kuadrant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/operator"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/relay"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tokenexchange"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// File is the configuration file. The comments, here and at sections that live with the
// packages that use them, are the manual: docs/reference/config.md
// is generated from them, and a test holds the two together. Each key is an exact,
// case-sensitive name. A field's comment ends in a sentence that begins with
// "Required" or "Default" where there is such a thing to say.
type File struct {
	// Where the service listens.
	Listen web.Listen `json:"listen"`
	// What the service logs.
	Logging LoggingFile `json:"logging"`
	// The identity provider that signs people in. Required, unless there are providers.
	Provider ProviderFile `json:"provider"`
	// Several identity providers from which people choose, instead of `provider`. Each entry has the keys of `provider` and these. See docs/providers/README.md.
	Providers []ProviderFile `json:"providers" max:"20"`
	// The MCP servers to protect, and how clients may reach them. Required.
	Proxy ProxyFile `json:"proxy"`
	// How clients identify themselves: by registration or by a metadata document.
	Registration registration.Settings `json:"registration"`
	// How this service reaches what clients name: metadata documents and key sets.
	Egress egress.Settings `json:"egress"`
	// Keys for scripts and machines, instead of tokens. See docs/api-keys.md.
	APIKeys apikey.File `json:"apiKeys"`
	// Who may do what: rules for every MCP server without rules of its own. See docs/policy.md. Default: everyone who may sign in may ask for every scope.
	Policy PolicyFile `json:"policy"`
	// Clients that the operator configures. They work even if all registration is off, and no list of redirect URLs applies to them.
	Clients []registration.Known `json:"clients" max:"1000"`
	// The sessions of people's browsers, at the pages of an MCP host and at /account.
	BrowserSessions session.Settings `json:"browserSessions"`
	// Issuers whose assertions /token accepts instead of a sign-in (RFC 7523): Kubernetes, platforms of agents and workloads, and identity providers for enterprise-managed authorization. See docs/machines.md. Default: none.
	TrustedIssuers []assertion.File `json:"trustedIssuers" max:"100"`
	// Keys that people make for themselves. See docs/account.md.
	PersonalKeys personal.Settings `json:"personalKeys"`
	// Security events of identity providers (Shared Signals), by which sessions and tokens end at once. See docs/security-events.md.
	SecurityEvents ssf.File `json:"securityEvents"`
	// Operators who list and end people's access at the management listener. See docs/account.md.
	Operators operator.Settings `json:"operators"`
	// Signing and sealing keys.
	Keys keyset.Settings `json:"keys"`
	// Lifetimes of the tokens that the service issues.
	Tokens token.Settings `json:"tokens"`
	// How often something may happen in a minute, even all at once; more requests get 429. 0 is no limit. Each replica counts separately. /authenticate is never limited.
	Limits limit.Settings `json:"limits"`
	// Remembers what must not happen twice (codes, sign-ins, refresh tokens) and what was revoked. Replicas that share it act as one; see docs/replicas.md.
	Guard GuardFile `json:"guard"`
	// Proofs of possession, for MCP servers whose entry has dpop.
	DPoP dpop.Settings `json:"dpop"`
	// Token introspection (RFC 7662), for MCP servers that cannot check tokens themselves.
	Introspection IntrospectionFile `json:"introspection"`
	// Authorization requests that clients send to the service first (RFC 9126); the browser then brings only a reference to them.
	Pushed PushedFile `json:"pushedRequests"`
	// People, clients and sign-ins that are shut out: their tokens stop working with the next request.
	DenyList DenyListFile `json:"denyList"`
	// TLS at the protocol listener, if no proxy in front of it terminates TLS. See docs/served-hosts.md.
	TLS certificate.Settings `json:"tls"`
	// Where the audit log goes.
	Audit AuditFile `json:"audit"`
	// Traces of what the service does, for OpenTelemetry. See docs/operations.md.
	Tracing tracing.Config `json:"tracing"`
	// Checks the gateways from outside, every minute. See docs/operations.md.
	GateWatch gatewatch.File `json:"gateWatch"`
	// What the management listener serves besides metrics.
	Debug DebugFile `json:"debug"`
	// The operator's name, logo and links on the pages that people see.
	Branding page.Brand `json:"branding"`
	// Request headers that carry the verified identity to the MCP server.
	IdentityHeaders outbound.Headers `json:"identityHeaders"`
}

// AuditFile is the `audit` section.
type AuditFile struct {
	// File that audit entries are added to, one JSON object a line, instead of standard output. It is opened again on SIGHUP and after the file was moved. An entry that cannot be written is counted and logged, and the service continues; but a file that cannot be opened at start is a mistake. Default: standard output, among the log.
	File string `json:"file"`
}

// DebugFile is the `debug` section.
type DebugFile struct {
	// /debug/flows: how far each of the last 10 000 sign-ins of this replica came and why it ended, by the reference that error pages show. It contains no personal data and no secrets.
	Flows conf.Switch `json:"flows"`
}

// LoggingFile is the `logging` section.
type LoggingFile struct {
	// The lowest level that is logged.
	Level string `json:"level" default:"info" enum:"debug info warn error"`
}

// ProviderFile is the `provider` section, or one entry of `providers`.
type ProviderFile struct {
	// The kind of provider, which determines the other keys: one of "google", "github", "microsoft", "oidc", "oauth2", "static". Required.
	Name string `json:"name"`

	Settings connector.Settings // the keys of this kind

	// Name of the provider on pages, as in "Next, you sign in with …". Default: "Google", "GitHub", "Microsoft", or the host of the issuer or of authorizeURL.
	DisplayName string `json:"displayName" check:"text"`
	// Go regular expressions for the domain of the user's verified e-mail address, in lower case, anchored at both ends. A dot stands for any character, so escape it: "example\.com". Empty admits every domain. Required for name "google", "github" and "oauth2" unless hostedDomains, allowedOrganizations or allowAnyUser is set. If several of these are set, an account must satisfy all of them.
	AllowedEmailDomains []string `json:"allowedEmailDomains" max:"1000"`
	// Admit every account of the provider. Required for Google, GitHub, Microsoft and "oauth2" if no other key says who may sign in, because anyone can have an account there; excludes such keys. Default false.
	AllowAnyUser bool `json:"allowAnyUser"`
	// Name of the entry for this service: up to 32 of a-z, 0-9 and "-". It is part of subjects in tokens and deny-lists ("corp:accounts.example.com:1234"), and of the callback URL, so it must not change. For entries of providers only. Required.
	ID string `json:"id" in:"providers"`
	// This entry was the only `provider` before: its users keep their subjects, without the id, and their refresh tokens. For one entry of providers only. Default false.
	KeepSubjects bool `json:"keepSubjects" in:"providers"`
}

// Further implements conf.Open.
func (f *ProviderFile) Further() (own any, all []any) {
	for _, kind := range kinds.All() {
		all = append(all, kind)
		if kind.Kind() == f.Name && f.Settings == nil {
			f.Settings = kind
		}
	}
	if f.Settings == nil {
		return nil, all
	}
	return f.Settings, all
}

// Misplaced implements conf.Open.
func (f *ProviderFile) Misplaced() string {
	return fmt.Sprintf("has no meaning for provider %q; remove it", f.Name)
}

// ProxyFile is the `proxy` section.
type ProxyFile struct {
	// The protected MCP servers. Several may share a host, with different paths. Required, unless there are hostsFiles.
	Hosts []HostFile `json:"hosts" max:"10000"`
	// Files with more entries of hosts, for example one for each team, with rules for the host names that each may claim. A file with a mistake affects no other file. See docs/teams.md.
	HostsFiles []HostsFiles `json:"hostsFiles" max:"100"`
	// Public host to which identity providers send browsers back, with a port if it is not 443: the redirect URI is then https://<callbackHost>/callback for every host, which suits providers that allow only one, such as GitHub's OAuth apps. It may be one of the hosts; if it is another, route its /callback and everything below to this service. See docs/providers/README.md. Default: each host has a callback of its own.
	CallbackHost string `json:"callbackHost"`
	// Skip the consent page. Refused unless allowedRedirectURLs is set: without consent, any client could get tokens. Default false.
	DisableConsentScreen bool `json:"disableConsentScreen"`
	// Go regular expressions, anchored at both ends, for the redirect URIs that clients may use, such as "https://app\.example\.com/callback". With the consent page off, each must spell out the host. Default: https, loopback and private-use schemes, always behind consent.
	AllowedRedirectURLs []string `json:"allowedRedirectURLs" max:"1000"`
	// Schemes of private-use redirect URIs that clients may have in addition, such as "vscodium" for an editor whose redirect URI is vscodium://…: lower case, without ":". They add to the default, and to allowedRedirectURLs if that is set, and always need the consent page. Reversed domain names ("com.example.app") and the schemes of well-known MCP clients need no entry. Default: none.
	AllowedRedirectSchemes []string `json:"allowedRedirectSchemes" max:"1000"`
}

// HostFile is one entry of `proxy.hosts`.
type HostFile struct {
	// Public host name of the MCP server, as clients see it, with a port if it is not the scheme's default: a lower-case DNS name (punycode for other scripts) or an IP address. Required.
	Host string `json:"host"`
	// URL at which this service reaches the MCP server to list its tools, for instance "http://mcp.default.svc:8080/mcp". Required.
	Endpoint string `json:"endpoint"`
	// File with the certificates of the authorities to trust for the endpoint, in PEM, and no others. Default: those of the system; the environment variable SSL_CERT_DIR names directories with more.
	Authorities []byte `json:"caFile"`
	// Public path of the MCP server; requests to it and below belong to this server. "/" means all of the host. A server with HTTP+SSE, whose endpoint ends in "/sse", receives messages at another path, so set the common parent of both, usually "/". Default: the path of endpoint.
	Path string `json:"path"`
	// Public scheme, "https" or, on a loopback host only, "http"; the same for all entries of a host.
	Scheme string `json:"scheme" default:"https" enum:"https http"`
	// Name of the server on the consent page. Default: the host.
	DisplayName string `json:"displayName" check:"text"`
	// Scopes that clients are told to ask for at first; the rest comes by step-up. Default: all scopes the MCP server advertises.
	DefaultScopes []string `json:"defaultScopes" check:"scopes"`
	// What a request needs besides a valid token. "enforce": a request of MCP revision 2026-07-28 or later passes only if a granted scope opens its tool, and an older one with any valid token; "strict": as enforce, and refuses requests that cannot be decided, which are all of an older revision unless body, envoyMCP or extMCP is set; "advisory": nothing more; what is missing is only written to the audit log. See docs/tool-policy.md.
	ToolPolicy rule.ToolPolicy `json:"toolPolicy" default:"enforce" enum:"enforce strict advisory"`
	// Additional scopes and what they open, beside those that the MCP server declares. If an entry names a tool, resource or prompt, only entries open it, whatever the server declares.
	Scopes []rule.Scope `json:"scopes" max:"100"`
	// The gateway forwards the body of each request, of at most 1 MiB, and the body decides what the request is. For gateways that can be configured so: Traefik with forwardBody, Envoy with with_request_body. With any other gateway every request is refused. Default false.
	Body bool `json:"body"`
	// Envoy's MCP filter (envoy.filters.http.mcp, from Envoy 1.38 on) reads the body of each request and sends its findings over gRPC, which decide what the request is; the body itself is not sent. The filter must refuse requests that are not MCP or repeat members; see docs/gateways/envoy.md. Safe only for an MCP server that respects case in the names of JSON members. Needs listen.grpc; with any other gateway every request with a body is refused. Not beside body. Default false.
	EnvoyMCP bool `json:"envoyMCP"`
	// agentgateway asks over gRPC about each message of MCP (ext_mcp, mcpGuardrails), and the message decides what it may do, for clients of every revision. Without it such questions are refused. The gateway must also ask by ext_authz about every request; see docs/gateways/agentgateway.md. Needs listen.grpc. Not beside envoyMCP. Default false.
	ExtMCP bool `json:"extMCP"`
	// Status of the answer that asks a client for more scopes: "403", as the standards say, or "401", for gateways that drop the challenge of a 403 and clients that ignore it. Default: "401" where the gateway is nginx, ingress-nginx or NGINX Gateway Fabric, else "403".
	StepUp string `json:"stepUp" enum:"401 403"`
	// For clients that react to a request for more scopes by refreshing their token, which cannot help, and then give up (the TypeScript SDK 1 and 2, the AI SDK). A refresh within five seconds after such a request gets invalid_grant, and the client then lets the person sign in with the missing scopes. A client that refreshes within these seconds for another reason has to sign in too. Default false.
	RefuseRefreshAfterStepUp bool `json:"refuseRefreshAfterStepUp"`
	// Filtered lists also leave out tools that the person could get by agreeing to more. Clients ask for more scopes when they are refused a tool that they see, so this ends step-up for everything that was not agreed to at first. Lists are filtered at served hosts, behind Envoy with its MCP filter, behind agentgateway, and by Kuadrant's MCP gateway. Default false.
	HideGrantable bool `json:"hideGrantable"`
	// A tool that is new, or whose description has changed since the person agreed, is closed until they agree again: clients are asked to sign in for it, and the consent page marks it. Unchanged tools stay open. Requests of an older MCP revision, whose tool this service cannot see, are refused unless body, envoyMCP, extMCP or serve is set. It applies to people and to their own keys, not to API keys and machines, which the operator has approved. See docs/tool-policy.md. Default false.
	HoldChangedTools bool `json:"holdChangedTools"`
	// Web pages beside the MCP server that people open in a browser after signing in once. Programs are never sent to sign in there, and the session opens no MCP server. See docs/browser-sessions.md. Default: none.
	Pages []session.PageFile `json:"pages" max:"32"`
	// Serve /account on this host, where people see what they allowed, end it, and make keys for themselves. It holds for all entries of the host. See docs/account.md. Default false.
	Account bool `json:"account"`
	// API keys in place of tokens.
	APIKeys apikey.HostFile `json:"apiKeys"`
	// Tokens that are bound to a key of the client, which proves with each request that it has the key (DPoP, RFC 9449), so a stolen token is useless. "accepted": a client that sends a proof to /token gets a bound token, others get ordinary ones; "required": no other tokens are issued or accepted; "off": proofs are ignored, and tokens of other authorization servers that are bound are refused. Clients without support for DPoP cannot use an MCP server that requires it. See docs/dpop.md.
	DPoP string `json:"dpop" default:"off" enum:"off accepted required"`
	// The identity provider's token for the MCP server, with which it acts as the person at other services.
	ProviderToken providertoken.File `json:"providerToken"`
	// How the MCP server authenticates when it exchanges the header about a caller for a token to act for them (RFC 8693).
	TokenExchange tokenexchange.File `json:"tokenExchange"`
	// Keys that people make for themselves, instead of tokens. See docs/account.md.
	PersonalKeys personal.HostFile `json:"personalKeys"`
	// Clients that run in a browser.
	CORS CORSFile `json:"cors"`
	// This service itself stands in front of the MCP server, without a gateway.
	Serve relay.File `json:"serve"`
	// A credential of this service's own at the MCP server. See docs/server-credential.md.
	ServerCredential outbound.CredentialFile `json:"serverCredential"`
	// The MCP server of this entry is Kuadrant's MCP gateway, which filters lists itself, by a header that says what may be shown. See docs/gateways/kuadrant.md.
	Kuadrant kuadrant.File `json:"kuadrant"`
	// Other authorization servers whose access tokens are accepted here, as JWTs or by introspection. See docs/authorization-servers.md. Default: none.
	AuthorizationServers []AuthorizationServerFile `json:"authorizationServers" max:"16"`
	// Accept the access tokens of this service. If no server of a host does, the host has no endpoints of an authorization server; if no server at all does, no identity provider is needed.
	OwnTokens bool `json:"ownTokens" default:"true"`
	// Devices without a browser may have a person sign in for this server on another device (RFC 8628): they show a code, and the person types it at /device of the host. The gateway must route /device and /device_authorization to this service too. Several replicas need a shared guard. See docs/devices.md. Default false.
	DeviceGrant bool `json:"deviceGrant"`
	// Who may do what here. Rules here that allow replace those of the section policy; what that section denies stays denied. Default: the section policy.
	Policy PolicyFile `json:"policy"`
}

// AuthorizationServerFile is one entry of `proxy.hosts[].authorizationServers`.
type AuthorizationServerFile struct {
	issuer.File
	// Ask the authorization server about tokens (RFC 7662): those that are not JWTs, or all. For at most one entry of an MCP server.
	Introspection introspection.File `json:"introspection"`
}

// PolicyFile is the `policy` section, and that of an entry of `proxy.hosts`.
type PolicyFile struct {
	// With rules, people may do only what a rule allows and no rule denies; their order does not matter. A rule applies if each of its conditions matches the person or the client; an empty condition is a mistake. Default: no rules, and everyone may ask for every scope.
	Rules []rule.Rule `json:"rules" max:"100"`
}

// CORSFile is the `proxy.hosts[].cors` section.
type CORSFile struct {
	// Origins of web pages that may use the MCP server, such as "https://app.example.com", or "*". If set, a request with another Origin is refused, and a browser's preflight passes without a token; that needs a gateway which sends the client's method. Default: no preflight passes, and Origin is not looked at.
	AllowedOrigins []string `json:"allowedOrigins" max:"1000"`
}

// GuardFile is the `guard` section.
type GuardFile struct {
	// One of "memory", which is separate at each replica and lost at a restart, "redis" (or Valkey), "postgres".
	Backend string `json:"backend" default:"memory" enum:"memory redis postgres"`
	// The server, for backend "redis" only.
	Redis redis.Config `json:"redis"`
	// The database, for backend "postgres" only.
	Postgres postgres.Config `json:"postgres"`
}

// IntrospectionFile is the `introspection` section.
type IntrospectionFile struct {
	// Serve /introspect to the configured clients that have a secret or a key; a client with `resources` sees tokens for those only. Default false.
	Enabled bool `json:"enabled"`
}

// PushedFile is the `pushedRequests` section.
type PushedFile struct {
	// Serve /par, and announce it to clients. Each gateway must route /par to this service. Default false.
	Enabled bool `json:"enabled"`
	// Refuse authorization requests that were not pushed, from every client. Most MCP clients do not push them. Default false.
	Required bool `json:"required"`
}

// DenyListFile is the `denyList` section.
type DenyListFile struct {
	// File that lists `subjects`, `emails`, `clients` (client ids) and `families`, in YAML or JSON, as they appear in the audit log. It is read again every two seconds; a file with a mistake leaves the last good one in force, and keeps the service from starting. A relative path starts at the directory of the configuration file.
	File string `json:"file"`
}
