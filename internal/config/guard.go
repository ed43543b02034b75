package config

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// resolve checks the section. A part of it that is not used is a mistake: the
// operator believes that replicas share.
func (f *GuardFile) resolve(c conf.Section) {
	switch f.Backend {
	case "redis":
		f.Redis.Resolve(c.Sub("redis"))
	case "postgres":
		f.Postgres.Resolve(c.Sub("postgres"))
	case "memory":
	default:
		return
	}
	for _, backend := range []string{"redis", "postgres"} {
		if at := c.Key(backend); f.Backend != backend && c.IsSet(at) {
			c.Add(at, "is used only where guard.backend is %q", backend)
		}
	}
}
