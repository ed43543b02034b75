// Package config owns the one configuration file of the service: what an
// operator may write (File), what the program runs with (Config), and the way
// from one to the other (Load), which reports every mistake at once, each with
// its path. What a section comes to is a type of the package that uses it; only
// the root of the program knows the whole. It performs no network access.
package config

import (
	"log/slog"
	"regexp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/certificate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/introspection"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/personal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/kuadrant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/operator"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Introspected is an authorization server that is asked about tokens; the zero value
// is none.
type Introspected struct {
	Issuer      string
	Authorities []byte // PEM; empty for those of the system
	*introspection.Config
}

// Config is the resolved configuration: defaults filled in, patterns compiled,
// secrets read, every value checked. Only Load and Parse make one.
type Config struct {
	Listen web.Listen
	// TLS has the certificates of the protocol listener; not enabled for plain HTTP.
	TLS      certificate.Settings
	LogLevel slog.Level

	// Providers are none only if no host takes tokens of this service; one alone may
	// be without an ID.
	Providers []connector.Config
	Hosts     []resource.Entry
	// ServerCredentials are what this service shows to the MCP server of each of Hosts;
	// nil for nothing.
	ServerCredentials []*outbound.Credential
	// Kuadrant says for each of Hosts how the header for Kuadrant's MCP gateway is made.
	Kuadrant []kuadrant.Settings
	// AuthorizationServers are the other ones whose tokens each of Hosts takes.
	AuthorizationServers [][]issuer.Config
	// Introspected are, for each of Hosts, the one of them that is asked about tokens.
	Introspected []Introspected

	// CallbackHost is where providers send browsers back to; zero for each host itself.
	CallbackHost resource.PublicHost

	// ConsentScreen is false only when RedirectURLs is not empty.
	ConsentScreen bool
	// RedirectURLs are anchored patterns; empty admits https, loopback and
	// private-use schemes.
	RedirectURLs []*regexp.Regexp
	// RedirectSchemes are private-use schemes that are admitted in addition.
	RedirectSchemes []string

	Registration registration.Settings
	Egress       egress.Settings
	Clients      []registration.Known
	APIKeys      apikey.Config
	// TrustedIssuers are those whose assertions /token takes.
	TrustedIssuers []assertion.Config

	BrowserSessions session.Settings
	PersonalKeys    personal.Settings
	Operators       operator.Settings
	SecurityEvents  []ssf.Stream
	Keys            keyset.Settings
	Tokens          token.Settings
	Limits          limit.Settings
	Guard           GuardFile
	DPoP            dpop.Settings
	Introspection   bool
	Pushed          PushedFile
	DenyList        string // path of the deny-list, "" for none
	AuditFile       string // path, "" for standard output
	Tracing         tracing.Config
	GateWatch       gatewatch.Config
	DebugFlows      bool // whether /debug/flows is served
	Branding        page.Brand
	IdentityHeaders outbound.Headers

	// Warnings are what is no mistake, and should be another way.
	Warnings conf.Errors
	// Pending are keys that say something else in the file, which takes effect at the
	// next start; see Reader.
	Pending []string

	// HostsFiles are the files that proxy.hostsFiles names.
	HostsFiles []HostsFile

	hostsRules []HostsFiles
	owners     map[string]string // hosts files in force, by the host names that they claim
	written    map[string]any    // what the document says at pinnedKeys
}
