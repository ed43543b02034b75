package tracing

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// Config says where traces go; without an Endpoint there are none.
type Config struct {
	Endpoint    string                 // with a path
	Headers     map[string]conf.Secret // canonical names
	Authorities []byte                 // PEM; empty for those of the system
	Ratio       float64                // of traces that begin here
}
