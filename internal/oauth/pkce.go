package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// ValidCodeChallenge reports whether s can be an S256 code challenge: the
// unpadded base64url form of a SHA-256 hash, in its one canonical spelling
// (RFC 7636, section 4.2).
func ValidCodeChallenge(s string) bool {
	if len(s) != 43 {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil
}

// ValidThumbprint reports whether s can be the thumbprint of a key: the same form
// (RFC 7638, section 3; RFC 9449, section 10).
func ValidThumbprint(s string) bool { return ValidCodeChallenge(s) }

// ValidCodeVerifier reports whether s has the form of RFC 7636, section 4.1:
// 43 to 128 unreserved characters.
func ValidCodeVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if !isUnreserved(s[i]) {
			return false
		}
	}
	return true
}

// VerifyCodeChallenge compares in constant time whether challenge is the S256
// transform of verifier (RFC 7636, section 4.6). An empty challenge never verifies.
func VerifyCodeChallenge(verifier, challenge string) bool {
	if !ValidCodeVerifier(verifier) || !ValidCodeChallenge(challenge) {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(S256(verifier)), []byte(challenge)) == 1
}

// S256 returns the code challenge of verifier (RFC 7636, section 4.2).
func S256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isUnreserved is the unreserved set of RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
