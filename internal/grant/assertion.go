package grant

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// assertionType of RFC 7523, section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertionBytes = 8 << 10
	// maxAssertionAge bounds how far ahead an assertion may expire; so long we
	// remember that it was used.
	maxAssertionAge = 15 * time.Minute
	// clockSkew between the client and us.
	clockSkew = 30 * time.Second
)

// clientAssertion is a client's signed statement about itself, not yet verified.
type clientAssertion struct {
	token  *jwt.JSONWebToken
	header jose.Header
	id     string // client id, as claimed
}

// claims of a client assertion (RFC 7523, section 3).
type claims struct {
	Issuer   string           `json:"iss"`
	Subject  string           `json:"sub"`
	Audience json.RawMessage  `json:"aud"`
	Expires  *jwt.NumericDate `json:"exp"`
	Before   *jwt.NumericDate `json:"nbf"`
	IssuedAt *jwt.NumericDate `json:"iat"`
	ID       string           `json:"jti"`
}

// assertionProof reads an assertion. Who it is from is taken on trust here, only
// to find the keys that will prove it.
func assertionProof(c *call, claimed string) (proof, error) {
	if c.params.Get("client_assertion_type") != assertionType {
		return proof{}, &oauth.Error{Code: oauth.InvalidClient, Description: "client_assertion_type is not supported", Reason: reasons.MalformedClientAuthentication}
	}
	malformed := func(cause error) (proof, error) {
		return proof{}, invalidClient(reasons.MalformedClientAuthentication, cause)
	}
	raw := c.params.Get("client_assertion")
	if len(raw) > maxAssertionBytes {
		return malformed(errors.New("the assertion is too long"))
	}
	token, err := jwt.ParseSigned(raw, registration.SigningAlgs)
	if err != nil {
		return malformed(err)
	}
	var unverified claims
	if err := token.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return malformed(err)
	}
	if len(token.Headers) != 1 || unverified.Subject == "" {
		return malformed(errors.New("the assertion has no single header or no sub"))
	}
	p := proof{method: registration.AuthPrivateKey, id: unverified.Subject, jwt: &clientAssertion{token, token.Headers[0], unverified.Subject}}
	return p, p.agrees(claimed)
}

// checkAssertion holds an assertion to RFC 7523, section 3, as tightened by
// draft-ietf-oauth-rfc7523bis. It is spent later, where it takes effect.
func (e *Endpoint) checkAssertion(c *call, a *clientAssertion) error {
	if err := checkType(a.header); err != nil {
		return invalidClient(reasons.InvalidClientAssertion, err)
	}
	// To check a signature costs, and anyone can register any number of keys. The
	// other kinds of clients have ids that everybody knows: who sends wrong
	// assertions for one must not shut the client out.
	if c.client.Kind() == rule.KindDynamic {
		if spent, wait := e.Failures.Spent(c.client.Key()); spent {
			return &web.TooMany{Reason: reasons.ClientAuthenticationThrottled, Wait: wait}
		}
	}
	verified, err := e.verify(c, a)
	if errors.Is(err, registration.ErrUnavailable) {
		return clientError(err)
	}
	if err != nil {
		return invalidClient(reasons.InvalidClientAssertion, err)
	}
	for _, err := range []error{
		checkParties(verified, c.client.ID),
		checkAudience(verified.Audience, c.host.Issuer),
		checkTimes(verified, e.Now()),
	} {
		if err != nil {
			return invalidClient(reasons.InvalidClientAssertion, err)
		}
	}
	c.spend = func() error { return e.countFailure(c.client, e.spendAssertion(c, a, verified)) }
	return nil
}

// spendProof uses the client's assertion up, just before the request has an
// effect: when all else is in order, for a code or token of the client's own.
// Anyone can register and sign assertions, so to remember every one of them
// would let strangers fill the guard, which then refuses everybody's sign-in.
func (c *call) spendProof() error {
	if c.spend == nil {
		return nil
	}
	return c.spend()
}

// checkType keeps JWTs of other kinds out (RFC 8725, section 3.11). Most clients
// send none or the plain one.
func checkType(h jose.Header) error {
	typ, present := h.ExtraHeaders[jose.HeaderType]
	if !present {
		return nil
	}
	s, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(s), "application/") {
	case "jwt", "client-authentication+jwt":
		return nil
	}
	return fmt.Errorf("typ %.40q is not that of a client assertion", s)
}

// verify checks the signature with the client's registered keys and no others:
// what the header says about keys only helps to pick (RFC 8725, section 3.10).
// If none fits, the client may have just rotated them. At most one signature is
// checked for each state of the keys.
func (e *Endpoint) verify(c *call, a *clientAssertion) (*claims, error) {
	keys, err := e.Clients.Keys(c.Context(), c.client, false)
	if err != nil {
		return nil, err
	}
	verified, err := a.verify(keys)
	if err == nil || !c.client.KeysMayChange() {
		return verified, err
	}
	fresh, unavailable := e.Clients.Keys(c.Context(), c.client, true)
	if unavailable != nil {
		return nil, unavailable
	}
	if len(fresh) > 0 && len(keys) > 0 && &fresh[0] == &keys[0] { // nothing was fetched
		return nil, err
	}
	return a.verify(fresh)
}

// verify checks the signature with the one of keys that it must be of.
func (a *clientAssertion) verify(keys []jose.JSONWebKey) (*claims, error) {
	var key *jose.JSONWebKey
	for i := range keys {
		switch {
		case !fits(keys[i], a.header):
		case key != nil && a.header.KeyID == "":
			return nil, errors.New("the header names no key (kid), and more than one registered key could be meant")
		case key != nil:
			return nil, errors.New("the header names a kid that more than one registered key has")
		default:
			key = &keys[i]
		}
	}
	if key == nil {
		return nil, errors.New("no registered key has this kid, type and algorithm")
	}
	var verified claims
	if err := a.token.Claims(key.Key, &verified); err != nil {
		return nil, errors.New("no registered key verifies the signature")
	}
	return &verified, nil
}

// fits reports whether the key may have made a signature with this header
// (RFC 8725, section 3.1: the algorithm follows from the key).
func fits(k jose.JSONWebKey, h jose.Header) bool {
	if h.KeyID != "" && k.KeyID != h.KeyID || k.Algorithm != "" && k.Algorithm != h.Algorithm {
		return false
	}
	switch pub := k.Key.(type) {
	case *ecdsa.PublicKey:
		return pub.Curve == map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384()}[h.Algorithm]
	case *rsa.PublicKey:
		return strings.HasPrefix(h.Algorithm, "RS") || strings.HasPrefix(h.Algorithm, "PS")
	case ed25519.PublicKey:
		return h.Algorithm == string(jose.EdDSA)
	}
	return false
}

func checkParties(a *claims, clientID string) error {
	if a.Issuer != clientID || a.Subject != clientID {
		return errors.New("iss and sub are not both the client id")
	}
	return nil
}

func checkTimes(a *claims, now time.Time) error {
	switch {
	case a.Expires == nil:
		return errors.New("exp is missing")
	case !now.Before(a.Expires.Time().Add(clockSkew)):
		return errors.New("exp has passed")
	case a.Expires.Time().After(now.Add(maxAssertionAge + clockSkew)):
		return errors.New("exp is too far ahead")
	case a.Before != nil && a.Before.Time().After(now.Add(clockSkew)):
		return errors.New("nbf is still ahead")
	case a.IssuedAt != nil && a.IssuedAt.Time().After(now.Add(clockSkew)):
		return errors.New("iat is ahead")
	case a.IssuedAt != nil && a.IssuedAt.Time().Before(now.Add(-time.Hour)):
		return errors.New("iat is too long ago")
	}
	return nil
}

// checkAudience: the issuer, and no one else. An assertion that also names
// another server, or only an endpoint's URL, could have been meant for a server
// that made the client believe so (draft-ietf-oauth-rfc7523bis, section 4).
func checkAudience(raw json.RawMessage, issuer string) error {
	var aud string
	if err := json.Unmarshal(raw, &aud); err != nil {
		var list []string
		if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
			return errors.New("aud is not one string")
		}
		aud = list[0]
	}
	if strings.TrimSuffix(aud, "/") != issuer {
		return errors.New("aud is not this issuer")
	}
	return nil
}

// spendAssertion uses an assertion up. One without a jti is known by its content.
func (e *Endpoint) spendAssertion(c *call, a *clientAssertion, verified *claims) error {
	id := "jti " + verified.ID
	if verified.ID == "" {
		var payload map[string]any
		if err := a.token.UnsafeClaimsWithoutVerification(&payload); err != nil {
			return err
		}
		content, err := json.Marshal(payload)
		if err != nil {
			return err
		}
		id = "content " + string(content)
	}
	sum := sha256.Sum256([]byte(c.client.ID + "\x00" + id))
	expires := verified.Expires.Time().Add(clockSkew)
	first, err := e.Guard.Redeem(c.Context(), "assertion "+base64.RawURLEncoding.EncodeToString(sum[:]), expires)
	if err != nil {
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "client assertions cannot be checked right now", Reason: reasons.GuardUnavailable, Cause: err}
	}
	if !first {
		return invalidClient(reasons.ClientAssertionUsedTwice, nil)
	}
	return nil
}
