package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// A key is mfk_<id>_<secret>_<checksum>. Its characters are letters and digits,
// so that it is one word for people and for secret scanners; docs/api-keys.md has
// the regular expression.
const (
	// Prefix begins every key.
	Prefix = "mfk_"

	idSize     = 8
	secretSize = 43 // of 62 characters: 256 bits
	sumSize    = 6
	keySize    = len(Prefix) + idSize + 1 + secretSize + 1 + sumSize

	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// hashName stands between the id and the digits of a hash.
	hashName = ":sha256:"
)

// NewKey makes a key: what its holder presents, and the line for the
// configuration by which it is known again.
func NewKey() (key, hash string) {
	body := Prefix + random(idSize) + "_" + random(secretSize)
	key = body + "_" + checksum(body)
	sum := sha256.Sum256([]byte(key))
	return key, idOf(key) + hashName + hex.EncodeToString(sum[:])
}

// random returns n characters of the alphabet, each as likely as any other.
func random(n int) string {
	const fair = 256 - 256%len(alphabet) // bytes from here on would favour the first characters
	out := make([]byte, 0, n)
	var b [64]byte
	for len(out) < n {
		rand.Read(b[:])
		for _, c := range b {
			if int(c) < fair && len(out) < n {
				out = append(out, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// checksum is the CRC-32 of what stands before it. It tells a key that was
// copied in part from one that is not known, and a key from text that looks like one.
func checksum(body string) string {
	n := crc32.ChecksumIEEE([]byte(body))
	var out [sumSize]byte
	for i := range out {
		out[sumSize-1-i] = alphabet[n%uint32(len(alphabet))]
		n /= uint32(len(alphabet))
	}
	return string(out[:])
}

// idOf returns the id in a key.
func idOf(key string) string { return key[len(Prefix) : len(Prefix)+idSize] }

// wellFormed reports whether raw is a whole key.
func wellFormed(raw string) bool {
	const body = keySize - 1 - sumSize
	return len(raw) == keySize && strings.HasPrefix(raw, Prefix) && raw[len(Prefix)+idSize] == '_' && raw[body] == '_' &&
		plain(idOf(raw)) && plain(raw[body-secretSize:body]) && checksum(raw[:body]) == raw[body+1:]
}

// plain reports whether s has characters of the alphabet alone.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// parseHash reads what NewKey returned for the configuration. It does not take
// the hash of anything but a key: the hash of a short word could be tried out.
func parseHash(line string) (id string, sum [sha256.Size]byte, problem string) {
	id, digits, ok := strings.Cut(line, hashName)
	switch {
	case strings.HasPrefix(line, Prefix):
		return "", sum, "is a key and not its hash; readers of this file could use it, so make another with `mcp-forward-auth new-api-key`"
	case !ok || len(id) != idSize || !plain(id):
		return "", sum, "is not the hash of a key, `ID:sha256:DIGITS`; `mcp-forward-auth new-api-key` makes a key and prints it"
	case len(digits) != hex.EncodedLen(sha256.Size):
		return "", sum, "has another number of digits than the 64 of SHA-256"
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || strings.ToLower(digits) != digits {
		return "", sum, "has digits that are not hexadecimal, in lower case"
	}
	return id, [sha256.Size]byte(raw), ""
}
