package config

import (
	"cmp"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tokenexchange"
)

// ownPaths are the first segments of what the service itself serves on every
// host. A public path that shared one would be unreachable, or worse, reachable.
var ownPaths = []string{
	"authenticate", "authorize", "consent", "login", "callback", "token", "register", "revoke", "introspect", "par", "openid", "account", "security-events", "device", "device_authorization", "dead-token", ".well-known",
}

func (r *resolver) hosts(files []HostFile, more bool) []resource.Entry {
	const at = "proxy.hosts"
	if len(files) == 0 && !more {
		r.Add(at, "is required: at least one MCP server")
		return nil
	}
	hosts := make([]resource.Entry, 0, len(files))
	type place struct{ host, path string }
	places := make(map[place]int)
	schemes := make(map[string]int)
	for i, f := range files {
		at := conf.Element(at, i)
		h, ok := r.host(at, f)
		hosts = append(hosts, h)
		if !ok {
			continue
		}
		if first, taken := places[place{h.Host, h.Path}]; taken {
			r.Add(at+".host", "%q with path %q is proxy.hosts[%d] already; give one of them another path", h.Host, h.Path, first)
			continue
		}
		places[place{h.Host, h.Path}] = i
		first, known := schemes[h.Host]
		if !known {
			schemes[h.Host] = i
		} else if hosts[first].Scheme != h.Scheme {
			r.Add(at+".scheme", "%q has scheme %q in proxy.hosts[%d]; one host has one scheme", h.Host, hosts[first].Scheme, first)
		}
	}
	r.pagePlaces(hosts, func(host, path string) (int, bool) {
		first, taken := places[place{host, path}]
		return first, taken
	})
	r.behind(hosts)
	return hosts
}

// behind refuses endpoints that are a public address: the gateway asks this
// service about requests there, so the tools of that server could never be listed.
func (r *resolver) behind(hosts []resource.Entry) {
	type address struct{ scheme, host string }
	public := map[address][]string{}
	for _, h := range hosts {
		at := address{h.Scheme, h.Host}
		public[at] = append(public[at], h.Path)
	}
	for i, h := range hosts {
		if h.Endpoint == nil {
			continue
		}
		port := map[string]string{"https": ":443", "http": ":80"}[h.Endpoint.Scheme]
		host := strings.TrimSuffix(strings.ToLower(h.Endpoint.Host), port)
		for _, path := range public[address{h.Endpoint.Scheme, host}] {
			if path == "" || h.Endpoint.Path == path || strings.HasPrefix(h.Endpoint.Path, path+"/") {
				r.Add(conf.Element("proxy.hosts", i)+".endpoint", "%s is a public address, where the gateway refuses requests without a token; write where the MCP server itself listens, such as \"http://mcp.default.svc:8080/mcp\"", conf.ShowURL(h.Endpoint.String()))
				break
			}
		}
	}
}

// host resolves one entry; ok means that its public address is valid.
func (r *resolver) host(at string, f HostFile) (h resource.Entry, ok bool) {
	h.Endpoint = r.endpoint(at+".endpoint", f.Endpoint)
	if h.Authorities = f.Authorities; r.IsSet(at+".caFile") && h.Endpoint != nil && h.Endpoint.Scheme != "https" {
		r.Add(at+".caFile", "has no meaning for an endpoint with http; remove it, or use https")
	}
	before := r.Len()
	h.Scheme = f.Scheme
	h.Host = r.publicHost(at+".host", f.Host, h.Scheme)
	h.Path = r.publicPath(at+".path", f.Path, h.Endpoint)
	if h.Serving = f.Serve.Resolve(conf.Section{Check: r.Check, At: at + ".serve"}); h.Serving == nil {
		r.warnSSE(at+".path", h)
	}
	ok = r.Len() == before && (f.Path != "" || h.Endpoint != nil) &&
		!r.IsMalformed(at+".host") && !r.IsMalformed(at+".path") && !r.IsMalformed(at+".scheme")
	h.DisplayName = cmp.Or(f.DisplayName, h.Host)
	h.DefaultScopes = f.DefaultScopes
	for i, scope := range f.DefaultScopes {
		if scope == "offline_access" {
			r.Add(conf.Element(at+".defaultScopes", i), "offline_access is a matter between client and authorization server; remove it")
		}
	}
	h.OwnTokensOff = !f.OwnTokens
	if f.DPoP != "off" {
		h.DPoP = resource.DPoP(f.DPoP)
	}
	h.DeviceGrant = f.DeviceGrant
	if f.DeviceGrant && !f.OwnTokens {
		r.Add(at+".deviceGrant", "has no meaning where ownTokens is false: what a device gets is a token of this service")
	}
	h.Rules = r.rules(at, f)
	if h.Serving != nil {
		h.Rules.Body = true // it is there, so it decides
	}
	h.PersonalKeys = f.PersonalKeys.Enabled
	h.Pages, h.Account = r.pages(at+".pages", f.Pages), f.Account
	h.APIKeys, h.KeyHeader = f.APIKeys.Enabled, r.keyHeader(at+".apiKeys.header", f.APIKeys, f.PersonalKeys.Enabled)
	h.ProviderToken = f.ProviderToken.Resolve(conf.Section{Check: r.Check, At: at + ".providerToken"})
	h.Exchange = f.TokenExchange.Resolve(conf.Section{Check: r.Check, At: at + ".tokenExchange"})
	return h, ok
}

// providerTokens checks those sections beside what they depend on.
func (r *resolver) providerTokens(c *Config) {
	around := providertoken.Surroundings{
		Shared: c.Guard.Backend != "memory", Refresh: c.Tokens.Refresh.Enabled, NoConsent: !c.ConsentScreen,
	}
	for _, p := range c.Providers {
		var tokens []string
		if p.Settings != nil { // nil: its name is a mistake
			tokens = p.Settings.Tokens()
		}
		around.Providers, around.Tokens = append(around.Providers, p.ID), append(around.Tokens, tokens)
	}
	for i, h := range c.Hosts {
		if h.ProviderToken == nil {
			continue
		}
		at := conf.Section{Check: r.Check, At: conf.Element("proxy.hosts", i) + ".providerToken"}
		if h.OwnTokensOff {
			r.Add(at.Key("token"), "needs ownTokens: whom another server signed in has no token of the provider here")
			continue
		}
		around.Taken = append(c.IdentityHeaders.Names(), h.KeyHeader)
		providertoken.Check(at, h.ProviderToken, around)
	}
}

// tokenExchanges checks those sections beside what they depend on.
func (r *resolver) tokenExchanges(c *Config) {
	around := tokenexchange.Surroundings{
		Resources: map[string]bool{}, Clients: map[string]tokenexchange.Client{}, Issuers: map[string]tokenexchange.Trusted{}, Signed: c.IdentityHeaders.JWT != "",
	}
	uris := c.resources()
	for i, h := range c.Hosts {
		around.Resources[uris[i]] = !h.OwnTokensOff
	}
	for _, k := range c.Clients {
		around.Clients[k.ID] = tokenexchange.Client{Proven: len(k.Secrets) > 0 || len(k.JWKS) > 0 || k.JWKSURI != "", Granted: slices.Contains(k.GrantTypes, tokenexchange.GrantType)}
	}
	for _, t := range c.TrustedIssuers {
		around.Issuers[t.Issuer] = tokenexchange.Trusted{Workloads: t.Kind != nil && !t.Kind.NeedsClient()}
	}
	for i, h := range c.Hosts {
		if h.Exchange == nil {
			continue
		}
		at := conf.Section{Check: r.Check, At: conf.Element("proxy.hosts", i) + ".tokenExchange"}
		if h.OwnTokensOff {
			r.Add(at.Key("clients"), "needs ownTokens: who signed in elsewhere has no sign-in here to go on with")
			continue
		}
		around.Own = uris[i]
		tokenexchange.Check(at, h.Exchange, around)
	}
}

// exchanges reports whether workloads of an issuer exchange tokens.
func (c *Config) exchanges(issuer string) bool {
	return slices.ContainsFunc(c.Hosts, func(h resource.Entry) bool {
		return h.Exchange != nil && slices.ContainsFunc(h.Exchange.Workloads, func(w resource.Workload) bool { return w.Issuer == issuer })
	})
}

// warnSSE is about an endpoint that looks like a server of HTTP+SSE, the
// transport before streamable HTTP, which takes messages at another path.
func (r *resolver) warnSSE(at string, h resource.Entry) {
	ends := func(p string) bool { return strings.HasSuffix(strings.TrimSuffix(p, "/"), "/sse") }
	if h.Endpoint == nil || !ends(h.Endpoint.Path) || !ends(h.Path) {
		return
	}
	r.Warn(at, "servers of HTTP+SSE take messages beside %q, mostly at /messages/, and this entry does not cover that; set %q, see docs/faq.md", h.Path, cmp.Or(path.Dir(h.Path), "/"))
}

// callbackHost resolves the one host of all callbacks. It has the scheme of the
// MCP hosts, which is http only on a loopback host.
func (r *resolver) callbackHost(value string, hosts []resource.Entry) resource.PublicHost {
	const at = "proxy.callbackHost"
	if value == "" {
		return resource.PublicHost{}
	}
	scheme := "http"
	for _, h := range hosts {
		if h.Scheme != "http" {
			scheme = "https"
		}
	}
	host, _, problem := splitHost(value)
	if problem != "" {
		r.Add(at, "%s", problem)
		return resource.PublicHost{}
	}
	if scheme == "http" && !conf.IsLoopback(host) {
		scheme = "https"
	}
	c := resource.PublicHost{Host: r.publicHost(at, value, scheme), Scheme: scheme}
	for i, h := range hosts {
		if h.Host == c.Host && h.Scheme != c.Scheme {
			r.Add(at, "is proxy.hosts[%d], whose scheme is %q; give all hosts one scheme, or the callback a host of its own", i, h.Scheme)
			break
		}
	}
	return c
}

// publicHost returns value without the scheme's default port.
func (r *resolver) publicHost(at, value, scheme string) string {
	host, port, problem := splitHost(value)
	if problem != "" {
		r.Add(at, "%s", problem)
		return value
	}
	if scheme == "http" && !conf.IsLoopback(host) {
		r.Add(strings.TrimSuffix(at, "host")+"scheme", "http is for localhost, 127.0.0.0/8 and [::1]; %s needs https", conf.Show(host))
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return host
	}
	return host + ":" + port
}

// splitHost takes a host with an optional port apart. The host comes without
// brackets. What it accepts has one spelling only, the one a browser sends.
func splitHost(value string) (host, port, problem string) {
	switch {
	case value == "":
		return "", "", "is required: the public host name of the MCP server"
	case strings.Contains(value, "@"):
		return "", "", `must not hold a user name or "@"` // nor be shown: a password may be part of it
	case strings.Contains(value, "://"):
		return "", "", conf.Show(value) + ` is a URL; write the host alone, such as "mcp.example.com"`
	case strings.ContainsAny(value, `/?#\`):
		return "", "", conf.Show(value) + " has more than a host; the path goes into the key path"
	case strings.Contains(value, "*"):
		return "", "", conf.Show(value) + " has a wildcard; list every host, because each is an issuer of its own"
	}
	host, port = value, ""
	bracketed := strings.HasPrefix(value, "[")
	hasPort := false
	if bracketed {
		var closed bool
		host, port, closed = strings.Cut(value[1:], "]")
		hasPort = port != ""
		port = strings.TrimPrefix(port, ":")
		if !closed || hasPort && value[len(host)+2] != ':' {
			return "", "", conf.Show(value) + ` is not an IPv6 address such as "[::1]" or "[::1]:8443"`
		}
	} else if strings.Count(value, ":") > 1 {
		return "", "", conf.Show(value) + ` needs brackets if it is an IPv6 address, such as "[::1]:8443"`
	} else {
		host, port, hasPort = strings.Cut(value, ":")
	}
	if hasPort && !conf.ValidPort(port) {
		return "", "", conf.Show(value) + " has no port number between 1 and 65535 after the colon"
	}
	if problem := hostProblem(host, bracketed); problem != "" {
		return "", "", conf.Show(value) + " " + problem
	}
	return host, port, ""
}

// hostProblem says what is wrong with a host without port, or "".
func hostProblem(host string, bracketed bool) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		switch {
		case addr.Zone() != "" || addr.Is4In6():
			return "must be an address without zone, and not IPv4 inside IPv6"
		case addr.Is6() != bracketed:
			return "has brackets, which are for IPv6 addresses"
		case addr.String() != host:
			return "must be written " + strconv.Quote(addr.String())
		}
		return ""
	}
	if bracketed {
		return "is not an IPv6 address"
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil && ascii != host && !conf.IsASCII(host) {
		return "must be written in punycode: " + strconv.Quote(ascii)
	}
	return conf.DNSNameProblem(host)
}

func (r *resolver) endpoint(at, value string) *url.URL {
	if value == "" {
		r.Add(at, "is required: the URL at which this service reaches the MCP server")
		return nil
	}
	u, problem := conf.AbsoluteURL(value)
	if problem != "" {
		r.Add(at, "%s %s", conf.ShowURL(value), problem)
		return nil
	}
	return u
}

// publicPath returns the public path without trailing slash. An absent one is
// that of the endpoint.
func (r *resolver) publicPath(at, value string, endpoint *url.URL) string {
	if value == "" {
		if endpoint == nil {
			return ""
		}
		value = strings.TrimSuffix(endpoint.EscapedPath(), "/")
		if problem := pathProblem(value); problem != "" {
			r.Add(at, "is required here, because the path of endpoint, %s, %s", conf.Show(value), problem)
		}
		return value
	}
	value, _ = strings.CutSuffix(value, "/")
	if problem := pathProblem(value); problem != "" {
		r.Add(at, "%s %s", conf.Show(value), problem)
	}
	return value
}

// pathProblem says why value cannot be a public path, or "". Gateways, clients and
// this service must all see the same path when they compare it, so there is
// nothing in it that one of them would decode or clean.
func pathProblem(value string) string {
	switch {
	case value == "":
		return ""
	case len(value) > conf.MaxURL:
		return "is too long"
	case value[0] != '/':
		return `does not begin with "/"`
	case conf.HasOther(value, conf.Letters+"0123456789-._~!$&'()*+,=:@/"):
		return `holds a character that is not plain in a path; '%', ';', '\', '?', '#' and spaces are refused`
	case value == "/", path.Clean(value) != value:
		return `has an empty, "." or ".." segment`
	}
	first, _, _ := strings.Cut(value[1:], "/")
	for _, own := range ownPaths {
		if first == own {
			return "collides with /" + own + ", which this service serves itself"
		}
	}
	if strings.Contains(value+"/", "/.well-known/") {
		return "collides with /.well-known, which this service serves itself"
	}
	return ""
}
