package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

// migrations bring the schema from one version to the next; "SCHEMA" stands for its
// name. None is ever changed. Replicas of two versions of the program run side by side
// during an upgrade, so a migration keeps what the previous version needs.
var migrations = []string{
	`CREATE TABLE SCHEMA.entries (key text PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
	CREATE INDEX entries_expires ON SCHEMA.entries (expires);
	CREATE TABLE SCHEMA.revoked (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, expires timestamptz NOT NULL);
	CREATE INDEX revoked_expires ON SCHEMA.revoked (expires);`,
}

// migrate makes the schema and brings it up to date, once for each process. One
// replica does so at a time; a role that may not create schemas can use one that
// is there.
func (s *Store) migrate(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.upgrade(ctx, tx) })
	s.migrated = err == nil
	return err
}

// upgrade makes the schema and brings it up to date within tx.
func (s *Store) upgrade(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext($1))`, "mcp-forward-auth "+s.schema); err != nil {
		return err
	}
	version, err := s.version(ctx, tx)
	if err != nil {
		return err
	}
	if version >= len(migrations) { // or a later program was here
		return nil
	}
	for _, m := range migrations[version:] {
		for statement := range strings.SplitSeq(strings.ReplaceAll(m, "SCHEMA", s.schema), ";") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO `+s.schema+`.migrations (version) VALUES ($1)`, len(migrations))
	return err
}

// version returns how many migrations were done, and creates the table that records
// them.
func (s *Store) version(ctx context.Context, tx pgx.Tx) (int, error) {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, s.schema+".migrations").Scan(&there); err != nil {
		return 0, err
	}
	if !there {
		var schema bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE quote_ident(nspname) = $1 OR '"' || nspname || '"' = $1)`, s.schema).Scan(&schema); err != nil {
			return 0, err
		}
		if !schema {
			if _, err := tx.Exec(ctx, `CREATE SCHEMA `+s.schema); err != nil {
				return 0, err
			}
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE `+s.schema+`.migrations (version integer PRIMARY KEY, done timestamptz NOT NULL DEFAULT now())`); err != nil {
			return 0, err
		}
	}
	var version int
	err := tx.QueryRow(ctx, `SELECT version FROM `+s.schema+`.migrations ORDER BY version DESC LIMIT 1`).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return version, err
}
