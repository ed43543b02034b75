package postgres

import (
	"cmp"
	"net"
	"net/url"
	"reflect"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// File is the `guard.postgres` section.
type File struct {
	// File that holds a connection URL, "postgres://user:password@host/database?sslmode=verify-full". Excludes the keys address to tls. Required for backend "postgres" unless address is set.
	URLFile string `json:"urlFile"`
	// Address of the server as host:port. Required for backend "postgres" unless urlFile is set.
	Address string `json:"address"`
	// Name of the database. Required with address.
	Database string `json:"database"`
	// Name of the role. Required with address.
	Username string `json:"username"`
	// File that holds the password; a trailing newline is dropped.
	PasswordFile string `json:"passwordFile"`
	// TLS to the server.
	TLS conf.TLSFile `json:"tls"`
	// Schema for the tables, of lower-case letters, digits and underscores; made if it is not there. Installations that share a database need different ones. Default "mcp_forward_auth".
	Schema string `json:"schema"`
}

// Resolve checks the section.
func (f File) Resolve(c conf.Section) Config {
	out := Config{Schema: cmp.Or(f.Schema, "mcp_forward_auth")}
	// PostgreSQL cuts longer names, and keeps pg_ for itself.
	if conf.HasOther(out.Schema, "abcdefghijklmnopqrstuvwxyz0123456789_") || len(out.Schema) > 63 || strings.HasPrefix(out.Schema, "pg_") || out.Schema[0] <= '9' {
		c.Add(c.Key("schema"), "%s is not a name of at most 63 lower-case letters, digits and underscores that begins with a letter", conf.Show(out.Schema))
	}
	pieces := File{Address: f.Address, Database: f.Database, Username: f.Username, PasswordFile: f.PasswordFile, TLS: f.TLS}
	switch {
	case f.URLFile != "" && !reflect.ValueOf(pieces).IsZero():
		c.Add(c.Key("urlFile"), "excludes address, database, username, passwordFile and tls; the URL says all of it")
	case f.URLFile != "":
		out.URL = connectionURL(c, c.Key("urlFile"), f.URLFile)
	case f.Address == "":
		if !c.IsMalformed(c.Key("urlFile")) {
			c.Add(c.Key("address"), `or urlFile is required where guard.backend is "postgres"`)
		}
	default:
		c.ServerAddress(c.Key("address"), f.Address)
		for _, required := range []struct{ key, value string }{{"database", f.Database}, {"username", f.Username}} {
			if required.value == "" {
				c.Add(c.Key(required.key), "is required with address")
			}
			c.Text(c.Key(required.key), required.value)
		}
		out.Address, out.Database, out.Username = f.Address, f.Database, f.Username
		out.Password = c.PasswordFile(c.Key("passwordFile"), f.PasswordFile)
		out.TLS = f.TLS.Resolve(c.Sub("tls"))
		if out.TLS.Enabled && out.TLS.ServerName == "" {
			out.TLS.ServerName, _, _ = net.SplitHostPort(f.Address)
		}
	}
	return out
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
