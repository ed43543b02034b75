package config

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
)

// maxAddresses bounds the nodes and sentinels that are named.
const maxAddresses = 100

func (r *resolver) guard(f GuardFile) Guard {
	g := Guard{Backend: cmp.Or(f.Backend, "memory")}
	switch g.Backend {
	case "memory":
	case "redis":
		g.Redis = r.redis("guard.redis", f.Redis)
	case "postgres":
		g.Postgres = r.postgres("guard.postgres", f.Postgres)
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

func (r *resolver) redis(at string, f RedisFile) redis.Config {
	c := redis.Config{
		Addresses: f.Addresses, SentinelMaster: f.SentinelMaster, Cluster: f.Cluster, Username: f.Username,
		SentinelPassword: r.PasswordFile(at+".sentinelPasswordFile", f.SentinelPasswordFile),
		Password:         r.PasswordFile(at+".passwordFile", f.PasswordFile),
		KeyPrefix:        cmp.Or(f.KeyPrefix, "mcp-forward-auth:"),
		TLS:              r.clientTLS(at+".tls", f.TLS),
	}
	addresses := at + ".addresses"
	switch {
	case len(f.Addresses) == 0:
		r.Add(addresses, `is required where guard.backend is "redis"`)
	case r.TooMany(addresses, len(f.Addresses), maxAddresses):
	case len(f.Addresses) > 1 && !f.Cluster && f.SentinelMaster == "":
		r.Add(addresses, "names several servers; set cluster, or sentinelMaster if they are sentinels")
	}
	for i, address := range f.Addresses {
		if r.serverAddress(conf.Element(addresses, i), address); slices.Index(f.Addresses, address) < i {
			r.Add(conf.Element(addresses, i), "%s is listed twice", conf.Show(address))
		}
	}
	if f.Cluster && f.SentinelMaster != "" {
		r.Add(at+".cluster", "excludes sentinelMaster; a cluster has no sentinels")
	}
	if f.SentinelMaster == "" && f.SentinelPasswordFile != "" {
		r.Add(at+".sentinelPasswordFile", "is used only with sentinelMaster")
	}
	if f.Username != "" && f.PasswordFile == "" {
		r.Add(at+".passwordFile", "is required with username")
	}
	r.Text(at+".sentinelMaster", f.SentinelMaster)
	r.Text(at+".username", f.Username)
	// Braces choose the node of a cluster: all keys would be on one.
	if problem := conf.TextProblem(c.KeyPrefix); problem != "" || strings.ContainsAny(c.KeyPrefix, "{} ") {
		r.Add(at+".keyPrefix", "%s is not a prefix of at most %d printable characters without spaces and braces", conf.Show(c.KeyPrefix), conf.MaxText)
	}
	return c
}

func (r *resolver) postgres(at string, f PostgresFile) postgres.Config {
	c := postgres.Config{Schema: cmp.Or(f.Schema, "mcp_forward_auth")}
	// PostgreSQL cuts longer names, and keeps pg_ for itself.
	if conf.HasOther(c.Schema, "abcdefghijklmnopqrstuvwxyz0123456789_") || len(c.Schema) > 63 || strings.HasPrefix(c.Schema, "pg_") || c.Schema[0] <= '9' {
		r.Add(at+".schema", "%s is not a name of at most 63 lower-case letters, digits and underscores that begins with a letter", conf.Show(c.Schema))
	}
	pieces := PostgresFile{Address: f.Address, Database: f.Database, Username: f.Username, PasswordFile: f.PasswordFile, TLS: f.TLS}
	switch {
	case f.URLFile != "" && !reflect.ValueOf(pieces).IsZero():
		r.Add(at+".urlFile", "excludes address, database, username, passwordFile and tls; the URL says all of it")
	case f.URLFile != "":
		c.URL = r.postgresURL(at+".urlFile", f.URLFile)
	case f.Address == "":
		if !r.IsMalformed(at + ".urlFile") {
			r.Add(at+".address", `or urlFile is required where guard.backend is "postgres"`)
		}
	default:
		r.serverAddress(at+".address", f.Address)
		for _, required := range []struct{ key, value string }{{"database", f.Database}, {"username", f.Username}} {
			if required.value == "" {
				r.Add(at+"."+required.key, "is required with address")
			}
			r.Text(at+"."+required.key, required.value)
		}
		c.Address, c.Database, c.Username = f.Address, f.Database, f.Username
		c.Password = r.PasswordFile(at+".passwordFile", f.PasswordFile)
		c.TLS = r.clientTLS(at+".tls", f.TLS)
		if c.TLS.Enabled && c.TLS.ServerName == "" {
			c.TLS.ServerName, _, _ = net.SplitHostPort(f.Address)
		}
	}
	return c
}

// postgresURL reads a connection URL. Messages show nothing of it: it holds a password.
func (r *resolver) postgresURL(at, name string) conf.Secret {
	content, ok := r.SecretFile(at, name)
	if !ok {
		return conf.Secret{}
	}
	value := strings.TrimRight(content, "\r\n")
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && !u.Query().Has("host") {
		r.Add(at, `the file does not hold a URL such as "postgres://user:password@host/database"`)
	}
	return conf.NewSecret(value)
}

// serverAddress checks where one connects to.
func (r *resolver) serverAddress(at, value string) {
	if host, port, err := net.SplitHostPort(value); err != nil || host == "" || !conf.ValidPort(port) || r.badHost(host) {
		r.Add(at, "%s is not an address such as \"redis.default.svc:6379\"", conf.Show(value))
	}
}

func (r *resolver) badHost(host string) bool {
	return net.ParseIP(host) == nil && conf.DNSNameProblem(host) != ""
}

// clientTLS checks that certificates and keys are what they should be.
func (r *resolver) clientTLS(at string, f TLSFile) conf.TLS {
	if !f.Enabled {
		if f != (TLSFile{}) {
			r.Add(at+".enabled", "is off, but other keys of this section are set")
		}
		return conf.TLS{}
	}
	c := conf.TLS{Enabled: true, ServerName: f.ServerName}
	r.Text(at+".serverName", f.ServerName)
	c.Authorities = r.Authorities(at+".caFile", f.CAFile)
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "" || f.KeyFile == "":
		r.Add(at+".certFile", "and keyFile go together")
	default:
		certificate, ok := r.File(at+".certFile", f.CertFile)
		key, okToo := r.SecretFile(at+".keyFile", f.KeyFile)
		if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); ok && okToo && err != nil {
			r.Add(at+".certFile", "and keyFile are not a certificate and its key in PEM")
		}
		c.Certificate, c.Key = []byte(certificate), conf.NewSecret(key)
	}
	return c
}
