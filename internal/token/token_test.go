package token

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const issuer, audience = "https://mcp.example.com", "https://mcp.example.com/mcp"

// parts returns an issuer and a verifier that share keys and a clock.
func parts(t testing.TB, now *time.Time) (*Issuer, *Verifier) {
	t.Helper()
	clock := func() time.Time { return *now }
	secret := []byte(strings.Repeat("s", 32))
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: secret, Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.NewKeyring(clock, secret)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{Keys: keys, Persons: NewPersons(ring), Lifetime: time.Hour, Now: clock}, &Verifier{Keys: keys, Persons: NewPersons(ring), Now: clock}
}

func claims() Claims {
	return Claims{Issuer: issuer, Audience: audience, Subject: "static:alice", ClientID: "client", Scope: "a b"}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	i, v := parts(t, &now)
	raw, minted, err := i.Mint(claims(), Person{Email: "alice@example.com", Groups: []string{"g"}, Flow: "flow"})
	if err != nil {
		t.Fatal(err)
	}
	if got := minted.Expires - minted.IssuedAt; got != 3600 || minted.ID == "" {
		t.Errorf("AS-AT-03: %+v", minted)
	}
	if strings.Contains(decoded(t, raw, 1), "alice@example.com") {
		t.Error("AS-AT-04: the token tells everybody the e-mail address")
	}
	tests := []struct {
		name             string
		issuer, audience string
		after            time.Duration
		want             error
	}{
		{"good", issuer, audience, 0, nil},
		{"last second", issuer, audience, time.Hour - time.Second, nil},
		{"RS-VAL-04 expired", issuer, audience, time.Hour, ErrExpired},
		{"RS-VAL-04 from the future", issuer, audience, -2 * time.Minute, ErrNotYet},
		{"RS-VAL-04 a clock a little behind", issuer, audience, -30 * time.Second, nil},
		{"RS-VAL-03 other issuer", "https://other.example.com", audience, 0, ErrIssuer},
		{"RS-VAL-03 other audience", issuer, audience + "2", 0, ErrAudience},
	}
	start := now
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now = start.Add(tt.after)
			defer func() { now = start }()
			c, err := v.Verify(raw, tt.issuer, tt.audience)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if c.Person.Email != "alice@example.com" || c.Person.Flow != "flow" {
				t.Errorf("person %+v", c.Person)
			}
		})
	}
}

// signed returns a token with this payload and a valid signature.
func signed(t *testing.T, i *Issuer, header, payload string) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	head := header + "." + b64.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(head))
	sig, err := rsa.SignPKCS1v15(nil, i.Keys.Signing().Private, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return head + "." + b64.EncodeToString(sig)
}

// The seal is bound to every claim: the signing key alone is not enough to make a
// token, and a forged one is refused before its signature is checked.
func TestSealIsBoundToThePayload(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	i, v := parts(t, &now)
	c := claims()
	c.Family = "family"
	raw, _, err := i.Mint(c, Person{Email: "alice@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(raw, ".")
	payload := decoded(t, raw, 1)
	if _, err := v.Verify(signed(t, i, header, payload), issuer, audience); err != nil {
		t.Fatalf("the payload as it was: %v", err)
	}
	if _, err := v.Verify(raw[:len(raw)-8]+"AAAAAAAA", issuer, audience); !errors.Is(err, ErrSignature) {
		t.Errorf("another signature: %v", err)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(payload), &members); err != nil || len(members) != 10 {
		t.Fatalf("%v, %v", members, err)
	}
	for at := range len(payload) - len(payloadEnd) {
		changed := []byte(payload)
		changed[at] ^= 1
		if _, err := v.Verify(signed(t, i, header, string(changed)), issuer, audience); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("byte %d of %s changed: %v", at, payload, err)
		}
	}
	other, _, err := i.Mint(claims(), Person{Email: "bob@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	_, mine, _ := strings.Cut(payload, personStart)
	theirs, _, _ := strings.Cut(decoded(t, other, 1), personStart)
	for name, forged := range map[string]string{
		"of another token":      theirs + personStart + mine,
		"none":                  theirs + "}",
		"two":                   strings.TrimSuffix(payload, "}") + personStart + mine,
		"not at the end":        strings.TrimSuffix(payload, "}") + `,"x":""}`,
		"empty":                 theirs + personStart + payloadEnd,
		"nothing but the seal":  "{" + personStart[1:] + mine,
		"nothing at all":        "",
		"a payload without one": "{}",
	} {
		if _, err := v.Verify(signed(t, i, header, forged), issuer, audience); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargeClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	i, v := parts(t, &now)
	groups := make([]string, 500)
	for n := range groups {
		groups[n] = strings.Repeat("g", 20)
	}
	raw, _, err := i.Mint(claims(), Person{Email: "alice@example.com", Groups: groups})
	if err != nil || len(raw) > MaxBytes {
		t.Fatalf("AS-TOK-15: %d bytes, %v", len(raw), err)
	}
	c, err := v.Verify(raw, issuer, audience)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Person.Groups); n == 0 || n == 500 {
		t.Errorf("%d groups", n)
	}
	huge := claims()
	huge.Scope = strings.Repeat("s", MaxBytes)
	if _, _, err := i.Mint(huge, Person{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

// FuzzVerify: what is accepted is our own token, for this issuer and
// audience, with our algorithm and type.
func FuzzVerify(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	i, v := parts(f, &now)
	good, _, err := i.Mint(claims(), Person{})
	if err != nil {
		f.Fatal(err)
	}
	header, rest, _ := strings.Cut(good, ".")
	f.Add(good)
	f.Add(good + "=")
	f.Add(header + "\n." + rest)
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + rest)
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := v.Verify(raw, issuer, audience)
		if err != nil {
			return
		}
		// Every process that fuzzes mints its own token, with the same key.
		for part := range 3 {
			if spelled := strings.Split(raw, ".")[part]; base64.RawURLEncoding.EncodeToString([]byte(decoded(t, raw, part))) != spelled {
				t.Fatalf("part %d has a second spelling: %q", part, spelled)
			}
		}
		want := claims()
		if strings.Count(raw, ".") != 2 || c.Subject != want.Subject || c.Scope != want.Scope || c.ClientID != want.ClientID {
			t.Fatalf("accepted a token that was not issued: %q", raw)
		}
		var h map[string]string
		if json.Unmarshal([]byte(decoded(t, raw, 0)), &h) != nil || h["alg"] != "RS256" || h["typ"] != "at+jwt" || len(h) != 3 {
			t.Fatalf("header %v", h)
		}
		if c.Issuer != issuer || c.Audience != audience {
			t.Fatalf("claims %+v", c)
		}
	})
}

func decoded(t testing.TB, raw string, part int) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[part])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
