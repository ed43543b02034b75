package config

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
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
	if f.AllowLoopback && public && !r.isMalformed("proxy.hosts") {
		r.add(at+".allowLoopback", `is for development: every entry of proxy.hosts must have scheme "http", which is on loopback only`)
	}
	return m
}

// domains checks names of hosts, or "*.example.com"; with ports, a name without
// an asterisk may end in one.
func (r *resolver) domains(at string, domains []string, ports bool) []string {
	if r.tooMany(at, len(domains), maxDomains) {
		return nil
	}
	for i, d := range domains {
		name := strings.TrimPrefix(d, "*.")
		if host, port, err := net.SplitHostPort(d); err == nil && ports && validPort(port) {
			name = host
		}
		if problem := dnsNameProblem(name); problem != "" {
			r.add(element(at, i), `%s %s; write a name such as "claude.ai", or "*.example.com" for all names below it`, show(d), problem)
		} else if slices.Index(domains, d) < i {
			r.add(element(at, i), "%s is listed twice", show(d))
		}
	}
	return domains
}

func (r *resolver) ports(at string, ports []string) []uint16 {
	if r.tooMany(at, len(ports), maxPorts) {
		return nil
	}
	var out []uint16
	for i, p := range ports {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || !validPort(p) {
			r.add(element(at, i), "%s is not a port number between 1 and 65535", show(p))
			continue
		}
		out = append(out, uint16(n))
	}
	return out
}

func (r *resolver) clients(files []ClientFile, hosts []resource.Entry, introspection bool) []registration.Known {
	const at = "clients"
	if r.tooMany(at, len(files), maxClients) {
		return nil
	}
	var resources []string
	for _, h := range hosts {
		resources = append(resources, h.Scheme+"://"+h.Host+h.Path)
	}
	var clients []registration.Known
	seen := make(map[string]int)
	for i, f := range files {
		at := element(at, i)
		first, taken := seen[f.ID]
		switch {
		case f.ID == "":
			r.add(at+".id", "is required")
		case !isScopeToken(f.ID):
			r.add(at+".id", "is not a client id: printable ASCII without spaces, '\"' and '\\', at most %d bytes", maxText)
		case strings.HasPrefix(f.ID, oauth.DynamicIDPrefix):
			r.add(at+".id", "begins with %q, as the ids of clients that register themselves do", oauth.DynamicIDPrefix)
		case taken:
			r.add(at+".id", "%s is the id of clients[%d] too", show(f.ID), first)
		default:
			seen[f.ID] = i
		}
		r.notReplaced(at+".id", f.ID)
		c := r.client(at, f, resources)
		c.GrantTypes = r.grantTypes(at, f, introspection)
		clients = append(clients, c)
	}
	return clients
}

func (r *resolver) client(at string, f ClientFile, resources []string) registration.Known {
	c := registration.Known{
		ID: f.ID, Name: orDefault(f.Name, f.ID), RedirectURIs: f.RedirectURIs, JWKSURI: f.JWKSURI, Scopes: f.Scopes, Resources: f.Resources,
		Secrets: r.clientSecrets(at, f),
	}
	r.text(at+".name", f.Name)
	r.scopes(at+".scopes", f.Scopes)
	r.clientKeys(at, f, &c)
	c.AuthMethod = r.authMethod(at+".authMethod", f)
	if !r.tooMany(at+".redirectURIs", len(f.RedirectURIs), maxRedirectURIs) {
		for i, u := range f.RedirectURIs {
			if strings.Contains(u, "*") {
				r.add(element(at+".redirectURIs", i), "%s holds an asterisk; patterns are not possible here, so write each URI", show(u))
			} else if _, err := oauth.ClassifyRedirectURI(u); err != nil {
				r.add(element(at+".redirectURIs", i), "%s %s", show(u), err)
			}
		}
	}
	for i, uri := range f.Resources {
		if !slices.Contains(resources, uri) {
			r.add(element(at+".resources", i), "%s is not the public URL of an entry of proxy.hosts", show(uri))
		}
	}
	return c
}

// grantTypes returns what the client may use at /token: nothing if it has
// credentials and no redirect URI, and can only ask at /introspect.
func (r *resolver) grantTypes(at string, f ClientFile, introspection bool) []string {
	known := []string{"authorization_code", "refresh_token"}
	if len(f.RedirectURIs) == 0 {
		hasCredentials := f.Secret != "" || len(f.SecretFiles) > 0 || f.JWKSFile != "" || f.JWKSURI != ""
		if introspection && hasCredentials && len(f.GrantTypes) == 0 {
			return nil
		}
		r.add(at+".redirectURIs", "is required: at least one redirect URI, except of a client with a secret or keys that has no grantTypes and asks at /introspect only")
	}
	if len(f.GrantTypes) == 0 {
		return known
	}
	at += ".grantTypes"
	for i, t := range f.GrantTypes {
		switch {
		case t == "client_credentials":
			r.add(element(at, i), `"client_credentials" is not served: /token would refuse it; leave it out`)
		case !slices.Contains(known, t):
			r.add(element(at, i), `%s is not one of "authorization_code", "refresh_token"`, show(t))
		case slices.Index(f.GrantTypes, t) < i:
			r.add(element(at, i), "%s is listed twice", show(t))
		}
	}
	if !slices.Contains(f.GrantTypes, "authorization_code") {
		r.add(at, `lacks "authorization_code", with which everything else begins`)
	}
	return f.GrantTypes
}

// clientSecrets reads all secrets of a client. Messages never show them.
func (r *resolver) clientSecrets(at string, f ClientFile) []conf.Secret {
	var secrets []conf.Secret
	add := func(at, value string) {
		r.notReplaced(at, value)
		switch {
		case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			r.add(at, "holds a space, a line break or a character that is not ASCII")
		case len(value) < minSecretBytes:
			r.add(at, "is shorter than %d characters; 128 random bits need as many (`openssl rand -base64 32` makes more)", minSecretBytes)
		default:
			secrets = append(secrets, conf.NewSecret(value))
		}
	}
	if f.Secret != "" {
		add(at+".secret", f.Secret)
	}
	files := at + ".secretFiles"
	if r.tooMany(files, len(f.SecretFiles), maxSecrets) {
		return nil
	}
	for i, name := range f.SecretFiles {
		if content, ok := r.secretFile(element(files, i), name); ok {
			add(element(files, i), strings.TrimRight(content, "\r\n"))
		}
	}
	return secrets
}

func (r *resolver) clientKeys(at string, f ClientFile, c *registration.Known) {
	if f.JWKSFile != "" {
		if f.JWKSURI != "" {
			r.add(at+".jwksURI", "excludes jwksFile; set one of the two")
		}
		if content, ok := r.file(at+".jwksFile", f.JWKSFile); ok {
			c.JWKS = []byte(content)
		}
	}
	if f.JWKSURI != "" {
		if u, problem := absoluteURL(f.JWKSURI); problem != "" {
			r.add(at+".jwksURI", "%s %s", showURL(f.JWKSURI), problem)
		} else if u.Scheme != "https" {
			r.add(at+".jwksURI", "%s must use https", showURL(f.JWKSURI))
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
		r.add(at, `%s is not one of "none", "client_secret_basic", "client_secret_post", "private_key_jwt"`, show(method))
		return method
	}
	switch {
	case needsSecret && !hasSecret:
		r.add(at, "%s needs secret or secretFiles", show(method))
	case needsKeys && !hasKeys:
		r.add(at, "%s needs jwksFile or jwksURI", show(method))
	case hasSecret && !needsSecret:
		r.add(at, "%s has no use for a secret; remove secret and secretFiles", show(method))
	case hasKeys && !needsKeys:
		r.add(at, "%s has no use for keys; remove jwksFile and jwksURI", show(method))
	}
	return method
}
