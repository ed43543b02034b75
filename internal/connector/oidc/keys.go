package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// keySet holds the provider's public keys. go-oidc has one too, but fetches for
// every unknown kid (OpenID Connect Core, section 10.1.1, asks for a fetch, not
// for one per token).
type keySet struct {
	keys *upstream.Refetched[[]publicKey]
	now  func() time.Time
}

// publicKey is one of them. Issuer is whose tokens it signs, "" for all:
// Microsoft publishes the keys of several issuers in one set.
type publicKey struct {
	jose.JSONWebKey
	issuer string
}

const (
	maxKeys        = 100
	keysMaxAge     = time.Hour
	keysInterval   = 30 * time.Second // between fetches, whatever kids are asked for
	keysAfterError = 2 * time.Second
)

func newKeySet(client *upstream.Client, address string, now func() time.Time) *keySet {
	fetch := func(ctx context.Context) ([]publicKey, error) {
		ctx, cancel := client.Context(ctx)
		defer cancel()
		var document struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if _, err := client.Get(ctx, address, nil, &document); err != nil {
			return nil, upstream.Failed("key set", err)
		}
		return usableKeys(ctx, document.Keys), nil
	}
	return &keySet{
		now:  now,
		keys: &upstream.Refetched[[]publicKey]{Fetch: fetch, Now: now, MaxAge: keysMaxAge, AfterError: keysAfterError},
	}
}

// certificateMembers say the same as the key itself once more, in an optional
// certificate (RFC 7517, sections 4.6 to 4.9). They are not read, so that a
// certificate that cannot be parsed does not cost the key.
var certificateMembers = []string{"x5c", "x5t", "x5t#S256", "x5u"}

// usableKeys leaves out what RFC 7517, section 5, says to leave out, and
// anything that is not a public signing key: with a symmetric key in the set,
// everyone who reads the set could sign. It reports each key that is left out,
// but for those that are for encryption.
func usableKeys(ctx context.Context, raw []json.RawMessage) []publicKey {
	var keys []publicKey
	for _, r := range raw[:min(len(raw), maxKeys)] {
		key, problem := usableKey(r)
		switch {
		case problem != "":
			connector.Notify(ctx, connector.Notice{Kind: connector.KeyLeftOut, Name: upstream.Clip(key.KeyID), Problem: upstream.Clip(problem)})
		case key.Use == "" || key.Use == "sig":
			keys = append(keys, key)
		}
	}
	if len(raw) > maxKeys {
		connector.Notify(ctx, connector.Notice{Kind: connector.KeyLeftOut, Problem: fmt.Sprintf("the set has %d keys, of which the first %d are read", len(raw), maxKeys)})
	}
	return keys
}

// usableKey reads one key; the problem says why it cannot be used.
func usableKey(raw json.RawMessage) (key publicKey, problem string) {
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
	switch err := json.Unmarshal(plain, &jwk); {
	case err != nil:
		return key, strings.TrimPrefix(err.Error(), "go-jose/go-jose: ")
	case jwk.Key == nil:
		return key, "it is of a kind that is not used"
	case !jwk.IsPublic():
		return key, "it is private or symmetric"
	case !jwk.Valid():
		return key, "its parameters are not those of a key"
	}
	return publicKey{jwk, more.Issuer}, ""
}

var errSignature = errors.New("no key of the provider verifies the signature; keys of its set that cannot be used are named in the log")

// verify returns the payload of a token whose algorithm is one of algs, and the
// issuer of the key that signed it.
func (s *keySet) verify(ctx context.Context, token string, algs []jose.SignatureAlgorithm) (payload []byte, issuer string, err error) {
	jws, err := jose.ParseSignedCompact(token, algs)
	if err != nil {
		return nil, "", err
	}
	set, err := s.keys.Get(ctx, 0)
	if err != nil {
		return nil, "", err
	}
	if payload, issuer = verifyWith(set.Value, jws); payload != nil {
		return payload, issuer, nil
	}
	// The provider may have new keys; but who asks again and again is no reason to ask it.
	if s.now().Sub(set.At) < keysInterval {
		return nil, "", errSignature
	}
	if set, err = s.keys.Get(ctx, set.Serial); err != nil {
		return nil, "", err
	}
	if payload, issuer = verifyWith(set.Value, jws); payload != nil {
		return payload, issuer, nil
	}
	return nil, "", errSignature
}

// verifyWith returns the payload, or nil if no key fits.
func verifyWith(keys []publicKey, jws *jose.JSONWebSignature) (payload []byte, issuer string) {
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID {
			continue
		}
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, key.issuer
		}
	}
	return nil, ""
}
