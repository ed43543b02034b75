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

// assertionType is the value of client_assertion_type (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertionBytes = 8 << 10
	// maxAssertionAge bounds how far ahead an assertion may expire: its use is remembered
	// for so long.
	maxAssertionAge = 15 * time.Minute
	// clockSkew is how far the client's clock may be off.
	clockSkew = 30 * time.Second
)

// clientAssertion is a client's signed statement about itself. It is not verified yet.
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

// assertionProof reads a client assertion. The client that it names is only claimed: it
// says which keys to verify the assertion with.
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

// checkAssertion checks an assertion by RFC 7523, section 3, and
// draft-ietf-oauth-rfc7523bis. The assertion is used up later, see spendProof.
func (e *Endpoint) checkAssertion(c *call, a *clientAssertion) error {
	if err := checkType(a.header); err != nil {
		return invalidClient(reasons.InvalidClientAssertion, err)
	}
	// Checking a signature costs time, and anyone can register a client with keys, so one
	// that failed too often is not checked. The ids of other clients are public: wrong
	// assertions that a stranger sends in their name must not shut them out.
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

// spendProof uses up what the client proved itself with, when all else is in order and
// just before the request takes effect. An assertion that is not used for a code or a
// token is not remembered: anyone can register and sign assertions, and could fill the
// guard with them, so that no one could sign in.
func (c *call) spendProof() error {
	if c.spend == nil {
		return nil
	}
	return c.spend()
}

// alsoSpend has spendProof use up a further proof, after those before.
func (c *call) alsoSpend(spend func() error) {
	before := c.spend
	c.spend = func() error {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		return spend()
	}
}

// checkType refuses JWTs that are made for another purpose (RFC 8725, section 3.11). Most
// clients send no typ, or "JWT".
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

// verify checks the signature with the client's registered keys only; the header of the
// assertion just helps to pick one (RFC 8725, section 3.10). If no key verifies it, the
// client may have just rotated its keys, so verify fetches them again. It checks at most
// one signature for each set of keys.
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

// verify checks the signature with the one key that the header selects.
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

// fits reports whether the key can have made a signature with this header. The algorithm
// must be one of the key's (RFC 8725, section 3.1).
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

// checkAudience accepts the issuer as the only audience. An assertion that also names
// another server, or that names an endpoint's URL instead, may have been meant for a
// server that deceived the client (draft-ietf-oauth-rfc7523bis, section 4).
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

// spendAssertion uses an assertion up. Without a jti, it is remembered by its content.
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
