package redis

import (
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Config is the `guard.redis` section: how Redis is reached.
type Config struct {
	// Addresses as host:port: of the one server, of the sentinels, or of some nodes of the cluster. Required for backend "redis".
	Addresses []string `json:"addresses" max:"100" check:"addresses unique"`
	// Name of the master that sentinels watch; the addresses are theirs. Default: no sentinels.
	SentinelMaster string `json:"sentinelMaster" check:"text"`
	// File that holds the password of the sentinels; a trailing newline is dropped.
	SentinelPassword conf.Secret `json:"sentinelPasswordFile" file:"line"`
	// The addresses are those of a cluster. Default false.
	Cluster bool `json:"cluster"`
	// ACL user. Default: the default user.
	Username string `json:"username" check:"text"`
	// File that holds the password; a trailing newline is dropped.
	Password conf.Secret `json:"passwordFile" file:"line"`
	// Prefix of all keys. Installations that share a server need different ones.
	KeyPrefix string `json:"keyPrefix" default:"mcp-forward-auth:"`
	// TLS to the servers, sentinels included.
	TLS conf.TLS `json:"tls"`
}

// Resolve checks the section.
func (f *Config) Resolve(c conf.Section) {
	f.TLS.Resolve(c.Sub("tls"))
	addresses := c.Key("addresses")
	switch {
	case len(f.Addresses) == 0:
		c.Add(addresses, `is required where guard.backend is "redis"`)
	case len(f.Addresses) > 1 && !f.Cluster && f.SentinelMaster == "":
		c.Add(addresses, "names several servers; set cluster, or sentinelMaster if they are sentinels")
	}
	if f.Cluster && f.SentinelMaster != "" {
		c.Add(c.Key("cluster"), "excludes sentinelMaster; a cluster has no sentinels")
	}
	if f.SentinelMaster == "" && c.IsSet(c.Key("sentinelPasswordFile")) {
		c.Add(c.Key("sentinelPasswordFile"), "is used only with sentinelMaster")
	}
	if f.Username != "" && !c.IsSet(c.Key("passwordFile")) {
		c.Add(c.Key("passwordFile"), "is required with username")
	}
	// Braces choose the node of a cluster: all keys would be on one.
	if problem := conf.TextProblem(f.KeyPrefix); problem != "" || strings.ContainsAny(f.KeyPrefix, "{} ") {
		c.Add(c.Key("keyPrefix"), "%s is not a prefix of at most %d printable characters without spaces and braces", conf.Show(f.KeyPrefix), conf.MaxText)
	}
}
