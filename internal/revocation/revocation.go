// Package revocation knows what was ended before its time: access tokens and
// whole families of tokens that a client or this service revoked, and the
// people, clients and families that the operator denies. Its invariant: once a
// call that ends something has returned, every later Check reports it, until what
// was ended has expired anyway.
//
// The list is of this process, and Check never leaves it. With a Store that
// several replicas share, what is ended here goes there too, and Poll brings
// what the other replicas ended.
package revocation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/expiring"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// None means that nothing is known against what was looked up.
const None reasons.Reason = ""

// Facts are what a token or a sign-in is known by. Empty ones are not looked up.
type Facts struct {
	TokenID string // jti
	Family  string
	Subject string // with its namespace, as in the sub claim
	Email   string
	// EmailUnknown: the provider told an address that cannot be read, which may be
	// any that the operator denies.
	EmailUnknown bool
	Client       string // oauth.ShortClientID of the client id
	// Since is when the person signed in, in Unix seconds; 0 is before everything. Browser
	// says that it is a session of the person's own browser.
	Since   int64
	Browser bool
	// AtProvider is the ProviderSession that a session of the browser comes from, "" for unknown.
	AtProvider string
}

// ErrFull: the list cannot take another entry, so what was to be revoked lives on.
var ErrFull = errors.New("revocation list is full")

// List is safe for concurrent use. New makes one.
type List struct {
	now func() time.Time
	// version changes after every change of the list. A caller that found
	// nothing at one version need not ask again until there is another.
	version atomic.Uint64

	mu     sync.RWMutex
	ended  *expiring.Map[struct{}]
	people *expiring.Map[int64] // see EndPerson
	denied Denied

	store   Store                // nil for none
	unsaid  map[string]time.Time // ended here, and not in the store yet; guarded by mu
	polling sync.Mutex
	read    string // position in the store; guarded by polling
}

// grace keeps entries a little past their death, so that a clock set back
// revives nothing.
const grace = time.Minute

// New returns a list for at most limit revocations.
func New(limit int, now func() time.Time) *List {
	l := &List{now: now, ended: expiring.New[struct{}](limit), people: expiring.New[int64](limit)}
	l.version.Store(1) // so that 0 means never asked
	return l
}

// Version returns a number that changes with the list. It takes no lock.
func (l *List) Version() uint64 { return l.version.Load() }

// RevokeToken ends one access token that would expire at expires.
func (l *List) RevokeToken(id string, expires time.Time) error { return l.revoke("token "+id, expires) }

// RevokeFamily ends a family: its refresh tokens and the access tokens made
// from them; the last of these would expire at expires.
func (l *List) RevokeFamily(id string, expires time.Time) error {
	return l.revoke("family "+id, expires)
}

// RevokeProviderSession ends the browser sessions that people signed in for with one
// session at their identity provider; the last of them would expire at expires. It ends
// none if id is "".
func (l *List) RevokeProviderSession(id string, expires time.Time) error {
	if id == "" {
		return nil
	}
	return l.revoke("session "+id, expires)
}

// ProviderSession stands for a session at an identity provider, in 22 characters
// whatever the provider calls it; it is "" if sid is. The namespace is that of the
// provider's people: another provider may use the same name.
func ProviderSession(namespace, sid string) string {
	if sid == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(namespace + "\x00" + sid))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// revoke ends key here at once, and then for the other replicas. If only they
// cannot be told, it is ended here nevertheless, and Poll tells them later.
func (l *List) revoke(key string, expires time.Time) error {
	if err := l.end(key, expires, l.store != nil); err != nil || l.store == nil {
		return err
	}
	return l.tell(context.Background(), key, expires)
}

func (l *List) end(key string, expires time.Time, unsaid bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended.Sweep(l.now().Add(-grace))
	l.people.Sweep(l.now().Add(-grace))
	if until, known := l.ended.Expires(key); known && !until.Before(expires) {
		if !unsaid { // nothing new: callers at this version need not ask again
			return nil
		}
		expires = until
	}
	if l.ended.Set(key, struct{}{}, expires) != nil {
		return ErrFull
	}
	if p, at, ok := parsePerson(key); ok {
		if l.note(p, at, expires) != nil {
			return ErrFull
		}
	}
	if unsaid {
		l.unsaid[key] = expires
	}
	l.version.Add(1)
	return nil
}

// Deny replaces what the operator denies.
func (l *List) Deny(d Denied) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denied = d
	l.version.Add(1)
}

// Check returns why f is no longer honoured, or None.
func (l *List) Check(f Facts) reasons.Reason {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.denied.matches(f) {
		return reasons.DeniedByOperator
	}
	if l.has("token ", f.TokenID) {
		return reasons.TokenRevoked
	}
	if l.has("family ", f.Family) || l.has("session ", f.AtProvider) {
		return reasons.FamilyRevoked
	}
	if l.personEnded(f) {
		return reasons.PersonEnded
	}
	return None
}

func (l *List) has(kind, id string) bool {
	if id == "" {
		return false
	}
	_, ended := l.ended.Get(kind + id)
	return ended
}

// Len returns how many revocations are held.
func (l *List) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.ended.Len()
}

// Client returns the form of a client id that Facts and Denied take.
func Client(id string) string { return oauth.ShortClientID(id) }
