package personal

import (
	"time"
)

// Settings is the `personalKeys` section.
type Settings struct {
	// The longest lifetime of a key that a person makes, "24h" to "8760h".
	MaxLifetime time.Duration `json:"maxLifetime" default:"2160h" min:"24h" max:"8760h"`
	// How long a key works after the identity provider last confirmed the person, "24h" to "8760h": at a sign-in, at a check of a browser session, or when one of their apps renewed its access. After that the key is refused until the person signs in. So a person who is removed at the provider loses their keys too.
	SignInEvery time.Duration `json:"signInEvery" default:"720h" min:"24h" max:"8760h"`
}

// HostFile is the `proxy.hosts[].personalKeys` section.
type HostFile struct {
	// Whether the MCP server accepts keys that people make for themselves at /account, in the header Authorization as "Bearer KEY", or in the header of apiKeys.header. Needs account on this host. Default false.
	Enabled bool `json:"enabled"`
}
