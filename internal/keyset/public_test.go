package keyset

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

func testKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := Seed{Secret: []byte(strings.Repeat("s", 32)), Period: time.Hour}.Key(1)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// both verifies as it is done here and as crypto/rsa does.
func both(t *testing.T, key *rsa.PublicKey, digest [sha256.Size]byte, sig []byte) bool {
	t.Helper()
	prepared, plain := newPublicKey(key), &PublicKey{key: key}
	if prepared.modulus == nil {
		t.Skip("FIPS 140-3 mode")
	}
	got, want := prepared.Verify(digest, sig), plain.Verify(digest, sig)
	if got != want {
		t.Fatalf("a signature of %d bytes, %x: %v, by crypto/rsa %v", len(sig), sig, got, want)
	}
	return got
}

func TestVerifyAsCryptoDoes(t *testing.T) {
	key := testKey(t)
	public := &key.PublicKey
	digest := sha256.Sum256([]byte("signed"))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if !both(t, public, digest, sig) {
		t.Fatal("a good signature does not hold")
	}
	pss, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	sha512, err := rsa.SignPKCS1v15(nil, key, crypto.SHA512, make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	bare, err := rsa.SignPKCS1v15(nil, key, crypto.Hash(0), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{
		"empty": nil, "short": sig[1:], "cut": sig[:len(sig)-1], "long": append(slices.Clone(sig), 0), "zero in front": append([]byte{0}, sig...),
		"zero": make([]byte, len(sig)), "one": append(make([]byte, len(sig)-1), 1), "modulus": public.N.Bytes(),
		"modulus less one": new(big.Int).Sub(public.N, big.NewInt(1)).Bytes(), "all ones": slices.Repeat([]byte{0xff}, len(sig)),
		"PSS": pss, "SHA-512": sha512, "no DigestInfo": bare,
	}
	if sum := new(big.Int).Add(public.N, new(big.Int).SetBytes(sig)); sum.BitLen() <= 8*len(sig) {
		bad["plus the modulus"] = sum.Bytes()
	}
	for name, sig := range bad {
		if both(t, public, digest, sig) {
			t.Errorf("%s holds", name)
		}
	}
	for i := range sig {
		changed := slices.Clone(sig)
		changed[i] ^= 1 << (i % 8)
		if both(t, public, digest, changed) {
			t.Errorf("it holds with byte %d changed", i)
		}
	}
	digest[0] ^= 1
	if both(t, public, digest, sig) {
		t.Error("it holds for another digest")
	}
}

// What opens to nearly the right encoding is refused: the key signs anything that
// a forger could wish for.
func TestVerifyRefusesOtherEncodings(t *testing.T) {
	key := testKey(t)
	digest := sha256.Sum256([]byte("signed"))
	size := key.Size()
	good := slices.Repeat([]byte{0xff}, size)
	end := size - len(sha256Info) - len(digest)
	good[0], good[1], good[end-1] = 0, 1, 0
	copy(good[end:], sha256Info+string(digest[:]))
	raw := func(encoded []byte) []byte {
		return new(big.Int).Exp(new(big.Int).SetBytes(encoded), key.D, key.N).FillBytes(make([]byte, size))
	}
	if !both(t, &key.PublicKey, digest, raw(good)) {
		t.Fatal("the right encoding is refused")
	}
	for i := range good[1:] {
		if i > 8 && i < end-8 && i%16 > 0 {
			continue // padding
		}
		changed := slices.Clone(good)
		changed[i+1] ^= 1
		if both(t, &key.PublicKey, digest, raw(changed)) {
			t.Errorf("byte %d of the encoding may be another", i+1)
		}
	}
	// Less padding, and garbage behind the digest (Bleichenbacher, 2006).
	short := slices.Concat([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, []byte(sha256Info), digest[:])
	if both(t, &key.PublicKey, digest, raw(append(short, make([]byte, size-len(short))...))) {
		t.Error("garbage behind the digest is taken")
	}
}

func BenchmarkVerify(b *testing.B) {
	key := testKey(b)
	digest := sha256.Sum256([]byte("signed"))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]*PublicKey{"prepared": newPublicKey(&key.PublicKey), "crypto": {key: &key.PublicKey}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if !k.Verify(digest, sig) {
					b.Fatal("a good signature does not hold")
				}
			}
		})
	}
}
