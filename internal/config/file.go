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
	// Several identity providers, among which people choose; instead of `provider`. Each entry has the keys of `provider` and these. See docs/providers/README.md.
	Providers []ProviderFile `json:"providers" max:"20"`
	// The MCP servers to protect, and how clients may reach them. Required.
	Proxy ProxyFile `json:"proxy"`
	// How clients become known.
	Registration registration.Settings `json:"registration"`
	// How this service reaches what clients name: metadata documents and key sets.
	Egress egress.Settings `json:"egress"`
	// Keys for scripts and machines, in place of tokens. See docs/api-keys.md.
	APIKeys apikey.File `json:"apiKeys"`
	// Who may do what: rules for every MCP server that has none of its own. See docs/policy.md. Default: everyone who may sign in may ask for every scope.
	Policy PolicyFile `json:"policy"`
	// Clients known in advance. They work with every kind of registration off, and no list of redirect URLs applies to them.
	Clients []registration.Known `json:"clients" max:"1000"`
	// The sessions of people's browsers, at the pages of an MCP host and at /account.
	BrowserSessions session.Settings `json:"browserSessions"`
	// Issuers whose assertions /token takes in place of a sign-in (RFC 7523): Kubernetes, platforms of agents and workloads, and identity providers for enterprise-managed authorization. See docs/machines.md. Default: none.
	TrustedIssuers []assertion.File `json:"trustedIssuers" max:"100"`
	// Keys that people make for themselves. See docs/account.md.
	PersonalKeys personal.Settings `json:"personalKeys"`
	// Security events of identity providers (Shared Signals), by which sessions and tokens end at once. See docs/security-events.md.
	SecurityEvents ssf.File `json:"securityEvents"`
	// Operators that ask the management listener who has access, and end it. See docs/account.md.
	Operators operator.Settings `json:"operators"`
	// Signing and sealing keys.
	Keys keyset.Settings `json:"keys"`
	// Lifetimes of what the service issues.
	Tokens token.Settings `json:"tokens"`
	// How often something may happen in a minute, all of it at once if need be; more is answered 429. 0 is no limit. Each replica counts for itself. /authenticate is never limited.
	Limits limit.Settings `json:"limits"`
	// The memory of what must not happen twice: codes, sign-ins, refresh tokens; and of what was revoked. Replicas that share it act as one; see docs/replicas.md.
	Guard GuardFile `json:"guard"`
	// Proofs of possession, for MCP servers whose entry has dpop.
	DPoP dpop.Settings `json:"dpop"`
	// Token introspection (RFC 7662), for MCP servers that cannot check tokens themselves.
	Introspection IntrospectionFile `json:"introspection"`
	// Authorization requests that clients send to the service first (RFC 9126), so that the browser brings nothing but a reference to them.
	Pushed PushedFile `json:"pushedRequests"`
	// Who is to be let in no more: tokens stop working with the next request.
	DenyList DenyListFile `json:"denyList"`
	// The protocol listener speaks TLS itself, where nothing before it does. See docs/served-hosts.md.
	TLS certificate.Settings `json:"tls"`
	// Where the audit log goes.
	Audit AuditFile `json:"audit"`
	// Traces of what the service does, for OpenTelemetry. See docs/operations.md.
	Tracing tracing.Config `json:"tracing"`
	// A look at the gateways from outside, every minute. See docs/operations.md.
	GateWatch gatewatch.File `json:"gateWatch"`
	// What the management listener shows besides metrics.
	Debug DebugFile `json:"debug"`
	// What is the operator's on the pages that people see.
	Branding page.Brand `json:"branding"`
	// Names of the request headers that carry the verified identity to the MCP server.
	IdentityHeaders outbound.Headers `json:"identityHeaders"`
}

// AuditFile is the `audit` section.
type AuditFile struct {
	// File that audit entries are added to, one JSON object a line, instead of standard output. It is opened again on SIGHUP and when the file was moved away. An entry that cannot be written is counted and logged, and stops nothing; but a file that cannot be opened at start is a mistake. Default: standard output, among the log.
	File string `json:"file"`
}

// DebugFile is the `debug` section.
type DebugFile struct {
	// /debug/flows: how far each of the last 10 000 sign-ins of this replica came and why it ended, by the reference that error pages show. No person and no secret is in it.
	Flows conf.Switch `json:"flows"`
}

// LoggingFile is the `logging` section.
type LoggingFile struct {
	// What is logged at least.
	Level string `json:"level" default:"info" enum:"debug info warn error"`
}

// ProviderFile is the `provider` section, or one entry of `providers`.
type ProviderFile struct {
	// The kind of provider, on which the keys depend: one of "google", "github", "microsoft", "oidc", "oauth2", "static". Required.
	Name string `json:"name"`

	Settings connector.Settings // the keys of this kind

	// Name of the provider on pages, as in "Next, you sign in with …". Default: "Google", "GitHub", "Microsoft", or the host of the issuer or of authorizeURL.
	DisplayName string `json:"displayName" check:"text"`
	// Go regular expressions over the domain of the user's verified e-mail address, in lower case, anchored at both ends. A dot stands for any character, so escape it: "example\.com". Empty admits every domain. Required for name "google", "github" and "oauth2" unless hostedDomains, allowedOrganizations or allowAnyUser is set. Where several of these are set, an account must satisfy each.
	AllowedEmailDomains []string `json:"allowedEmailDomains" max:"1000"`
	// Admit every account of the provider. Needed for Google, GitHub, Microsoft and "oauth2" where no other key says who may sign in, because anyone can have an account there; excludes such keys. Default false.
	AllowAnyUser bool `json:"allowAnyUser"`
	// Name of the entry for this service: up to 32 of a-z, 0-9 and "-". It is part of who people are, in tokens and deny-lists ("corp:accounts.example.com:1234"), and of the callback URL, so it must not change. For entries of providers only. Required.
	ID string `json:"id" in:"providers"`
	// This entry was the one `provider` before: its people keep their subjects, without the id, and their refresh tokens. For one entry of providers only. Default false.
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
	// Files with more entries of hosts, each of a team of its own, with rules which host names each may claim. A file with a mistake costs only itself. See docs/teams.md.
	HostsFiles []HostsFiles `json:"hostsFiles" max:"100"`
	// Public host to which identity providers send browsers back, with a port if it is not 443: the redirect URI is then https://<callbackHost>/callback for every host, which suits providers that admit one alone, such as GitHub's OAuth apps. It may be one of the hosts; if it is another, route its /callback and what is below to this service. See docs/providers/README.md. Default: each host has a callback of its own.
	CallbackHost string `json:"callbackHost"`
	// Skip the consent page. Refused unless allowedRedirectURLs is set, because without consent an open redirect list gives tokens away. Default false.
	DisableConsentScreen bool `json:"disableConsentScreen"`
	// Go regular expressions, anchored at both ends, over the redirect URIs that clients may use, such as "https://app\.example\.com/callback". With the consent screen off each must spell out the host. Default: https, loopback and private-use schemes, always behind consent.
	AllowedRedirectURLs []string `json:"allowedRedirectURLs" max:"1000"`
	// Schemes of private-use redirect URIs that clients may have in addition, such as "vscodium" for an editor whose redirect URI is vscodium://…: lower case, without ":". They add to the default, and to allowedRedirectURLs where that is set, and always need the consent screen. Reversed domain names ("com.example.app") and the schemes of well-known MCP clients need no entry. Default: none.
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
	// Public path of the MCP server; requests to it and below belong to this server. "/" means all of the host. A server of HTTP+SSE, whose endpoint ends in "/sse", takes messages at another path, so it needs the path above both, mostly "/". Default: the path of endpoint.
	Path string `json:"path"`
	// Public scheme, "https" or, on a loopback host only, "http"; the same for all entries of a host.
	Scheme string `json:"scheme" default:"https" enum:"https http"`
	// Name of the server on the consent page. Default: the host.
	DisplayName string `json:"displayName" check:"text"`
	// Scopes that clients are told to ask for at first; the rest comes by step-up. Default: all scopes the MCP server advertises.
	DefaultScopes []string `json:"defaultScopes" check:"scopes"`
	// What is asked of a request beyond a valid token. "enforce": a request of MCP revision 2026-07-28 or later passes only if a granted scope opens its tool, and an older one with any valid token; "strict": also refuses what cannot be decided, which is every request of an older revision unless body, envoyMCP or extMCP is set; "advisory": nothing more is asked, only written to the audit log. See docs/tool-policy.md.
	ToolPolicy rule.ToolPolicy `json:"toolPolicy" default:"enforce" enum:"enforce strict advisory"`
	// Scopes of your own, and what they open, beside those that the MCP server declares. What an entry names is opened by entries alone, whatever the server declares.
	Scopes []rule.Scope `json:"scopes" max:"100"`
	// The gateway forwards the body of each request, of at most 1 MiB, and the body decides what the request is. For gateways that do so by configuration: Traefik with forwardBody, Envoy with with_request_body. With any other gateway every request is refused. Default false.
	Body bool `json:"body"`
	// Envoy's MCP filter (envoy.filters.http.mcp, from Envoy 1.38 on) reads the body of each request, and what it says of it over gRPC decides what the request is, so that no body is sent. The filter must refuse what is not MCP and members that repeat; see docs/gateways/envoy.md. It proves what a request does only to an MCP server that compares the names of JSON members by case. Needs listen.grpc; with any other gateway every request with a body is refused. Not beside body. Default false.
	EnvoyMCP bool `json:"envoyMCP"`
	// agentgateway asks over gRPC about each message of MCP (ext_mcp, mcpGuardrails), and the message decides what it may do, for clients of every revision. Without it such questions are refused. The gateway has to ask by ext_authz about every request as well; see docs/gateways/agentgateway.md. Needs listen.grpc. Not beside envoyMCP. Default false.
	ExtMCP bool `json:"extMCP"`
	// Status of the answer that asks a client for more scopes: "403", as the standards have it, or "401", for gateways that lose the challenge of a 403 and clients that ignore it. Default: "401" where the gateway is nginx, ingress-nginx or NGINX Gateway Fabric, else "403".
	StepUp string `json:"stepUp" enum:"401 403"`
	// For clients that answer a request for more scopes by refreshing their token, which cannot help, and then give up (the TypeScript SDK 1 and 2, the AI SDK): a refresh within five seconds after such a request gets invalid_grant, so that the client lets the person sign in with the scopes that are missing. A client that refreshes in these seconds for another reason signs in as well. Default false.
	RefuseRefreshAfterStepUp bool `json:"refuseRefreshAfterStepUp"`
	// Lists that this service filters leave out what a token does not open, also where the person could get it by agreeing to more. Clients ask for more when they are refused a tool that they see, so this ends step-up for what was not agreed to at first. Lists are filtered at served hosts, behind Envoy with its MCP filter, behind agentgateway, and by Kuadrant's MCP gateway. Default false.
	HideGrantable bool `json:"hideGrantable"`
	// A tool that is new, or that the MCP server describes in another way than when the person agreed, is closed until they agree again: clients are asked to sign in for it, and the consent page marks it. Tools that did not change stay open. As nothing is known of what a request of an older revision of MCP does, that is refused unless body, envoyMCP, extMCP or serve is set. It holds for what people agree to, and for their own keys; API keys and machines have the operator's word. See docs/tool-policy.md. Default false.
	HoldChangedTools bool `json:"holdChangedTools"`
	// Pages beside the MCP server that people open in a browser, with a session that they sign in for once. Programs are never sent to sign in there, and the session opens no MCP server. See docs/browser-sessions.md. Default: none.
	Pages []session.PageFile `json:"pages" max:"32"`
	// Serve /account on this host, where people see what they allowed, end it, and make keys for themselves. It holds for all entries of the host. See docs/account.md. Default false.
	Account bool `json:"account"`
	// API keys in place of tokens.
	APIKeys apikey.HostFile `json:"apiKeys"`
	// Tokens that are bound to a key of the client, which proves with each request that it has the key (DPoP, RFC 9449), so that a stolen token is worth nothing. "accepted": a client that sends a proof to /token gets a bound token, others get ordinary ones; "required": no other tokens are issued or taken; "off": proofs are ignored, and tokens of other authorization servers that are bound are refused. Clients that know nothing of DPoP cannot use an MCP server that requires it. See docs/dpop.md.
	DPoP string `json:"dpop" default:"off" enum:"off accepted required"`
	// The identity provider's token for the MCP server, which so acts there as the person.
	ProviderToken providertoken.File `json:"providerToken"`
	// Who the MCP server is when it exchanges what it was told of a caller for a token to act with (RFC 8693).
	TokenExchange tokenexchange.File `json:"tokenExchange"`
	// Keys that people make for themselves, in place of tokens. See docs/account.md.
	PersonalKeys personal.HostFile `json:"personalKeys"`
	// Clients that run in a browser.
	CORS CORSFile `json:"cors"`
	// This service itself stands in front of the MCP server, without a gateway.
	Serve relay.File `json:"serve"`
	// A credential of this service's own at the MCP server. See docs/server-credential.md.
	ServerCredential outbound.CredentialFile `json:"serverCredential"`
	// Kuadrant's MCP gateway is the MCP server of this entry, and filters lists itself, by a header that says what may be shown. See docs/gateways/kuadrant.md.
	Kuadrant kuadrant.File `json:"kuadrant"`
	// Other authorization servers whose access tokens are taken here, if they are JWTs. See docs/authorization-servers.md. Default: none.
	AuthorizationServers []AuthorizationServerFile `json:"authorizationServers" max:"16"`
	// Take the access tokens of this service. Where no server of a host does, the host has none of the endpoints of an authorization server, and where none of all does, no identity provider is needed.
	OwnTokens bool `json:"ownTokens" default:"true"`
	// Devices without a browser may have a person sign in for this server on another device (RFC 8628): they show a code, and the person types it at /device of the host. The gateway sends /device and /device_authorization to this service too. With several replicas it needs a shared guard. See docs/devices.md. Default false.
	DeviceGrant bool `json:"deviceGrant"`
	// Who may do what here. Rules here that allow take the place of those of the section policy; what that section denies stays denied. Default: the section policy.
	Policy PolicyFile `json:"policy"`
}

// AuthorizationServerFile is one entry of `proxy.hosts[].authorizationServers`.
type AuthorizationServerFile struct {
	issuer.File
	// Ask the authorization server about tokens (RFC 7662): those that are no JWTs, or all. For one entry of an MCP server.
	Introspection introspection.File `json:"introspection"`
}

// PolicyFile is the `policy` section, and that of an entry of `proxy.hosts`.
type PolicyFile struct {
	// With rules, people may do only what a rule allows and no rule denies; their order means nothing. A rule holds where each of its conditions names the person or the client; a condition that is there and empty is a mistake. Default: no rules, and everyone may ask for every scope.
	Rules []rule.Rule `json:"rules" max:"100"`
}

// CORSFile is the `proxy.hosts[].cors` section.
type CORSFile struct {
	// Origins of web pages that may use the MCP server, such as "https://app.example.com", or "*". If set, a request that carries another Origin is refused, and a browser's preflight passes without a token; that needs a gateway which tells the client's method. Default: no preflight passes, and Origin is not looked at.
	AllowedOrigins []string `json:"allowedOrigins" max:"1000"`
}

// GuardFile is the `guard` section.
type GuardFile struct {
	// One of "memory", which each replica has for itself and a restart empties, "redis" (or Valkey), "postgres".
	Backend string `json:"backend" default:"memory" enum:"memory redis postgres"`
	// The server, for backend "redis" only.
	Redis redis.Config `json:"redis"`
	// The database, for backend "postgres" only.
	Postgres postgres.Config `json:"postgres"`
}

// IntrospectionFile is the `introspection` section.
type IntrospectionFile struct {
	// Serve /introspect to the clients of this file that have a secret or a key; a client with `resources` sees tokens for those only. Default false.
	Enabled bool `json:"enabled"`
}

// PushedFile is the `pushedRequests` section.
type PushedFile struct {
	// Serve /par, and tell clients so. Each gateway must route /par to this service first. Default false.
	Enabled bool `json:"enabled"`
	// Refuse authorization requests that were not pushed, of every client. Most MCP clients push none. Default false.
	Required bool `json:"required"`
}

// DenyListFile is the `denyList` section.
type DenyListFile struct {
	// File that lists `subjects`, `emails`, `clients` (client ids) and `families`, in YAML or JSON, as they appear in the audit log. It is read again every two seconds; a file with a mistake leaves the last good one in force, and keeps the service from starting. A relative path starts at the directory of the configuration file.
	File string `json:"file"`
}
