package keyset

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/sha256"

	"filippo.io/bigmod"
)

// PublicKey verifies signatures of one key.
type PublicKey struct {
	key *rsa.PublicKey
	// modulus is the key's, prepared once. crypto/rsa prepares it for each signature,
	// which takes a third of the time. It is nil in FIPS 140-3 mode, where only the
	// validated module computes.
	modulus *bigmod.Modulus
}

func newPublicKey(key *rsa.PublicKey) *PublicKey {
	k := &PublicKey{key: key}
	if !fips140.Enabled() {
		// An error leaves crypto/rsa to verify.
		k.modulus, _ = bigmod.NewModulus(key.N.Bytes())
	}
	return k
}

// sha256Info is the DER encoding of a DigestInfo for SHA-256, up to the digest
// (RFC 8017, section 9.2, note 1).
const sha256Info = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// Verify reports whether sig is an RSASSA-PKCS1-v1_5 signature of a SHA-256
// digest by the key (RFC 8017, section 8.2.2). Nothing of the signature is parsed:
// what it opens to must be, byte for byte, the one encoding of the digest.
func (k *PublicKey) Verify(digest [sha256.Size]byte, sig []byte) bool {
	if k.modulus == nil {
		return rsa.VerifyPKCS1v15(k.key, crypto.SHA256, digest[:], sig) == nil
	}
	if len(sig) != k.key.Size() {
		return false
	}
	s, err := bigmod.NewNat().SetBytes(sig, k.modulus) // less than the modulus, or an error
	if err != nil {
		return false
	}
	opened := bigmod.NewNat().ExpShortVarTime(s, uint(k.key.E), k.modulus).Bytes(k.modulus)
	want := bytes.Repeat([]byte{0xff}, len(sig))
	end := len(want) - len(sha256Info) - len(digest)
	want[0], want[1], want[end-1] = 0, 1, 0
	copy(want[end:], sha256Info)
	copy(want[end+len(sha256Info):], digest[:])
	return bytes.Equal(opened, want)
}
