// Package postgres keeps the guard's memory in a PostgreSQL database. Its invariant: a
// step is one statement on one row, committed before it is answered, so a crash of the
// database changes no answer.
//
// The tables are in a schema of their own, which the first replica makes, and which
// replicas bring up to date one at a time.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// callTimeout bounds a whole call; the server ends the statement a little earlier.
	callTimeout      = 2500 * time.Millisecond
	connectTimeout   = 2 * time.Second
	statementTimeout = "2000" // milliseconds
	maxConnections   = 8
	// pageSize is how many revocations are read, and dead rows deleted, at a time.
	pageSize    = 1000
	cleanPeriod = time.Minute
)

// Store is a guard.Store and a revocation.Store. New makes one.
type Store struct {
	pool   *pgxpool.Pool
	schema string // quoted

	mu       sync.Mutex // held while the schema is looked at
	migrated bool
}

// New returns a store that connects when it is first asked.
func New(c Config) (*Store, error) {
	pc, err := poolConfig(c)
	if err != nil {
		return nil, err
	}
	pc.MaxConns, pc.MinConns = maxConnections, 0
	pc.MaxConnIdleTime, pc.HealthCheckPeriod = 5*time.Minute, time.Minute
	pc.ConnConfig.ConnectTimeout = connectTimeout
	pc.ConnConfig.RuntimeParams["statement_timeout"] = statementTimeout
	pc.ConnConfig.RuntimeParams["lock_timeout"] = statementTimeout
	pc.ConnConfig.RuntimeParams["application_name"] = "mcp-forward-auth"
	// No prepared statement outlives its use: a pooler may send every statement to another
	// session.
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		return nil, errors.New("guard.postgres: the connection settings are not accepted")
	}
	return &Store{pool: pool, schema: pgx.Identifier{c.Schema}.Sanitize()}, nil
}

// poolConfig never returns the library's error: it may quote the URL.
func poolConfig(c Config) (*pgxpool.Config, error) {
	if !c.URL.IsZero() {
		pc, err := pgxpool.ParseConfig(c.URL.Reveal())
		if err != nil {
			return nil, errors.New("guard.postgres.urlFile: the file does not hold a connection URL that can be used")
		}
		return pc, nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("guard.postgres.address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("guard.postgres.address: %w", err)
	}
	// Everything is set here, so PG… variables of the environment have no effect.
	pc, err := pgxpool.ParseConfig("host=localhost port=1 user=x password=x dbname=x sslmode=disable")
	if err != nil {
		return nil, errors.New("guard.postgres: the environment holds PG… variables that are not valid")
	}
	pc.ConnConfig.Host, pc.ConnConfig.Port, pc.ConnConfig.Fallbacks = host, uint16(number), nil
	pc.ConnConfig.Database, pc.ConnConfig.User, pc.ConnConfig.Password = c.Database, c.Username, c.Password.Reveal()
	pc.ConnConfig.TLSConfig = c.TLS.Client()
	return pc, nil
}

// Close ends all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Load implements guard.Store.
func (s *Store) Load(ctx context.Context, key string) (value string, now time.Time, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT coalesce((SELECT value FROM `+s.schema+`.entries WHERE key = $1 AND expires > clock_timestamp()), ''), clock_timestamp()`, key).Scan(&value, &now)
	})
	return value, now, err
}

// Swap implements guard.Store. Where two write the same row the second waits for
// the first and then looks at the row again, as READ COMMITTED has it.
func (s *Store) Swap(ctx context.Context, key, old, value string, ttl time.Duration) (swapped bool, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		var tag pgconn.CommandTag
		var err error
		if old == "" {
			tag, err = s.pool.Exec(ctx, `INSERT INTO `+s.schema+`.entries AS e (key, value, expires) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
				ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires
				WHERE e.expires <= clock_timestamp() OR e.value = excluded.value`, key, value, ttl.Milliseconds())
		} else {
			tag, err = s.pool.Exec(ctx, `UPDATE `+s.schema+`.entries SET value = $3, expires = clock_timestamp() + $4 * interval '1 millisecond'
				WHERE key = $1 AND expires > clock_timestamp() AND (value = $2 OR value = $3)`, key, old, value, ttl.Milliseconds())
		}
		swapped = err == nil && tag.RowsAffected() == 1
		return err
	})
	return swapped, err
}

// Revoke implements revocation.Store. The lock makes rows visible in the order
// of their numbers, so that a reader who has seen one has seen all before it.
func (s *Store) Revoke(ctx context.Context, key string, expires time.Time) error {
	return s.call(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext($1))`, "mcp-forward-auth revoked "+s.schema); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO `+s.schema+`.revoked (key, expires) VALUES ($1, $2)`, key, expires)
			return err
		})
	})
}

// Revoked implements revocation.Store. The position is the number of a row.
func (s *Store) Revoked(ctx context.Context, after string, each func(key string, expires time.Time) error) (string, error) {
	position, err := strconv.ParseInt("0"+after, 10, 64)
	if err != nil {
		return after, err
	}
	for {
		n := 0
		err := s.call(ctx, func(ctx context.Context) error {
			rows, err := s.pool.Query(ctx, `SELECT number, key, expires FROM `+s.schema+`.revoked WHERE number > $1 ORDER BY number LIMIT $2`, position, pageSize)
			if err != nil {
				return err
			}
			defer rows.Close()
			for n = 0; rows.Next(); n++ {
				var number int64
				var key string
				var expires time.Time
				if err := rows.Scan(&number, &key, &expires); err != nil {
					return err
				}
				if err := each(key, expires); err != nil {
					return err
				}
				position = number
			}
			if err := rows.Err(); err != nil || n > 0 {
				return err
			}
			return s.startAgain(ctx, &position)
		})
		if err != nil || n < pageSize {
			return strconv.FormatInt(position, 10), err
		}
	}
}

// startAgain sets position to the beginning if it is beyond what was ever
// numbered: then this is another table than the one it was read from.
func (s *Store) startAgain(ctx context.Context, position *int64) error {
	var last int64
	if err := s.pool.QueryRow(ctx, `SELECT last_value FROM `+s.schema+`.revoked_number_seq`).Scan(&last); err != nil {
		return err
	}
	if *position > last {
		*position = 0
	}
	return nil
}

// CleanPeriod is how often Clean is due.
func (s *Store) CleanPeriod() time.Duration { return cleanPeriod }

// Clean deletes what is dead, a bounded number of rows at a time. Replicas that
// do so at once skip each other's rows.
func (s *Store) Clean(ctx context.Context) error {
	for _, table := range []string{"entries", "revoked"} {
		for {
			var deleted int64
			err := s.call(ctx, func(ctx context.Context) error {
				tag, err := s.pool.Exec(ctx, `DELETE FROM `+s.schema+`.`+table+` WHERE ctid = ANY (ARRAY(
					SELECT ctid FROM `+s.schema+`.`+table+` WHERE expires < clock_timestamp() - interval '10 minutes' LIMIT $1 FOR UPDATE SKIP LOCKED))`, pageSize)
				deleted = tag.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
			if deleted < pageSize {
				break
			}
		}
	}
	return nil
}

// call bounds f, and first makes sure of the schema.
func (s *Store) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.migrate(ctx); err != nil {
		return err
	}
	err := f(ctx)
	pg, answered := errors.AsType[*pgconn.PgError](err)
	if err != nil && !answered && ctx.Err() == nil {
		err = f(ctx) // the connection was stale; every step may be repeated
		pg, answered = errors.AsType[*pgconn.PgError](err)
	}
	// 3F000, 42P01: the schema was dropped, or this is another database.
	if answered && (pg.Code == "42P01" || pg.Code == "3F000") {
		s.mu.Lock()
		s.migrated = false
		s.mu.Unlock()
	}
	return err
}
