package config

import (
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
	g := Guard{Backend: orDefault(f.Backend, "memory")}
	switch g.Backend {
	case "memory":
	case "redis":
		g.Redis = r.redis("guard.redis", f.Redis)
	case "postgres":
		g.Postgres = r.postgres("guard.postgres", f.Postgres)
	default:
		r.add("guard.backend", `%s is not one of "memory", "redis", "postgres"`, show(f.Backend))
		return g
	}
	// A section that is not used is a slip: the operator believes that replicas share.
	if g.Backend != "redis" && !reflect.ValueOf(f.Redis).IsZero() {
		r.add("guard.redis", `is used only where guard.backend is "redis"`)
	}
	if g.Backend != "postgres" && !reflect.ValueOf(f.Postgres).IsZero() {
		r.add("guard.postgres", `is used only where guard.backend is "postgres"`)
	}
	return g
}

func (r *resolver) redis(at string, f RedisFile) redis.Config {
	c := redis.Config{
		Addresses: f.Addresses, SentinelMaster: f.SentinelMaster, Cluster: f.Cluster, Username: f.Username,
		SentinelPassword: r.password(at+".sentinelPasswordFile", f.SentinelPasswordFile),
		Password:         r.password(at+".passwordFile", f.PasswordFile),
		KeyPrefix:        orDefault(f.KeyPrefix, "mcp-forward-auth:"),
		TLS:              r.clientTLS(at+".tls", f.TLS),
	}
	addresses := at + ".addresses"
	switch {
	case len(f.Addresses) == 0:
		r.add(addresses, `is required where guard.backend is "redis"`)
	case r.tooMany(addresses, len(f.Addresses), maxAddresses):
	case len(f.Addresses) > 1 && !f.Cluster && f.SentinelMaster == "":
		r.add(addresses, "names several servers; set cluster, or sentinelMaster if they are sentinels")
	}
	for i, address := range f.Addresses {
		if r.serverAddress(element(addresses, i), address); slices.Index(f.Addresses, address) < i {
			r.add(element(addresses, i), "%s is listed twice", show(address))
		}
	}
	if f.Cluster && f.SentinelMaster != "" {
		r.add(at+".cluster", "excludes sentinelMaster; a cluster has no sentinels")
	}
	if f.SentinelMaster == "" && f.SentinelPasswordFile != "" {
		r.add(at+".sentinelPasswordFile", "is used only with sentinelMaster")
	}
	if f.Username != "" && f.PasswordFile == "" {
		r.add(at+".passwordFile", "is required with username")
	}
	r.text(at+".sentinelMaster", f.SentinelMaster)
	r.text(at+".username", f.Username)
	// Braces choose the node of a cluster: all keys would be on one.
	if problem := textProblem(c.KeyPrefix); problem != "" || strings.ContainsAny(c.KeyPrefix, "{} ") {
		r.add(at+".keyPrefix", "%s is not a prefix of at most %d printable characters without spaces and braces", show(c.KeyPrefix), maxText)
	}
	return c
}

func (r *resolver) postgres(at string, f PostgresFile) postgres.Config {
	c := postgres.Config{Schema: orDefault(f.Schema, "mcp_forward_auth")}
	// PostgreSQL cuts longer names, and keeps pg_ for itself.
	if hasOther(c.Schema, "abcdefghijklmnopqrstuvwxyz0123456789_") || len(c.Schema) > 63 || strings.HasPrefix(c.Schema, "pg_") || c.Schema[0] <= '9' {
		r.add(at+".schema", "%s is not a name of at most 63 lower-case letters, digits and underscores that begins with a letter", show(c.Schema))
	}
	pieces := PostgresFile{Address: f.Address, Database: f.Database, Username: f.Username, PasswordFile: f.PasswordFile, TLS: f.TLS}
	switch {
	case f.URLFile != "" && !reflect.ValueOf(pieces).IsZero():
		r.add(at+".urlFile", "excludes address, database, username, passwordFile and tls; the URL says all of it")
	case f.URLFile != "":
		c.URL = r.postgresURL(at+".urlFile", f.URLFile)
	case f.Address == "":
		if !r.isMalformed(at + ".urlFile") {
			r.add(at+".address", `or urlFile is required where guard.backend is "postgres"`)
		}
	default:
		r.serverAddress(at+".address", f.Address)
		for _, required := range []struct{ key, value string }{{"database", f.Database}, {"username", f.Username}} {
			if required.value == "" {
				r.add(at+"."+required.key, "is required with address")
			}
			r.text(at+"."+required.key, required.value)
		}
		c.Address, c.Database, c.Username = f.Address, f.Database, f.Username
		c.Password = r.password(at+".passwordFile", f.PasswordFile)
		c.TLS = r.clientTLS(at+".tls", f.TLS)
		if c.TLS.Enabled && c.TLS.ServerName == "" {
			c.TLS.ServerName, _, _ = net.SplitHostPort(f.Address)
		}
	}
	return c
}

// postgresURL reads a connection URL. Messages show nothing of it: it holds a password.
func (r *resolver) postgresURL(at, name string) conf.Secret {
	content, ok := r.secretFile(at, name)
	if !ok {
		return conf.Secret{}
	}
	value := strings.TrimRight(content, "\r\n")
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && !u.Query().Has("host") {
		r.add(at, `the file does not hold a URL such as "postgres://user:password@host/database"`)
	}
	return conf.NewSecret(value)
}

// password reads a file with one line.
func (r *resolver) password(at, name string) conf.Secret {
	if name == "" {
		return conf.Secret{}
	}
	content, ok := r.secretFile(at, name)
	value := strings.TrimRight(content, "\r\n")
	switch {
	case !ok:
	case value == "":
		r.add(at, "the file is empty")
	case strings.ContainsAny(value, "\r\n\x00"):
		r.add(at, "the file holds more than one line")
	}
	return conf.NewSecret(value)
}

// serverAddress checks where one connects to.
func (r *resolver) serverAddress(at, value string) {
	if host, port, err := net.SplitHostPort(value); err != nil || host == "" || !validPort(port) || r.badHost(host) {
		r.add(at, "%s is not an address such as \"redis.default.svc:6379\"", show(value))
	}
}

func (r *resolver) badHost(host string) bool {
	return net.ParseIP(host) == nil && dnsNameProblem(host) != ""
}

// clientTLS checks that certificates and keys are what they should be.
func (r *resolver) clientTLS(at string, f TLSFile) conf.TLS {
	if !f.Enabled {
		if f != (TLSFile{}) {
			r.add(at+".enabled", "is off, but other keys of this section are set")
		}
		return conf.TLS{}
	}
	c := conf.TLS{Enabled: true, ServerName: f.ServerName}
	r.text(at+".serverName", f.ServerName)
	c.Authorities = r.authorities(at+".caFile", f.CAFile)
	switch {
	case f.CertFile == "" && f.KeyFile == "":
	case f.CertFile == "" || f.KeyFile == "":
		r.add(at+".certFile", "and keyFile go together")
	default:
		certificate, ok := r.file(at+".certFile", f.CertFile)
		key, okToo := r.secretFile(at+".keyFile", f.KeyFile)
		if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); ok && okToo && err != nil {
			r.add(at+".certFile", "and keyFile are not a certificate and its key in PEM")
		}
		c.Certificate, c.Key = []byte(certificate), conf.NewSecret(key)
	}
	return c
}
