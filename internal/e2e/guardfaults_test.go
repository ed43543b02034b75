//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// check-config --online says what is wrong with the guard's back end, and what to do.
func TestGuardFaults(t *testing.T) {
	track(t)
	db := startPostgres(t)
	db.sql(t, "CREATE DATABASE app_ro")
	db.sql(t, "CREATE ROLE reader LOGIN PASSWORD 'secret-password'; ALTER ROLE reader SET default_transaction_read_only = on; GRANT CREATE ON DATABASE app_ro TO reader; CREATE ROLE bare LOGIN PASSWORD 'secret-password'")
	open, locked := startRedis(t), startRedis(t, "--requirepass", "secret-password")
	primary := startRedis(t)
	replica := startRedis(t, "--replicaof", "127.0.0.1 "+primary.port)
	full := startRedis(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
	acl := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\nuser app on >secret-password ~* -@all "+strings.ReplaceAll(redisCommands, " +set", "")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := startRedis(t, "--aclfile", acl)
	node := startRedis(t, "--cluster-enabled", "yes", "--cluster-port", "BUS")
	redis := func(s *redisServer, more string) string {
		return fmt.Sprintf("{backend: redis, redis: {addresses: ['%s']%s}}", s.address(), more)
	}
	postgres := func(user, database, password string) string {
		return fmt.Sprintf("{backend: postgres, postgres: {address: '127.0.0.1:%s', database: %s, username: %s, passwordFile: %s, tls: {enabled: false}}}", db.port, database, user, password)
	}
	const code = 4
	for name, tt := range map[string]struct {
		guard, want string
		code        int
	}{
		"Redis":                          {redis(open, ""), "takes writes", 0},
		"Redis wants a password":         {redis(locked, ""), "it wants a password: guard.redis.passwordFile", code},
		"a wrong password of Redis":      {redis(locked, ", passwordFile: wrong"), "it does not take the password", code},
		"an ACL without SET":             {redis(listed, ", username: app, passwordFile: right"), "the ACL of guard.redis.username forbids a command", code},
		"a replica of Redis":             {redis(replica, ""), "it is a replica", code},
		"Redis whose memory is full":     {redis(full, ""), "its memory is full: raise maxmemory", code},
		"Redis without TLS":              {redis(open, ", tls: {enabled: true}"), "TLS is asked of a port that has none", code},
		"a node of a cluster":            {redis(node, ""), "guard.redis.cluster", code},
		"no cluster":                     {redis(open, ", cluster: true"), "it is no cluster: take guard.redis.cluster out", code},
		"no name":                        {"{backend: redis, redis: {addresses: ['no-such-name.invalid:6379']}}", "its name does not exist in DNS", code},
		"PostgreSQL":                     {postgres("app", "postgres", "right"), "takes writes", 0},
		"a wrong password of PostgreSQL": {postgres("app", "postgres", "wrong"), "it does not take the password", code},
		"no such database":               {postgres("app", "nowhere", "right"), "the database does not exist", code},
		"a role that may not write":      {postgres("reader", "app_ro", "right"), "takes no writes", code},
		"a role without rights":          {postgres("bare", "app_ro", "right"), "the role lacks rights: GRANT CREATE ON DATABASE", code},
		"PostgreSQL without TLS":         {strings.Replace(postgres("app", "postgres", "right"), "enabled: false", "enabled: true", 1), "it does not speak TLS: turn it on", code},
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			dir := t.TempDir()
			for file, text := range map[string]string{"right": "secret-password", "wrong": "another-password", "config.yaml": `provider: {name: static, users: [{username: a, passwordHash: "$2a$10$zMhjRG5dUfn2fasBODR5i.xuXvHtpddYA8HLk2W8v7S3tSMP5KcCG"}]}
proxy: {hosts: [{host: "127.0.0.1:1", scheme: http, endpoint: "http://127.0.0.1:2/mcp"}]}
keys: {source: seed, seedFiles: [seed]}
guard: ` + tt.guard + "\n", "seed": strings.Repeat("0123456789abcdef", 4)} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, _ := exec.CommandContext(context.Background(), serviceBinary(t), "check-config", "--config", filepath.Join(dir, "config.yaml"), "--online").CombinedOutput()
			_, about, found := strings.Cut(string(out), "  guard.")
			about, _, _ = strings.Cut(about, "proxy.hosts")
			failed := strings.Contains(string(out), "FAILED  guard.")
			if !found || failed != (tt.code != 0) || !strings.Contains(about, tt.want) || strings.Contains(string(out), "secret-password") {
				t.Errorf("%q is not in\n%s", tt.want, out)
			}
		})
	}
	if n := db.count(t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'mcp_forward_auth'"); n != 0 {
		t.Error("check-config has left a schema in the database")
	}
}
