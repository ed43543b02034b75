package issuer

import (
	"maps"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keysource"
)

// File is one entry of `proxy.hosts[].authorizationServers`.
type File struct {
	// Issuer URL of the authorization server, exactly as in iss of its tokens; https, or http on a loopback host. Required.
	Issuer string `json:"issuer"`
	keysource.Keys
	// Values of aud that are accepted, compared exactly; a token must have one of them. Name only values that mean this MCP server and no other. Default: the URL of the MCP server, with or without a slash at its end.
	Audiences []string `json:"audiences" max:"100" check:"unique"`
	// Values of the header typ that are accepted, without regard to case; "" stands for a token without one. An ID token and a logout token are refused whatever their typ. Default: "at+jwt", "JWT" and "".
	Types []string `json:"types" max:"20" check:"unique"`
	// Signature algorithms that are accepted, of "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512" and "EdDSA". Default: "RS256", "PS256", "ES256" and "EdDSA", each with the keys that are published for it.
	Algorithms []string `json:"algorithms" max:"20" check:"unique"`
	// Names of the claims in the server's tokens.
	Claims ClaimsFile `json:"claims"`
	// Names of scopes at the authorization server, each with its name at the MCP server, such as {"api://notes/notes.read": "notes:read"}. Clients see the names of the authorization server; if two map to the same scope, the longer one. Default: the names are the same.
	ScopeMap map[string]string `json:"scopeMap"`
	// Scopes that each of its tokens has in addition, by their names at the MCP server. A server that declares no scopes has the scope "mcp".
	AddScopes []string `json:"addScopes" check:"scopes"`
	// Tenants whose tokens are accepted, by the claim of claims.tenant. Default: every tenant that issues in the name of issuer.
	Tenants []string `json:"tenants" max:"1000" check:"unique"`
	// Clients whose tokens are accepted, by their ids at the authorization server. Default: every client.
	Clients []string `json:"clients" max:"1000" check:"unique"`
	// Accept tokens in which another party acts for the person (the claim act). The MCP server, the audit log and rules with actors learn who it is. Otherwise such a token is refused. Default false.
	Delegation bool `json:"delegation"`
	// How far the two clocks may differ.
	Leeway time.Duration `json:"leeway" default:"10s" min:"0s" max:"5m"`
}

// ClaimsFile is the `proxy.hosts[].authorizationServers[].claims` section.
type ClaimsFile struct {
	// Claim with the stable identifier of the person, as subjectClaim of a provider. A token without it stands for its client alone.
	Subject string `json:"subject" default:"sub"`
	// Claim with the id of the client. Default: the first that is there of client_id, azp, cid and appid.
	Client string `json:"client"`
	// Claim with the scopes, a list or one string with spaces. Default: the first that is there of scope and scp.
	Scope string `json:"scope"`
	// Claim with the groups. It and the other claims are names or, with a slash at the beginning, JSON pointers such as "/resource_access/mcp/roles".
	Groups string `json:"groups" default:"groups"`
	// Claim with the e-mail address.
	Email string `json:"email" default:"email"`
	// Claim that is true if that address is verified; otherwise the address is not used. Default: "email_verified", if email is "email".
	EmailVerified string `json:"emailVerified"`
	// Claim with the display name.
	Name string `json:"name" default:"name"`
	// Claim with the tenant.
	Tenant string `json:"tenant" default:"tid"`
}

// Config is one entry when it is checked.
type Config struct {
	Issuer string
	keysource.Keys
	// NoKeys: no token of it is verified by a key, see Kind.Told.
	NoKeys bool
	// SignedAnswers: answers about its tokens are, see Kind.Answer, so that keys are
	// needed all the same.
	SignedAnswers    bool
	Audiences        []string // empty for the resource's URI
	Types            []string // in lower case
	Algorithms       []jose.SignatureAlgorithm
	Claims           Claims
	ScopeMap         map[string]string // theirs → that of the MCP server
	AddScopes        []string
	Tenants, Clients []string // empty for all
	Leeway           time.Duration
	Delegation       bool

	// Namespace is what the subjects of its people begin with, as those of an
	// identity provider with this issuer do.
	Namespace string
	// SameAs is the id of the configured identity provider with this issuer, "" for none.
	SameAs string
	// Reserved are namespaces of others that begin with Namespace and a colon: no
	// subject may be spelled so that it reads as one of them.
	Reserved []string
}

// Claims says where tokens have what. Client and Scope are tried in order.
type Claims struct {
	Client, Scope                                       []string
	Subject, Groups, Email, EmailVerified, Name, Tenant string
}

// defaultTypes: Keycloak, Entra and others send "JWT", Okta and Cognito nothing.
var defaultTypes = []string{"at+jwt", "application/at+jwt", "jwt", ""}

// otherTypes are those of JWTs that are no access tokens.
var otherTypes = []string{"logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "oauth-authz-req+jwt", "entity-statement+jwt", "id+jwt"}

// ResolveAll checks the entries of one MCP server.
func ResolveAll(c *conf.Check, at string, files []File) []Config {
	var all []Config
	for i, f := range files {
		s := conf.Section{Check: c, At: conf.Element(at, i)}
		entry := f.resolve(s)
		if first := slices.IndexFunc(files, func(o File) bool { return o.Issuer == f.Issuer }); first < i && f.Issuer != "" {
			c.Add(s.Key("issuer"), "%s is the issuer of %s too; write one entry for each", conf.ShowURL(f.Issuer), conf.Element(at, first))
		}
		all = append(all, entry)
	}
	return all
}

func (f File) resolve(c conf.Section) Config {
	f.issuer(c)
	keys := f.Keys.Resolve(c, "make tokens for everyone")
	f.lists(c)
	return Config{
		Issuer: f.Issuer, Keys: keys, Namespace: Namespace(f.Issuer),
		Audiences: f.Audiences, Types: f.types(c), Algorithms: keysource.Algorithms(c, f.Algorithms), Claims: f.Claims.resolve(c.Sub("claims")),
		ScopeMap: f.ScopeMap, AddScopes: f.AddScopes, Tenants: f.Tenants, Clients: f.Clients,
		Leeway: f.Leeway, Delegation: f.Delegation,
	}
}

func (f File) issuer(c conf.Section) {
	at := c.Key("issuer")
	if f.Issuer == "" {
		c.Add(at, "is required: what the tokens have in iss")
		return
	}
	u := c.SecureURL(at, f.Issuer)
	switch {
	case u == nil:
	case strings.Contains(u.Path, "/.well-known/"):
		c.Add(at, "%s is the address of a document; the issuer is what that document has in \"issuer\"", conf.ShowURL(f.Issuer))
	case strings.ContainsAny(f.Issuer, "{}*"):
		c.Add(at, "%s is a pattern; write one entry for each issuer, exactly as its tokens have it in iss", conf.ShowURL(f.Issuer))
	}
}

// lists checks the lists of exact values and the scopes.
func (f File) lists(c conf.Section) {
	for _, list := range []struct {
		key     string
		entries []string
	}{{"audiences", f.Audiences}, {"tenants", f.Tenants}, {"clients", f.Clients}} {
		at := c.Key(list.key)
		if list.entries != nil && len(list.entries) == 0 {
			c.Add(at, "is empty, which would accept nothing; name values, or remove the key")
		}
		for i, entry := range list.entries {
			switch at := conf.Element(at, i); {
			case entry == "" || len(entry) > conf.MaxURL || strings.TrimSpace(entry) != entry:
				c.Add(at, "is empty, longer than %d bytes, or begins or ends with a space", conf.MaxURL)
			case strings.Contains(entry, "*"):
				c.Add(at, "%s has an asterisk; each value must be exact", conf.Show(entry))
			}
		}
	}
	if i := slices.Index(f.Audiences, "account"); i >= 0 {
		c.Warn(conf.Element(c.Key("audiences"), i), `"account" stands in almost every token of a Keycloak realm, whatever it is for; have Keycloak put the URL of the MCP server into aud`)
	}
	at := c.Key("scopeMap")
	if c.TooMany(at, len(f.ScopeMap), conf.MaxScopes) {
		return
	}
	for theirs, ours := range f.ScopeMap {
		if !conf.IsScopeToken(theirs) || !conf.IsScopeToken(ours) {
			c.Add(conf.Join(at, conf.ShowKey(theirs)), `is not a scope on both sides: printable ASCII without spaces, '"' and '\'`)
		}
	}
}

func (f File) types(c conf.Section) []string {
	at := c.Key("types")
	switch {
	case f.Types == nil:
		return defaultTypes
	case len(f.Types) == 0:
		c.Add(at, "is empty, which would accept nothing; name types, or remove the key")
	}
	var types []string
	for i, t := range f.Types {
		low := strings.ToLower(t)
		if slices.Contains(otherTypes, strings.TrimPrefix(low, "application/")) {
			c.Add(conf.Element(at, i), "%s is the type of another kind of token, which is no access token", conf.Show(t))
		}
		c.Text(conf.Element(at, i), t)
		types = append(types, low)
	}
	return types
}

func (f ClaimsFile) resolve(c conf.Section) Claims {
	out := Claims{
		Client: []string{"client_id", "azp", "cid", "appid"}, Scope: []string{"scope", "scp"},
		Subject: f.Subject, Groups: f.Groups, Email: f.Email, EmailVerified: f.EmailVerified, Name: f.Name, Tenant: f.Tenant,
	}
	for key, claim := range map[string]string{
		"subject": f.Subject, "client": f.Client, "scope": f.Scope, "groups": f.Groups, "email": f.Email, "emailVerified": f.EmailVerified,
		"name": f.Name, "tenant": f.Tenant,
	} {
		c.Claim(key, claim)
	}
	if f.Client != "" {
		out.Client = []string{f.Client}
	}
	if f.Scope != "" {
		out.Scope = []string{f.Scope}
	}
	if f.EmailVerified == "" && f.Email == "email" {
		out.EmailVerified = "email_verified"
	}
	if out.EmailVerified == "" {
		c.Add(c.Key("emailVerified"), "is required with %s: name the claim that says whether that address is verified", c.Key("email"))
	}
	switch f.Subject {
	case "email", "preferred_username", "upn", "unique_name", "name", "nickname":
		c.Add(c.Key("subject"), "%s can pass to another person; name a claim that never does", conf.Show(f.Subject))
	}
	return out
}

// Namespace is what the subjects of an issuer's people begin with, as long as it is
// no identity provider with an id: the issuer without its scheme, as for those of a
// provider "oidc".
func Namespace(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	return rest
}

// ScopeNames is ScopeMap the other way: what a client has to ask for to get a
// scope of the MCP server. nil where the names are the same.
func (c Config) ScopeNames() map[string]string {
	if len(c.ScopeMap) == 0 {
		return nil
	}
	names := map[string]string{}
	for _, theirs := range slices.Sorted(maps.Keys(c.ScopeMap)) {
		// Entra says "notes.read" in a token and wants to be asked for
		// "api://notes/notes.read".
		if ours := c.ScopeMap[theirs]; len(theirs) > len(names[ours]) {
			names[ours] = theirs
		}
	}
	return names
}
