package oidc

import (
	"context"
	"errors"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

// keySet holds the provider's public keys. go-oidc has one too, but fetches for
// every unknown kid (OpenID Connect Core, section 10.1.1, asks for a fetch, not
// for one per token).
type keySet struct {
	keys *upstream.Refetched[[]jwks.Key]
	now  func() time.Time
}

const (
	keysMaxAge     = time.Hour
	keysInterval   = 30 * time.Second // between fetches, whatever kids are asked for
	keysAfterError = 2 * time.Second
)

func newKeySet(client *upstream.Client, address string, now func() time.Time) *keySet {
	fetch := func(ctx context.Context) ([]jwks.Key, error) {
		ctx, cancel := client.Context(ctx)
		defer cancel()
		var document jwks.Document
		if _, err := client.Get(ctx, address, nil, &document); err != nil {
			return nil, upstream.Failed("key set", err)
		}
		return usableKeys(ctx, document), nil
	}
	return &keySet{
		now:  now,
		keys: &upstream.Refetched[[]jwks.Key]{Fetch: fetch, Now: now, MaxAge: keysMaxAge, AfterError: keysAfterError},
	}
}

// usableKeys reports each key that is left out.
func usableKeys(ctx context.Context, set jwks.Document) []jwks.Key {
	keys, left := set.Usable()
	for _, l := range left {
		connector.Notify(ctx, connector.Notice{Kind: connector.KeyLeftOut, Name: upstream.Clip(l.ID), Problem: upstream.Clip(l.Text)})
	}
	return keys
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
func verifyWith(keys []jwks.Key, jws *jose.JSONWebSignature) (payload []byte, issuer string) {
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID {
			continue
		}
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, key.Issuer
		}
	}
	return nil, ""
}
