package registration

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings is the `registration` section.
type Settings struct {
	// Dynamic client registration (RFC 7591), which clients older than the 2026-07-28 revision of MCP need.
	Dynamic conf.Switch `json:"dynamic"`
	// Client ID Metadata Documents: clients whose id is the URL of a document about them, which this service fetches.
	MetadataDocuments DocumentSettings `json:"metadataDocuments"`
}

// DocumentSettings is the `registration.metadataDocuments` section.
type DocumentSettings struct {
	// Whether such clients are accepted. When off, this service fetches no URL that a client names.
	Enabled bool `json:"enabled" default:"true"`
	// Hosts that may publish clients: a name such as "claude.ai", or "*.example.com" for every name below example.com. The operator thereby vouches for the clients of these hosts. A host that is named without an asterisk may have a private name and private addresses, and, as in "apps.corp.example:8443", another port. Default: every public host.
	AllowedDomains []string `json:"allowedDomains" max:"1000" check:"unique"`
	// Hosts that may not publish clients, written like allowedDomains, which they override.
	DeniedDomains []string `json:"deniedDomains" max:"1000" check:"unique"`
	// Ports besides "443" that the URL of any document may have, as text.
	AllowedPorts []string `json:"allowedPorts" max:"20"`
	// Accept document URLs with a query, which the specification advises against. Default false.
	AllowQuery bool `json:"allowQuery"`
	// Accept document URLs with http on localhost, 127.0.0.1 and [::1], for development. Refused unless every entry of proxy.hosts has scheme "http", which is on loopback only. Default false.
	AllowLoopback bool `json:"allowLoopback"`

	Ports []uint16 // AllowedPorts, as numbers
}

// Resolve checks the section. public is whether an MCP server has an address that is not
// on loopback.
func (s *DocumentSettings) Resolve(c conf.Section, public bool) {
	checkDomains(c, "allowedDomains", s.AllowedDomains, true)
	checkDomains(c, "deniedDomains", s.DeniedDomains, false)
	for i, p := range s.AllowedPorts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || !conf.ValidPort(p) {
			c.Add(conf.Element(c.Key("allowedPorts"), i), "%s is not a port number between 1 and 65535", conf.Show(p))
			continue
		}
		s.Ports = append(s.Ports, uint16(n))
	}
	if s.AllowLoopback && public {
		c.Add(c.Key("allowLoopback"), `is for development: every entry of proxy.hosts must have scheme "http", which is on loopback only`)
	}
}

// checkDomains checks host names, which may be of the form "*.example.com". If ports is
// true, a name without an asterisk may have a port.
func checkDomains(c conf.Section, key string, domains []string, ports bool) {
	for i, d := range domains {
		name := strings.TrimPrefix(d, "*.")
		if host, port, err := net.SplitHostPort(d); err == nil && ports && conf.ValidPort(port) {
			name = host
		}
		if problem := conf.DNSNameProblem(name); problem != "" {
			c.Add(conf.Element(c.Key(key), i), `%s %s; write a name such as "claude.ai", or "*.example.com" for all names below it`, conf.Show(d), problem)
		}
	}
}

// NamedHosts returns the entries of AllowedDomains that name one host, as "host" or
// "host:port".
func (s *DocumentSettings) NamedHosts() []string {
	return slices.DeleteFunc(slices.Clone(s.AllowedDomains), func(d string) bool { return strings.HasPrefix(d, "*") })
}

// Summary says which documents are fetched, for the operator.
func (s *DocumentSettings) Summary() string {
	switch {
	case !s.Enabled:
		return "off"
	case len(s.AllowedDomains) > 0:
		return "of " + strings.Join(s.AllowedDomains, ", ")
	}
	return "of every public host"
}
