package upstream

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// App are the keys of a provider at which this service is registered as a client.
// The defaults of scopes are the kind's.
type App struct {
	// Client id of this service at the identity provider. Required.
	ClientID string `json:"clientID"`
	// Client secret of this service at the identity provider; better in a file. Required unless clientSecretFile or clientKeyFile is set.
	ClientSecret conf.Secret `json:"clientSecret"`
	// File that holds the client secret; a trailing newline is dropped. A relative path starts at the directory of the configuration file. Required unless clientSecret or clientKeyFile is set.
	ClientSecretFile string `json:"clientSecretFile"`
	// File with the certificates of the authorities to trust for the provider, in PEM, and no others. Default: those of the system; the environment variable SSL_CERT_DIR names directories with more.
	CA []byte `json:"caFile"`
	// Scopes to ask of the identity provider. Default: openid, email and profile; for name "oauth2" none; for name "microsoft" also User.Read; for name "github" read:user, user:email and, where allowedOrganizations is set, read:org, with which organizations and teams become the groups of the identity.
	Scopes []string `json:"scopes" check:"scopes"`
	// Which of the provider's groups to keep: names, or beginnings of names with an asterisk at the end, such as "mcp-*". An identity carries at most 200 groups, so choose if people are in more. Default: the first 200.
	GroupsFilter []string `json:"groupsFilter" check:"patterns"`
}

// Authorities are trusted for the provider's certificates, in PEM.
func (a *App) Authorities() []byte { return a.CA }

// Asks reports whether the provider is asked for a scope.
func (a *App) Asks(scope string) bool { return slices.Contains(a.Scopes, scope) }

// Client is the id of this service at the provider.
func (a *App) Client() string { return a.ClientID }

// Tokens are those of a provider without ID tokens, see connector.Settings.
func (*App) Tokens() []string { return []string{"access"} }

// ResolveApp checks the keys and reads the secret; scopes are asked for where none
// are named.
func (a *App) ResolveApp(c conf.Section, provider string, scopes ...string) {
	a.resolve(c, provider, scopes)
	a.ClientSecret = clientauth.Secret(c, a.ClientSecret, a.ClientSecretFile, fmt.Sprintf(" for %q", provider))
}

func (a *App) resolve(c conf.Section, provider string, scopes []string) {
	id := c.Key("clientID")
	if a.ClientID == "" {
		c.Add(id, "is required for %q", provider)
	} else if !conf.IsScopeToken(a.ClientID) {
		c.Add(id, "is not a client id: printable ASCII without spaces, at most %d bytes", conf.MaxText)
	}
	c.NotReplaced(id, a.ClientID)
	if len(a.Scopes) == 0 {
		a.Scopes = scopes
	}
}

// MustAsk holds scopes that the operator named to what this service cannot do
// without.
func (a *App) MustAsk(c conf.Section, scope, problem string, args ...any) bool {
	missing := len(a.Scopes) > 0 && !slices.Contains(a.Scopes, scope)
	if missing {
		c.Add(c.Key("scopes"), problem, args...)
	}
	return !missing
}

// MustAskOpenID: without openid there is no ID token (OpenID Connect Core, section 3.1.2.1).
func (a *App) MustAskOpenID(c conf.Section, provider string) bool {
	return a.MustAsk(c, "openid", `must include "openid" for %q`, provider)
}

// Tokens are those of an OpenID provider.
func (*KeyedApp) Tokens() []string { return []string{"access", "id", "exchange"} }

// KeyedApp is an App that may have a private key in place of its secret.
type KeyedApp struct {
	App
	// How this service proves itself at the token endpoint: "client_secret_basic", "client_secret_post" or "private_key_jwt". Default: "private_key_jwt" with clientKeyFile; else what the discovery document offers, the body before the header.
	ClientAuthMethod string `json:"clientAuthMethod"`
	// File that holds a private key, instead of a client secret: PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted) or one JWK; RSA of at least 2048 bits, P-256 or Ed25519. A certificate in the same PEM file is named in each assertion by its thumbprint (x5t#S256), which Microsoft requires.
	ClientKeyFile string `json:"clientKeyFile"`
	// Key id (kid) by which the provider knows the key. Default: the kid of the JWK, or none.
	ClientKeyID string `json:"clientKeyID"`
	// One of "RS256", "PS256", "ES256", "EdDSA", as fits the key. Default: the alg of the JWK, or "RS256", "ES256" or "EdDSA".
	ClientKeyAlgorithm string `json:"clientKeyAlgorithm"`
	// What is named as the audience of each assertion: "token_endpoint" or "issuer".
	ClientAssertionAudience string `json:"clientAssertionAudience" default:"token_endpoint" enum:"token_endpoint issuer"`

	ClientKey clientauth.Key // that of ClientKeyFile
}

// AssertionForIssuer reports whether the issuer, and not the token endpoint, is the
// audience of what this service signs.
func (a *KeyedApp) AssertionForIssuer() bool { return a.ClientAssertionAudience == "issuer" }

// ResolveKeyedApp is ResolveApp; basic says whether the provider knows
// client_secret_basic.
func (a *KeyedApp) ResolveKeyedApp(c conf.Section, provider string, basic bool, scopes ...string) {
	methods := []string{clientauth.Basic, clientauth.Post, clientauth.PrivateKeyJWT}
	if !basic {
		methods = methods[1:]
	}
	standard := ""
	if a.ClientKeyFile == "" {
		a.ResolveApp(c, provider, scopes...)
		if at := c.Key("clientAssertionAudience"); c.IsSet(at) {
			c.Add(at, "has no meaning without clientKeyFile")
		}
	} else {
		a.resolve(c, provider, scopes)
		standard = clientauth.PrivateKeyJWT
		if !a.ClientSecret.IsZero() || a.ClientSecretFile != "" {
			c.Add(c.Key("clientKeyFile"), "excludes a client secret; set one of the two")
		}
	}
	a.ClientKey = clientauth.KeyFile{File: a.ClientKeyFile, ID: a.ClientKeyID, Algorithm: a.ClientKeyAlgorithm}.Resolve(c)
	a.ClientAuthMethod = clientauth.Method(c, a.ClientAuthMethod, standard, a.ClientKeyFile != "", methods...)
}

// ClaimNames are the keys that say where in the provider's answers a person's
// properties are.
type ClaimNames struct {
	// Claim with the stable identifier of the person, a string or a whole number (for name "oidc" in the ID token, also at each refresh). Never use an e-mail address or a login name: those can be given to other people.
	SubjectClaim string `json:"subjectClaim" default:"sub"`
	// Claim with the e-mail address. If it is not the default, emailVerifiedClaim is required too, because email_verified is about the claim email.
	EmailClaim string `json:"emailClaim" default:"email"`
	// Claim that is true if the address of emailClaim is verified. Default: "email_verified", if emailClaim is "email".
	EmailVerifiedClaim string `json:"emailVerifiedClaim"`
	// Claim with the display name.
	NameClaim string `json:"nameClaim" default:"name"`
	// Claim that lists the user's groups, in the ID token or at userinfo. It and the other claims are names or, with a slash at the beginning, JSON pointers such as "/resource_access/mcp/roles".
	GroupsClaim string `json:"groupsClaim" default:"groups"`
	// Take e-mail addresses as verified that the provider does not say are. Where people can enter any address themselves, this lets them impersonate anyone in rules about e-mail addresses. Default false.
	InsecureTrustUnverifiedEmail bool `json:"insecureTrustUnverifiedEmail"`
}

// ResolveClaims checks the keys.
func (n *ClaimNames) ResolveClaims(c conf.Section, p *connector.Config) {
	// OpenID Connect Core, section 5.1: email_verified is about email, and says
	// nothing of an address from elsewhere.
	if n.EmailVerifiedClaim == "" && n.EmailClaim == "email" {
		n.EmailVerifiedClaim = "email_verified"
	}
	for key, claim := range map[string]string{
		"subjectClaim": n.SubjectClaim, "emailClaim": n.EmailClaim, "emailVerifiedClaim": n.EmailVerifiedClaim, "nameClaim": n.NameClaim, "groupsClaim": n.GroupsClaim,
	} {
		c.Claim(key, claim)
	}
	if n.EmailVerifiedClaim == "" && !n.InsecureTrustUnverifiedEmail {
		c.Add(c.Key("emailVerifiedClaim"), "is required with %s: name the claim that says whether that address is verified; "+
			"where there is none, and people cannot change the address themselves, set %s: true", c.Key("emailClaim"), c.Key("insecureTrustUnverifiedEmail"))
	}
	p.TrustUnverifiedEmail = n.InsecureTrustUnverifiedEmail
}

var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// AuthorizationParams are further parameters of the authorization request.
type AuthorizationParams struct {
	// Further parameters of the authorization request, such as Auth0's audience or Microsoft's domain_hint. Those of the protocol cannot be set. The browser sees them, so put no secrets here.
	Params map[string]string `json:"authorizationParams"`
}

// ResolveParams checks the key. Refused are parameters that this kind of provider
// does not take, each with what is wrong with it.
func (a AuthorizationParams) ResolveParams(c conf.Section, refused map[string]string) {
	at := c.Key("authorizationParams")
	if c.TooMany(at, len(a.Params), conf.MaxScopes) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.Params)) {
		at := conf.Join(at, conf.ShowKey(name))
		switch {
		case !paramName.MatchString(name):
			c.Add(at, "is not the name of a parameter")
		case slices.Contains(connector.ProtocolParams, strings.ToLower(name)):
			c.Add(at, "is a parameter of the protocol, which this service sets itself")
		case refused[name] != "":
			c.Add(at, "%s", refused[name])
		}
		c.Text(at, a.Params[name])
	}
}

// HostOf returns the host of a URL, with its port; "" for none.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
