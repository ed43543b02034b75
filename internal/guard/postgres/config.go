package postgres

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// Config is a PostgreSQL database: a URL, or else the pieces.
type Config struct {
	URL                         conf.Secret
	Address, Database, Username string
	Password                    conf.Secret
	TLS                         conf.TLS // goes with the pieces
	Schema                      string
}
