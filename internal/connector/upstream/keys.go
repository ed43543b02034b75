package upstream

import (
	"cmp"
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
type App struct {
	ClientID         string      `json:"clientID"`
	ClientSecret     conf.Secret `json:"clientSecret"`
	ClientSecretFile string      `json:"clientSecretFile"`
	CAFile           string      `json:"caFile"`
	Scopes           []string    `json:"scopes"`
	GroupsFilter     []string    `json:"groupsFilter"`
}

// ResolveApp checks the keys; scopes are asked for where none are named.
func (a App) ResolveApp(c conf.Section, p *connector.Config, scopes ...string) {
	a.resolve(c, p, scopes)
	p.ClientSecret = clientauth.Secret(c, a.ClientSecret, a.ClientSecretFile, fmt.Sprintf(" for %q", p.Name))
}

func (a App) resolve(c conf.Section, p *connector.Config, scopes []string) {
	id := c.Key("clientID")
	if a.ClientID == "" {
		c.Add(id, "is required for %q", p.Name)
	} else if !conf.IsScopeToken(a.ClientID) {
		c.Add(id, "is not a client id: printable ASCII without spaces, at most %d bytes", conf.MaxText)
	}
	c.NotReplaced(id, a.ClientID)
	c.ScopeTokens(c.Key("scopes"), a.Scopes)
	c.NamePatterns(c.Key("groupsFilter"), a.GroupsFilter)
	if p.Scopes = a.Scopes; len(a.Scopes) == 0 {
		p.Scopes = scopes
	}
	p.ClientID, p.GroupsFilter = a.ClientID, a.GroupsFilter
	p.Authorities = c.Authorities(c.Key("caFile"), a.CAFile)
}

// MustAsk holds scopes that the operator named to what this service cannot do
// without. Where none are named, the default has it.
func (a App) MustAsk(c conf.Section, scope, problem string, args ...any) bool {
	missing := len(a.Scopes) > 0 && !slices.Contains(a.Scopes, scope)
	if missing {
		c.Add(c.Key("scopes"), problem, args...)
	}
	return !missing
}

// MustAskOpenID: without openid there is no ID token (OpenID Connect Core, section 3.1.2.1).
func (a App) MustAskOpenID(c conf.Section, p *connector.Config) bool {
	return a.MustAsk(c, "openid", `must include "openid" for %q`, p.Name)
}

// KeyedApp is an App that may have a private key in the place of its secret.
type KeyedApp struct {
	App
	ClientAuthMethod        string `json:"clientAuthMethod"`
	ClientKeyFile           string `json:"clientKeyFile"`
	ClientKeyID             string `json:"clientKeyID"`
	ClientKeyAlgorithm      string `json:"clientKeyAlgorithm"`
	ClientAssertionAudience string `json:"clientAssertionAudience"`
}

// ResolveKeyedApp is ResolveApp; basic says whether the provider knows
// client_secret_basic.
func (a KeyedApp) ResolveKeyedApp(c conf.Section, p *connector.Config, basic bool, scopes ...string) {
	a.resolve(c, p, scopes)
	methods := []string{clientauth.Basic, clientauth.Post, clientauth.PrivateKeyJWT}
	if !basic {
		methods = methods[1:]
	}
	standard := ""
	if a.ClientKeyFile == "" {
		p.ClientSecret = clientauth.Secret(c, a.ClientSecret, a.ClientSecretFile, fmt.Sprintf(" for %q", p.Name))
	} else {
		standard = clientauth.PrivateKeyJWT
		if !a.ClientSecret.IsZero() || a.ClientSecretFile != "" {
			c.Add(c.Key("clientKeyFile"), "excludes a client secret; set one of the two")
		}
	}
	p.ClientKey = clientauth.KeyFile{File: a.ClientKeyFile, ID: a.ClientKeyID, Algorithm: a.ClientKeyAlgorithm}.Resolve(c)
	if a.ClientKeyFile == "" && a.ClientAssertionAudience != "" {
		c.Add(c.Key("clientAssertionAudience"), "has no meaning without clientKeyFile")
	}
	p.ClientAuthMethod = clientauth.Method(c, a.ClientAuthMethod, standard, a.ClientKeyFile != "", methods...)
	p.AssertionForIssuer = a.assertionForIssuer(c)
}

// ClaimNames are the keys that say where in the provider's answers a person's
// properties are.
type ClaimNames struct {
	SubjectClaim                 string `json:"subjectClaim"`
	EmailClaim                   string `json:"emailClaim"`
	EmailVerifiedClaim           string `json:"emailVerifiedClaim"`
	NameClaim                    string `json:"nameClaim"`
	GroupsClaim                  string `json:"groupsClaim"`
	InsecureTrustUnverifiedEmail bool   `json:"insecureTrustUnverifiedEmail"`
}

// ResolveClaims checks the keys.
func (n ClaimNames) ResolveClaims(c conf.Section, p *connector.Config) {
	p.SubjectClaim = claim(c, "subjectClaim", n.SubjectClaim, "sub")
	p.EmailClaim = claim(c, "emailClaim", n.EmailClaim, "email")
	p.NameClaim = claim(c, "nameClaim", n.NameClaim, "name")
	p.GroupsClaim = claim(c, "groupsClaim", n.GroupsClaim, "groups")
	// OpenID Connect Core, section 5.1: email_verified is about email, and says
	// nothing of an address from elsewhere.
	standard := ""
	if p.EmailClaim == "email" {
		standard = "email_verified"
	}
	p.EmailVerifiedClaim = claim(c, "emailVerifiedClaim", n.EmailVerifiedClaim, standard)
	if p.EmailVerifiedClaim == "" && !n.InsecureTrustUnverifiedEmail {
		c.Add(c.Key("emailVerifiedClaim"), "is required with %s: name the claim that says whether that address is verified; "+
			"where there is none, and people cannot change the address themselves, set %s: true", c.Key("emailClaim"), c.Key("insecureTrustUnverifiedEmail"))
	}
	p.TrustUnverifiedEmail = n.InsecureTrustUnverifiedEmail
}

var badEscape = regexp.MustCompile(`~([^01]|$)`)

// claim checks a claim's name or JSON pointer (RFC 6901, section 3).
func claim(c conf.Section, key, value, standard string) string {
	at := c.Key(key)
	c.Text(at, value)
	if strings.HasPrefix(value, "/") && badEscape.MatchString(value) {
		c.Add(at, `%s is not a JSON pointer: "~" stands before 0 or 1 only`, conf.Show(value))
	}
	return cmp.Or(value, standard)
}

var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// AuthorizationParams are further parameters of the authorization request.
type AuthorizationParams struct {
	Params map[string]string `json:"authorizationParams"`
}

// ResolveParams checks the key. Refused are parameters that this kind of provider
// does not take, each with what is wrong with it.
func (a AuthorizationParams) ResolveParams(c conf.Section, p *connector.Config, refused map[string]string) {
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
	p.AuthorizationParams = a.Params
}

// HostOf returns the host of a URL, with its port; "" for none.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
