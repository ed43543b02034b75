package keyset

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var start = time.Unix(1_800_000_000, 0).Truncate(time.Hour)

func newSet(t *testing.T, now func() time.Time, sources ...Source) *Set {
	t.Helper()
	s, err := New(Options{Sources: sources, Period: time.Hour, TokenLifetime: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func published(t *testing.T, s *Set) []string {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		if k.Use != "sig" || k.Algorithm != "RS256" || !k.IsPublic() || !k.Valid() {
			t.Errorf("AS-KEY-01: key %+v", k)
		}
		ids = append(ids, k.KeyID)
	}
	return ids
}

// A verifier that caches the JWK set for 15 minutes never meets a token whose
// key it cannot know, and no live token loses its key (AS-KEY-02).
func TestRotationNeverSurprisesACachingVerifier(t *testing.T) {
	now := start
	s := newSet(t, func() time.Time { return now }, Ephemeral{})
	type token struct {
		kid     string
		expires time.Time
	}
	var live []token
	cached, cachedAt := published(t, s), now
	for ; now.Before(start.Add(6 * time.Hour)); now = now.Add(5 * time.Minute) {
		if err := s.refresh(now); err != nil {
			t.Fatal(err)
		}
		live = append(live, token{s.Signing().ID, now.Add(time.Hour)})
		if now.Sub(cachedAt) >= 15*time.Minute {
			cached, cachedAt = published(t, s), now
		}
		for _, tok := range live {
			if tok.expires.Before(now) {
				continue
			}
			if s.Public([]byte(tok.kid)) == nil {
				t.Fatalf("%v: the key of a token that lives until %v is gone", now, tok.expires)
			}
			if !contains(cached, tok.kid) {
				t.Fatalf("%v: a verifier that fetched at %v does not know key %s", now, cachedAt, tok.kid)
			}
		}
		if n := len(published(t, s)); n > 5 {
			t.Fatalf("%v: %d keys published", now, n)
		}
	}
}

func TestReplicasWithOneSeedAgree(t *testing.T) {
	seed := Seed{Secret: bytes.Repeat([]byte("s"), 32), Period: time.Hour}
	now := func() time.Time { return start }
	a, b := newSet(t, now, seed), newSet(t, now, seed)
	if a.Signing().ID != b.Signing().ID {
		t.Error("AS-KEY-03: two replicas sign with different keys")
	}
	ahead := newSet(t, func() time.Time { return start.Add(time.Hour - Skew) }, seed)
	behind := newSet(t, func() time.Time { return start.Add(time.Hour - 3*Skew) }, seed)
	if behind.Public([]byte(ahead.Signing().ID)) == nil {
		t.Error("a replica whose clock is behind refuses the tokens of one ahead")
	}
	other := newSet(t, now, Seed{Secret: bytes.Repeat([]byte("o"), 32), Period: time.Hour})
	if other.Signing().ID == a.Signing().ID {
		t.Error("another seed gave the same key")
	}
	rotated := newSet(t, now, Seed{Secret: bytes.Repeat([]byte("o"), 32), Period: time.Hour}, seed)
	if rotated.Signing().ID != other.Signing().ID || rotated.Public([]byte(a.Signing().ID)) == nil {
		t.Error("after a seed was put first, the old one's tokens must still verify")
	}
}

// slow takes its time for each key.
type slow struct {
	Source
	now *time.Time
}

func (s slow) Key(period int64) (*rsa.PrivateKey, error) {
	*s.now = s.now.Add(20 * time.Minute)
	return s.Source.Key(period)
}

// A replica that was still making keys when a period began used to refuse, for
// half a minute, what the others signed.
func TestStartAcrossTheBorderOfAPeriod(t *testing.T) {
	seed := Seed{Secret: bytes.Repeat([]byte("s"), 32), Period: time.Hour}
	now := start.Add(50 * time.Minute)
	late := newSet(t, func() time.Time { return now }, slow{seed, &now})
	then := now
	other := newSet(t, func() time.Time { return then }, seed)
	if late.Signing().ID != other.Signing().ID || len(published(t, late)) < 3 || published(t, late)[0] != published(t, other)[0] {
		t.Errorf("at %v signs with %s and publishes %v; others publish %v", now, late.Signing().ID, published(t, late), published(t, other))
	}
}

func TestClockStepBackKeepsKeys(t *testing.T) {
	now := start
	s := newSet(t, func() time.Time { return now }, Ephemeral{})
	now = start.Add(time.Hour)
	if err := s.refresh(now); err != nil {
		t.Fatal(err)
	}
	kid := s.Signing().ID
	now = start.Add(10 * time.Minute)
	if err := s.refresh(now); err != nil {
		t.Fatal(err)
	}
	if s.Public([]byte(kid)) == nil {
		t.Error("ATK-36: a token signed before the clock was set back no longer verifies")
	}
}

func TestRotationIsRaceFree(t *testing.T) { // AS-KEY-06, under -race
	var mu sync.Mutex
	now := start
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := newSet(t, clock, Seed{Secret: bytes.Repeat([]byte("s"), 32), Period: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if s.Public([]byte(s.Signing().ID)) == nil {
					t.Error("the signing key is not published")
					return
				}
			}
		})
	}
	for range 5 {
		mu.Lock()
		now = now.Add(time.Hour)
		mu.Unlock()
		if err := s.refresh(clock()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
}

func contains(ids []string, id string) bool {
	for _, i := range ids {
		if i == id {
			return true
		}
	}
	return false
}

// Of many that sign at once no more are at it than there are processors.
func TestSignersTakeTurns(t *testing.T) {
	key, digest := Key{Private: testKey(t)}, sha256.Sum256([]byte("x"))
	for range cap(signing) {
		signing <- struct{}{}
	}
	done := make(chan error, 1)
	go func() {
		sig, err := key.Sign(digest)
		if err == nil {
			err = rsa.VerifyPKCS1v15(&key.Private.PublicKey, crypto.SHA256, digest[:], sig)
		}
		done <- err
	}()
	for range 50 { // which takes as long as fifty signatures
		if _, err := rsa.SignPKCS1v15(nil, key.Private, crypto.SHA256, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		t.Errorf("signed without a place: %v", err)
		done <- err
	default:
	}
	for range cap(signing) {
		<-signing
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// BenchmarkBesideSigners is how late a timer is while 64 sign without a pause: as they are,
// and without taking turns.
func BenchmarkBesideSigners(b *testing.B) {
	key, digest := Key{Private: testKey(b)}, sha256.Sum256([]byte("x"))
	for name, sign := range map[string]func(){
		"in turn": func() { _, _ = key.Sign(digest) },
		"at once": func() { _, _ = rsa.SignPKCS1v15(nil, key.Private, crypto.SHA256, digest[:]) },
	} {
		b.Run(name, func(b *testing.B) {
			var over atomic.Bool
			var signers sync.WaitGroup
			for range 64 {
				signers.Go(func() {
					for !over.Load() {
						sign()
					}
				})
			}
			for b.Loop() {
				time.Sleep(time.Millisecond)
			}
			over.Store(true)
			signers.Wait()
		})
	}
}
