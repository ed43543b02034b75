// Package signed reads JWTs that other servers signed (RFC 7519): access tokens of
// another authorization server, and assertions. One parser serves all of them, and
// each caller says which types and algorithms it takes, so that a token of one kind
// never passes for another. It is pure but for the keys, which it does not fetch.
package signed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Token is a JWT that was taken apart. Its signature is not checked until Verify.
type Token struct {
	Raw    string
	Alg    jose.SignatureAlgorithm
	Kid    string
	Typ    string // in lower case
	Claims claim.Set

	jws *jose.JSONWebSignature
}

// maxDepth of JSON: Keycloak's roles have depth three.
const maxDepth = 10

// Algorithms are those that a signature may have at all. They are asymmetric: with
// another, everyone who can verify could sign.
var Algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Parse takes a JWT with one of these types, in lower case with "" for none, and one
// of these algorithms apart. The reason says what is wrong with it, "" for nothing.
func Parse(raw string, types []string, algorithms []jose.SignatureAlgorithm) (*Token, reasons.Reason) {
	t := &Token{Raw: raw}
	if reason := t.header(types, algorithms); reason != "" {
		return nil, reason
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, reasons.MalformedToken
	}
	t.jws = jws
	members, err := strictjson.Members(jws.UnsafePayloadWithoutVerification(), maxDepth)
	if err != nil {
		return nil, reasons.MalformedToken
	}
	t.Claims = members
	return t, ""
}

// header checks the JOSE header (RFC 7515, section 4; RFC 8725, sections 3.1 to
// 3.12). A key in it, or a way to one, is never used, so that a token with one is
// refused rather than read in part.
func (t *Token) header(types []string, algorithms []jose.SignatureAlgorithm) reasons.Reason {
	encoded, _, _ := strings.Cut(t.Raw, ".")
	plain, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return reasons.MalformedToken
	}
	members, err := strictjson.Members(plain, maxDepth)
	if err != nil {
		return reasons.MalformedToken
	}
	for name := range members {
		switch strings.ToLower(name) {
		case "crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip":
			return reasons.ForbiddenTokenHeader
		}
	}
	header := claim.Set(members)
	typ, problem := header.Text("typ")
	kid, wrong := header.Text("kid")
	if cty, odd := header.Text("cty"); problem != "" || wrong != "" || odd != "" || cty != "" {
		return reasons.ForbiddenTokenHeader // cty: a token inside the token
	}
	t.Kid, t.Typ, t.Alg = kid, strings.ToLower(typ), jose.SignatureAlgorithm(header.String("alg"))
	switch {
	case !slices.Contains(algorithms, t.Alg):
		return reasons.AlgorithmRefused
	case !slices.Contains(types, t.Typ):
		return reasons.WrongTokenType
	}
	return ""
}

// UnverifiedType returns the type in the header of a JWT, in lower case and without
// "application/"; "" where there is none that can be read. It proves nothing.
func UnverifiedType(raw string) string {
	encoded, _, _ := strings.Cut(raw, ".")
	plain, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	members, err := strictjson.Members(plain, maxDepth)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.ToLower(claim.Set(members).String("typ")), "application/")
}

// maxDate is far in the future and within every number of the service.
const maxDate = 1 << 40

// Date reads a NumericDate (RFC 7519, section 2); it is zero where there is none.
func (t *Token) Date(name string) (date time.Time, ok bool) {
	raw := bytes.TrimSpace(t.Claims[name])
	if len(raw) == 0 || string(raw) == "null" {
		return time.Time{}, true
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 1 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// Texts reads a claim that is a text or a list of texts, such as aud.
func (t *Token) Texts(name string) (list []string, ok bool) {
	var one string
	if json.Unmarshal(t.Claims[name], &one) == nil {
		return []string{one}, one != ""
	}
	return list, json.Unmarshal(t.Claims[name], &list) == nil && !slices.Contains(list, "")
}

// otherConfirmations are the ways beside jkt in which a token can be bound (the registry
// of RFC 7800, section 6.2), none of which is checked here.
var otherConfirmations = []string{"jwk", "jwe", "kid", "jku", "x5t#S256", "osc", "ckt"}

// Thumbprint reads the claim cnf of a token that is bound to a key by the key's
// thumbprint, and in no other way (RFC 9449, section 6.1). Members that mean nothing
// here are ignored (RFC 7800, section 3.1): Keycloak adds kc-jkt-type.
func (t *Token) Thumbprint() (jkt string, ok bool) {
	members, err := strictjson.Members(t.Claims["cnf"], 1)
	if err != nil {
		return "", false
	}
	for _, name := range otherConfirmations {
		if _, bound := members[name]; bound {
			return "", false
		}
	}
	jkt, problem := claim.Set(members).Text("jkt")
	return jkt, problem == "" && oauth.ValidThumbprint(jkt)
}

// Verify checks the signature with the keys of issuer. It returns the key that
// verifies it; without one and without a reason the issuer may have a key that is
// not known here. issued is when the token says that it was made, zero if it does not.
func (t *Token) Verify(set *jwks.Set, issuer string, issued time.Time) (*jwks.Published, reasons.Reason) {
	keys := set.Keys()
	fit := keys.Fitting(t.Kid, t.Alg)
	for _, k := range fit {
		if _, err := t.jws.Verify(k.JSONWebKey.Key); err != nil {
			continue
		}
		// Microsoft publishes keys of several issuers in one set.
		if k.Issuer != "" && strings.ReplaceAll(k.Issuer, "{tenantid}", t.Claims.String("tid")) != issuer {
			return nil, reasons.WrongIssuer
		}
		return k, ""
	}
	switch {
	case len(fit) > 0 && t.Kid != "":
		return nil, reasons.BadSignature
	case set.MayHaveNew(issued):
		return nil, ""
	case keys == nil:
		return nil, reasons.IssuerKeysUnavailable
	case len(fit) > 0:
		return nil, reasons.BadSignature
	}
	return nil, reasons.UnknownSigningKey
}
