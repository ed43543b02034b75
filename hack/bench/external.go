//go:build linux

package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const externalIssuer = "https://as.example.com/realms/main"

// external is another authorization server whose tokens the service takes.
type external struct{ signer jose.Signer }

// newExternal also returns its key set.
func newExternal() (*external, []byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "key-1"))
	if err != nil {
		return nil, nil, err
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "key-1", Algorithm: "RS256", Use: "sig"}}})
	return &external{signer}, set, err
}

// mint makes tokens with the claims of a Keycloak, and as large as those of the service.
func (e *external) mint(n int) ([]string, error) {
	tokens := make([]string, n)
	for i := range tokens {
		now := time.Now().Unix()
		claims, err := json.Marshal(map[string]any{
			"iss": externalIssuer, "aud": issuer + "/mcp", "sub": rand.Text(), "azp": "claude", "typ": "Bearer", "jti": rand.Text(), "iat": now, "exp": now + 3600,
			"scope": "openid profile notes:read notes:write", "email": "user@example.com", "email_verified": true, "name": "A User", "preferred_username": "user",
			"groups": []string{"engineering", "admins"}, "sid": rand.Text(), "acr": "1", "allowed-origins": []string{"https://app.example.com"},
			"realm_access":    map[string]any{"roles": []string{"default-roles-main", "offline_access", "uma_authorization"}},
			"resource_access": map[string]any{"account": map[string]any{"roles": []string{"manage-account", "manage-account-links", "view-profile"}}},
		})
		if err != nil {
			return nil, err
		}
		signed, err := e.signer.Sign(claims)
		if err != nil {
			return nil, err
		}
		if tokens[i], err = signed.CompactSerialize(); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}
