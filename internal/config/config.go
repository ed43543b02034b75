// Package config owns the one configuration file of the service: what an
// operator may write (File), what the program runs with (Config), and the way
// from one to the other (Load), which reports every mistake at once, each with
// its path. What a section comes to is a type of the package that uses it; only
// the root of the program knows the whole. It performs no network access.
package config

import (
	"log/slog"
	"net/netip"
	"regexp"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// Config is the resolved configuration: defaults filled in, patterns compiled,
// secrets read, every value checked. Only Load and Parse make one.
type Config struct {
	// HTTPAddress is where the protocol listener binds.
	HTTPAddress string
	// ManagementAddress is where metrics and probes bind.
	ManagementAddress string
	// GRPCAddress is where Envoy's ext_authz is served; empty is nowhere.
	GRPCAddress string
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	LogLevel       slog.Level

	// Providers are never none; one alone may be without an ID.
	Providers []connector.Config
	Hosts     []resource.Entry

	// CallbackHost is where providers send browsers back to; zero for each host itself.
	CallbackHost resource.PublicHost

	// ConsentScreen is false only when RedirectURLs is not empty.
	ConsentScreen bool
	// RedirectURLs are anchored patterns; empty admits https, loopback and
	// private-use schemes.
	RedirectURLs []*regexp.Regexp
	// RedirectSchemes are private-use schemes that are admitted in addition.
	RedirectSchemes []string

	DynamicRegistration bool
	MetadataDocuments   MetadataDocuments
	Egress              Egress
	Clients             []registration.Known

	Keys            Keys
	Tokens          Tokens
	Limits          Limits
	Guard           Guard
	Introspection   bool
	DenyList        string // path of the deny-list, "" for none
	AuditFile       string // path, "" for standard output
	Tracing         tracing.Config
	GateWatch       gatewatch.Config
	DebugFlows      bool // whether /debug/flows is served
	Branding        Branding
	IdentityHeaders outbound.Headers

	// Warnings are what is no mistake, and should be another way.
	Warnings conf.Errors
}

// MetadataDocuments says which Client ID Metadata Documents are fetched.
type MetadataDocuments struct {
	Enabled bool
	// AllowedDomains and DeniedDomains are host names, or "*.example.com"; in
	// AllowedDomains a host name may have a port.
	// An empty AllowedDomains admits every public host.
	AllowedDomains, DeniedDomains []string
	Ports                         []uint16 // besides 443
	AllowQuery, AllowLoopback     bool
}

// Keys says where signing and sealing keys come from.
type Keys struct {
	Source   string // "ephemeral" or "seed"
	Seeds    []conf.Secret
	Rotation time.Duration
}

// Tokens holds lifetimes.
type Tokens struct {
	AccessTokenLifetime time.Duration
	Refresh             bool
	// RefreshIdle is how long a refresh token lives unused, RefreshAbsolute how
	// long after the sign-in.
	RefreshIdle, RefreshAbsolute time.Duration
	// Remembered is how many verified access tokens a replica remembers.
	Remembered int
}

// Limits are events a minute, and how many may be under way; 0 is no limit.
type Limits struct {
	Registrations, ClientRequests, SignInAttempts int
	AddressRequests                               int // 0 without TrustedProxies
	RequestsInFlight, ProviderRequests            int // at once
}

// Guard says where the memory of single events is.
type Guard struct {
	Backend  string // "memory", "redis" or "postgres"
	Redis    redis.Config
	Postgres postgres.Config
}

// Branding is what is the operator's on the pages.
type Branding struct {
	Name                             string
	Logo                             []byte // an image of LogoType; empty for none
	LogoType                         string // a media type
	AccentColor                      string // "#rrggbb" in lower case, or ""
	SupportURL, PrivacyURL, TermsURL string
}
