package redis

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// Config is a Redis or Valkey server, cluster, or what sentinels watch.
type Config struct {
	Addresses        []string
	SentinelMaster   string // "" for none
	SentinelPassword conf.Secret
	Cluster          bool
	Username         string
	Password         conf.Secret
	KeyPrefix        string
	TLS              conf.TLS
}
