package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
)

// Kuadrant reads the header x-mcp-authorized by the rules of Kuadrant's broker: one line, ES256, exp if
// it is there, and a claim that is text with JSON in it, by kind, server and name.
// nil is what it takes for nothing at all.
func Kuadrant(t testing.TB, public *ecdsa.PublicKey, value string, now time.Time) map[string]map[string][]string {
	t.Helper()
	parts := strings.Split(value, ".")
	if len(parts) != 3 {
		return nil
	}
	var header struct{ Alg string }
	var claims struct {
		Exp, Iat     *int64
		Capabilities *string `json:"allowed-capabilities"`
	}
	for i, into := range []any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, into) != nil {
			return nil
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 || header.Alg != "ES256" {
		return nil
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil
	}
	if claims.Exp == nil || claims.Iat == nil || *claims.Exp-*claims.Iat > 300 {
		t.Errorf("a token from %v to %v", claims.Iat, claims.Exp)
	}
	if claims.Capabilities == nil || now.Unix() >= *claims.Exp {
		return nil
	}
	var out map[string]map[string][]string
	if json.Unmarshal([]byte(*claims.Capabilities), &out) != nil {
		return nil
	}
	return out
}
