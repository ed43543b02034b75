package registration

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

// SigningAlgs are the algorithms that a client may sign its assertions with: none that is
// symmetric, and not "none" (RFC 8725, section 3.1).
var SigningAlgs = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA}

// SigningAlgNames lists SigningAlgs for metadata.
func SigningAlgNames() []string {
	names := make([]string, len(SigningAlgs))
	for i, a := range SigningAlgs {
		names[i] = string(a)
	}
	return names
}

const (
	maxKeySetBytes = 64 << 10
	maxKeys        = 50
	minRSABits     = 2048
	maxRSABits     = 4096 // each check of a signature costs; as jose.MaxRSAModulusBits
)

// KeySets fetches and keeps the keys that clients publish at their jwks_uri.
type KeySets struct {
	urls  URLPolicy
	cache *fetched[[]jose.JSONWebKey]
}

// NewKeySets returns an empty cache of key sets.
func NewKeySets(urls URLPolicy, now func() time.Time) *KeySets {
	parse := func(_ string, resp *egress.Response) ([]jose.JSONWebKey, error) { return parseKeySet(resp.Body) }
	return &KeySets{urls, newFetched(urls.Egress, now, "application/jwk-set+json, application/json", maxKeySetBytes, parse)}
}

// privateMembers are the members of a JWK that must stay secret (RFC 7518, section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// publicMembers are the members of a JWK that are used. Certificates and their URLs are
// not.
var publicMembers = []string{"kty", "use", "kid", "alg", "crv", "x", "y", "n", "e"}

// parseKeySet reads a JWK Set (RFC 7517, section 5). A private or symmetric key makes the
// whole set invalid: its publisher made a mistake that may concern the other keys too.
// Keys that cannot be used here are left out.
func parseKeySet(raw []byte) ([]jose.JSONWebKey, error) {
	members, err := objectMembers(raw)
	if err != nil {
		return nil, err
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(members["keys"], &list); err != nil {
		return nil, errors.New("is not a JWK set")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("has more than %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, jwk := range list {
		for name := range jwk {
			if slices.Contains(privateMembers, strings.ToLower(name)) {
				return nil, errors.New("has a key that is private or symmetric")
			}
		}
		if string(jwk["kty"]) == `"oct"` {
			return nil, errors.New("has a key that is private or symmetric")
		}
		if key, ok := publicKey(jwk); ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key that can be used")
	}
	return keys, nil
}

func publicKey(jwk map[string]json.RawMessage) (key jose.JSONWebKey, ok bool) {
	kept := map[string]json.RawMessage{}
	for _, name := range publicMembers {
		if v, ok := jwk[name]; ok {
			kept[name] = v
		}
	}
	raw, err := json.Marshal(kept)
	if err != nil || key.UnmarshalJSON(raw) != nil || !key.Valid() {
		return key, false
	}
	if key.Use != "" && key.Use != "sig" || len(key.KeyID) > 256 {
		return key, false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return key, k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits && k.E >= 3
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return key, true
	}
	return key, false
}

// KeysMayChange reports whether Clients.Keys may return other keys later. Those in a
// registration or in the configuration do not change.
func (c *Client) KeysMayChange() bool { return c.jwksURI != "" }

// Keys returns the public keys of the client, none if it has none. If refresh is true,
// keys of a jwks_uri are at most 30 seconds old, because the client may have just begun
// to use a new one. Errors wrap ErrUnavailable or ErrDocument.
func (c *Clients) Keys(ctx context.Context, client *Client, refresh bool) ([]jose.JSONWebKey, error) {
	if client.jwksURI == "" {
		return client.keys, nil
	}
	if c.KeySets == nil {
		return nil, fmt.Errorf("%w: nothing is fetched here", ErrDocument)
	}
	return c.KeySets.cache.get(ctx, client.jwksURI, refresh)
}

// clientKeys reads jwks or jwks_uri, of which a client may have one (RFC 7591, section
// 2).
func clientKeys(members map[string]json.RawMessage, sets *KeySets) (keys []jose.JSONWebKey, uri string, err error) {
	if err := member(members, "jwks_uri", &uri); err != nil {
		return nil, "", err
	}
	raw, inline := members["jwks"], present(members, "jwks")
	switch {
	case inline && uri != "":
		return nil, "", errors.New("has both jwks and jwks_uri")
	case inline:
		if keys, err = parseKeySet(raw); err != nil {
			return nil, "", fmt.Errorf("has a jwks that %w", err)
		}
	case uri != "":
		if sets == nil {
			return nil, "", errors.New("has a jwks_uri, and nothing is fetched here; use jwks")
		}
		if err := sets.urls.check(uri); err != nil {
			return nil, "", fmt.Errorf("has a jwks_uri that %w", err)
		}
	}
	return keys, uri, nil
}
