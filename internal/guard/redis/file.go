package redis

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// maxAddresses bounds the nodes and sentinels that are named.
const maxAddresses = 100

// File is the `guard.redis` section.
type File struct {
	// Addresses as host:port: of the one server, of the sentinels, or of some nodes of the cluster. Required for backend "redis".
	Addresses []string `json:"addresses"`
	// Name of the master that sentinels watch; the addresses are theirs. Default: no sentinels.
	SentinelMaster string `json:"sentinelMaster"`
	// File that holds the password of the sentinels; a trailing newline is dropped.
	SentinelPasswordFile string `json:"sentinelPasswordFile"`
	// The addresses are those of a cluster. Default false.
	Cluster bool `json:"cluster"`
	// ACL user. Default: the default user.
	Username string `json:"username"`
	// File that holds the password; a trailing newline is dropped.
	PasswordFile string `json:"passwordFile"`
	// What all keys begin with. Installations that share a server need different ones. Default "mcp-forward-auth:".
	KeyPrefix string `json:"keyPrefix"`
	// TLS to the servers, sentinels included.
	TLS conf.TLSFile `json:"tls"`
}

// Resolve checks the section.
func (f File) Resolve(c conf.Section) Config {
	out := Config{
		Addresses: f.Addresses, SentinelMaster: f.SentinelMaster, Cluster: f.Cluster, Username: f.Username,
		SentinelPassword: c.PasswordFile(c.Key("sentinelPasswordFile"), f.SentinelPasswordFile),
		Password:         c.PasswordFile(c.Key("passwordFile"), f.PasswordFile),
		KeyPrefix:        cmp.Or(f.KeyPrefix, "mcp-forward-auth:"),
		TLS:              f.TLS.Resolve(c.Sub("tls")),
	}
	addresses := c.Key("addresses")
	switch {
	case len(f.Addresses) == 0:
		c.Add(addresses, `is required where guard.backend is "redis"`)
	case c.TooMany(addresses, len(f.Addresses), maxAddresses):
	case len(f.Addresses) > 1 && !f.Cluster && f.SentinelMaster == "":
		c.Add(addresses, "names several servers; set cluster, or sentinelMaster if they are sentinels")
	}
	for i, address := range f.Addresses {
		if c.ServerAddress(conf.Element(addresses, i), address); slices.Index(f.Addresses, address) < i {
			c.Add(conf.Element(addresses, i), "%s is listed twice", conf.Show(address))
		}
	}
	if f.Cluster && f.SentinelMaster != "" {
		c.Add(c.Key("cluster"), "excludes sentinelMaster; a cluster has no sentinels")
	}
	if f.SentinelMaster == "" && f.SentinelPasswordFile != "" {
		c.Add(c.Key("sentinelPasswordFile"), "is used only with sentinelMaster")
	}
	if f.Username != "" && f.PasswordFile == "" {
		c.Add(c.Key("passwordFile"), "is required with username")
	}
	c.Text(c.Key("sentinelMaster"), f.SentinelMaster)
	c.Text(c.Key("username"), f.Username)
	// Braces choose the node of a cluster: all keys would be on one.
	if problem := conf.TextProblem(out.KeyPrefix); problem != "" || strings.ContainsAny(out.KeyPrefix, "{} ") {
		c.Add(c.Key("keyPrefix"), "%s is not a prefix of at most %d printable characters without spaces and braces", conf.Show(out.KeyPrefix), conf.MaxText)
	}
	return out
}
