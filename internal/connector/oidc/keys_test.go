package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

func TestUsableKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(key jose.JSONWebKey) json.RawMessage {
		b, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	set := []json.RawMessage{
		raw(jose.JSONWebKey{Key: &rsaKey.PublicKey, KeyID: "rsa", Use: "sig"}),
		raw(jose.JSONWebKey{Key: &ecKey.PublicKey, KeyID: "ec"}),
		raw(jose.JSONWebKey{Key: edPublic, KeyID: "ed"}),
		// None of these may verify anything.
		raw(jose.JSONWebKey{Key: []byte("a symmetric key that everybody can read"), KeyID: "oct"}),
		raw(jose.JSONWebKey{Key: rsaKey, KeyID: "private"}),
		raw(jose.JSONWebKey{Key: &rsaKey.PublicKey, KeyID: "enc", Use: "enc"}),
		json.RawMessage(`{"kty":"OKP","crv":"Ed448","x":"AA","kid":"unknown"}`),
		json.RawMessage(`{"kty":"RSA","kid":"incomplete"}`),
		json.RawMessage(`7`),
	}
	keys := usableKeys(set)
	got := ""
	for _, k := range keys {
		got += k.KeyID + " "
	}
	if got != "rsa ec ed " {
		t.Fatalf("AS-FED-04 usable keys: %s", got)
	}

	sign := func(alg jose.SignatureAlgorithm, key any, kid string) *jose.JSONWebSignature {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := s.Sign([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct {
		name string
		jws  *jose.JSONWebSignature
		ok   bool
	}{
		{"RS256", sign(jose.RS256, rsaKey, "rsa"), true},
		{"PS256", sign(jose.PS256, rsaKey, "rsa"), true},
		{"ES256", sign(jose.ES256, ecKey, "ec"), true},
		{"EdDSA", sign(jose.EdDSA, edKey, "ed"), true},
		{"right key under another kid", sign(jose.RS256, rsaKey, "ec"), false},
		{"symmetric key of the set", sign(jose.HS256, []byte("a symmetric key that everybody can read"), "oct"), false},
	} {
		t.Run("AS-FED-04 "+c.name, func(t *testing.T) {
			if payload, _ := verifyWith(keys, c.jws); (payload != nil) != c.ok {
				t.Errorf("verified: %s", payload)
			}
		})
	}
	keys[0].Algorithm = "PS256"
	if payload, _ := verifyWith(keys, sign(jose.RS256, rsaKey, "rsa")); payload != nil {
		t.Error("AS-FED-04 a key for PS256 verified RS256")
	}
}
