package assertion

import (
	"net/url"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keysource"
)

// File is one entry of `trustedIssuers`.
type File struct {
	// What the issuer's assertions are: "kubernetes" (tokens of ServiceAccounts), "workload" (workload identity federation and the Workload Authorization Grant: platforms of agents, CI, SPIFFE), or "id-jag" (an identity provider's assertions about people, for enterprise-managed authorization). Required.
	Kind string `json:"kind"`
	// Issuer, exactly as in iss of its assertions; https, http on a loopback host, or "spiffe://TRUST-DOMAIN" for JWT-SVIDs. Required.
	Issuer string `json:"issuer"`
	keysource.Keys
	// Signature algorithms that are accepted, as for authorizationServers. Default: "RS256", "PS256", "ES256" and "EdDSA".
	Algorithms []string `json:"algorithms" max:"20" check:"unique"`
	// How far the two clocks may differ.
	Leeway time.Duration `json:"leeway" default:"30s" min:"0s" max:"5m"`
	// How long an assertion may live by its own iat and exp, "1m" to "48h". Default: "48h" for kubernetes, whose tokens are reused by design, "1h" for workload, "10m" for id-jag.
	MaxLifetime time.Duration `json:"maxLifetime" min:"1m" max:"48h"`
	// Accept an assertion again until it expires. For kubernetes that is always so. Never possible for id-jag. For workload, use it only with platforms that cannot make an assertion for each token. Default false.
	Reusable bool `json:"reusable"`
	// Lifetime of the access tokens for an assertion, "1m" to "1h", never longer than tokens.accessTokenLifetime. Tokens for a reusable assertion expire no later than it does.
	TokenLifetime time.Duration `json:"tokenLifetime" default:"15m" min:"1m" max:"1h"`
	// Hosts that may stand in a sub of the form "wimse://HOST/…" or "spiffe://HOST/…", for kind "workload". Default: the host of issuer.
	TrustDomains []string `json:"trustDomains" max:"100" check:"unique"`
	// Tenants whose assertions are accepted, by the claim tenant, for kind "id-jag" and an issuer with several tenants. The tenant becomes part of a person's subject. Default: the issuer has one.
	Tenants []string `json:"tenants" max:"1000" check:"unique"`
	// Accept assertions from clients that prove nothing but their id, for kind "id-jag". Otherwise the client needs a secret or a key. Default false.
	PublicClients bool `json:"publicClients"`
	// Treat the claim email as a verified address, for kind "id-jag". Default false.
	Email bool `json:"email"`
	// Which assertions get which scopes. An assertion that no rule matches gets nothing. Required, unless the issuer is there for tokenExchange of an MCP server alone.
	Rules []Rule `json:"rules" max:"200"`
}

// Rule is one entry of `trustedIssuers[].rules`. All its conditions must hold; a list
// holds if it has the value.
type Rule struct {
	// Name of the rule for the audit log and check-config.
	Name string `json:"name" check:"text"`
	// The rule applies to every assertion of the issuer. It excludes conditions, and is required if there are none. Default false.
	Anyone bool `json:"anyone"`
	// Subjects, each exactly as in sub.
	Subjects []string `json:"subjects" max:"1000" check:"unique"`
	// Namespaces: of ServiceAccounts, or the claim namespace of a workload.
	Namespaces []string `json:"namespaces" max:"1000" check:"unique"`
	// ServiceAccounts by name, for kind "kubernetes", beside namespaces.
	ServiceAccounts []string `json:"serviceAccounts" max:"1000" check:"unique"`
	// Groups, by the claim groups.
	Groups []string `json:"groups" max:"1000" check:"unique"`
	// Roles, by the claim roles.
	Roles []string `json:"roles" max:"1000" check:"unique"`
	// Contexts, by the claim ctx, such as "channel:C0123".
	Contexts []string `json:"contexts" max:"1000" check:"unique"`
	// Clients of this service that present the assertion, by id; they must have authenticated. Default: every client, and none.
	Clients []string `json:"clients" max:"1000" check:"unique"`
	// Other claims, by name or JSON pointer, each with one value that it must have, such as {"/repository": "octo/notes"}. Name only claims that the issuer controls, not those that its tenants choose.
	Claims map[string]string `json:"claims"`
	// Scopes that the rule gives. Required.
	Scopes []string `json:"scopes" check:"scopes"`
	// MCP servers that they are for, by public URL. Required.
	Resources []string `json:"resources" max:"100" check:"unique"`
}

// Config is one entry when it is checked.
type Config struct {
	File
	Kind      Kind
	SingleUse bool
	// Algorithms replaces the names in File.
	Algorithms []jose.SignatureAlgorithm
	// At is where the entry stands, "trustedIssuers[0]".
	At string

	// Namespace is what the subjects of the issuer begin with: for an id-jag issuer
	// that is an identity provider here, as those who sign in there do.
	Namespace string
	// SameAs is the id of the configured identity provider with this issuer, "" for none.
	SameAs string
	// Reserved are namespaces of others that begin with Namespace and a colon.
	Reserved []string
}

// Checked is an entry while its kind checks it.
type Checked struct {
	conf.Section
	*File
}

// Element is the part of an entry at an element of one of its lists.
func (c Checked) Element(key string, i int) Checked {
	return Checked{conf.Section{Check: c.Check, At: conf.Element(c.Key(key), i)}, c.File}
}

// Only reports a key that means something to one kind alone.
func (c Checked) Only(kind, key string, set bool) {
	if set {
		c.Add(c.Key(key), "has a meaning for kind %q alone; remove it", kind)
	}
}

// ResolveAll checks the entries; resources are the public URLs of the MCP servers.
func ResolveAll(c *conf.Check, kinds []Kind, files []File, resources []string) []Config {
	var all []Config
	for i, f := range files {
		s := conf.Section{Check: c, At: conf.Element("trustedIssuers", i)}
		config := f.resolve(s, kinds, resources)
		if first := slices.IndexFunc(files, func(o File) bool { return o.Issuer == f.Issuer && overlap(kinds, o.Kind, f.Kind) }); first >= 0 && first < i && f.Issuer != "" {
			c.Add(s.Key("issuer"), "%s is the issuer of trustedIssuers[%d] too, whose assertions have the same types; write one entry for both", conf.ShowURL(f.Issuer), first)
		}
		all = append(all, config)
	}
	return all
}

// overlap reports whether assertions of two kinds have types in common.
func overlap(kinds []Kind, a, b string) bool {
	one, other := find(kinds, a), find(kinds, b)
	return one != nil && other != nil && slices.ContainsFunc(one.Types(), func(t string) bool { return slices.Contains(other.Types(), t) })
}

func find(kinds []Kind, name string) Kind {
	if i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name() == name }); i >= 0 {
		return kinds[i]
	}
	return nil
}

func (f File) resolve(c conf.Section, kinds []Kind, resources []string) Config {
	f.issuer(c)
	f.Keys = f.Keys.Resolve(c, "make assertions")
	config := Config{File: f, At: c.At, Namespace: namespace(f.Issuer), Algorithms: keysource.Algorithms(c, f.Algorithms)}
	config.Kind = find(kinds, f.Kind)
	if config.Kind == nil {
		var names []string
		for _, k := range kinds {
			names = append(names, k.Name())
		}
		c.Add(c.Key("kind"), "%s is not one of %s", conf.Show(f.Kind), conf.Quoted(names))
	} else {
		defaults := config.Kind.Defaults()
		if f.MaxLifetime == 0 {
			config.MaxLifetime = defaults.MaxLifetime
		}
		config.SingleUse = defaults.SingleUse && !f.Reusable
		config.Kind.Check(Checked{c, &f})
	}
	for i := range f.Rules {
		f.Rules[i].resolve(conf.Section{Check: c.Check, At: conf.Element(c.Key("rules"), i)}, resources)
	}
	return config
}

func (f File) issuer(c conf.Section) {
	at := c.Key("issuer")
	switch domain, spiffe := strings.CutPrefix(f.Issuer, "spiffe://"); {
	case f.Issuer == "":
		c.Add(at, "is required: what the assertions have in iss")
	case spiffe && (domain == "" || conf.HasOther(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_")):
		c.Add(at, `%s is not a trust domain such as "spiffe://example.org"`, conf.Show(f.Issuer))
	case spiffe && f.JWKSURL == "" && f.JWKSFile == "":
		c.Add(c.Key("jwksURL"), "is required with the issuer %s, which has no metadata: set it or jwksFile", conf.Show(f.Issuer))
	case spiffe:
	default:
		if u := c.SecureURL(at, f.Issuer); u != nil && strings.ContainsAny(f.Issuer, "{}*") {
			c.Add(at, "%s is a pattern; write one entry for each issuer, exactly as its assertions have it in iss", conf.ShowURL(f.Issuer))
		}
	}
}

// conditions are the lists of a rule, by key.
func (r *Rule) conditions() map[string][]string {
	return map[string][]string{
		"subjects": r.Subjects, "namespaces": r.Namespaces, "serviceAccounts": r.ServiceAccounts, "groups": r.Groups, "roles": r.Roles, "contexts": r.Contexts, "clients": r.Clients,
	}
}

func (r *Rule) resolve(c conf.Section, resources []string) {
	given := len(r.Claims)
	for key, list := range r.conditions() {
		at := c.Key(key)
		given += len(list)
		if list != nil && len(list) == 0 {
			c.Add(at, "is empty, which would be no condition at all; name what it is about, or remove the key")
		}
		for i, entry := range list {
			switch at := conf.Element(at, i); {
			case conf.TextProblem(entry) != "" || entry == "":
				c.Add(at, "is empty or has characters that cannot be in it")
			case strings.Contains(entry, "*"):
				c.Add(at, "%s has an asterisk; values are compared exactly", conf.Show(entry))
			}
		}
	}
	for name, value := range r.Claims {
		c.Claim("claims", name)
		if value == "" {
			c.Add(conf.Join(c.Key("claims"), conf.ShowKey(name)), "is empty; write the value that the claim must have")
		}
	}
	switch {
	case r.Anyone && given > 0:
		c.Add(c.Key("anyone"), "contradicts the conditions beside it; remove one or the other")
	case !r.Anyone && given == 0 && !c.Wrong(c.At):
		c.Add(c.At, "does not say whom it is about; add subjects, namespaces, serviceAccounts, groups, roles, contexts, clients or claims, or anyone: true for every assertion of the issuer")
	}
	if len(r.ServiceAccounts) > 0 && len(r.Namespaces) == 0 {
		c.Add(c.Key("namespaces"), "is required beside serviceAccounts: an account of the same name can be made in every namespace")
	}
	if len(r.Scopes) == 0 {
		c.Add(c.Key("scopes"), "is required: what the rule gives")
	}
	if len(r.Resources) == 0 {
		c.Add(c.Key("resources"), "is required: the MCP servers that the rule is for")
	}
	for i, uri := range r.Resources {
		if !slices.Contains(resources, uri) {
			c.Add(conf.Element(c.Key("resources"), i), "%s is not the public URL of an entry of proxy.hosts", conf.Show(uri))
		}
	}
}

// namespace is an issuer without its scheme.
func namespace(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	return rest
}

// Host is that of the issuer's URL.
func (c *Config) Host() string {
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}
