package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// tryTTL is how long the entry that Try writes lives.
const tryTTL = time.Second

// Try writes an entry that expires within a second, and returns the store's own time.
// It fails if a sign-in would: a server can answer and accept no writes.
func (s *Store) Try(ctx context.Context) (time.Time, error) {
	key := "try " + rand.Text()
	if _, err := s.Swap(ctx, key, "", "x", tryTTL); err != nil {
		return time.Time{}, err
	}
	_, now, err := s.Load(ctx, key)
	return now, err
}

// refusals are what a server says and what to do about it. The words are those that
// errors of Redis and Valkey begin with, also within a script's error.
var refusals = []struct{ word, advice string }{
	{"WRONGPASS", "it does not take the password: guard.redis.username and passwordFile"},
	{"NOAUTH", "it wants a password: guard.redis.passwordFile"},
	{"NOPERM", "the ACL of guard.redis.username forbids it: +ping +hello +get +set +time +eval +xadd +xrange +xdel, on the keys of guard.redis.keyPrefix"},
	{"can't run this command", "the ACL of guard.redis.username forbids a command within a script: +get +set +time"},
	{"READONLY", "it is a replica, which takes no writes: name the primary in guard.redis.addresses, or use sentinelMaster"},
	{"OOM", "its memory is full: raise maxmemory. An eviction policy is no way out: what is evicted could be used twice"},
	{"MISCONF", "it cannot write its snapshots, so it takes no writes: make room on its disk, and see its log"},
	{"NOREPLICAS", "it has fewer replicas than min-replicas-to-write wants"},
	{"MASTERDOWN", "it is a replica without its primary: name the primary"},
	{"LOADING", "it reads its data at start; wait"},
	{"CLUSTERDOWN", "the cluster lacks nodes: see CLUSTER INFO, and set guard.redis.cluster"},
	{"MOVED", "it is a node of a cluster: set guard.redis.cluster"},
	{"CROSSSLOT", "it is a node of a cluster: set guard.redis.cluster"},
	{"cluster support disabled", "it is no cluster: take guard.redis.cluster out"},
	{"unknown command", "it is no Redis or Valkey that knows this command, which some hosted ones leave out"},
	{"all sentinels specified in configuration are unreachable", "no sentinel answers: guard.redis.addresses are those of the sentinels"},
}

// Advice says what to do about an error of a store, "" where nothing is known.
func Advice(err error) string {
	if err == nil {
		return ""
	}
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.word) {
			return r.advice
		}
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	dns, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case certificate || authority:
		return "its certificate does not verify: guard.redis.tls.caFile and serverName"
	case record:
		return "it does not speak TLS at this port: take guard.redis.tls.enabled out, or name its TLS port"
	case unknown && dns.IsNotFound:
		return "its name does not exist in DNS: guard.redis.addresses"
	case errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time: a firewall is between, or TLS is asked of a port that has none (guard.redis.tls)"
	case errors.Is(err, io.EOF):
		return "it hangs up: a server with TLS does so where guard.redis.tls.enabled is not set"
	}
	return ""
}
