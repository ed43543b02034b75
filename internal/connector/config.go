package connector

import (
	"cmp"
	"regexp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// ProtocolParams are those of an authorization request that the flow itself
// sets; no configuration replaces them.
var ProtocolParams = []string{
	"response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri", "acr_values",
}

// Config is an identity provider that signs people in.
type Config struct {
	// ID tells it from the others; "" for the one of the `provider` section.
	ID string
	// KeepSubjects: it was the one provider once, and its people stay who they were.
	KeepSubjects bool
	Name         string // "google", "github", "microsoft", "oidc", "oauth2" or "static"
	DisplayName  string // for pages; "" for static
	ClientID     string
	ClientSecret conf.Secret
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
	// Names of claims, or JSON pointers; see package config. EmailVerifiedClaim may be "":
	// nothing then says that an address is verified.
	SubjectClaim, EmailClaim, EmailVerifiedClaim, NameClaim string
	ACRValues                                               []string
	AuthorizationParams                                     map[string]string
	// oauth2 only.
	AuthorizeURL, TokenURL, UserinfoURL string
	// ClientAuthMethod is "client_secret_basic", "client_secret_post",
	// "private_key_jwt" (with ClientKey), or "" for what the provider says it knows.
	ClientAuthMethod string
	ClientKey        clientauth.Key
	// AssertionForIssuer: the issuer is the audience, and not the token endpoint.
	AssertionForIssuer bool
	Workspace          Workspace // google only
	// Unused are the properties of people that nothing in this configuration
	// makes use of, so that a provider need not be asked for them.
	Unused Properties
	// Authorities are trusted for the provider's certificates, in PEM; empty for
	// those of the system.
	Authorities []byte
	// TrustUnverifiedEmail takes addresses as verified of which the provider does not say so.
	TrustUnverifiedEmail bool
	Users                []User // static only
	// UsersFile is the path of the file that Users come from, "" for none.
	UsersFile string
}

// Properties are those of a person beside the subject and the e-mail address.
type Properties struct{ Name, Groups bool }

// User is one entry of `provider.users`: an account of the static provider.
type User struct {
	// Name to sign in with, unique; also the subject in tokens. Required.
	Username string `json:"username" check:"text"`
	// Hash of the password: bcrypt of cost 10 to 15, or argon2id in the PHC string format; `mcp-forward-auth hash-password` makes one. Required.
	PasswordHash conf.Secret `json:"passwordHash"`
	// E-mail address, taken as verified.
	Email string `json:"email"`
	// Display name.
	Name string `json:"name" check:"text"`
	// Groups that the user is in.
	Groups []string `json:"groups" check:"groups"`
}

// PolicyID is what rules call the provider.
func (p *Config) PolicyID() string { return cmp.Or(p.ID, p.Name) }

// Workspace says how the directory of a Google Workspace is asked about people.
// The zero value asks nothing.
type Workspace struct {
	Credentials string // "key", "metadata" or "external"; "" for none
	// Key and KeyID are those of the service account, with "key".
	Key clientauth.Key
	// ServiceAccount is the address of the service account that the directory
	// trusts; Admin the administrator in whose name it asks.
	ServiceAccount, Admin string
	// Audience, TokenType, TokenFile and TokenField say what is exchanged for
	// Google's credentials, with "external".
	Audience, TokenType, TokenFile, TokenField string
	Groups                                     bool
}

// IsZero reports whether the directory is not asked.
func (w Workspace) IsZero() bool { return w.Credentials == "" }
