package relay

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Headers that are not passed on, in canonical form; those "below" are prefixes. A server
// does not get a client's credentials, nor headers by which servers and frameworks learn
// who a person is or where a request came from: they believe these headers, because a
// gateway sets them. Origin was checked here.
var (
	keptFromServer = []string{
		"Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Cookie", "Cookie2", "Dpop",
		"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "X-Cluster-Client-Ip", "Fastly-Client-Ip", "Client-Ip",
		"X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Access-Token", "X-Id-Token", "X-Identity",
		"X-User", "X-User-Id", "X-User-Name", "X-User-Email", "X-User-Groups", "X-User-Roles", "X-Username", "X-Userinfo",
		"X-Email", "X-Groups", "X-Roles", "X-Subject", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Rewrite-Url",
		"Proxy", "Proxy-Connection", "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Access-Control-Request-Private-Network",
		"Expect", "Upgrade", "Http2-Settings",
	}
	keptFromServerBelow = []string{
		"X-Forwarded-", "X-Auth-Request-", "X-Auth-User", "X-Remote-", "Remote-", "X-Authenticated-", "X-Authentik-", "X-Authelia-", "X-Webauth-", "X-Pomerium-",
		"X-Goog-Authenticated-", "X-Goog-Iap-", "X-Amzn-Oidc-", "X-Ms-Client-Principal", "X-Ms-Token-", "Cf-", "Tailscale-", "X-Vouch-",
		"X-Token-User-", "X-Envoy-", "X-Original-", "X-Ssl-", "Ssl-", "X-Client-Cert", "X-Arr-", "X-Appengine-", "X-Middleware-",
	}
	// A client does not get headers by which the server would speak for the host that
	// clients see, or to a gateway in front of this service.
	keptFromClient = []string{
		"Www-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Dpop-Nonce", "Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security",
		"Clear-Site-Data", "Refresh", "Location", "Content-Location", "Service-Worker-Allowed", "Nel", "Report-To", "Reporting-Endpoints", "X-Sendfile", "Public-Key-Pins",
	}
	keptFromClientBelow = []string{"Access-Control-", "X-Accel-", "X-Envoy-", "X-Reproxy-", "X-Lighttpd-"}
)

// stripped says which headers are not passed on. Names are canonical.
type stripped struct {
	fromServer, fromClient map[string]bool // what is kept from the server, and from the client
	passed                 map[string]bool // what the configuration passes to the server nevertheless
	identity               []string        // what this service sets itself
	keyHeader              string          // for API keys, "" for none
}

// stripping returns what is not passed on with the configuration s. identity are the
// headers that this service sets itself, and keyHeader is the header for API keys, "" for
// none.
func stripping(s *resource.Serving, identity []string, keyHeader string) stripped {
	t := stripped{set(keptFromServer), set(keptFromClient), set(s.RequestHeaders), nil, keyHeader}
	if keyHeader != "" {
		t.fromServer[keyHeader] = true
		delete(t.passed, keyHeader)
	}
	for _, name := range identity {
		name = http.CanonicalHeaderKey(name)
		t.identity = append(t.identity, name)
		t.fromServer[name], t.fromClient[name] = true, true
		delete(t.passed, name)
	}
	if s.Cookies {
		delete(t.fromClient, "Set-Cookie")
	}
	return t
}

// ownCookies are the beginnings of the names of this service's cookies.
var ownCookies = []string{"__Host-mcp-", "mcp-"}

// withoutOwnCookies removes this service's cookies from h, for servers that are
// configured to get cookies.
func withoutOwnCookies(h http.Header) {
	r := http.Request{Header: http.Header{"Cookie": h["Cookie"]}}
	delete(h, "Cookie")
	var others []string
	for _, c := range r.Cookies() {
		if !slices.ContainsFunc(ownCookies, func(own string) bool { return strings.HasPrefix(c.Name, own) }) {
			others = append(others, c.Name+"="+c.Value)
		}
	}
	if len(others) > 0 {
		h["Cookie"] = []string{strings.Join(others, "; ")}
	}
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// request removes from the headers of a request those that no server gets.
func (s *stripped) request(h http.Header) {
	for name := range h {
		if !s.toServer(name) {
			delete(h, name)
		}
	}
}

// toServer reports whether the server gets this header of the client. Names may have
// letters, digits and hyphens only: servers may read another name as one of these (CGI
// turns hyphens into underscores). nginx drops such headers too.
func (s *stripped) toServer(name string) bool {
	switch {
	case !plainName(name):
		return false
	case s.passed[name]:
		return true
	case s.fromServer[name]:
		return false
	}
	return !below(keptFromServerBelow, name)
}

// answer removes from the headers of an answer those that no client gets.
func (s *stripped) answer(h http.Header) {
	for name := range h {
		if s.fromClient[name] || below(keptFromClientBelow, name) {
			delete(h, name)
		}
	}
}

func below(prefixes []string, name string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// plainName reports whether name has letters, digits and hyphens only.
func plainName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// connectionNames returns the names that lines of Connection list, in canonical form.
func connectionNames(lines []string) []string {
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
		}
	}
	return names
}

// relied reports whether Connection must not name this header, because this service or
// the server relies on it. A header that Connection names is for the next hop and would
// be dropped (RFC 9110, section 7.6.1).
func (s *stripped) relied(name string) bool {
	switch name {
	case "Authorization", "Content-Type", "Content-Length", "Content-Encoding", "Host", "Origin", "Accept", "Cookie", "Cache-Control", "Last-Event-Id",
		"Access-Control-Request-Method", "Dpop", "Traceparent", "Tracestate":
		return true
	}
	return name == s.keyHeader || strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "X-Forwarded-") || slices.Contains(s.identity, name)
}
