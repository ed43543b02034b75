package postgres

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Config is the `guard.postgres` section: how PostgreSQL is reached.
type Config struct {
	// File that holds a connection URL, "postgres://user:password@host/database?sslmode=verify-full". Excludes the keys address to tls. Required for backend "postgres" unless address is set.
	URLFile string `json:"urlFile"`
	// Address of the server as host:port. Required for backend "postgres" unless urlFile is set.
	Address string `json:"address" check:"address"`
	// Name of the database. Required with address.
	Database string `json:"database" check:"text"`
	// Name of the role. Required with address.
	Username string `json:"username" check:"text"`
	// File that holds the password; a trailing newline is dropped.
	Password conf.Secret `json:"passwordFile" file:"line"`
	// TLS to the server.
	TLS conf.TLS `json:"tls"`
	// Schema for the tables, of lower-case letters, digits and underscores; created if it does not exist. Installations that share a database need different ones.
	Schema string `json:"schema" default:"mcp_forward_auth"`

	URL conf.Secret // the content of URLFile
}

// Resolve checks the section.
func (f *Config) Resolve(c conf.Section) {
	// PostgreSQL cuts longer names, and keeps pg_ for itself.
	if conf.HasOther(f.Schema, "abcdefghijklmnopqrstuvwxyz0123456789_") || len(f.Schema) > 63 || strings.HasPrefix(f.Schema, "pg_") || f.Schema[0] <= '9' {
		c.Add(c.Key("schema"), "%s is not a name of at most 63 lower-case letters, digits and underscores that begins with a letter", conf.Show(f.Schema))
	}
	pieces := slices.ContainsFunc([]string{"address", "database", "username", "passwordFile", "tls"}, func(key string) bool { return c.IsSet(c.Key(key)) })
	switch {
	case f.URLFile != "" && pieces:
		c.Add(c.Key("urlFile"), "excludes address, database, username, passwordFile and tls; the URL says all of it")
	case f.URLFile != "":
		f.URL = connectionURL(c, c.Key("urlFile"), f.URLFile)
	case f.Address == "":
		if !c.IsMalformed(c.Key("urlFile")) {
			c.Add(c.Key("address"), `or urlFile is required where guard.backend is "postgres"`)
		}
	default:
		for _, required := range []struct{ key, value string }{{"database", f.Database}, {"username", f.Username}} {
			if required.value == "" {
				c.Add(c.Key(required.key), "is required with address")
			}
		}
		f.TLS.Resolve(c.Sub("tls"))
		if f.TLS.Enabled && f.TLS.ServerName == "" {
			f.TLS.ServerName, _, _ = net.SplitHostPort(f.Address)
		}
	}
}

// connectionURL reads a connection URL. Messages show nothing of it: it holds a password.
func connectionURL(c conf.Section, at, name string) conf.Secret {
	content, ok := c.SecretFile(at, name)
	if !ok {
		return conf.Secret{}
	}
	value := strings.TrimRight(content, "\r\n")
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && !u.Query().Has("host") {
		c.Add(at, `the file does not hold a URL such as "postgres://user:password@host/database"`)
	}
	return conf.NewSecret(value)
}
