package credential

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// UnverifiedIssuer returns the issuer that a signed JWT says it is of, and whether
// raw has the form of a signed JWT at all. Anyone can have written it: it chooses
// who verifies the token, and proves nothing.
func UnverifiedIssuer(raw string) (issuer string, isJWT bool) {
	_, rest, ok := strings.Cut(raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(raw) > MaxBytes || strings.Contains(signature, ".") {
		return "", false
	}
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(plain, &claims) != nil {
		return "", false
	}
	return claims.Issuer, true
}
