package token

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
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
	Lifetime time.Duration // five minutes at most
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
	digest := sha256.Sum256(out)
	sig, err := rsa.SignPKCS1v15(nil, key.Private, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	out = append(out, '.')
	return string(b64.AppendEncode(out, sig)), nil
}
