package egress

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings is the `egress` section.
type Settings struct {
	// Networks that are never connected to for a URL that a client names, such as "203.0.113.0/24", even where allowedDomains names the host. Link-local addresses and the metadata and wire servers of clouds are always among them. Default: none besides.
	Denied []netip.Prefix `json:"deniedPrefixes" max:"100" check:"unique"`
	// URL of a proxy for metadata documents and key sets, such as "http://proxy.example.com:3128". The proxy resolves the names, so the proxy must refuse private addresses, because this service cannot; see SECURITY.md. Default: none, and the environment's HTTPS_PROXY is not used for them.
	ProxyURL string `json:"proxy"`
	// File with "user:password" for the proxy.
	ProxyCredentialsFile string `json:"proxyCredentialsFile"`
	// Also list the tools of the MCP servers, and reach those of served hosts, through the proxy. Default false.
	ProxyMCPServers bool `json:"proxyMCPServers"`

	proxy *url.URL
	// credentials are "user:password", or empty.
	credentials conf.Secret
}

// Proxy returns the proxy with its credentials, nil if there is none. It must not
// be logged.
func (s *Settings) Proxy() *url.URL {
	if s.proxy == nil {
		return nil
	}
	u := *s.proxy
	if user, password, ok := strings.Cut(s.credentials.Reveal(), ":"); ok {
		u.User = url.UserPassword(user, password)
	}
	return &u
}

// Resolve checks the section.
func (s *Settings) Resolve(c conf.Section) {
	if s.ProxyURL != "" {
		s.proxy = proxyURL(c, c.Key("proxy"), s.ProxyURL)
	} else if s.ProxyCredentialsFile != "" || s.ProxyMCPServers {
		c.Add(c.Key("proxy"), "is required where proxyCredentialsFile or proxyMCPServers is set")
	}
	if s.ProxyCredentialsFile == "" {
		return
	}
	if content, ok := c.SecretFile(c.Key("proxyCredentialsFile"), s.ProxyCredentialsFile); ok {
		content = strings.TrimRight(content, "\r\n")
		user, password, found := strings.Cut(content, ":")
		if !found || user == "" || password == "" || strings.ContainsFunc(content, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			c.Add(c.Key("proxyCredentialsFile"), `the file does not hold "user:password" on one line`)
			return
		}
		s.credentials = conf.NewSecret(content)
	}
}

func proxyURL(c conf.Section, at, value string) *url.URL {
	u, problem := conf.AbsoluteURL(value)
	switch {
	case problem != "":
		c.Add(at, "%s %s; a user name and password belong in proxyCredentialsFile", conf.ShowURL(value), problem)
	case u.Path != "" && u.Path != "/", u.RawQuery != "":
		c.Add(at, "%s has a path or a query; a proxy has only scheme, host and port", conf.ShowURL(value))
	default:
		return u
	}
	return nil
}
