// Package redis keeps the guard's memory in a Redis or Valkey server, a cluster,
// or the master that sentinels watch. Its invariant: every step touches one key
// and is one script, so it is atomic on every kind of installation and may be
// repeated by the client when a connection breaks.
//
// Redis answers before a write is on disk or on a replica. Whatever a server
// forgets in a crash or failover, it forgets for the guard too.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
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
	client  redis.UniversalClient
	prefix  string
	revoked string // a stream: its ids are the order in which to read
	now     func() time.Time
}

// New returns a store that connects when it is first asked.
func New(c config.Redis, now func() time.Time) *Store {
	logging.Disable() // errors are returned to us; the library would print them as well
	s := &Store{prefix: c.KeyPrefix, revoked: c.KeyPrefix + "revoked", now: now}
	secure := c.TLS.Client()
	switch {
	case c.Cluster:
		s.client = redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addresses, Username: c.Username, Password: c.Password.Reveal(), TLSConfig: secure,
			DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout, ContextTimeoutEnabled: true,
			PoolSize: poolSize, MaxRetries: 1, MaintNotificationsConfig: noNotifications(),
		})
	case c.SentinelMaster != "":
		s.client = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.SentinelMaster, SentinelAddrs: c.Addresses, SentinelPassword: c.SentinelPassword.Reveal(),
			Username: c.Username, Password: c.Password.Reveal(), TLSConfig: secure,
			DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout, ContextTimeoutEnabled: true,
			PoolSize: poolSize, MaxRetries: 1,
		})
	default:
		s.client = single(c, secure)
	}
	return s
}

func single(c config.Redis, secure *tls.Config) redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr: c.Addresses[0], Username: c.Username, Password: c.Password.Reveal(), TLSConfig: secure,
		DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout, ContextTimeoutEnabled: true,
		PoolSize: poolSize, MaxRetries: 1, MaintNotificationsConfig: noNotifications(),
	})
}

// noNotifications leaves out a handshake that only a hosted Redis answers.
func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// Close ends all connections.
func (s *Store) Close() error { return s.client.Close() }

var (
	load = redis.NewScript(`return {redis.call('GET', KEYS[1]), redis.call('TIME')}`)
	swap = redis.NewScript(`
local now = redis.call('GET', KEYS[1]) or ''
if now == ARGV[2] then return 1 end
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)
)

// Load implements guard.Store.
func (s *Store) Load(ctx context.Context, key string) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := load.Run(ctx, s.client, []string{s.prefix + key}).Slice()
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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return swap.Run(ctx, s.client, []string{s.prefix + key}, old, value, ttl.Milliseconds()).Bool()
}

// Revoke implements revocation.Store.
func (s *Store) Revoke(ctx context.Context, key string, expires time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.client.XAdd(ctx, &redis.XAddArgs{Stream: s.revoked, Values: []any{"key", key, "expires", expires.UnixMilli()}}).Err()
}

// Revoked implements revocation.Store. The position is the id of an entry.
func (s *Store) Revoked(ctx context.Context, after string, each func(key string, expires time.Time) error) (string, error) {
	if after == "" {
		after = "0"
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
			after = m.ID
		}
		if len(page) < pageSize {
			return after, nil
		}
	}
}

func (s *Store) page(ctx context.Context, after string) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	streams, err := s.client.XRead(ctx, &redis.XReadArgs{Streams: []string{s.revoked, after}, Count: pageSize, Block: -1}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return streams[0].Messages, nil
}

func entry(m redis.XMessage) (string, time.Time, error) {
	key, ok := m.Values["key"].(string)
	text, okToo := m.Values["expires"].(string)
	millis, err := strconv.ParseInt(text, 10, 64)
	if !ok || !okToo || err != nil {
		return "", time.Time{}, fmt.Errorf("redis: entry %s of the revocations is not ours", m.ID)
	}
	return key, time.UnixMilli(millis), nil
}

// Run removes dead revocations until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(cleanPeriod)
	defer tick.Stop()
	for {
		_ = s.Clean(ctx) // the next time does what this one left
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Clean removes the revocations of what is dead by itself. Any number of
// replicas may do so at once.
func (s *Store) Clean(ctx context.Context) error {
	for after := "0"; ; {
		page, err := s.page(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		var dead []string
		for _, m := range page {
			if _, expires, err := entry(m); err == nil && expires.Before(s.now().Add(-time.Hour)) {
				dead = append(dead, m.ID)
			}
			after = m.ID
		}
		if len(dead) > 0 {
			bounded, cancel := context.WithTimeout(ctx, callTimeout)
			err := s.client.XDel(bounded, s.revoked, dead...).Err()
			cancel()
			if err != nil {
				return err
			}
		}
	}
}
