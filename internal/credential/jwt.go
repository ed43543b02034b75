package credential

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// HasJWTForm reports whether raw has the outer form of a signed JWT: three parts, the
// first of which begins like a JSON object in base64.
func HasJWTForm(raw string) bool {
	return len(raw) <= MaxBytes && strings.HasPrefix(raw, "eyJ") && strings.Count(raw, ".") == 2
}

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
	if issuer, ok := quickIssuer(plain); ok {
		return issuer, true
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(plain, &claims) != nil {
		return "", false
	}
	return claims.Issuer, true
}

// quickIssuer reads the claim in one walk that allocates little; ok is false where
// it is not sure.
func quickIssuer(claims []byte) (issuer string, ok bool) {
	r, err := strictjson.New(claims, strictjson.Bounds{Depth: 10, Members: 64})
	if err != nil {
		return "", false
	}
	err = r.Object(nil, func(name string) error {
		if name != "iss" {
			return r.Skip()
		}
		if issuer, ok = r.Text(); !ok {
			return strictjson.Err
		}
		return nil
	})
	return issuer, ok && err == nil
}
