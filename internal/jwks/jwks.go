// Package jwks reads the public keys that another server publishes (RFC 7517).
// What is no public signing key is left out, with the reason: with a symmetric
// key in the set, everyone who reads the set could sign.
package jwks

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	// MaxKeys is how many keys of a set are read.
	MaxKeys = 100
	// minRSABits is the least of RFC 7518, section 3.3.
	minRSABits = 2048
)

// Key is one public key. Issuer is whose tokens it signs, "" for those of every
// issuer that publishes it: Microsoft publishes the keys of several in one set.
type Key struct {
	jose.JSONWebKey
	Issuer string
}

// Problem says why a key of a set is not used. ID is its kid, "" for none and for
// the set itself.
type Problem struct{ ID, Text string }

// Document is a key set as it is published.
type Document struct {
	Keys []json.RawMessage `json:"keys"`
}

// Usable returns the keys that verify signatures, in their order. Of those left
// out it reports each, but for those that are for encryption.
func (d Document) Usable() (keys []Key, left []Problem) {
	for _, raw := range d.Keys[:min(len(d.Keys), MaxKeys)] {
		key, problem := read(raw)
		switch {
		case problem != "":
			left = append(left, Problem{key.KeyID, problem})
		case key.Use == "" || key.Use == "sig":
			keys = append(keys, key)
		}
	}
	if len(d.Keys) > MaxKeys {
		left = append(left, Problem{"", fmt.Sprintf("the set has %d keys, of which the first %d are read", len(d.Keys), MaxKeys)})
	}
	return keys, left
}

// certificateMembers say the same as the key itself once more, in an optional
// certificate (RFC 7517, sections 4.6 to 4.9). They are not read, so that a
// certificate that cannot be parsed does not cost the key.
var certificateMembers = []string{"x5c", "x5t", "x5t#S256", "x5u"}

// read reads one key; the problem says why it cannot be used.
func read(raw json.RawMessage) (key Key, problem string) {
	var members map[string]json.RawMessage
	var more struct {
		ID     string `json:"kid"`
		Issuer string `json:"issuer"`
	}
	if json.Unmarshal(raw, &members) != nil {
		return key, "it is not an object"
	}
	wrongType := json.Unmarshal(raw, &more)
	key.KeyID = more.ID
	if wrongType != nil {
		return key, "its kid or issuer is not text"
	}
	for _, name := range certificateMembers {
		delete(members, name)
	}
	plain, err := json.Marshal(members)
	if err != nil {
		return key, err.Error()
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(plain, &jwk); err != nil {
		return key, strings.TrimPrefix(err.Error(), "go-jose/go-jose: ")
	}
	key = Key{jwk, more.Issuer}
	return key, unusable(jwk)
}

// unusable says why a key cannot be used, or "".
func unusable(jwk jose.JSONWebKey) string {
	switch {
	case jwk.Key == nil:
		return "it is of a kind that is not used"
	case !jwk.IsPublic():
		return "it is private or symmetric"
	case !jwk.Valid():
		return "its parameters are not those of a key"
	}
	if k, ok := jwk.Key.(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
		return fmt.Sprintf("it is an RSA key of %d bits, fewer than %d", k.N.BitLen(), minRSABits)
	}
	return ""
}
