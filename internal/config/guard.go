package config

import (
	"cmp"
	"reflect"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

func (r *resolver) guard(f GuardFile) Guard {
	g := Guard{Backend: cmp.Or(f.Backend, "memory")}
	switch g.Backend {
	case "memory":
	case "redis":
		g.Redis = f.Redis.Resolve(conf.Section{Check: r.Check, At: "guard.redis"})
	case "postgres":
		g.Postgres = f.Postgres.Resolve(conf.Section{Check: r.Check, At: "guard.postgres"})
	default:
		r.Add("guard.backend", `%s is not one of "memory", "redis", "postgres"`, conf.Show(f.Backend))
		return g
	}
	// A section that is not used is a slip: the operator believes that replicas share.
	if g.Backend != "redis" && !reflect.ValueOf(f.Redis).IsZero() {
		r.Add("guard.redis", `is used only where guard.backend is "redis"`)
	}
	if g.Backend != "postgres" && !reflect.ValueOf(f.Postgres).IsZero() {
		r.Add("guard.postgres", `is used only where guard.backend is "postgres"`)
	}
	return g
}
