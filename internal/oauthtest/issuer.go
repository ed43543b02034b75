package oauthtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Issuer is a fake authorization server that only publishes keys and signs what a
// test tells it to (ES256).
type Issuer struct {
	URL string

	mu      sync.Mutex
	keys    map[string]*ecdsa.PrivateKey
	signing string // kid
	fetches int    // of the key set
	other   http.HandlerFunc
}

// NewIssuer starts one with the key "key-1".
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	s := &Issuer{keys: map[string]*ecdsa.PrivateKey{}}
	s.Rotate(t, "key-1")
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Rotate publishes a new key beside those that are there, and signs with it.
func (s *Issuer) Rotate(t testing.TB, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[kid], s.signing = key, kid
}

// Withdraw takes a key out of the set.
func (s *Issuer) Withdraw(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, kid)
}

// Share makes other sign with the keys of s.
func (s *Issuer) Share(other *Issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	other.mu.Lock()
	defer other.mu.Unlock()
	other.keys, other.signing = maps.Clone(s.keys), s.signing
}

// Behave has every request answered in another way; nil is the usual one.
func (s *Issuer) Behave(other http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = other
}

// Fetches returns how often the key set was asked for, or anything while Behave
// answers.
func (s *Issuer) Fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// ServeHTTP implements http.Handler.
func (s *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	other := s.other
	if other != nil || r.URL.Path == "/keys" {
		s.fetches++
	}
	s.mu.Unlock()
	switch {
	case other != nil:
		other(w, r)
	case r.URL.Path == "/.well-known/oauth-authorization-server":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	case r.URL.Path == "/keys":
		_, _ = w.Write(s.JWKS())
	default:
		http.NotFound(w, r)
	}
}

// JWKS is the key set as it is published.
func (s *Issuer) JWKS() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set jose.JSONWebKeySet
	for kid, key := range s.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.PublicKey, KeyID: kid, Use: "sig", Algorithm: "ES256"})
	}
	out, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return out
}

// Claims are those of a good access token for audience, with what differs; a nil
// value takes a claim out.
func (s *Issuer) Claims(audience string, now time.Time, differs map[string]any) map[string]any {
	claims := map[string]any{
		"iss": s.URL, "aud": audience, "sub": "1234", "client_id": "cli", "scope": "read", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	return merged(claims, differs)
}

// Token signs claims. The header is that of a good access token, with what differs.
func (s *Issuer) Token(claims, header map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return s.Sign(payload, header)
}

// Sign is Token for a payload as it is.
func (s *Issuer) Sign(payload []byte, differs map[string]any) string {
	s.mu.Lock()
	kid := s.signing
	key := s.keys[kid]
	s.mu.Unlock()
	header, err := json.Marshal(merged(map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": kid}, differs))
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + b64.EncodeToString(signature)
}

func merged(base, differs map[string]any) map[string]any {
	for name, value := range differs {
		if value == nil {
			delete(base, name)
		} else {
			base[name] = value
		}
	}
	return base
}

// AccessToken signs claims with the key of the provider's ID tokens.
func (p *OIDCProvider) AccessToken(claims map[string]any) string { return p.sign(claims) }
