package config

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Egress bounds and directs what this service fetches of clients.
type Egress struct {
	// Denied are never connected to, besides what package egress denies.
	Denied []netip.Prefix
	Proxy  *url.URL // nil for none; without credentials
	// ProxyCredentials are "user:password", or empty.
	ProxyCredentials conf.Secret
	// ProxyMCPServers: the tools of MCP servers are listed through Proxy as well.
	ProxyMCPServers bool
}

// ProxyURL returns Proxy with its credentials, nil if there is none. It must not
// be logged.
func (e Egress) ProxyURL() *url.URL {
	if e.Proxy == nil {
		return nil
	}
	u := *e.Proxy
	if user, password, ok := strings.Cut(e.ProxyCredentials.Reveal(), ":"); ok {
		u.User = url.UserPassword(user, password)
	}
	return &u
}

func (r *resolver) egress(f EgressFile) Egress {
	const at = "egress"
	e := Egress{Denied: r.Networks(at+".deniedPrefixes", f.DeniedPrefixes), ProxyMCPServers: f.ProxyMCPServers}
	if f.Proxy != "" {
		e.Proxy = r.proxyURL(at+".proxy", f.Proxy)
	} else if f.ProxyCredentialsFile != "" || f.ProxyMCPServers {
		r.Add(at+".proxy", "is required where proxyCredentialsFile or proxyMCPServers is set")
	}
	if f.ProxyCredentialsFile == "" {
		return e
	}
	if content, ok := r.File(at+".proxyCredentialsFile", f.ProxyCredentialsFile); ok {
		content = strings.TrimRight(content, "\r\n")
		user, password, found := strings.Cut(content, ":")
		if !found || user == "" || password == "" || strings.ContainsFunc(content, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			r.Add(at+".proxyCredentialsFile", `the file does not hold "user:password" on one line`)
			return e
		}
		e.ProxyCredentials = conf.NewSecret(content)
	}
	return e
}

func (r *resolver) proxyURL(at, value string) *url.URL {
	u, problem := conf.AbsoluteURL(value)
	switch {
	case problem != "":
		r.Add(at, "%s %s; a user name and password belong in proxyCredentialsFile", conf.ShowURL(value), problem)
	case u.Path != "" && u.Path != "/", u.RawQuery != "":
		r.Add(at, "%s has a path or a query; a proxy has only scheme, host and port", conf.ShowURL(value))
	default:
		return u
	}
	return nil
}
