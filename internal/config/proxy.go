package config

import (
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"golang.org/x/net/idna"
)

// ownPaths are the first segments of what the service itself serves on every
// host. A public path that shared one would be unreachable, or worse, reachable.
var ownPaths = []string{
	"authenticate", "authorize", "consent", "login", "callback", "token", "register", "revoke", "introspect", "openid", ".well-known",
}

func (r *resolver) hosts(files []HostFile) []resource.Entry {
	const at = "proxy.hosts"
	if len(files) == 0 {
		r.add(at, "is required: at least one MCP server")
		return nil
	}
	if r.tooMany(at, len(files), maxHosts) {
		return nil
	}
	hosts := make([]resource.Entry, 0, len(files))
	type place struct{ host, path string }
	places := make(map[place]int)
	schemes := make(map[string]int)
	for i, f := range files {
		at := element(at, i)
		h, ok := r.host(at, f)
		hosts = append(hosts, h)
		if !ok {
			continue
		}
		if first, taken := places[place{h.Host, h.Path}]; taken {
			r.add(at+".host", "%q with path %q is proxy.hosts[%d] already; give one of them another path", h.Host, h.Path, first)
			continue
		}
		places[place{h.Host, h.Path}] = i
		first, known := schemes[h.Host]
		if !known {
			schemes[h.Host] = i
		} else if hosts[first].Scheme != h.Scheme {
			r.add(at+".scheme", "%q has scheme %q in proxy.hosts[%d]; one host has one scheme", h.Host, hosts[first].Scheme, first)
		}
	}
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
				r.add(element("proxy.hosts", i)+".endpoint", "%s is a public address, where the gateway lets nobody in without a token; write where the MCP server itself listens, such as \"http://mcp.default.svc:8080/mcp\"", showURL(h.Endpoint.String()))
				break
			}
		}
	}
}

// host resolves one entry; ok means that its public address is valid.
func (r *resolver) host(at string, f HostFile) (h resource.Entry, ok bool) {
	h.Endpoint = r.endpoint(at+".endpoint", f.Endpoint)
	if h.Authorities = r.authorities(at+".caFile", f.CAFile); f.CAFile != "" && h.Endpoint != nil && h.Endpoint.Scheme != "https" {
		r.add(at+".caFile", "has no meaning for an endpoint with http; remove it, or use https")
	}
	before := len(r.list)
	h.Scheme = r.scheme(at+".scheme", f.Scheme)
	h.Host = r.publicHost(at+".host", f.Host, h.Scheme)
	h.Path = r.publicPath(at+".path", f.Path, h.Endpoint)
	r.warnSSE(at+".path", h)
	ok = len(r.list) == before && (f.Path != "" || h.Endpoint != nil) &&
		!r.isMalformed(at+".host") && !r.isMalformed(at+".path") && !r.isMalformed(at+".scheme")
	h.DisplayName = orDefault(f.DisplayName, h.Host)
	r.text(at+".displayName", f.DisplayName)
	h.DefaultScopes = f.DefaultScopes
	r.scopes(at+".defaultScopes", f.DefaultScopes)
	for i, scope := range f.DefaultScopes {
		if scope == "offline_access" {
			r.add(element(at+".defaultScopes", i), "offline_access is a matter between client and authorization server; remove it")
		}
	}
	h.Rules = r.rules(at, f)
	return h, ok
}

// warnSSE is about an endpoint that looks like a server of HTTP+SSE, the
// transport before streamable HTTP, which takes messages at another path.
func (r *resolver) warnSSE(at string, h resource.Entry) {
	ends := func(p string) bool { return strings.HasSuffix(strings.TrimSuffix(p, "/"), "/sse") }
	if h.Endpoint == nil || !ends(h.Endpoint.Path) || !ends(h.Path) {
		return
	}
	r.warn(at, "servers of HTTP+SSE take messages beside %q, mostly at /messages/, and this entry does not cover that; set %q, see docs/faq.md", h.Path, orDefault(path.Dir(h.Path), "/"))
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
		r.add(at, "%s", problem)
		return resource.PublicHost{}
	}
	if scheme == "http" && !isLoopback(host) {
		scheme = "https"
	}
	c := resource.PublicHost{Host: r.publicHost(at, value, scheme), Scheme: scheme}
	for i, h := range hosts {
		if h.Host == c.Host && h.Scheme != c.Scheme {
			r.add(at, "is proxy.hosts[%d], whose scheme is %q; give all hosts one scheme, or the callback a host of its own", i, h.Scheme)
			break
		}
	}
	return c
}

func (r *resolver) scheme(at, scheme string) string {
	scheme = orDefault(scheme, "https")
	if scheme != "https" && scheme != "http" {
		r.add(at, `%s is not one of "https", "http"`, show(scheme))
	}
	return scheme
}

// publicHost returns value without the scheme's default port.
func (r *resolver) publicHost(at, value, scheme string) string {
	host, port, problem := splitHost(value)
	if problem != "" {
		r.add(at, "%s", problem)
		return value
	}
	if scheme == "http" && !isLoopback(host) {
		r.add(strings.TrimSuffix(at, "host")+"scheme", "http is for localhost, 127.0.0.0/8 and [::1]; %s needs https", show(host))
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
		return "", "", show(value) + ` is a URL; write the host alone, such as "mcp.example.com"`
	case strings.ContainsAny(value, `/?#\`):
		return "", "", show(value) + " has more than a host; the path goes into the key path"
	case strings.Contains(value, "*"):
		return "", "", show(value) + " has a wildcard; list every host, because each is an issuer of its own"
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
			return "", "", show(value) + ` is not an IPv6 address such as "[::1]" or "[::1]:8443"`
		}
	} else if strings.Count(value, ":") > 1 {
		return "", "", show(value) + ` needs brackets if it is an IPv6 address, such as "[::1]:8443"`
	} else {
		host, port, hasPort = strings.Cut(value, ":")
	}
	if hasPort && !validPort(port) {
		return "", "", show(value) + " has no port number between 1 and 65535 after the colon"
	}
	if problem := hostProblem(host, bracketed); problem != "" {
		return "", "", show(value) + " " + problem
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
	if ascii, err := idna.Lookup.ToASCII(host); err == nil && ascii != host && !isASCII(host) {
		return "must be written in punycode: " + strconv.Quote(ascii)
	}
	return dnsNameProblem(host)
}

// dnsNameProblem says why host is not a lower-case DNS name, or "".
func dnsNameProblem(host string) string {
	if lower := strings.ToLower(host); lower != host {
		return "must be in lower case: " + strconv.Quote(lower)
	}
	const invalid = "is not a DNS name or IP address"
	if host == "" || len(host) > 253 {
		return invalid
	}
	labels := strings.Split(host, ".")
	if labels[len(labels)-1] == "" {
		return "must not end with a dot"
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			hasOther(label, "abcdefghijklmnopqrstuvwxyz0123456789-") {
			return invalid
		}
		if strings.HasPrefix(label, "xn--") {
			if _, err := idna.Lookup.ToUnicode(label); err != nil {
				return "holds invalid punycode"
			}
		}
	}
	// Browsers take a name that ends in a number for an IPv4 address (WHATWG
	// URL, "ends in a number"), 0x included.
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return invalid
	}
	return ""
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7e })
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// isLoopback reports whether host, without brackets, is this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback() && addr.Zone() == ""
}

func (r *resolver) endpoint(at, value string) *url.URL {
	if value == "" {
		r.add(at, "is required: the URL at which this service reaches the MCP server")
		return nil
	}
	u, problem := absoluteURL(value)
	if problem != "" {
		r.add(at, "%s %s", showURL(value), problem)
		return nil
	}
	return u
}

// absoluteURL parses an http or https URL without user name and fragment.
func absoluteURL(value string) (u *url.URL, problem string) {
	const invalid = "is not an http or https URL"
	if len(value) > maxURL {
		return nil, "is too long"
	}
	u, err := url.Parse(value)
	if err != nil {
		return nil, invalid
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return nil, invalid
	case u.User != nil:
		return nil, "must not hold a user name or password"
	case strings.Contains(value, "#"):
		return nil, "must not have a fragment"
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port()):
		return nil, "has no port number between 1 and 65535 after the colon"
	}
	return u, ""
}

// showURL quotes a URL without the parts that may hold a password.
func showURL(value string) string {
	if strings.Contains(value, "@") {
		return "the URL"
	}
	if end := strings.IndexAny(value, "?#"); end >= 0 {
		return show(value[:end] + value[end:end+1] + "…")
	}
	return show(value)
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
			r.add(at, "is required here, because the path of endpoint, %s, %s", show(value), problem)
		}
		return value
	}
	value, _ = strings.CutSuffix(value, "/")
	if problem := pathProblem(value); problem != "" {
		r.add(at, "%s %s", show(value), problem)
	}
	return value
}

// pathProblem says why value cannot be a public path, or "". Whoever compares
// paths (gateways, clients, this service) must see the same one, so there is
// nothing in it that anybody would decode or clean.
func pathProblem(value string) string {
	switch {
	case value == "":
		return ""
	case len(value) > maxURL:
		return "is too long"
	case value[0] != '/':
		return `does not begin with "/"`
	case hasOther(value, letters+"0123456789-._~!$&'()*+,=:@/"):
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
