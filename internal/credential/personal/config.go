package personal

import (
	"time"
)

// Settings is the `personalKeys` section.
type Settings struct {
	// The longest life of a key that a person makes, "24h" to "8760h".
	MaxLifetime time.Duration `json:"maxLifetime" default:"2160h" min:"24h" max:"8760h"`
}

// HostFile is the `proxy.hosts[].personalKeys` section.
type HostFile struct {
	// Whether the MCP server takes keys that people make for themselves at /account, in the header Authorization as "Bearer KEY", or in the header of apiKeys.header. Needs account on this host. Default false.
	Enabled bool `json:"enabled"`
}
