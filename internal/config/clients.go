package config

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	maxClients      = 1000
	maxRedirectURIs = 20
	maxDomains      = 1000
	maxPorts        = 20
	maxSecrets      = 4
	// minSecretBytes: 22 characters of base64url hold 128 bits.
	minSecretBytes = 22
)

// NamedHosts are the entries of AllowedDomains that name one host: "host" or
// "host:port".
func (m MetadataDocuments) NamedHosts() []string {
	return slices.DeleteFunc(slices.Clone(m.AllowedDomains), func(d string) bool { return strings.HasPrefix(d, "*") })
}

// metadataDocuments holds what strangers can make this service fetch.
func (r *resolver) metadataDocuments(f MetadataDocumentsFile, hosts []HostFile) MetadataDocuments {
	const at = "registration.metadataDocuments"
	m := MetadataDocuments{
		Enabled:        f.Enabled == nil || *f.Enabled,
		AllowedDomains: r.domains(at+".allowedDomains", f.AllowedDomains, true),
		DeniedDomains:  r.domains(at+".deniedDomains", f.DeniedDomains, false),
		Ports:          r.ports(at+".allowedPorts", f.AllowedPorts),
		AllowQuery:     f.AllowQuery,
		AllowLoopback:  f.AllowLoopback,
	}
	public := slices.ContainsFunc(hosts, func(h HostFile) bool { return h.Scheme != "http" })
	if f.AllowLoopback && public && !r.IsMalformed("proxy.hosts") {
		r.Add(at+".allowLoopback", `is for development: every entry of proxy.hosts must have scheme "http", which is on loopback only`)
	}
	return m
}

// domains checks names of hosts, or "*.example.com"; with ports, a name without
// an asterisk may end in one.
func (r *resolver) domains(at string, domains []string, ports bool) []string {
	if r.TooMany(at, len(domains), maxDomains) {
		return nil
	}
	for i, d := range domains {
		name := strings.TrimPrefix(d, "*.")
		if host, port, err := net.SplitHostPort(d); err == nil && ports && conf.ValidPort(port) {
			name = host
		}
		if problem := conf.DNSNameProblem(name); problem != "" {
			r.Add(conf.Element(at, i), `%s %s; write a name such as "claude.ai", or "*.example.com" for all names below it`, conf.Show(d), problem)
		} else if slices.Index(domains, d) < i {
			r.Add(conf.Element(at, i), "%s is listed twice", conf.Show(d))
		}
	}
	return domains
}

func (r *resolver) ports(at string, ports []string) []uint16 {
	if r.TooMany(at, len(ports), maxPorts) {
		return nil
	}
	var out []uint16
	for i, p := range ports {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || !conf.ValidPort(p) {
			r.Add(conf.Element(at, i), "%s is not a port number between 1 and 65535", conf.Show(p))
			continue
		}
		out = append(out, uint16(n))
	}
	return out
}

func (r *resolver) clients(files []ClientFile, hosts []resource.Entry, introspection bool) []registration.Known {
	const at = "clients"
	if r.TooMany(at, len(files), maxClients) {
		return nil
	}
	var resources []string
	for _, h := range hosts {
		resources = append(resources, h.Scheme+"://"+h.Host+h.Path)
	}
	var clients []registration.Known
	seen := make(map[string]int)
	for i, f := range files {
		at := conf.Element(at, i)
		first, taken := seen[f.ID]
		switch {
		case f.ID == "":
			r.Add(at+".id", "is required")
		case !conf.IsScopeToken(f.ID):
			r.Add(at+".id", "is not a client id: printable ASCII without spaces, '\"' and '\\', at most %d bytes", conf.MaxText)
		case strings.HasPrefix(f.ID, oauth.DynamicIDPrefix):
			r.Add(at+".id", "begins with %q, as the ids of clients that register themselves do", oauth.DynamicIDPrefix)
		case taken:
			r.Add(at+".id", "%s is the id of clients[%d] too", conf.Show(f.ID), first)
		default:
			seen[f.ID] = i
		}
		r.NotReplaced(at+".id", f.ID)
		c := r.client(at, f, resources)
		c.GrantTypes = r.grantTypes(at, f, introspection)
		clients = append(clients, c)
	}
	return clients
}

func (r *resolver) client(at string, f ClientFile, resources []string) registration.Known {
	c := registration.Known{
		ID: f.ID, Name: cmp.Or(f.Name, f.ID), RedirectURIs: f.RedirectURIs, JWKSURI: f.JWKSURI, Scopes: f.Scopes, Resources: f.Resources,
		Secrets: r.clientSecrets(at, f),
	}
	r.Text(at+".name", f.Name)
	r.ScopeTokens(at+".scopes", f.Scopes)
	r.clientKeys(at, f, &c)
	c.AuthMethod = r.authMethod(at+".authMethod", f)
	if !r.TooMany(at+".redirectURIs", len(f.RedirectURIs), maxRedirectURIs) {
		for i, u := range f.RedirectURIs {
			if strings.Contains(u, "*") {
				r.Add(conf.Element(at+".redirectURIs", i), "%s holds an asterisk; patterns are not possible here, so write each URI", conf.Show(u))
			} else if _, err := oauth.ClassifyRedirectURI(u); err != nil {
				r.Add(conf.Element(at+".redirectURIs", i), "%s %s", conf.Show(u), err)
			}
		}
	}
	for i, uri := range f.Resources {
		if !slices.Contains(resources, uri) {
			r.Add(conf.Element(at+".resources", i), "%s is not the public URL of an entry of proxy.hosts", conf.Show(uri))
		}
	}
	return c
}

// grantTypes returns what the client may use at /token: nothing if it has
// credentials and no redirect URI, and can only ask at /introspect.
func (r *resolver) grantTypes(at string, f ClientFile, introspection bool) []string {
	known := grant.Types(grant.All(), nil)
	if len(f.RedirectURIs) == 0 {
		hasCredentials := f.Secret != "" || len(f.SecretFiles) > 0 || f.JWKSFile != "" || f.JWKSURI != ""
		if introspection && hasCredentials && len(f.GrantTypes) == 0 {
			return nil
		}
		r.Add(at+".redirectURIs", "is required: at least one redirect URI, except of a client with a secret or keys that has no grantTypes and asks at /introspect only")
	}
	if len(f.GrantTypes) == 0 {
		return grant.Types(grant.All(), grant.SignIn)
	}
	at += ".grantTypes"
	for i, t := range f.GrantTypes {
		switch {
		case t == "client_credentials":
			r.Add(conf.Element(at, i), `"client_credentials" is not served: /token would refuse it; leave it out`)
		case !slices.Contains(known, t):
			r.Add(conf.Element(at, i), `%s is not one of "%s"`, conf.Show(t), strings.Join(known, `", "`))
		case slices.Index(f.GrantTypes, t) < i:
			r.Add(conf.Element(at, i), "%s is listed twice", conf.Show(t))
		}
	}
	if !slices.Contains(f.GrantTypes, "authorization_code") {
		r.Add(at, `lacks "authorization_code", with which everything else begins`)
	}
	return f.GrantTypes
}

// clientSecrets reads all secrets of a client. Messages never show them.
func (r *resolver) clientSecrets(at string, f ClientFile) []conf.Secret {
	var secrets []conf.Secret
	add := func(at, value string) {
		r.NotReplaced(at, value)
		switch {
		case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			r.Add(at, "holds a space, a line break or a character that is not ASCII")
		case len(value) < minSecretBytes:
			r.Add(at, "is shorter than %d characters; 128 random bits need as many (`openssl rand -base64 32` makes more)", minSecretBytes)
		default:
			secrets = append(secrets, conf.NewSecret(value))
		}
	}
	if f.Secret != "" {
		add(at+".secret", f.Secret)
	}
	files := at + ".secretFiles"
	if r.TooMany(files, len(f.SecretFiles), maxSecrets) {
		return nil
	}
	for i, name := range f.SecretFiles {
		if content, ok := r.SecretFile(conf.Element(files, i), name); ok {
			add(conf.Element(files, i), strings.TrimRight(content, "\r\n"))
		}
	}
	return secrets
}

func (r *resolver) clientKeys(at string, f ClientFile, c *registration.Known) {
	if f.JWKSFile != "" {
		if f.JWKSURI != "" {
			r.Add(at+".jwksURI", "excludes jwksFile; set one of the two")
		}
		if content, ok := r.File(at+".jwksFile", f.JWKSFile); ok {
			c.JWKS = []byte(content)
		}
	}
	if f.JWKSURI != "" {
		if u, problem := conf.AbsoluteURL(f.JWKSURI); problem != "" {
			r.Add(at+".jwksURI", "%s %s", conf.ShowURL(f.JWKSURI), problem)
		} else if u.Scheme != "https" {
			r.Add(at+".jwksURI", "%s must use https", conf.ShowURL(f.JWKSURI))
		}
	}
}

// authMethod returns the method, which must fit the secrets and keys.
func (r *resolver) authMethod(at string, f ClientFile) string {
	hasSecret, hasKeys := f.Secret != "" || len(f.SecretFiles) > 0, f.JWKSFile != "" || f.JWKSURI != ""
	method := f.AuthMethod
	if method == "" {
		switch {
		case hasKeys:
			method = "private_key_jwt"
		case hasSecret:
			method = "client_secret_basic"
		default:
			method = "none"
		}
	}
	var needsSecret, needsKeys bool
	switch method {
	case "none":
	case "client_secret_basic", "client_secret_post":
		needsSecret = true
	case "private_key_jwt":
		needsKeys = true
	default:
		r.Add(at, `%s is not one of "none", "client_secret_basic", "client_secret_post", "private_key_jwt"`, conf.Show(method))
		return method
	}
	switch {
	case needsSecret && !hasSecret:
		r.Add(at, "%s needs secret or secretFiles", conf.Show(method))
	case needsKeys && !hasKeys:
		r.Add(at, "%s needs jwksFile or jwksURI", conf.Show(method))
	case hasSecret && !needsSecret:
		r.Add(at, "%s has no use for a secret; remove secret and secretFiles", conf.Show(method))
	case hasKeys && !needsKeys:
		r.Add(at, "%s has no use for keys; remove jwksFile and jwksURI", conf.Show(method))
	}
	return method
}
