// Package keyset owns the keys that sign access tokens: RSA 2048 for RS256, in
// memory only, one per period of wall-clock time. At any moment the set holds
// the key in use, the next one (published before it signs anything) and those
// retired whose tokens may still live. Readers never wait: they load one
// immutable snapshot. No key is ever made on a request.
package keyset

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"filippo.io/keygen"
	"github.com/go-jose/go-jose/v4"
)

// Skew is how far the clocks of replicas and verifiers may differ.
const Skew = time.Minute

const bits = 2048

// Key is one signing key with its RFC 7638 thumbprint as ID.
type Key struct {
	ID      string
	Private *rsa.PrivateKey
	// Start and End bound the period in which the key signs.
	Start, End time.Time
}

// signing has a place for each signature that is made at once.
var signing = make(chan struct{}, runtime.GOMAXPROCS(0))

// Sign signs a digest with RS256 (RFC 7518, section 3.3). That takes about a millisecond of
// a processor, so there are no more signatures under way than processors: more would not
// be made sooner, and everything else that is ready to run would wait behind them, such as
// a decision, or what an identity provider gave and is not written down.
func (k Key) Sign(digest [sha256.Size]byte) ([]byte, error) {
	signing <- struct{}{}
	defer func() { <-signing }()
	return rsa.SignPKCS1v15(nil, k.Private, crypto.SHA256, digest[:])
}

// Source makes the key of a period.
type Source interface {
	// Key returns the key of the period with this index. Slow (tens of
	// milliseconds and more); called in the background only.
	Key(period int64) (*rsa.PrivateKey, error)
}

// Ephemeral makes random keys: they die with the process.
type Ephemeral struct{}

// Key implements Source.
func (Ephemeral) Key(int64) (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }

// Seed derives the key of each period from one secret, so that every replica,
// and the same replica after a restart, has the same keys (c2sp.org/det-keygen).
type Seed struct {
	Secret []byte
	Period time.Duration
}

// Key implements Source.
func (s Seed) Key(period int64) (*rsa.PrivateKey, error) {
	info := "mcp-forward-auth signing key v1 " + s.Period.String() + " " +
		string(binary.BigEndian.AppendUint64(nil, uint64(period)))
	secret, err := hkdf.Key(sha256.New, s.Secret, nil, info, 32)
	if err != nil {
		return nil, err
	}
	return keygen.RSA(bits, secret)
}

// Options configures a Set.
type Options struct {
	// Sources: the first signs; the keys of the others are published and
	// verify, so that a seed can be replaced without ending any token.
	Sources []Source
	// Period is how long one key signs.
	Period time.Duration
	// TokenLifetime is how long a token lives at most after it was signed.
	TokenLifetime time.Duration
	Now           func() time.Time
	// OnGenerate, if set, is told of each new key.
	OnGenerate func(key Key, took time.Duration)
}

// Set is a rotating set of signing keys. Make one with New, then Run it.
type Set struct {
	opt  Options
	life atomic.Int64 // Options.TokenLifetime, or longer
	snap atomic.Pointer[snapshot]
	keys map[slot]Key // owned by the goroutine in New and Run
}

type slot struct {
	source int
	period int64
}

type snapshot struct {
	current Key
	public  map[string]*PublicKey
	jwks    []byte
}

// New makes the key in use and the next one, which takes a moment, and returns
// a set that is ready to sign and verify.
func New(opt Options) (*Set, error) {
	if len(opt.Sources) == 0 || opt.Period <= 0 || opt.TokenLifetime <= 0 || opt.Now == nil {
		return nil, errors.New("keyset: incomplete options")
	}
	s := &Set{opt: opt, keys: map[slot]Key{}}
	s.life.Store(int64(opt.TokenLifetime))
	// Making many keys takes a while. If another period began meanwhile, what the
	// other replicas sign with then would be unknown here until Run's first look.
	for began := opt.Now(); ; began = opt.Now() {
		if err := s.refresh(began); err != nil {
			return nil, err
		}
		if s.index(opt.Now()) <= s.index(began) {
			return s, nil
		}
	}
}

// Run rotates until ctx ends. It wakes often enough that a stepped clock is
// noticed within half a minute.
func (s *Set) Run(ctx context.Context) error {
	const tick = 30 * time.Second
	interval := min(tick, s.opt.Period/4)
	timer := time.NewTicker(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if err := s.refresh(s.opt.Now()); err != nil {
				return err
			}
		}
	}
}

// Outlive keeps retired keys for tokens that live longer than was said before. It
// never shortens that: those that were signed before live on.
func (s *Set) Outlive(lifetime time.Duration) {
	for life := s.life.Load(); life < int64(lifetime); life = s.life.Load() {
		if s.life.CompareAndSwap(life, int64(lifetime)) {
			return
		}
	}
}

// Signing returns the key to sign with now.
func (s *Set) Signing() Key { return s.snap.Load().current }

// Public returns the published key with this id, or nil. It does not allocate.
func (s *Set) Public(id []byte) *PublicKey { return s.snap.Load().public[string(id)] }

// JWKS returns the published keys as a JWK Set (RFC 7517, section 5). The
// caller must not change it.
func (s *Set) JWKS() []byte { return s.snap.Load().jwks }

// refresh makes what is missing around now, forgets what is dead, and publishes.
func (s *Set) refresh(now time.Time) error {
	current := s.index(now)
	// A retired key stays until the last token signed at its very end is dead
	// on a verifier whose clock is behind.
	oldest := s.index(now.Add(-time.Duration(s.life.Load()) - 2*Skew))
	changed := false
	for i, source := range s.opt.Sources {
		_, ephemeral := source.(Ephemeral)
		for p := oldest; p <= current+1; p++ {
			if _, ok := s.keys[slot{i, p}]; ok || ephemeral && p < current {
				continue // what an ephemeral source never signed need not exist
			}
			key, err := s.generate(source, p)
			if err != nil {
				return err
			}
			s.keys[slot{i, p}], changed = key, true
		}
	}
	for at := range s.keys {
		// Keys of the future stay: the clock may have been stepped back.
		if at.period < oldest {
			delete(s.keys, at)
			changed = true
		}
	}
	if snap := s.snap.Load(); !changed && snap != nil && snap.current.ID == s.keys[slot{0, current}].ID {
		return nil
	}
	return s.publish(current)
}

func (s *Set) generate(source Source, period int64) (Key, error) {
	began := time.Now()
	private, err := source.Key(period)
	if err != nil {
		return Key{}, fmt.Errorf("making a signing key: %w", err)
	}
	thumb, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("key thumbprint: %w", err)
	}
	start := time.Unix(0, period*int64(s.opt.Period))
	key := Key{ID: base64.RawURLEncoding.EncodeToString(thumb), Private: private, Start: start, End: start.Add(s.opt.Period)}
	if s.opt.OnGenerate != nil {
		s.opt.OnGenerate(key, time.Since(began))
	}
	return key, nil
}

func (s *Set) publish(current int64) error {
	snap := &snapshot{current: s.keys[slot{0, current}], public: map[string]*PublicKey{}}
	var set jose.JSONWebKeySet
	for i := range s.opt.Sources {
		for p := current + 1; ; p-- {
			key, ok := s.keys[slot{i, p}]
			if !ok {
				break
			}
			if _, dup := snap.public[key.ID]; dup {
				continue
			}
			snap.public[key.ID] = newPublicKey(&key.Private.PublicKey)
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.Private.PublicKey, KeyID: key.ID, Algorithm: "RS256", Use: "sig"})
		}
	}
	var err error
	if snap.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("JWK set: %w", err)
	}
	s.snap.Store(snap)
	return nil
}

func (s *Set) index(t time.Time) int64 { return t.UnixNano() / int64(s.opt.Period) }
