// Package config owns the one configuration file of the service: what an
// operator may write (File), what the program runs with (Config), and the way
// from one to the other (Load), which reports every mistake at once, each with
// its path. It performs no network access and knows no other package of ours.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
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
	Providers []Provider
	Hosts     []Host

	// CallbackHost is where providers send browsers back to; zero for each host itself.
	CallbackHost PublicHost

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
	Clients             []Client

	Keys            Keys
	Tokens          Tokens
	Limits          Limits
	Guard           Guard
	Introspection   bool
	DenyList        string // path of the deny-list, "" for none
	AuditFile       string // path, "" for standard output
	Tracing         Tracing
	DebugFlows      bool // whether /debug/flows is served
	Branding        Branding
	IdentityHeaders IdentityHeaders

	// Warnings are what is no mistake, and should be another way.
	Warnings Errors
}

// Provider is an identity provider that signs people in.
type Provider struct {
	// ID tells it from the others; "" for the one of the `provider` section.
	ID string
	// KeepSubjects: it was the one provider once, and its people stay who they were.
	KeepSubjects bool
	Name         string // "google", "github", "microsoft", "oidc", "oauth2" or "static"
	DisplayName  string // for pages; "" for static
	ClientID     string
	ClientSecret Secret
	IssuerURL    string // oidc; optional for oauth2
	// BackChannelURL (oidc only) stands in the place of IssuerURL in what this
	// service asks itself; "" for none.
	BackChannelURL string
	BaseURL        string   // github: https://github.com or a GitHub Enterprise Server; microsoft: the cloud
	Scopes         []string // asked of the provider
	// EmailDomains are anchored patterns over the domain part of a verified
	// e-mail address, matched in lower case; empty means no restriction.
	EmailDomains []*regexp.Regexp
	AllowAnyUser bool
	Tenants      []string // microsoft only; lower-case ids, empty means any
	// HostedDomains (google only) and Organizations (github only: "org" or
	// "org/team") are in lower case; empty means no restriction.
	HostedDomains []string
	Organizations []string
	GroupsClaim   string
	GroupsFilter  []string // patterns for Match; empty keeps all
	// Names of claims, or JSON pointers; see File. EmailVerifiedClaim may be "":
	// nothing then says that an address is verified.
	SubjectClaim, EmailClaim, EmailVerifiedClaim, NameClaim string
	ACRValues                                               []string
	AuthorizationParams                                     map[string]string
	// oauth2 only.
	AuthorizeURL, TokenURL, UserinfoURL string
	// ClientAuthMethod is "client_secret_basic", "client_secret_post",
	// "private_key_jwt" (with ClientKey), or "" for what the provider says it knows.
	ClientAuthMethod string
	ClientKey        ClientKey
	// AssertionForIssuer: the issuer is the audience, and not the token endpoint.
	AssertionForIssuer bool
	Workspace          Workspace // google only
	// Unused are the properties of people that nothing in this configuration
	// makes use of, so that a provider need not be asked for them.
	Unused Properties
	// Authorities are trusted for the provider's certificates, in PEM; empty for
	// those of the system.
	Authorities []byte
	// TrustUnverifiedEmail takes addresses as verified that nobody vouches for.
	TrustUnverifiedEmail bool
	Users                []User // static only
	// UsersFile is the path of the file that Users come from, "" for none.
	UsersFile string
}

// Properties are those of a person beside the subject and the e-mail address.
type Properties struct{ Name, Groups bool }

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

// Client is a client known in advance.
type Client struct {
	ID           string
	Name         string
	RedirectURIs []string
	AuthMethod   string
	Secrets      []Secret // any of them is right
	JWKS         []byte   // content of a JWK set file
	JWKSURI      string
	GrantTypes   []string
	Scopes       []string // empty means no limit
	Resources    []string // canonical URLs; empty means all
}

// User is one account of the static provider.
type User struct {
	Username     string
	PasswordHash Secret // bcrypt, or argon2id in the PHC string format
	Email        string
	Name         string
	Groups       []string
}

// Host is one protected MCP server: a public URL and where the service itself
// reaches the server to list its tools. Several may share a host with different paths.
type Host struct {
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
	Rules         Rules
	// Policy says who may do what; nil is no policy, so that everybody may ask
	// for every scope. What holds here of the default is already in it.
	Policy []PolicyRule
}

// PublicHost is a host as browsers see it.
type PublicHost struct {
	Host   string // as that of Host
	Scheme string
}

// Rules say what is asked of a request beyond a valid token.
type Rules struct {
	ToolPolicy ToolPolicy
	Scopes     []ScopeRule
	// Body: the body decides. Only for gateways that forward it.
	Body bool
	// StepUpStatus is 401, 403, or 0 for what suits the gateway.
	StepUpStatus int
	// RefuseRefresh: a refresh right after a client was asked for more scopes is
	// refused, so that it signs in again.
	RefuseRefresh bool
	// AllowedOrigins are serialized origins, or "*"; empty means that Origin is
	// not looked at and no preflight passes.
	AllowedOrigins []string
}

// ToolPolicy says what a request may do that no scope opens or that cannot be decided.
type ToolPolicy string

// Tool policies. The zero value enforces.
const (
	Enforce  ToolPolicy = "enforce"
	Strict   ToolPolicy = "strict"
	Advisory ToolPolicy = "advisory"
)

// ScopeRule is a scope of the operator's and what it opens. Tools, Resources and
// Prompts are patterns for Match.
type ScopeRule struct {
	Name        string
	Description string
	Tools       []string
	Resources   []string
	Prompts     []string
	Includes    []string
}

// Match reports whether pattern stands for name: the same, or its beginning
// where the pattern ends in an asterisk.
func Match(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// WithIncluded returns scopes, those that one of them includes, and those that these include.
func (r *Rules) WithIncluded(scopes []string) []string {
	out := slices.Clip(scopes)
	for i := 0; i < len(out); i++ { // out grows
		for _, rule := range r.Scopes {
			if rule.Name != out[i] {
				continue
			}
			for _, s := range rule.Includes {
				if !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// Keys says where signing and sealing keys come from.
type Keys struct {
	Source   string // "ephemeral" or "seed"
	Seeds    []Secret
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
	Redis    Redis
	Postgres Postgres
}

// Redis is a Redis or Valkey server, cluster, or what sentinels watch.
type Redis struct {
	Addresses        []string
	SentinelMaster   string // "" for none
	SentinelPassword Secret
	Cluster          bool
	Username         string
	Password         Secret
	KeyPrefix        string
	TLS              TLS
}

// Postgres is a PostgreSQL database: a URL, or else the pieces.
type Postgres struct {
	URL                         Secret
	Address, Database, Username string
	Password                    Secret
	TLS                         TLS // goes with the pieces
	Schema                      string
}

// TLS says how a server is reached. The zero value is without TLS.
type TLS struct {
	Enabled     bool
	ServerName  string // "" for the host of the address
	Authorities []byte // PEM; empty for those of the system
	Certificate []byte // PEM; empty for none
	Key         Secret // PEM
}

// Client returns the settings of a connection, nil without TLS.
func (t TLS) Client() *tls.Config {
	if !t.Enabled {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.Authorities) > 0 {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(t.Authorities) // Load has checked it
	}
	if len(t.Certificate) > 0 {
		pair, err := tls.X509KeyPair(t.Certificate, []byte(t.Key.Reveal()))
		if err != nil {
			panic("internal error: a certificate that Load has not checked")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// Branding is what is the operator's on the pages.
type Branding struct {
	Name                             string
	Logo                             []byte // an image of LogoType; empty for none
	LogoType                         string // a media type
	AccentColor                      string // "#rrggbb" in lower case, or ""
	SupportURL, PrivacyURL, TermsURL string
}

// Tracing says where traces go; without an Endpoint there are none.
type Tracing struct {
	Endpoint    string            // with a path
	Headers     map[string]Secret // canonical names
	Authorities []byte            // PEM; empty for those of the system
	Ratio       float64           // of traces that begin here
}

// IdentityHeaders are the names of the headers an allowed request carries, in
// canonical form. User, Email and Groups are never empty.
type IdentityHeaders struct {
	User, Email, Groups, Name, Client, Scope string
	JWT                                      string        // "" for none
	JWTLifetime                              time.Duration // at most five minutes
}

// Names lists the headers, the signed one last.
func (h IdentityHeaders) Names() []string {
	all := []string{h.User, h.Email, h.Groups, h.Name, h.Client, h.Scope, h.JWT}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}
