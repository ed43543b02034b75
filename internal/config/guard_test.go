package config

import (
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	t.Run("absent is memory", func(t *testing.T) {
		if g := mustParse(t, minimal).Guard; g.Backend != "memory" {
			t.Errorf("got %+v", g)
		}
	})
	t.Run("redis with everything", func(t *testing.T) {
		g := mustParse(t, minimal+"guard: {backend: redis, redis: {addresses: ['a.example:26379', '[::1]:26379'], sentinelMaster: main, "+
			"sentinelPasswordFile: secret, username: app, passwordFile: secret, tls: {enabled: true, serverName: redis.example}}}\n").Guard
		if len(g.Redis.Addresses) != 2 || g.Redis.Password.Reveal() != marker || g.Redis.SentinelPassword.Reveal() != marker ||
			g.Redis.KeyPrefix != "mcp-forward-auth:" || g.Redis.TLS.Client().ServerName != "redis.example" {
			t.Errorf("got %+v", g)
		}
		if s := g.summary(); s != `redis master "main" by sentinels at a.example:26379, [::1]:26379, with TLS` {
			t.Error(s)
		}
	})
	t.Run("postgres by pieces", func(t *testing.T) {
		g := mustParse(t, minimal+"guard: {backend: postgres, postgres: {address: 'db:5432', database: auth, username: app, passwordFile: secret, tls: {enabled: true}}}\n").Guard
		if g.Postgres.Password.Reveal() != marker || g.Postgres.Schema != "mcp_forward_auth" || g.Postgres.TLS.ServerName != "db" {
			t.Errorf("got %+v", g)
		}
	})
	t.Run("postgres by URL", func(t *testing.T) {
		const url = "postgres://app:" + marker + "@db/auth"
		c, err := Parse([]byte(minimal+"guard: {backend: postgres, postgres: {urlFile: url}}\n"), func(string) ([]byte, error) { return []byte(url + "\n"), nil })
		if err != nil || c.Guard.Postgres.URL.Reveal() != url {
			t.Fatal(err)
		}
		if strings.Contains(c.Summary(), marker) {
			t.Error(c.Summary())
		}
	})
}

func TestGuardMistakes(t *testing.T) {
	redis := func(s string) string { return "{backend: redis, redis: {" + s + "}}" }
	postgres := func(s string) string { return "{backend: postgres, postgres: {" + s + "}}" }
	for _, tt := range []struct{ guard, at string }{
		{"{backend: etcd}", "guard.backend: "},
		{"{redis: {addresses: ['a:1']}}", "guard.redis: is used only"},
		{"{backend: redis, postgres: {address: 'a:1'}}", "guard.postgres: is used only"},
		{redis(""), "guard.redis.addresses: is required"},
		{redis("addresses: ['a:1', 'b:1']"), "guard.redis.addresses: names several"},
		{redis("addresses: ['a:1', 'a:1'], cluster: true"), "guard.redis.addresses[1]: "},
		{redis("addresses: [a]"), "guard.redis.addresses[0]: "},
		{redis("addresses: ['redis://a:1']"), "guard.redis.addresses[0]: "},
		{redis("addresses: ['a:0']"), "guard.redis.addresses[0]: "},
		{redis("addresses: ['a:1'], cluster: true, sentinelMaster: m"), "guard.redis.cluster: "},
		{redis("addresses: ['a:1'], sentinelPasswordFile: secret"), "guard.redis.sentinelPasswordFile: "},
		{redis("addresses: ['a:1'], username: app"), "guard.redis.passwordFile: "},
		{redis("addresses: ['a:1'], passwordFile: missing"), "guard.redis.passwordFile: there is no such file"},
		{redis("addresses: ['a:1'], passwordFile: empty"), "guard.redis.passwordFile: the file is empty"},
		{redis("addresses: ['a:1'], passwordFile: lines"), "guard.redis.passwordFile: the file holds more"},
		{redis("addresses: ['a:1'], keyPrefix: '{x}'"), "guard.redis.keyPrefix: "},
		{redis("addresses: ['a:1'], tls: {caFile: secret}"), "guard.redis.tls.enabled: "},
		{redis("addresses: ['a:1'], tls: {enabled: true, caFile: secret}"), "guard.redis.tls.caFile: "},
		{redis("addresses: ['a:1'], tls: {enabled: true, certFile: secret}"), "guard.redis.tls.certFile: "},
		{redis("addresses: ['a:1'], tls: {enabled: true, certFile: secret, keyFile: secret}"), "guard.redis.tls.certFile: "},
		{postgres(""), "guard.postgres.address: "},
		{postgres("address: 'a:1', username: u"), "guard.postgres.database: "},
		{postgres("address: 'a:1', database: d"), "guard.postgres.username: "},
		{postgres("urlFile: secret"), "guard.postgres.urlFile: the file does not hold"},
		{postgres("urlFile: secret, database: d"), "guard.postgres.urlFile: excludes"},
		{postgres("address: 'a:1', database: d, username: u, schema: 'X\"; drop'"), "guard.postgres.schema: "},
		{postgres("address: 'a:1', database: d, username: u, schema: pg_x"), "guard.postgres.schema: "},
		{postgres("address: 'a:1', database: d, username: u, schema: 1x"), "guard.postgres.schema: "},
	} {
		t.Run(tt.guard, func(t *testing.T) {
			_, err := Parse([]byte(minimal+"guard: "+tt.guard+"\n"), testFiles)
			if err == nil || !strings.Contains(err.Error(), tt.at) || strings.Contains(err.Error(), marker) {
				t.Errorf("%v, want %s", err, tt.at)
			}
		})
	}
}
