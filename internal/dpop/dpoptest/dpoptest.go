// Package dpoptest makes DPoP proofs, good ones and bad ones. It shares no code with
// what verifies them, so that the two cannot make one mistake.
package dpoptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Key is a client's key.
type Key struct {
	Alg     string
	Private crypto.Signer
	// Now is the client's clock; nil is time.Now.
	Now func() time.Time
	// Nonce, if not "", goes into each proof.
	Nonce string
}

// New returns a new key for an algorithm.
func New(alg string) *Key {
	k := &Key{Alg: alg}
	var err error
	switch alg {
	case "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.Private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(err)
	}
	return k
}

// Parts are what a proof is made of; changes are made to them before it is signed.
type Parts struct{ Header, Claims map[string]any }

// Change makes a proof another.
type Change func(*Parts)

// Token binds a proof to an access token (ath).
func Token(raw string) Change { return Claim("ath", Hash(raw)) }

// Hash is the ath of an access token.
func Hash(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Claim sets a claim; nil takes it away.
func Claim(name string, value any) Change { return func(p *Parts) { set(p.Claims, name, value) } }

// InHeader sets a member of the header; nil takes it away.
func InHeader(name string, value any) Change { return func(p *Parts) { set(p.Header, name, value) } }

// InKey sets a member of the jwk; nil takes it away.
func InKey(name string, value any) Change {
	return func(p *Parts) { set(p.Header["jwk"].(map[string]any), name, value) }
}

func set(m map[string]any, name string, value any) {
	if value == nil {
		delete(m, name)
		return
	}
	m[name] = value
}

// Proof returns a proof for a request.
func (k *Key) Proof(method, url string, changes ...Change) string {
	now := time.Now
	if k.Now != nil {
		now = k.Now
	}
	p := &Parts{
		Header: map[string]any{"typ": "dpop+jwt", "alg": k.Alg, "jwk": k.JWK()},
		Claims: map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": now().Unix()},
	}
	if k.Nonce != "" {
		p.Claims["nonce"] = k.Nonce
	}
	for _, change := range changes {
		change(p)
	}
	return k.Sign(encode(p.Header), encode(p.Claims))
}

// Sign signs a header and a payload, both in JSON.
func (k *Key) Sign(header, payload string) string {
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	return signed + "." + b64.EncodeToString(k.signature(signed))
}

func (k *Key) signature(signed string) []byte {
	sum := sha256.Sum256([]byte(signed))
	switch private := k.Private.(type) {
	case *ecdsa.PrivateKey:
		digest := sum[:]
		if k.Alg == "ES384" {
			long := sha512.Sum384([]byte(signed))
			digest = long[:]
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		return append(fixed(r, private.Curve, err), fixed(s, private.Curve, err)...)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(signed))
	case *rsa.PrivateKey:
		if k.Alg == "PS256" {
			return must(rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:]))
	}
	panic(fmt.Sprintf("no signature with a %T", k.Private))
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func fixed(n *big.Int, curve elliptic.Curve, err error) []byte {
	if err != nil {
		panic(err)
	}
	return n.FillBytes(make([]byte, (curve.Params().BitSize+7)/8))
}

// JWK returns the public key.
func (k *Key) JWK() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	switch public := k.Private.Public().(type) {
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		return map[string]any{"kty": "EC", "crv": public.Curve.Params().Name, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": b64(public.N.Bytes()), "e": b64(big.NewInt(int64(public.E)).Bytes())}
	}
	panic("no such key")
}

// Thumbprint returns the key's (RFC 7638).
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256([]byte(encode(k.JWK()))) // its members are those that the RFC takes, in order
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// encode writes JSON with the members in the order of their names.
func encode(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
