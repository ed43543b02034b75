package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// IdentityType is the typ of identity tokens. An access token has another, and
// Verifier takes no other than that, so neither can stand for the other
// (RFC 8725, section 3.11).
const IdentityType = "mcp-identity+jwt"

// Identity says to one MCP server who is calling. Unlike an access token it is
// for the server alone, holds personal data in the clear, and opens nothing.
type Identity struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"` // the resource
	Subject  string   `json:"sub"`
	Email    string   `json:"email,omitempty"`
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	// GroupsOmitted: the person is in more groups than an access token or a header
	// can hold; some or all are left out.
	GroupsOmitted bool   `json:"groups_omitted,omitempty"`
	Client        string `json:"client_id"` // shortened, as in the audit log
	Scope         string `json:"scope"`
	// Roles and Context are what a platform says of its workload besides its groups.
	Roles   []string `json:"roles,omitempty"`
	Context string   `json:"ctx,omitempty"`
	// Act is who acts for the subject; nil if it acts alone (RFC 8693, section 4.1).
	Act *actor.Actor `json:"act,omitempty"`
	// Ticket is a sealed Ticket, where the server may exchange the token.
	Ticket string `json:"ticket,omitempty"`

	IssuedAt int64 `json:"iat,omitempty"` // of one that was read, as Expires
	Expires  int64 `json:"exp,omitempty"`
}

// Ticket is what an identity token says to this service alone: the access token and the
// sign-in that it was made of. It is bound to the issuer, the audience and the subject.
type Ticket struct {
	Family  string `json:"family"`
	TokenID string `json:"jti"`
	Issued  int64  `json:"iat"` // when the access token was issued
	Expires int64  `json:"exp"` // and when it dies
	// EmailUnknown: the provider told an address that cannot be read.
	EmailUnknown bool `json:"noemail,omitempty"`
	// Provider: the server got a token of the identity provider, too.
	Provider bool `json:"idp,omitempty"`
}

// Payload is the part of an identity token that stays the same each time it is
// signed: a JSON object without its end.
func (i Identity) Payload() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(i); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("}\n"))), nil
}

// Identities signs identity tokens, with the keys that sign access tokens.
type Identities struct {
	Keys     *keyset.Set
	Tickets  Tickets
	Lifetime time.Duration // five minutes at most
}

// Tickets seals and opens the Ticket of an identity token.
type Tickets struct{ box seal.Box[Ticket] }

// NewTickets returns the tickets of this keyring.
func NewTickets(keys *seal.Keyring) Tickets {
	return Tickets{seal.NewBox[Ticket](keys, "ticket in identity token")}
}

// Add puts t into id, which must be complete but for it.
func (x Tickets) Add(id *Identity, t Ticket) (err error) {
	id.Ticket, err = x.box.Seal(t, time.Unix(t.Expires, 0), id.owner())
	return err
}

// owner is what the ticket of i is bound to.
func (i *Identity) owner() string { return i.Issuer + "\x00" + i.Audience + "\x00" + i.Subject }

// IdentityVerifier reads identity tokens of this service that come back to it.
type IdentityVerifier struct {
	Keys    *keyset.Set
	Tickets Tickets
	Now     func() time.Time
}

// MaxIdentityBytes bounds an identity token: the headers of a gateway hold no longer one.
const MaxIdentityBytes = 8 << 10

// Open returns what an identity token says that this service signed as issuer and that
// is alive, with its ticket. Errors are as those of Verifier; one without a ticket, or
// whose access token is dead, is refused too.
func (v *IdentityVerifier) Open(raw, issuer string) (Identity, Ticket, error) {
	id, err := v.verify(raw)
	if err != nil {
		return Identity{}, Ticket{}, err
	}
	now := v.Now()
	switch {
	case id.Issuer != issuer:
		return Identity{}, Ticket{}, ErrIssuer
	case now.Unix() >= id.Expires:
		return Identity{}, Ticket{}, ErrExpired
	case time.Unix(id.IssuedAt, 0).After(now.Add(keyset.Skew)):
		return Identity{}, Ticket{}, ErrNotYet
	case id.Ticket == "":
		return Identity{}, Ticket{}, ErrNoTicket
	}
	t, err := v.Tickets.box.Open(id.Ticket, id.owner())
	switch {
	case errors.Is(err, seal.ErrExpired):
		return Identity{}, Ticket{}, ErrExpired
	case err != nil:
		return Identity{}, Ticket{}, ErrSignature
	}
	return id, t, nil
}

// ErrNoTicket: an identity token that says nothing of a sign-in to go on with.
var ErrNoTicket = errors.New("no_ticket")

// verify checks form and signature. Its bytes are then those that Sign made.
func (v *IdentityVerifier) verify(raw string) (id Identity, err error) {
	if len(raw) > MaxIdentityBytes {
		return id, ErrMalformed
	}
	header, rest, ok := strings.Cut(raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.ContainsRune(signature, '.') {
		return id, ErrMalformed
	}
	key, err := headerKey(v.Keys, header, identityHeaderEnd)
	if err != nil {
		return id, err
	}
	sig, err := decodeStrict(signature)
	if err != nil {
		return id, ErrMalformed
	}
	plain, err := decodeStrict(payload)
	if err != nil {
		return id, ErrMalformed
	}
	if !key.Verify(sha256.Sum256([]byte(raw[:len(header)+1+len(payload)])), sig) {
		return id, ErrSignature
	}
	if err := json.Unmarshal(plain, &id); err != nil {
		return id, ErrMalformed
	}
	return id, nil
}

const (
	identityHeaderEnd = `","typ":"` + IdentityType + `"}`
	identityTimes     = len(`,"iat":,"exp":}`) + 2*len("2000000000")
	signatureBytes    = 256 // RSA 2048
)

// Size is how long an identity token with this payload is.
func (*Identities) Size(payload string) int {
	n := base64.RawURLEncoding.EncodedLen
	return n(len(headerStart)+43+len(identityHeaderEnd)) + 1 + n(len(payload)+identityTimes) + 1 + n(signatureBytes)
}

// Sign makes an identity token that is valid until expires. It takes about a
// millisecond.
func (i *Identities) Sign(payload string, now, expires time.Time) (string, error) {
	key := i.Keys.Signing()
	plain := make([]byte, 0, len(payload)+identityTimes)
	plain = append(append(plain, payload...), `,"iat":`...)
	plain = append(strconv.AppendInt(plain, now.Unix(), 10), `,"exp":`...)
	plain = append(strconv.AppendInt(plain, expires.Unix(), 10), '}')
	b64 := base64.RawURLEncoding
	out := make([]byte, 0, i.Size(payload))
	out = b64.AppendEncode(out, []byte(headerStart+key.ID+identityHeaderEnd))
	out = append(out, '.')
	out = b64.AppendEncode(out, plain)
	sig, err := key.Sign(sha256.Sum256(out))
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	out = append(out, '.')
	return string(b64.AppendEncode(out, sig)), nil
}
