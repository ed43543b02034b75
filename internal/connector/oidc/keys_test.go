package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

func TestUsableKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(key jose.JSONWebKey) json.RawMessage {
		b, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// RFC 7517, section 4.7: x5c is optional. Providers publish certificates that
	// Go does not parse (a negative serial number), or none at all in its place.
	withCertificate := func(key json.RawMessage) json.RawMessage {
		return json.RawMessage(strings.TrimSuffix(string(key), "}") + `,"x5c":["bm90IGEgY2VydGlmaWNhdGU="],"x5t":"AA","x5t#S256":7,"x5u":"::"}`)
	}
	set := []json.RawMessage{
		withCertificate(raw(jose.JSONWebKey{Key: &rsaKey.PublicKey, KeyID: "rsa", Use: "sig"})),
		raw(jose.JSONWebKey{Key: &ecKey.PublicKey, KeyID: "ec"}),
		raw(jose.JSONWebKey{Key: edPublic, KeyID: "ed"}),
		// None of these may verify anything.
		raw(jose.JSONWebKey{Key: []byte("a symmetric key that everyone can read"), KeyID: "oct"}),
		raw(jose.JSONWebKey{Key: rsaKey, KeyID: "private"}),
		raw(jose.JSONWebKey{Key: &rsaKey.PublicKey, KeyID: "enc", Use: "enc"}),
		raw(jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey.N, 1024), E: 65537}, KeyID: "short"}),
		json.RawMessage(`{"kty":"OKP","crv":"Ed448","x":"AA","kid":"unknown"}`),
		json.RawMessage(`{"kty":"RSA","kid":"incomplete"}`),
		json.RawMessage(`7`),
	}
	var left []string
	ctx := connector.WithNotices(t.Context(), func(n connector.Notice) { left = append(left, string(n.Kind)+" "+n.Name+": "+n.Problem) })
	keys := usableKeys(ctx, jwks.Document{Keys: set})
	want := []string{"oct: it is private or symmetric", "private: it is private or symmetric", "short: it is an RSA key of 1024 bits", "unknown: ", "incomplete: ", ": it is not an object"}
	if len(left) != len(want) {
		t.Fatalf("reported %q", left)
	}
	for i := range want {
		if !strings.HasPrefix(left[i], "key "+want[i]) {
			t.Errorf("reported %q, want %q", left[i], want[i])
		}
	}
	got := ""
	for _, k := range keys {
		got += k.KeyID + " "
	}
	if got != "rsa ec ed " {
		t.Fatalf("AS-FED-04 usable keys: %s", got)
	}

	sign := func(alg jose.SignatureAlgorithm, key any, kid string) *jose.JSONWebSignature {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := s.Sign([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct {
		name string
		jws  *jose.JSONWebSignature
		ok   bool
	}{
		{"RS256", sign(jose.RS256, rsaKey, "rsa"), true},
		{"PS256", sign(jose.PS256, rsaKey, "rsa"), true},
		{"ES256", sign(jose.ES256, ecKey, "ec"), true},
		{"EdDSA", sign(jose.EdDSA, edKey, "ed"), true},
		{"right key under another kid", sign(jose.RS256, rsaKey, "ec"), false},
		{"symmetric key of the set", sign(jose.HS256, []byte("a symmetric key that everyone can read"), "oct"), false},
	} {
		t.Run("AS-FED-04 "+c.name, func(t *testing.T) {
			if payload, _ := verifyWith(keys, c.jws); (payload != nil) != c.ok {
				t.Errorf("verified: %s", payload)
			}
		})
	}
	keys[0].Algorithm = "PS256"
	if payload, _ := verifyWith(keys, sign(jose.RS256, rsaKey, "rsa")); payload != nil {
		t.Error("AS-FED-04 a key for PS256 verified RS256")
	}
}

func TestMoved(t *testing.T) {
	for _, tt := range []struct{ endpoint, issuer, backChannel, want string }{
		{"https://sso.example/realms/x/token", "https://sso.example/realms/x", "http://kc.iam.svc:8080/realms/x", "http://kc.iam.svc:8080/realms/x/token"},
		{"https://sso.example/auth/realms/x/token", "https://sso.example/auth/realms/x", "http://kc:8080/realms/x/", "http://kc:8080/realms/x/token"},
		{"https://sso.example/keys?v=2", "https://sso.example/realms/x/", "https://kc:8443/realms/x", "https://kc:8443/keys?v=2"},
		{"https://keys.example/x", "https://sso.example", "http://kc:8080", "https://keys.example/x"},
		{"http://sso.example/token", "https://sso.example", "http://kc:8080", "http://sso.example/token"},
		{"https://sso.example.attacker.example/t", "https://sso.example", "http://kc:8080", "https://sso.example.attacker.example/t"},
		{"http://kc:8080/realms/x/token", "https://sso.example/realms/x", "http://kc:8080/realms/x", "http://kc:8080/realms/x/token"},
	} {
		if got := moved(tt.endpoint, tt.issuer, tt.backChannel); got != tt.want {
			t.Errorf("%s at %s: %s, want %s", tt.endpoint, tt.backChannel, got, tt.want)
		}
	}
}
