// Package dpop verifies DPoP proofs (RFC 9449): JWTs by which a client shows with
// each request that it has the private key that a token is bound to. It is the one
// verifier for the token endpoint, the pushed authorization requests and the
// decisions at gateways.
//
// It says whether a proof is good for a request, and whose key made it. Whether
// that is the key of the token is for the caller to compare, and so is what happens
// to a proof that was seen before: decisions remember proofs in a Memory, the token
// endpoint spends them at its guard.
//
// The URL of a request is what the configuration and the gateway say of it, never
// what the client says. Every input is bounded: a proof in bytes, its key in bits,
// and what is remembered in entries.
package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Scheme of Authorization, and Header with the proof (RFC 9449, sections 4 and 7.1).
const (
	Scheme = "DPoP"
	Header = "DPoP"
	// NonceHeader brings the client a nonce for its next proofs (section 8.1).
	NonceHeader = "DPoP-Nonce"
)

const (
	// Window is how far the time in a proof may be from now, on both sides: the five
	// minutes of the MCP profile (SEP-1932).
	Window = 5 * time.Minute
	// maxProof bounds a proof. One with an RSA key of 4096 bits has some 2200 bytes.
	maxProof = 4 << 10
	// maxID bounds a jti; 96 bits of chance take 16 characters (section 4.2).
	maxID = 256
	// maxDepth of the JSON in a proof: claims that are not looked at may nest a little.
	maxDepth = 5
)

// Refused is the error for a proof that is refused.
type Refused struct {
	Reason reasons.Reason
	// Detail says for the audit log what differs, "" if the reason says all. It quotes
	// what the client wrote.
	Detail string
}

func (r Refused) Error() string { return r.Reason.Meaning() }

// Cause is the detail as an error, nil without one.
func (r Refused) Cause() error {
	if r.Detail == "" {
		return nil
	}
	return errors.New(r.Detail)
}

// refuse makes a Refused.
func refuse(reason reasons.Reason, detail ...string) Refused {
	return Refused{reason, strings.Join(detail, " ")}
}

// Request is what a proof has to be for.
type Request struct {
	// Method is the HTTP method of the request that carries the proof.
	Method string
	// Origin and Path are the URL of that request without query: scheme and host in
	// canonical form, and the path as it was sent, percent-encoded.
	Origin, Path string
	// TokenHash is the SHA-256 of the access token beside the proof, nil at the
	// authorization server, where there is none.
	TokenHash *[sha256.Size]byte
}

// Proof is a proof that is good for a request.
type Proof struct {
	// Thumbprint is that of the key that made it (RFC 7638, SHA-256, base64url).
	Thumbprint string
	// ID names this one proof of the key, for a memory of what was used.
	ID ID
	// Expires is when the proof is too old to be accepted, so that it need not be
	// remembered any longer.
	Expires time.Time
	// NextNonce is a nonce for the client's next proofs, "" if it may go on with the
	// one that it has.
	NextNonce string
}

// ID is the first half of a SHA-256.
type ID [16]byte

// String returns the ID in base64url.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Verifier verifies proofs. It is safe for concurrent use, reaches no network and
// waits for nothing.
type Verifier struct {
	nonces *Nonces
	now    func() time.Time
	keys   keys
}

// New returns a Verifier. Nonces are demanded in each proof; nil demands none.
func New(nonces *Nonces, now func() time.Time) *Verifier {
	return &Verifier{nonces: nonces, now: now}
}

// Nonce returns a nonce for proofs at the host with this origin, "" where none is demanded.
func (v *Verifier) Nonce(origin string) string {
	if v.nonces == nil {
		return ""
	}
	return v.nonces.Issue(origin)
}

// Verify checks the values of the request's DPoP headers; there must be exactly one
// (RFC 9449, section 4.3). Errors are Refused. What costs little is checked first: the
// signature of a proof that is refused anyway is not looked at.
func (v *Verifier) Verify(headers []string, r Request) (Proof, error) {
	switch {
	case len(headers) == 0:
		return Proof{}, refuse(reasons.DPoPProofMissing)
	case len(headers) > 1:
		return Proof{}, refuse(reasons.DPoPProofRepeated)
	case len(headers[0]) > maxProof:
		return Proof{}, refuse(reasons.DPoPProofMalformed, fmt.Sprintf("it has %d bytes, of at most %d", len(headers[0]), maxProof))
	}
	raw := headers[0]
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	sig, valid := decode(signature)
	if !ok || !valid || len(sig) == 0 {
		return Proof{}, refuse(reasons.DPoPProofMalformed, "it does not have the three parts of a signed JWT, in base64url")
	}
	key, known, err := v.keys.of(header)
	if err != nil {
		return Proof{}, err
	}
	c, err := readClaims(payload)
	if err != nil {
		return Proof{}, err
	}
	now := v.now().Truncate(time.Second) // as times in proofs mostly are
	if err := c.check(r, now); err != nil {
		return Proof{}, err
	}
	next, err := v.checkNonce(c.nonce, r.Origin)
	if err != nil {
		return Proof{}, err
	}
	if !key.verify(raw[:len(header)+1+len(payload)], sig) {
		return Proof{}, refuse(reasons.DPoPProofSignature)
	}
	if !known { // only keys that were used are worth remembering
		v.keys.remember(header, key)
	}
	return Proof{Thumbprint: key.thumbprint, ID: idOf(key.thumbprint, c.id), Expires: c.issued.Add(Window + time.Second), NextNonce: next}, nil
}

// checkNonce demands a nonce of this host that is alive (RFC 9449, section 4.3,
// check 10), and returns the next one where the nonce grows old.
func (v *Verifier) checkNonce(nonce, origin string) (next string, err error) {
	if v.nonces == nil {
		return "", nil
	}
	fresh, err := v.nonces.check(nonce, origin)
	switch {
	case err != nil:
		return "", refuse(reasons.DPoPNonceNeeded)
	case fresh:
		return "", nil
	}
	return v.nonces.Issue(origin), nil
}

func idOf(thumbprint, id string) ID {
	sum := sha256.Sum256([]byte(thumbprint + id)) // the thumbprint always has 43 bytes
	return ID(sum[:len(ID{})])
}

// claims are those of a proof (RFC 9449, section 4.2). Others are ignored.
type claims struct {
	id, method, url, tokenHash, nonce string
	issued                            time.Time
	expires, notBefore                time.Time // zero where the proof does not say
}

// maxClaims bounds the claims of a proof, most of which are not read.
const maxClaims = 64

func readClaims(encoded string) (c claims, err error) {
	malformed := refuse(reasons.DPoPProofMalformed, "its payload is not a JSON object with the claims of a proof")
	plain, ok := decode(encoded)
	if !ok {
		return c, malformed
	}
	r, err := strictjson.New(plain, strictjson.Bounds{Depth: maxDepth, Members: maxClaims})
	if err != nil || r.Object(nil, func(name string) error { return c.take(name, r) }) != nil {
		return c, malformed
	}
	for _, claim := range []struct {
		name    string
		missing bool
	}{{"jti", c.id == "" || len(c.id) > maxID}, {"htm", c.method == ""}, {"htu", c.url == ""}, {"iat", c.issued.IsZero()}} {
		if claim.missing {
			return c, refuse(reasons.DPoPProofMalformed, "its claim", claim.name, "is missing, empty or too long")
		}
	}
	return c, nil
}

// take reads the claim with a name.
func (c *claims) take(name string, r *strictjson.Reader) error {
	var text *string
	var date *time.Time
	switch name {
	case "jti":
		text = &c.id
	case "htm":
		text = &c.method
	case "htu":
		text = &c.url
	case "ath":
		text = &c.tokenHash
	case "nonce":
		text = &c.nonce
	case "iat":
		date = &c.issued
	case "exp":
		date = &c.expires
	case "nbf":
		date = &c.notBefore
	default:
		return r.Skip()
	}
	ok := false
	if text != nil {
		if *text, ok = r.Text(); !ok {
			return strictjson.Err
		}
		return nil
	}
	r.Next()
	from := r.Offset()
	if err := r.Skip(); err != nil {
		return err
	}
	if *date, ok = numericDate(r.Since(from)); !ok {
		return strictjson.Err
	}
	return nil
}

// check holds the claims to the request.
func (c *claims) check(r Request, now time.Time) error {
	switch {
	case c.method != r.Method: // methods are case-sensitive (RFC 9110, section 9.1)
		return refuse(reasons.DPoPProofMethod, fmt.Sprintf("the request has the method %s, and the proof is for %q", r.Method, c.method))
	case !sameURL(c.url, r.Origin, r.Path):
		return refuse(reasons.DPoPProofURL, fmt.Sprintf("the request is for %s, and the proof for %q", r.Origin+r.Path, c.url))
	case c.issued.Before(now.Add(-Window)):
		return refuse(reasons.DPoPProofTime, "it was made", now.Sub(c.issued).String(), "ago (iat)")
	case c.issued.After(now.Add(Window)):
		return refuse(reasons.DPoPProofTime, "it is from", c.issued.Sub(now).String(), "in the future (iat)")
	case !c.expires.IsZero() && !now.Before(c.expires.Add(Window)):
		return refuse(reasons.DPoPProofTime, "it expired", now.Sub(c.expires).String(), "ago (exp)")
	case c.notBefore.After(now.Add(Window)):
		return refuse(reasons.DPoPProofTime, "it is not valid for another", c.notBefore.Sub(now).String(), "(nbf)")
	case r.TokenHash != nil && c.tokenHash == "":
		return refuse(reasons.DPoPProofToken, "it has no ath, which is required beside an access token")
	case r.TokenHash != nil && c.tokenHash != base64.RawURLEncoding.EncodeToString(r.TokenHash[:]):
		return refuse(reasons.DPoPProofToken, "its ath is of another token than the one in Authorization")
	}
	return nil
}

// text reads a JSON string.
func text(raw json.RawMessage) (s string, ok bool) {
	return s, len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
}

// maxDate is far in the future and within every number that times are made of.
const maxDate = 1 << 40

// numericDate reads a NumericDate (RFC 7519, section 2).
func numericDate(raw string) (time.Time, bool) {
	seconds, err := strconv.ParseFloat(raw, 64)
	if err != nil || !(seconds >= 1 && seconds <= maxDate) {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// decode decodes the one canonical spelling of unpadded base64url. Go's decoder
// skips CR and LF even when strict, hence the length check.
func decode(s string) ([]byte, bool) {
	out, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return out, err == nil && base64.RawURLEncoding.EncodedLen(len(out)) == len(s)
}

// told is what a client may know of why its proof is refused.
var told = map[reasons.Reason]string{
	reasons.DPoPProofMissing:   "a DPoP proof is required",
	reasons.DPoPProofRepeated:  "the request must have one DPoP header",
	reasons.DPoPProofMalformed: "the DPoP proof is no signed JWT, is too long, or lacks a claim",
	reasons.DPoPProofType:      "the typ of the DPoP proof must be dpop+jwt",
	reasons.DPoPProofAlgorithm: "the DPoP proof must be signed with an asymmetric algorithm that is supported here",
	reasons.DPoPProofKey:       "the DPoP proof must have one public jwk, which fits its algorithm",
	reasons.DPoPProofSignature: "the signature of the DPoP proof is not valid",
	reasons.DPoPProofMethod:    "the DPoP proof is for another HTTP method",
	reasons.DPoPProofURL:       "the DPoP proof is for another URL",
	reasons.DPoPProofTime:      "the DPoP proof is too old or from the future",
	reasons.DPoPProofToken:     "the DPoP proof is not for this access token",
	reasons.DPoPProofReplayed:  "the DPoP proof was used before",
	reasons.DPoPWrongKey:       "the DPoP proof is of another key than the access token",
	reasons.DPoPNonceNeeded:    "the DPoP proof needs the nonce of this answer",
}

// Told returns what a client is told about a proof that is refused for the reason.
func Told(reason reasons.Reason) string { return told[reason] }
