package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// algorithm is one that proofs may be signed with: none is symmetric (RFC 9449,
// section 11.6).
type algorithm struct {
	name string
	// fits reports whether a key is one of the algorithm's (RFC 8725, section 3.1).
	fits   func(key any) bool
	verify func(key any, signed string, signature []byte) bool
}

var algorithms = []algorithm{
	{"ES256", onCurve(elliptic.P256()), ecdsaWith(func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] })},
	{"ES384", onCurve(elliptic.P384()), ecdsaWith(func(s string) []byte { sum := sha512.Sum384([]byte(s)); return sum[:] })},
	{"Ed25519", isEd25519, ed25519With},
	{"EdDSA", isEd25519, ed25519With}, // the older name (RFC 9864)
	{"PS256", isRSA, rsaWith(func(k *rsa.PublicKey, sum, sig []byte) error {
		return rsa.VerifyPSS(k, crypto.SHA256, sum, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	})},
	{"RS256", isRSA, rsaWith(func(k *rsa.PublicKey, sum, sig []byte) error { return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum, sig) })},
}

// Algorithms lists the algorithms of proofs, for metadata and challenges.
func Algorithms() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// Bounds on RSA keys: the least of RFC 7518, section 3.3, and what a signature may
// cost to check.
const minRSABits, maxRSABits = 2048, 4096

func isRSA(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits && k.E >= 3
}

func isEd25519(key any) bool {
	k, ok := key.(ed25519.PublicKey)
	return ok && len(k) == ed25519.PublicKeySize
}

func onCurve(curve elliptic.Curve) func(any) bool {
	return func(key any) bool {
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

// ecdsaWith verifies the two numbers of RFC 7518, section 3.4, each as long as the
// curve's order.
func ecdsaWith(hash func(string) []byte) func(any, string, []byte) bool {
	return func(key any, signed string, signature []byte) bool {
		k := key.(*ecdsa.PublicKey)
		size := (k.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(k, hash(signed), r, s)
	}
}

func ed25519With(key any, signed string, signature []byte) bool {
	return ed25519.Verify(key.(ed25519.PublicKey), []byte(signed), signature)
}

func rsaWith(verify func(k *rsa.PublicKey, sum, sig []byte) error) func(any, string, []byte) bool {
	return func(key any, signed string, signature []byte) bool {
		sum := sha256.Sum256([]byte(signed))
		return verify(key.(*rsa.PublicKey), sum[:], signature) == nil
	}
}

// key is what the header of a proof says: a public key and the algorithm of the signature.
type key struct {
	algorithm  *algorithm
	public     any
	thumbprint string
}

func (k *key) verify(signed string, signature []byte) bool {
	return k.algorithm.verify(k.public, signed, signature)
}

// privateMembers are the parts of a JWK that must stay with its owner (RFC 7518, section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// publicMembers are the parts of a JWK that make a key. Certificates, and URLs of
// them, are not looked at.
var publicMembers = []string{"kty", "crv", "x", "y", "n", "e"}

// readHeader reads the header of a proof (RFC 9449, section 4.2, and section 4.3,
// checks 4, 5 and 7).
func readHeader(encoded string) (*key, error) {
	plain, ok := decode(encoded)
	members, err := strictjson.Members(plain, maxDepth)
	if !ok || err != nil {
		return nil, refuse(reasons.DPoPProofMalformed, "its header is not a JSON object in base64url")
	}
	if _, critical := members["crit"]; critical { // no extension is understood (RFC 7515, section 4.1.11)
		return nil, refuse(reasons.DPoPProofMalformed, "its header has crit, and no extension is supported")
	}
	if typ, _ := text(members["typ"]); typ != "dpop+jwt" {
		return nil, refuse(reasons.DPoPProofType, fmt.Sprintf("typ is %q", typ))
	}
	alg, _ := text(members["alg"])
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == alg })
	if i < 0 {
		return nil, refuse(reasons.DPoPProofAlgorithm, fmt.Sprintf("alg is %q", alg))
	}
	return readKey(members["jwk"], &algorithms[i])
}

func readKey(raw json.RawMessage, a *algorithm) (*key, error) {
	refused := refuse(reasons.DPoPProofKey, "its jwk is no public key for", a.name)
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil, refuse(reasons.DPoPProofKey, "its header has no jwk")
	}
	public := map[string]json.RawMessage{}
	for name, value := range members {
		switch {
		case slices.Contains(privateMembers, strings.ToLower(name)):
			return nil, refuse(reasons.DPoPProofKey, "its jwk has the private member", strings.ToLower(name)+": the client has sent its private key; it must make a new one")
		case slices.Contains(publicMembers, name):
			public[name] = value
		case name == "alg":
			if alg, ok := text(value); !ok || alg != a.name {
				return nil, refused
			}
		}
	}
	plain, err := json.Marshal(public)
	if err != nil {
		return nil, refused
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(plain) != nil || !jwk.Valid() || !jwk.IsPublic() || !a.fits(jwk.Key) {
		return nil, refused
	}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, refused
	}
	return &key{a, jwk.Key, base64.RawURLEncoding.EncodeToString(thumbprint)}, nil
}

// maxKeys bounds the keys that are remembered, in some 3 KB each at most.
const maxKeys = 1 << 12

// keys remembers keys by the header that they came in: a client's proofs all have
// the same one, so that a key is read once.
type keys struct {
	mu sync.RWMutex
	by map[string]*key
}

// of returns the key of an encoded header. Known says that it is remembered, so
// that a signature of it was verified before.
func (k *keys) of(header string) (found *key, known bool, err error) {
	k.mu.RLock()
	found = k.by[header]
	k.mu.RUnlock()
	if found != nil {
		return found, true, nil
	}
	found, err = readHeader(header)
	return found, false, err
}

// remember keeps a key that made a signature. In place of another, if there are
// many: which one is left to chance, so that no client can choose.
func (k *keys) remember(header string, made *key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil {
		k.by = map[string]*key{}
	}
	if len(k.by) >= maxKeys {
		for other := range k.by {
			delete(k.by, other)
			break
		}
	}
	k.by[strings.Clone(header)] = made
}
