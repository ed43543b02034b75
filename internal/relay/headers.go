package relay

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Headers of a client that no server gets, in canonical form. Beside those that
// identify a person to this service they are those by which servers and
// frameworks learn of a person or of where a request came from, which are
// believed because a gateway sets them. Origin was looked at here.
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
	// keptFromClient: a server speaks for itself, not for the host that clients see,
	// nor to a gateway before this service.
	keptFromClient = []string{
		"Www-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Dpop-Nonce", "Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security",
		"Clear-Site-Data", "Refresh", "Location", "Content-Location", "Service-Worker-Allowed", "Nel", "Report-To", "Reporting-Endpoints", "X-Sendfile", "Public-Key-Pins",
	}
	keptFromClientBelow = []string{"Access-Control-", "X-Accel-", "X-Envoy-", "X-Reproxy-", "X-Lighttpd-"}
)

// stripped are the names of headers that are not passed on.
type stripped struct {
	fromServer, fromClient map[string]bool
	passed                 map[string]bool // to the server all the same
	identity               []string        // canonical
	keyHeader              string          // canonical, "" for none
}

// stripping is what is not passed on by s. KeyHeader is the header that API keys
// come in, "" for none.
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

// ownCookies is how the cookies of this service begin.
var ownCookies = []string{"__Host-mcp-", "mcp-"}

// withoutOwnCookies takes the cookies of this service out of those that a server is
// configured to get.
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

// request takes from the headers of a request what no server gets.
func (s *stripped) request(h http.Header) {
	for name := range h {
		if !s.toServer(name) {
			delete(h, name)
		}
	}
}

// toServer reports whether the server gets a client's header. A name with more
// than letters, digits and hyphens is one that servers may read as another
// (CGI turns hyphens into underscores), so none is passed on, as in nginx.
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

// answer takes from the headers of an answer what no client gets.
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

// plainName reports whether name is in canonical form, and of letters, digits and hyphens.
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

// connection returns the names that lines of Connection list, in canonical form.
func (s *stripped) connection(lines []string) []string {
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
		}
	}
	return names
}

// relied reports whether Connection must not name a header: this service or the
// server relies on it, so that it is for the server and not for the next hop
// (RFC 9110, section 7.6.1).
func (s *stripped) relied(name string) bool {
	switch name {
	case "Authorization", "Content-Type", "Content-Length", "Content-Encoding", "Host", "Origin", "Accept", "Cookie", "Cache-Control", "Last-Event-Id",
		"Access-Control-Request-Method", "Dpop", "Traceparent", "Tracestate":
		return true
	}
	return name == s.keyHeader || strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "X-Forwarded-") || slices.Contains(s.identity, name)
}
