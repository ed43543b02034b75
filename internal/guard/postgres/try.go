package postgres

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Try writes an entry and rolls it back, and returns the store's own time. It fails if
// a sign-in would: a server can answer and accept no writes. If the schema does not
// exist yet, it creates that and rolls it back as well.
func (s *Store) Try(ctx context.Context) (now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return now, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := s.upgrade(ctx, tx); err != nil {
		return now, err
	}
	err = tx.QueryRow(ctx, `INSERT INTO `+s.schema+`.entries (key, value, expires) VALUES ($1, 'x', clock_timestamp()) RETURNING clock_timestamp()`, "try "+rand.Text()).Scan(&now)
	return now, err
}

// refusals are what a server says, by SQLSTATE (PostgreSQL, appendix A), and what to do
// about it.
var refusals = map[string]string{
	"28P01": "it does not take the password: guard.postgres.username and passwordFile, or the URL",
	"28000": "pg_hba.conf does not let this user in from here, or not without TLS: guard.postgres.username and tls",
	"3D000": "the database does not exist: create it, or see guard.postgres.database",
	"42501": "the role lacks rights: GRANT CREATE ON DATABASE, or make guard.postgres.schema for it and let the role own it",
	"25006": "it is a replica, which takes no writes: name the primary",
	"53100": "its disk is full: make room",
	"53200": "its memory is full: see its log",
	"53300": "it takes no more connections: raise max_connections; each pod holds at most 8",
	"57P03": "it starts or shuts down; wait",
	"57P01": "an administrator ended the connection; wait",
	"42601": "it does not know what the schema needs: PostgreSQL 10 or later",
	"55P03": "another replica holds the lock of the schema; wait",
}

// Advice says what to do about an error of a store, "" where nothing is known.
func Advice(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusals[pg.Code]
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	dns, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil:
		return ""
	case certificate || authority:
		return "its certificate does not verify: guard.postgres.tls.caFile and serverName, or sslrootcert in the URL"
	case strings.Contains(err.Error(), "server refused TLS"):
		return "it does not speak TLS: turn it on there, or take guard.postgres.tls.enabled out"
	case errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time: a firewall is between, or guard.postgres.address is that of something else"
	case unknown && dns.IsNotFound:
		return "its name does not exist in DNS: guard.postgres.address"
	}
	return ""
}
