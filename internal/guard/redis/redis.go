// Package redis keeps the guard's memory in a Redis or Valkey server, a cluster,
// or the master that sentinels watch. Its invariant: every step touches one key
// and is one script, so it is atomic on every kind of installation and may be
// repeated by the client when a connection breaks.
//
// Redis answers before a write is on disk or on a replica. The guard loses whatever a
// server loses in a crash or failover.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// ioTimeout bounds each dial, read and write, and callTimeout a whole call
	// with its repetitions.
	ioTimeout   = time.Second
	callTimeout = 2500 * time.Millisecond
	poolSize    = 16
	// pageSize is how many revocations are read at a time.
	pageSize = 1000
	// cleanPeriod is how often dead revocations are removed; all else dies by itself.
	cleanPeriod = time.Hour
)

// Store is a guard.Store and a revocation.Store. New makes one.
type Store struct {
	// All that is needed of the three kinds of client.
	process func(context.Context, redis.Cmder) error
	close   func() error
	prefix  string
	revoked string // a stream: its ids are the order in which to read
	now     func() time.Time
}

// New returns a store that connects when it is first asked.
func New(c Config, now func() time.Time) *Store {
	logging.Disable() // errors are returned to us; the library would print them as well
	s := &Store{prefix: c.KeyPrefix, revoked: c.KeyPrefix + "revoked", now: now}
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: c.Addresses, MasterName: c.SentinelMaster, IsClusterMode: c.Cluster, SentinelPassword: c.SentinelPassword.Reveal(),
		Username: c.Username, Password: c.Password.Reveal(), TLSConfig: c.TLS.Client(),
		DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout, ContextTimeoutEnabled: true,
		PoolSize: poolSize, MaxRetries: 1, MaintNotificationsConfig: noNotifications(),
	})
	s.process, s.close = client.Process, client.Close
	return s
}

// noNotifications leaves out a handshake that only a hosted Redis answers.
func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// Close ends all connections.
func (s *Store) Close() error { return s.close() }

// do sends one command, whose key is at position key of its words. Cluster
// clients choose the node by it.
func (s *Store) do(ctx context.Context, key int8, words ...any) *redis.Cmd {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cmd := redis.NewCmd(ctx, words...)
	cmd.SetFirstKeyPos(key)
	_ = s.process(ctx, cmd) // the command holds the error
	return cmd
}

// script runs a script on one key. It is sent whole each time: scripts are short,
// and a hash of them would be SHA-1, which FIPS 140 does not have.
func (s *Store) script(ctx context.Context, source, key string, args ...any) *redis.Cmd {
	return s.do(ctx, 3, append([]any{"eval", source, 1, s.prefix + key}, args...)...)
}

const (
	load = `return {redis.call('GET', KEYS[1]), redis.call('TIME')}`
	swap = `
local now = redis.call('GET', KEYS[1]) or ''
if now == ARGV[2] then return 1 end
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`
)

// Load implements guard.Store.
func (s *Store) Load(ctx context.Context, key string) (string, time.Time, error) {
	answer, err := s.script(ctx, load, key).Slice()
	if err != nil {
		return "", time.Time{}, err
	}
	if len(answer) == 2 {
		value, _ := answer[0].(string) // nil if there is none
		if clock, ok := answer[1].([]any); ok && len(clock) == 2 {
			seconds, err := strconv.ParseInt(fmt.Sprint(clock[0]), 10, 64)
			micros, err2 := strconv.ParseInt(fmt.Sprint(clock[1]), 10, 64)
			return value, time.Unix(seconds, micros*1000), errors.Join(err, err2)
		}
	}
	return "", time.Time{}, errors.New("redis: an answer of another form than the script makes")
}

// Swap implements guard.Store.
func (s *Store) Swap(ctx context.Context, key, old, value string, ttl time.Duration) (bool, error) {
	return s.script(ctx, swap, key, old, value, ttl.Milliseconds()).Bool()
}

// Revoke implements revocation.Store.
func (s *Store) Revoke(ctx context.Context, key string, expires time.Time) error {
	return s.do(ctx, 1, "xadd", s.revoked, "*", "key", key, "expires", expires.UnixMilli()).Err()
}

// Revoked implements revocation.Store. The position is the id of an entry.
func (s *Store) Revoked(ctx context.Context, after string, each func(key string, expires time.Time) error) (string, error) {
	if after == "" {
		after = "0-0"
	}
	for {
		page, err := s.page(ctx, after)
		if err != nil {
			return after, err
		}
		for _, m := range page {
			key, expires, err := entry(m)
			if err == nil {
				err = each(key, expires)
			}
			if err != nil {
				return after, err
			}
			after = m.id
		}
		if len(page) < pageSize {
			return after, nil
		}
	}
}

// message is an entry of the stream: its id, and names and values in turn.
type message struct {
	id     string
	fields []any
}

func (s *Store) page(ctx context.Context, after string) ([]message, error) {
	entries, err := s.do(ctx, 1, "xrange", s.revoked, "("+after, "+", "count", pageSize).Slice()
	if err != nil {
		return nil, err
	}
	page := make([]message, 0, len(entries))
	for _, e := range entries {
		pair, ok := e.([]any)
		if !ok || len(pair) != 2 {
			return nil, errForeign
		}
		id, ok := pair[0].(string)
		fields, okToo := pair[1].([]any)
		if !ok || !okToo {
			return nil, errForeign
		}
		page = append(page, message{id, fields})
	}
	return page, nil
}

var errForeign = errors.New("redis: the list of revocations is not ours")

func entry(m message) (string, time.Time, error) {
	if len(m.fields) != 4 || m.fields[0] != "key" || m.fields[2] != "expires" {
		return "", time.Time{}, errForeign
	}
	key, _ := m.fields[1].(string)
	text, _ := m.fields[3].(string)
	millis, err := strconv.ParseInt(text, 10, 64)
	if key == "" || err != nil {
		return "", time.Time{}, errForeign
	}
	return key, time.UnixMilli(millis), nil
}

// CleanPeriod is how often Clean is due.
func (s *Store) CleanPeriod() time.Duration { return cleanPeriod }

// Clean removes the revocations of what is dead by itself. Any number of
// replicas may do so at once.
func (s *Store) Clean(ctx context.Context) error {
	for after := "0-0"; ; {
		page, err := s.page(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		dead := []any{"xdel", s.revoked}
		for _, m := range page {
			if _, expires, err := entry(m); err == nil && expires.Before(s.now().Add(-time.Hour)) {
				dead = append(dead, m.id)
			}
			after = m.id
		}
		if len(dead) > 2 {
			if err := s.do(ctx, 1, dead...).Err(); err != nil {
				return err
			}
		}
	}
}
