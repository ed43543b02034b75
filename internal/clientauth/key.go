// Package clientauth is how this service proves itself as a client of another
// authorization server: with a secret, or with a private key whose signature replaces
// one (RFC 7523). A secret and a key have types that do not print.
package clientauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Key is the private key that this service proves itself with at another
// server (private_key_jwt). The zero value is no key. It does not print.
type Key struct {
	// The key is behind a pointer for the same reason as the value of a Secret.
	signer    *crypto.Signer
	ID        string // kid, "" for none
	Algorithm string
	// Thumbprint is that of the certificate beside the key (x5t#S256), "" for none.
	Thumbprint string
}

// NewKey wraps an *rsa.PrivateKey, an *ecdsa.PrivateKey or an ed25519.PrivateKey.
func NewKey(signer crypto.Signer, algorithm, id string) Key {
	return Key{signer: &signer, ID: id, Algorithm: algorithm}
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.signer == nil }

// Signer returns the key itself, nil for none.
func (k Key) Signer() crypto.Signer {
	if k.signer == nil {
		return nil
	}
	return *k.signer
}

// Format keeps the key out of every kind of print.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, conf.Redacted) }

// LogValue keeps the key out of logs.
func (Key) LogValue() slog.Value { return slog.StringValue(conf.Redacted) }

// Algorithms are those that the key can sign with, the usual one first; none for a
// key of a kind that is not used.
func (k Key) Algorithms() []string {
	switch k := k.Signer().(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return []string{"RS256", "PS256"}
		}
	case *ecdsa.PrivateKey:
		if k.Curve.Params().BitSize == 256 {
			return []string{"ES256"}
		}
	case ed25519.PrivateKey:
		return []string{"EdDSA"}
	}
	return nil
}

// errNoKey shows nothing of the file, which may be anything.
var errNoKey = errors.New("holds no private key: PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted) or one JWK")

// ParseKey reads a private key in PEM, with a certificate beside it or not, or one
// JWK. The error shows nothing of data.
func ParseKey(data []byte) (Key, error) {
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "{") {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON([]byte(text)) != nil || !jwk.Valid() {
			return Key{}, errNoKey
		}
		signer, ok := jwk.Key.(crypto.Signer)
		if !ok || jwk.IsPublic() {
			return Key{}, errors.New("holds a JWK that is not a private key")
		}
		return NewKey(signer, jwk.Algorithm, jwk.KeyID), nil
	}
	var k Key
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE" && k.Thumbprint == "":
			sum := sha256.Sum256(block.Bytes)
			k.Thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if !k.IsZero() {
				return Key{}, errors.New("holds more than one private key")
			}
			if signer := parsePrivateKey(block.Bytes); signer != nil {
				thumbprint := k.Thumbprint
				k = NewKey(signer, "", "")
				k.Thumbprint = thumbprint
			}
		}
	}
	if k.IsZero() {
		return Key{}, errNoKey
	}
	return k, nil
}

func parsePrivateKey(der []byte) crypto.Signer {
	if any, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, _ := any.(crypto.Signer)
		return signer
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key
	}
	return nil
}

// assertionLife is how long an assertion counts. It is used at once; the rest is
// for clocks that differ.
const assertionLife = 2 * time.Minute

// Sign returns a JWT over claims.
func Sign(key Key, claims any) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if key.Thumbprint != "" {
		options = options.WithHeader("x5t#S256", key.Thumbprint) // RFC 7515, section 4.1.8
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: jose.JSONWebKey{Key: key.Signer(), KeyID: key.ID},
	}, options)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// Assert adds the proof of who we are to a token request (RFC 7523, sections 2.2
// and 3): a new assertion for each, because its jti counts once.
func Assert(form url.Values, key Key, clientID, audience string, now time.Time) error {
	assertion, err := Sign(key, map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return fmt.Errorf("internal error: client assertion: %w", err)
	}
	form.Set("client_id", clientID)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return nil
}
