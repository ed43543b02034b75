//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// sharedStore is what a back end is to the service.
type sharedStore interface {
	guard.Store
	revocation.Store
	Clean(context.Context) error
	Close() error
}

// runShared runs the guards' suite, and that of revocations, on a back end.
func runShared(t *testing.T, open func(t *testing.T) sharedStore, stop, start func(t *testing.T)) {
	t.Helper()
	opened := func(t *testing.T) sharedStore {
		s := open(t)
		t.Cleanup(func() { s.Close() })
		return s
	}
	guardtest.RunStore(t, opened(t), opened(t))
	guardtest.Run(t, guardtest.Backend{
		Open: func(t *testing.T) guard.Guard { return &guard.Shared{Store: opened(t), Now: time.Now} },
		Stop: stop, Start: start,
	})
	t.Run("what one replica revokes the other knows after a poll", func(t *testing.T) {
		one, other := revocation.NewShared(5000, time.Now, opened(t)), revocation.NewShared(5000, time.Now, opened(t))
		for i := range 1100 { // more than a page
			if err := one.RevokeToken(strconv.Itoa(i), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		_ = one.RevokeFamily("dead", time.Now().Add(-2*time.Hour))
		for range 2 {
			if err := other.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1100 {
			if other.Check(revocation.Facts{TokenID: strconv.Itoa(i)}) != reasons.TokenRevoked {
				t.Fatalf("token %d is not revoked at the other replica", i)
			}
		}
		store := opened(t)
		if err := store.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := 0
		if _, err := store.Revoked(t.Context(), "", func(key string, _ time.Time) error {
			left++
			if key == "family dead" {
				t.Error("a dead revocation was not removed")
			}
			return nil
		}); err != nil || left != 1100 {
			t.Errorf("%d revocations are left (%v)", left, err)
		}
	})
}

// redisServer is a redis-server that can be stopped and started again.
type redisServer struct {
	*process
	kind redisKind
	port string
	args []string
}

// startRedis starts a server with further arguments; PORT in them is its port,
// and BUS a second one: that of a cluster's bus would be PORT+10000, which may
// be in use.
func startRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	return redis7.start(t, args...)
}

// redisKind is one of the servers that speak the protocol.
type redisKind struct {
	name string
	path func(t *testing.T) string
}

var (
	redis7 = redisKind{"redis-server", installed("redis-server", "/usr/bin/redis-server")}
	valkey = redisKind{"valkey-server", installed("valkey-server", cached("valkey-"+valkeyVersion, "bin", "valkey"))}
)

// valkeyVersion is what hack/e2e/install.sh installs.
const valkeyVersion = "9.1.2.post2"

func (k redisKind) start(t *testing.T, args ...string) *redisServer {
	t.Helper()
	ports := freePorts(t, 2)
	s := &redisServer{kind: k, port: ports[0]}
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.NewReplacer("PORT", ports[0], "BUS", ports[1]).Replace(args[i])
	}
	s.args = append([]string{"--bind", "127.0.0.1", "--dir", t.TempDir(), "--appendonly", "yes", "--save", "", "--port", s.port}, args...)
	s.run(t)
	return s
}

func (s *redisServer) run(t *testing.T) {
	t.Helper()
	s.process = start(t, s.kind.name, nil, s.kind.path(t), s.args...)
	s.waitTCP(t, s.address())
}

func (s *redisServer) address() string { return "127.0.0.1:" + s.port }

func redisStore(c redis.Config) func(*testing.T) sharedStore {
	c.KeyPrefix = "test:"
	return func(*testing.T) sharedStore { return redis.New(c, time.Now) }
}

// redisCommands are all that a user needs; docs/replicas.md says the same.
const (
	redisCommands        = "+ping +hello +get +set +time +eval +xadd +xrange +xdel"
	redisClusterCommands = " +cluster|slots"
)

func TestGuardRedis(t *testing.T) {
	testGuardRedis(t, redis7)
	t.Run("TLS and an ACL user", testGuardRedisTLS)
}

// The package that brings Valkey has it without TLS.
func TestGuardValkey(t *testing.T) { testGuardRedis(t, valkey) }

func testGuardRedis(t *testing.T, kind redisKind) {
	t.Run("single", func(t *testing.T) {
		track(t)
		s := kind.start(t)
		whole := t // the server outlives the sub-test that restarts it
		runShared(t, redisStore(redis.Config{Addresses: []string{s.address()}}), s.stop, func(*testing.T) { s.run(whole) })
	})
	t.Run("cluster", func(t *testing.T) {
		track(t)
		cli := program(t, "redis-cli")
		var addresses []string
		acl := filepath.Join(t.TempDir(), "users.acl")
		users := "user default on nopass ~* &* +@all\nuser app on >secret-password ~test:* resetchannels -@all " + redisCommands + redisClusterCommands + "\n"
		if err := os.WriteFile(acl, []byte(users), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			addresses = append(addresses, kind.start(t, "--cluster-enabled", "yes", "--cluster-port", "BUS", "--cluster-node-timeout", "2000", "--aclfile", acl).address())
		}
		args := append([]string{"--cluster", "create"}, addresses...)
		if out, err := exec.Command(cli, append(args, "--cluster-yes")...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		waitFor(t, "the cluster", func() bool {
			for _, address := range addresses {
				_, port, _ := net.SplitHostPort(address)
				if out, _ := exec.Command(cli, "-p", port, "cluster", "info").Output(); !bytes.Contains(out, []byte("cluster_state:ok")) {
					return false
				}
			}
			return true
		})
		runShared(t, redisStore(redis.Config{Addresses: addresses[:2], Cluster: true, Username: "app", Password: conf.NewSecret("secret-password")}), nil, nil)
	})
	t.Run("sentinels, and a failover", func(t *testing.T) {
		track(t)
		cli := program(t, "redis-cli")
		master := kind.start(t)
		replica := kind.start(t, "--replicaof", "127.0.0.1 "+master.port)
		file := filepath.Join(t.TempDir(), "sentinel.conf")
		port := freePorts(t, 1)[0]
		text := "port " + port + "\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 " + master.port + " 1\n" +
			"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sentinel := start(t, "redis-sentinel", nil, kind.path(t), file, "--sentinel")
		sentinel.waitTCP(t, "127.0.0.1:"+port)
		waitFor(t, "the sentinel to know the replica", func() bool {
			out, _ := exec.Command(cli, "-p", port, "sentinel", "replicas", "main").Output()
			return bytes.Contains(out, []byte(replica.port))
		})
		open := redisStore(redis.Config{Addresses: []string{"127.0.0.1:" + port}, SentinelMaster: "main"})
		runShared(t, open, nil, nil)

		store := open(t)
		defer store.Close()
		g := &guard.Shared{Store: store, Now: time.Now}
		if first, err := g.Redeem(t.Context(), "before the failover", time.Now().Add(time.Hour)); !first || err != nil {
			t.Fatal(first, err)
		}
		waitFor(t, "the replica to have it", func() bool {
			out, _ := exec.Command(cli, "-p", master.port, "wait", "1", "1000").Output()
			return strings.TrimSpace(string(out)) != "0"
		})
		master.stop(t)
		waitFor(t, "the failover", func() bool {
			first, err := g.Redeem(t.Context(), "before the failover", time.Now().Add(time.Hour))
			if first {
				t.Fatal("the new master forgot")
			}
			return err == nil
		})
	})
}

func testGuardRedisTLS(t *testing.T) {
	track(t)
	ca, certificate, key := certificates(t)
	acl := filepath.Join(t.TempDir(), "users.acl")
	users := "user default off\nuser app on >secret-password ~test:* resetchannels -@all " + redisCommands + "\n"
	if err := os.WriteFile(acl, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startRedis(t, "--port", "0", "--tls-port", "PORT", "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--aclfile", acl)
	authority, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.Config{
		Addresses: []string{s.address()}, Username: "app", Password: conf.NewSecret("secret-password"),
		TLS: conf.TLS{Enabled: true, Authorities: authority},
	}
	runShared(t, redisStore(c), nil, nil)
	for name, change := range map[string]func(*redis.Config){
		"wrong password":    func(c *redis.Config) { c.Password = conf.NewSecret("wrong") },
		"unknown authority": func(c *redis.Config) { c.TLS.Authorities = nil },
		"other name":        func(c *redis.Config) { c.TLS.ServerName = "elsewhere.example" },
		"no TLS":            func(c *redis.Config) { c.TLS = conf.TLS{} },
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			change(&c)
			store := redisStore(c)(t)
			defer store.Close()
			guardtest.Silent(t, &guard.Shared{Store: store, Now: time.Now})
		})
	}
}

func TestGuardPostgres(t *testing.T) {
	track(t)
	s := startPostgres(t)
	c := postgres.Config{Address: "127.0.0.1:" + s.port, Database: "postgres", Username: "app", Password: conf.NewSecret("secret-password"), Schema: "mcp_forward_auth"}
	open := func(c postgres.Config) func(t *testing.T) sharedStore {
		return func(t *testing.T) sharedStore {
			store, err := postgres.New(c)
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
	}
	runShared(t, open(c), s.stop, func(*testing.T) { s.run(t) })

	t.Run("ten replicas start at once on an empty database", func(t *testing.T) {
		c := c
		c.Schema = "all_at_once"
		failed := make(chan error, 10)
		for range 10 {
			store := open(c)(t)
			defer store.Close()
			go func() {
				_, _, err := store.Load(t.Context(), "x")
				failed <- err
			}()
		}
		for range 10 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("a dropped schema is made again", func(t *testing.T) {
		store := open(c)(t)
		defer store.Close()
		if _, err := store.Swap(t.Context(), "x", "", "1", time.Hour); err != nil {
			t.Fatal(err)
		}
		other := revocation.NewShared(5000, time.Now, store)
		if err := errors.Join(store.Revoke(t.Context(), "token before", time.Now().Add(time.Hour)), other.Poll(t.Context())); err != nil {
			t.Fatal(err)
		}
		s.sql(t, "DROP SCHEMA mcp_forward_auth CASCADE")
		_, _, first := store.Load(t.Context(), "x")
		if _, _, err := store.Load(t.Context(), "x"); first == nil || err != nil {
			t.Errorf("%v, then %v", first, err)
		}
		// Numbers begin again, and yet nothing is missed.
		if err := errors.Join(store.Revoke(t.Context(), "token after", time.Now().Add(time.Hour)), other.Poll(t.Context()), other.Poll(t.Context())); err != nil {
			t.Fatal(err)
		}
		if other.Check(revocation.Facts{TokenID: "after"}) != reasons.TokenRevoked {
			t.Error("a revocation in the new table is missed")
		}
	})
	t.Run("a role that may not make a schema uses one that is there", func(t *testing.T) {
		s.sql(t, "CREATE SCHEMA made_before; CREATE ROLE modest LOGIN PASSWORD 'secret-password'; GRANT USAGE, CREATE ON SCHEMA made_before TO modest; REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
		c := c
		c.Username, c.Schema = "modest", "made_before"
		store := open(c)(t)
		defer store.Close()
		if _, err := store.Swap(t.Context(), "x", "", "1", time.Hour); err != nil {
			t.Error(err)
		}
	})
	t.Run("dead rows are deleted", func(t *testing.T) {
		store := open(c)(t)
		defer store.Close()
		for i := range 2500 {
			if _, err := store.Swap(t.Context(), "dead "+strconv.Itoa(i), "", "1", time.Hour); err != nil {
				t.Fatal(err)
			}
			if i == 9 {
				s.sql(t, "INSERT INTO mcp_forward_auth.entries SELECT 'many ' || n, '1', now() - interval '1 hour' FROM generate_series(1, 2490) n")
				break
			}
		}
		if err := store.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.count(t, "SELECT count(*) FROM mcp_forward_auth.entries"); n != 10 {
			t.Errorf("%d rows are left", n)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		c := c
		c.Password = conf.NewSecret("wrong-password")
		store := open(c)(t)
		defer store.Close()
		if _, _, err := store.Load(t.Context(), "x"); err == nil || strings.Contains(err.Error(), "wrong-password") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("URL", func(t *testing.T) {
		store := open(postgres.Config{URL: conf.NewSecret("postgres://app:secret-password@127.0.0.1:" + s.port + "/postgres?sslmode=disable"), Schema: c.Schema})(t)
		defer store.Close()
		if _, _, err := store.Load(t.Context(), "x"); err != nil {
			t.Error(err)
		}
	})
}

// postgresServer runs as an unprivileged user, as PostgreSQL demands.
type postgresServer struct {
	*process
	path, dir, port string
}

func startPostgres(t *testing.T) *postgresServer {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	s := &postgresServer{path: program(t, "postgres", found...), port: freePorts(t, 1)[0]}
	if resolved, err := filepath.EvalSymlinks(s.path); err == nil {
		s.path = resolved
	}
	dir, err := os.MkdirTemp("", "e2e-postgres-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.dir = filepath.Join(dir, "data")
	credential := unprivileged(t)
	if credential != nil {
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := exec.Command(filepath.Join(filepath.Dir(s.path), "initdb"), "-D", s.dir, "-U", "admin", "--auth", "trust", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: credential}, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	hba := "host all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.dir, "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run(t)
	s.sql(t, "CREATE ROLE app LOGIN PASSWORD 'secret-password'; GRANT CREATE ON DATABASE postgres TO app")
	return s
}

func (s *postgresServer) run(t *testing.T) {
	t.Helper()
	s.process = startAs(t, unprivileged(t), "postgres", nil, s.path, "-D", s.dir, "-p", s.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	t.Cleanup(func() { s.stop(t) })
	waitFor(t, "PostgreSQL", func() bool {
		conn, err := pgx.Connect(t.Context(), s.admin())
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
}

// stop is a fast shutdown: SIGTERM would wait for the pools' connections.
func (s *postgresServer) stop(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
		return
	default:
	}
	_ = syscall.Kill(s.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		t.Error("PostgreSQL did not stop")
	}
}

func (s *postgresServer) admin() string {
	return "postgres://admin@127.0.0.1:" + s.port + "/postgres?sslmode=disable"
}

func (s *postgresServer) sql(t *testing.T, statements string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.admin())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func (s *postgresServer) count(t *testing.T, query string) (n int) {
	t.Helper()
	return s.countIn(t, "postgres", query)
}

// countIn is count in another database than postgres.
func (s *postgresServer) countIn(t *testing.T, database, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), strings.Replace(s.admin(), "/postgres?", "/"+database+"?", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// unprivileged is another user to run as, nil where the tests are not root.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if errors.Join(err, err2) == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	notRun(t, "there is no unprivileged user to run PostgreSQL as")
	return nil
}

func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
		if there() {
			return
		}
	}
	t.Fatalf("%s: not within 30 s", what)
}

// certificates makes an authority and a server certificate for loopback.
func certificates(t *testing.T) (ca, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("ca.pem", "CERTIFICATE", der), write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}
