// Package seal makes the one kind of value that travels outside the service and
// comes back: an authenticated, encrypted, typed and expiring string. Each Box
// has one purpose and one Go type; what was sealed for one purpose, or bound to
// other associated data, never opens as another. One value has one spelling
// (strict base64), so a replay guard may rely on it.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	keyIDSize  = 4
	expirySize = 8
	saltSize   = 16
	minRoot    = 32
	maxSealed  = 128 << 10
)

var (
	// ErrInvalid: the value was not sealed by this service for this purpose
	// and associated data, or was changed on the way.
	ErrInvalid = errors.New("sealed value is not valid here")
	// ErrExpired: the value is genuine and too old.
	ErrExpired = errors.New("sealed value has expired")
)

// Keyring holds the root secrets of all boxes. The first seals, all open, so a
// root can be replaced without losing what is on its way.
type Keyring struct {
	roots []root
	now   func() time.Time
}

type root struct {
	id     [keyIDSize]byte
	secret []byte
}

// NewKeyring makes a keyring. Each secret has at least 32 bytes; now is the
// clock for expiry. The secrets are not kept: only keys derived from them are.
func NewKeyring(now func() time.Time, secrets ...[]byte) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("seal: no secret")
	}
	k := &Keyring{now: now}
	for _, s := range secrets {
		if len(s) < minRoot {
			return nil, fmt.Errorf("seal: a secret has %d bytes; at least %d are needed", len(s), minRoot)
		}
		derived, err := hkdf.Key(sha256.New, s, nil, "mcp-forward-auth seal root v1", 32)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("id"), derived...))
		k.roots = append(k.roots, root{id: [keyIDSize]byte(sum[:keyIDSize]), secret: derived})
	}
	return k, nil
}

// IDs returns a short name of each secret, in order, that says nothing about it.
// What is sealed begins with that of the first.
func (k *Keyring) IDs() []string {
	ids := make([]string, len(k.roots))
	for i, r := range k.roots {
		ids[i] = hex.EncodeToString(r.id[:])
	}
	return ids
}

// Derive returns a secret of n bytes that only this label yields, from the
// first root. For keyed uses other than sealing, such as client secrets.
func (k *Keyring) Derive(label string, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, k.roots[0].secret, nil, "derive "+label, n)
}

// DeriveAll returns what Derive returns for each root in turn: what an older
// root yielded stays recognisable while that root is listed.
func (k *Keyring) DeriveAll(label string, n int) ([][]byte, error) {
	var out [][]byte
	for _, r := range k.roots {
		b, err := hkdf.Key(sha256.New, r.secret, nil, "derive "+label, n)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// String keeps key material out of logs.
func (k *Keyring) String() string { return "seal.Keyring" }

// Box seals values of type T for one purpose. The zero Box opens nothing.
type Box[T any] struct {
	keys    *Keyring
	purpose string
	packing *packing // nil: values are not compressed
}

// NewBox returns the box for purpose, a constant of the calling package.
func NewBox[T any](keys *Keyring, purpose string) Box[T] {
	return Box[T]{keys: keys, purpose: purpose}
}

// NewPackedBox returns a box for purpose whose values are compressed, for what
// has to fit a cookie or a URL. The dictionary is text that is common in such
// values. With another dictionary they do not open, or open as another text: change
// the purpose with it. The length of a sealed value
// then says something about its content, so do not seal what a stranger wrote
// together with a secret that can be guessed.
func NewPackedBox[T any](keys *Keyring, purpose, dictionary string) Box[T] {
	return Box[T]{keys: keys, purpose: purpose, packing: newPacking(dictionary)}
}

// Seal encrypts v so that it opens until expires (whole seconds, rounded down)
// and only with the same associated data.
func (b Box[T]) Seal(v T, expires time.Time, aad ...string) (string, error) {
	if b.keys == nil {
		return "", errors.New("seal: box without keys")
	}
	var plainText bytes.Buffer
	plainText.Write(binary.BigEndian.AppendUint64(nil, uint64(expires.Unix())))
	enc := json.NewEncoder(&plainText)
	enc.SetEscapeHTML(false) // "&" in six bytes would make a URL outgrow a cookie
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	plain := plainText.Bytes()
	if b.packing != nil {
		plain = append(plain[:expirySize:expirySize], b.packing.pack(plain[expirySize:])...)
	}

	r := b.keys.roots[0]
	out := make([]byte, keyIDSize+saltSize, keyIDSize+saltSize+len(plain)+64)
	copy(out, r.id[:])
	rand.Read(out[keyIDSize:])
	aead, err := b.aead(r, out[keyIDSize:])
	if err != nil {
		return "", err
	}
	out = aead.Seal(out, nil, plain, b.associated(aad))
	s := base64.RawURLEncoding.EncodeToString(out)
	if len(s) > maxSealed {
		return "", fmt.Errorf("seal: %s of %d bytes is larger than %d", b.purpose, len(s), maxSealed)
	}
	return s, nil
}

// Open returns what was sealed, or ErrInvalid or ErrExpired.
func (b Box[T]) Open(s string, aad ...string) (T, error) {
	v, expired, err := b.open(s, aad)
	if expired {
		return *new(T), ErrExpired
	}
	return v, err
}

// Late returns what was sealed although it has expired, to write down whose it was,
// or ErrInvalid.
func (b Box[T]) Late(s string, aad ...string) (T, error) {
	v, _, err := b.open(s, aad)
	return v, err
}

// open also says whether the value has expired, which only a genuine one has.
func (b Box[T]) open(s string, aad []string) (v T, expired bool, err error) {
	if b.keys == nil || len(s) > maxSealed {
		return v, false, ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// Go's decoder skips CR and LF even when strict; one value has one spelling.
	if err != nil || len(raw) < keyIDSize+saltSize || base64.RawURLEncoding.EncodedLen(len(raw)) != len(s) {
		return v, false, ErrInvalid
	}
	for _, r := range b.keys.roots {
		if r.id != [keyIDSize]byte(raw[:keyIDSize]) {
			continue
		}
		aead, err := b.aead(r, raw[keyIDSize:keyIDSize+saltSize])
		if err != nil {
			return v, false, err
		}
		plain, err := aead.Open(nil, nil, raw[keyIDSize+saltSize:], b.associated(aad))
		if err != nil || len(plain) < expirySize {
			return v, false, ErrInvalid
		}
		expired := b.keys.now().Unix() >= int64(binary.BigEndian.Uint64(plain))
		plain = plain[expirySize:]
		if b.packing != nil {
			if plain, err = b.packing.unpack(plain); err != nil {
				return v, false, ErrInvalid
			}
		}
		if err := json.Unmarshal(plain, &v); err != nil {
			return *new(T), false, ErrInvalid
		}
		return v, expired, nil
	}
	return v, false, ErrInvalid
}

// aead derives a key for this one message, so that random nonces never meet
// under the same key however many values are sealed.
func (b Box[T]) aead(r root, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, r.secret, salt, "box "+b.purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// associated joins purpose and data so that no two lists give the same bytes.
func (b Box[T]) associated(aad []string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(b.purpose)))
	out = append(out, b.purpose...)
	for _, a := range aad {
		out = binary.BigEndian.AppendUint32(out, uint32(len(a)))
		out = append(out, a...)
	}
	return out
}
