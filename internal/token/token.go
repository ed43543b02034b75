// Package token makes and checks access tokens: RS256 JWTs of the profile in
// RFC 9068. A token is accepted only if its header is, byte for byte, one that
// this package writes; that leaves no room for another algorithm, a key in the
// header, a critical extension or a second encoding. Pure but for the keys.
package token

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// MaxBytes bounds a token that is issued. Proxies commonly give a request header
// 8 KB and a response header 4 KB. MaxWithProvider bounds one that carries a token
// of the identity provider, and so every token that is read.
const (
	MaxBytes        = 4 << 10
	MaxWithProvider = 7 << 10
)

// Claims are the claims of an access token (RFC 9068, section 2.2).
type Claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	// Act is who acts for the subject; nil if it acts alone (RFC 8693, section 4.1).
	Act *actor.Actor `json:"act,omitempty"`
	// Family is the sign-in that the token comes from, for revocation.
	Family string `json:"family,omitempty"`
	// Confirmation is the key that the client must prove (RFC 7800; RFC 9449, section
	// 6.1); the zero value is a token that is bound to none.
	Confirmation Confirmation `json:"cnf,omitzero"`
	// Sealed is the Person, readable by this service only. It is the last member,
	// and bound to all that stands before it.
	Sealed string `json:"person"`
	// Person is what Sealed holds, of claims that a Verifier returns.
	Person Person `json:"-"`
}

// Confirmation names a key.
type Confirmation struct {
	// Thumbprint is that of the key (RFC 7638, SHA-256, base64url).
	Thumbprint string `json:"jkt"`
}

// Person is what identity headers are made of. It travels sealed in the token,
// so that any replica can set the headers and no other party can read them: the
// token itself holds no personal data but the subject (RFC 9068, section 6).
type Person struct {
	Email  string   `json:"email,omitempty"`
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Flow   string   `json:"flow,omitempty"` // audit flow of the sign-in
	// Policy is which rules hold for the person and the client, see policy.Match.
	Policy string `json:"policy,omitempty"`
	// Generation is that of the refresh token that the access token came with; 0
	// for none, and for that of the sign-in itself.
	Generation int `json:"gen,omitempty"`
	// Roles and Context are what a platform says of its workload besides its groups.
	Roles   []string `json:"roles,omitempty"`
	Context string   `json:"ctx,omitempty"`
	// GroupsCut: there were more groups than an access token can hold.
	GroupsCut bool `json:"cut,omitempty"`
	// Provider is the token of the identity provider that the MCP server gets, where
	// the access token carries it. Held: it does not, but there is one.
	Provider Provider `json:"idp,omitempty"`
	Held     bool     `json:"held,omitempty"`
	// Agreed is what the person agreed to, see catalog.Agree; "" where nothing is held
	// to it.
	Agreed string `json:"agreed,omitempty"`
}

// Provider is a token of an identity provider. Only an MCP server ever gets it.
type Provider string

// Format keeps the token out of every kind of print.
func (Provider) Format(f fmt.State, _ rune) { io.WriteString(f, "[token of the identity provider]") }

// LogValue keeps the token out of logs.
func (Provider) LogValue() slog.Value { return slog.StringValue("[token of the identity provider]") }

// ExpiresAt returns exp as a time.
func (c *Claims) ExpiresAt() time.Time { return time.Unix(c.Expires, 0) }

// Scopes returns the scope claim as a set.
func (c *Claims) Scopes() oauth.Scopes { return strings.Fields(c.Scope) }

// ErrTooLarge: the claims do not fit a token of MaxBytes, or of MaxWithProvider.
var ErrTooLarge = errors.New("access token would be larger than a header can hold")

// Persons seals and opens the Person of a token.
type Persons struct{ box seal.Box[Person] }

// NewPersons returns the persons of this keyring.
func NewPersons(keys *seal.Keyring) Persons {
	return Persons{seal.NewBox[Person](keys, "person in access token")}
}

// Issuer mints tokens.
type Issuer struct {
	Keys     *keyset.Set
	Persons  Persons
	Lifetime time.Duration // one hour at most
	Now      func() time.Time
}

// Mint fills in jti, iat and exp, seals person, signs, and returns the token
// with its claims. An exp that is set bounds the token's life. If the person makes the token too large for a header, some
// groups are left out, then the name: that only ever takes rights away.
// ErrTooLarge means that even then it would not fit.
func (i *Issuer) Mint(c Claims, person Person) (string, Claims, error) {
	for {
		raw, minted, err := i.mint(c, person)
		switch {
		case !errors.Is(err, ErrTooLarge):
			return raw, minted, err
		case len(person.Groups) > 0:
			person.Groups, person.GroupsCut = person.Groups[:len(person.Groups)/2], true
		case person.Name != "":
			person.Name = ""
		default:
			return raw, minted, err
		}
	}
}

func (i *Issuer) mint(c Claims, person Person) (string, Claims, error) {
	now := i.Now()
	c.ID = rand.Text()
	c.IssuedAt = now.Unix()
	if end := now.Add(i.Lifetime).Unix(); c.Expires == 0 || end < c.Expires {
		c.Expires = end
	}
	c.Sealed = ""
	payload, err := marshal(c)
	if err != nil {
		return "", c, err
	}
	payload = bytes.TrimSuffix(payload, []byte(payloadEnd))
	if c.Sealed, err = i.Persons.box.Seal(person, c.ExpiresAt(), string(payload)); err != nil {
		return "", c, err
	}
	payload = append(append(payload, c.Sealed...), payloadEnd...)
	key := i.Keys.Signing()
	b64 := base64.RawURLEncoding
	out := make([]byte, 0, len(headerStart)+2*len(payload)+400)
	out = b64.AppendEncode(out, []byte(headerStart+key.ID+headerEnd))
	out = append(out, '.')
	out = b64.AppendEncode(out, payload)
	most := MaxBytes
	if person.Provider != "" {
		most = MaxWithProvider
	}
	if len(out)+1+b64.EncodedLen(key.Private.Size()) > most {
		return "", c, ErrTooLarge
	}
	sig, err := key.Sign(sha256.Sum256(out))
	if err != nil {
		return "", c, fmt.Errorf("signing: %w", err)
	}
	out = append(out, '.')
	out = b64.AppendEncode(out, sig)
	return string(out), c, nil
}

// marshal is json.Marshal without its care for HTML, which would write the "&"
// of a URL in six bytes.
func marshal(c Claims) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(c)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

const (
	headerStart = `{"alg":"RS256","kid":"`
	headerEnd   = `","typ":"at+jwt"}`
	// A payload ends with the sealed person, between these.
	personStart = `,"person":"`
	payloadEnd  = `"}`

	headerBytes = len(headerStart) + 43 + len(headerEnd) // a kid is a SHA-256 in base64url
)

// Reasons a token is refused, for the audit log. To the client they look alike.
var (
	ErrMalformed = errors.New("malformed_token")
	ErrHeader    = errors.New("foreign_token_header")
	ErrKey       = errors.New("unknown_signing_key")
	ErrSignature = errors.New("bad_signature")
	ErrIssuer    = errors.New("wrong_issuer")
	ErrAudience  = errors.New("wrong_audience")
	ErrExpired   = errors.New("expired_token")
	ErrNotYet    = errors.New("token_from_the_future")
)

// Verifier checks tokens. It needs no network and takes no lock.
type Verifier struct {
	Keys    *keyset.Set
	Persons Persons
	Now     func() time.Time
}

// Verify returns the claims of a token that we signed, that is alive, and whose
// issuer and audience are exactly these (RFC 9068, section 4).
func (v *Verifier) Verify(raw, issuer, audience string) (*Claims, error) {
	c, err := v.Open(raw, issuer)
	if err == nil && c.Audience != audience {
		return nil, ErrAudience
	}
	return c, err
}

// Open verifies without checking the audience, for revocation and introspection.
func (v *Verifier) Open(raw, issuer string) (*Claims, error) {
	if len(raw) > MaxWithProvider {
		return nil, ErrMalformed
	}
	header, rest, ok := strings.Cut(raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.ContainsRune(signature, '.') {
		return nil, ErrMalformed
	}
	key, err := v.key(header)
	if err != nil {
		return nil, err
	}
	sig, err := decodeStrict(signature)
	if err != nil {
		return nil, ErrMalformed
	}
	plain, err := decodeStrict(payload)
	if err != nil {
		return nil, ErrMalformed
	}
	// The seal holds for the whole payload and takes a fraction of the signature's
	// time to check, so that a flood of forged tokens costs little.
	person, err := v.person(string(plain))
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(raw[:len(header)+1+len(payload)]))
	if !key.Verify(digest, sig) {
		return nil, ErrSignature
	}
	// From here on the bytes are our own.
	c, err := parse(plain)
	if err != nil || c.Subject == "" || c.ID == "" {
		return nil, ErrMalformed
	}
	c.Person = person
	now := v.Now()
	switch {
	case c.Issuer != issuer:
		return nil, ErrIssuer
	case !now.Before(c.ExpiresAt()):
		return nil, ErrExpired
	case time.Unix(c.IssuedAt, 0).After(now.Add(keyset.Skew)):
		return nil, ErrNotYet
	}
	return c, nil
}

// person opens the sealed person of a payload, which shows that this service
// wrote all of it.
func (v *Verifier) person(payload string) (Person, error) {
	body, ok := strings.CutSuffix(payload, payloadEnd)
	at := strings.LastIndex(body, personStart)
	if !ok || at < 0 {
		return Person{}, ErrMalformed
	}
	at += len(personStart)
	p, err := v.Persons.box.Open(body[at:], body[:at])
	switch {
	case errors.Is(err, seal.ErrExpired):
		return Person{}, ErrExpired
	case err != nil:
		return Person{}, ErrSignature
	}
	return p, nil
}

// headerForm is what the header of every access token begins with: headerStart in
// base64, without the last character, which depends on the kid too.
var headerForm = base64.RawURLEncoding.EncodeToString([]byte(headerStart[:len(headerStart)/3*3]))

// HasForm reports whether raw has a header like that of the access tokens that
// this package makes. Verify refuses every token without one.
func HasForm(raw string) bool {
	header, _, _ := strings.Cut(raw, ".")
	return len(header) == base64.RawURLEncoding.EncodedLen(headerBytes) && strings.HasPrefix(header, headerForm)
}

func (v *Verifier) key(header string) (*keyset.PublicKey, error) {
	if !HasForm(header) {
		return nil, ErrHeader
	}
	return headerKey(v.Keys, header, headerEnd)
}

// headerKey returns the key that a header names, which ends like those of its type.
func headerKey(keys *keyset.Set, header, end string) (*keyset.PublicKey, error) {
	plain, err := decodeStrict(header)
	if err != nil {
		return nil, ErrHeader
	}
	kid, ok := bytes.CutPrefix(plain, []byte(headerStart))
	if !ok {
		return nil, ErrHeader
	}
	if kid, ok = bytes.CutSuffix(kid, []byte(end)); !ok {
		return nil, ErrHeader
	}
	if key := keys.Public(kid); key != nil {
		return key, nil
	}
	return nil, ErrKey
}

// decodeStrict decodes the one canonical spelling of unpadded base64url. Go's
// decoder skips CR and LF even when strict, hence the length check.
func decodeStrict(s string) ([]byte, error) {
	out, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil && base64.RawURLEncoding.EncodedLen(len(out)) != len(s) {
		err = ErrMalformed
	}
	return out, err
}
