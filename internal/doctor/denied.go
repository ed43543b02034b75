package doctor

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// denied finds out from the token itself why a new token is refused. A resource server
// only says that it is invalid (RFC 6750, section 3.1).
func (w *walk) denied(r *http.Response) outcome {
	saw := fmt.Sprintf("%d%s", r.StatusCode, shownHeader(&answer{header: r.Header}, "WWW-Authenticate"))
	if r.StatusCode == http.StatusServiceUnavailable {
		return fail("session.unverified", saw)
	}
	if w.prover != nil && strings.Contains(saw, "invalid_dpop_proof") {
		return fail("session.proof", saw)
	}
	if sameServer(w.server.Issuer, w.url.Scheme+"://"+w.url.Host) { // the server's own tokens need no check
		return fail("session.denied", saw)
	}
	t, isJWT := claimsOf(w.token.Access)
	switch {
	case !isJWT:
		return fail("session.opaque", saw)
	case t.Issuer != w.server.Issuer:
		return fail("session.issuer", fmt.Sprintf("iss is %q, the issuer %q; %s", t.Issuer, w.server.Issuer, saw))
	case !t.isFor(w.resource.Resource):
		return fail("session.audience", fmt.Sprintf("aud is %s; %s", t.shownAudience(), saw))
	}
	if ahead, ok := t.ahead(r.Header.Get("Date")); ok {
		return fail("session.clock", fmt.Sprintf("the token begins %s after the time of the answer that refuses it; %s", ahead.Round(time.Second), saw))
	}
	granted := strings.Fields(w.token.Scope)
	if r.StatusCode == http.StatusForbidden && len(w.resource.ScopesSupported) > 0 && !slices.ContainsFunc(granted, func(s string) bool { return slices.Contains(w.resource.ScopesSupported, s) }) {
		return fail("session.scopes", fmt.Sprintf("scope %q; %s", w.token.Scope, saw))
	}
	return fail("session.denied", saw)
}

// foreignClaims are the claims that the doctor reads of an access token or an
// assertion, unverified.
type foreignClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	IssuedAt  float64         `json:"iat"`
	NotBefore float64         `json:"nbf"`
	Expires   float64         `json:"exp"`
}

// claimsOf reads a token that is a JWT in its compact form (RFC 7519).
func claimsOf(token string) (c foreignClaims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	var header struct{}
	for i, into := range []any{&header, &c} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return c, false
		}
	}
	return c, true
}

// audiences are the values of aud, which is a list or one string.
func (c foreignClaims) audiences() []string {
	var list []string
	if json.Unmarshal(c.Audience, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(c.Audience, &one) == nil && one != "" {
		return []string{one}
	}
	return nil
}

func (c foreignClaims) isFor(resource string) bool {
	return slices.ContainsFunc(c.audiences(), func(a string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(resource, "/") })
}

func (c foreignClaims) shownAudience() string {
	if len(c.audiences()) == 0 {
		return "not there"
	}
	return fmt.Sprintf("%q", c.audiences())
}

// ahead returns by how much the token begins after the time of an answer.
func (c foreignClaims) ahead(date string) (time.Duration, bool) {
	const tolerated = 30 * time.Second // some services tolerate this, and Date has whole seconds
	at, err := http.ParseTime(date)
	if err != nil {
		return 0, false
	}
	begins := time.Unix(int64(max(c.IssuedAt, c.NotBefore)), 0)
	return begins.Sub(at), begins.Sub(at) > tolerated
}

// sameServer compares issuers without their last slash.
func sameServer(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }
