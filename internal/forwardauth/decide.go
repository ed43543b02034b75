package forwardauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// verified is a token that was found good, ready to answer with.
type verified struct {
	resource *resource.Resource
	expires  int64 // Unix seconds
	subject  string
	tokenID  string
	// Values of the identity headers, in the form net/http takes.
	user, email, groups []string
}

// decide checks the credentials of a request to res (RFC 6750, section 2.1;
// RFC 9068, section 4). A token already verified costs one hash.
func (e *Endpoint) decide(res *resource.Resource, authorization []string) (*verified, Reason) {
	raw, reason := bearer(authorization)
	if reason != Allowed {
		return nil, reason
	}
	key := sha256.Sum256([]byte(raw))
	if v := e.verified.get(key); v != nil {
		switch {
		case e.Now().Unix() >= v.expires:
			return v, Expired
		case v.resource != res:
			return v, WrongAudience
		}
		return v, Allowed
	}
	claims, err := e.Verifier.Verify(raw, res.Host.Issuer, res.URI)
	if err != nil {
		return nil, tokenReason(err)
	}
	person, err := e.Verifier.Person(claims)
	if err != nil {
		return nil, MalformedToken
	}
	v := &verified{
		resource: res, expires: claims.Expires, subject: claims.Subject, tokenID: claims.ID,
		user: headerValue(claims.Subject), email: headerValue(person.Email), groups: headerValue(person.Groups...),
	}
	if e.verified.put(key, v, e.Now().Unix()) {
		e.Audit.Write(context.Background(), audit.Entry{
			Event: audit.FirstUse, Flow: person.Flow, Subject: claims.Subject, Email: person.Email, Client: claims.ClientID,
			Host: res.Host.Name, Resource: res.URI, Scope: claims.Scope, TokenID: claims.ID,
		})
	}
	return v, Allowed
}

// bearer takes the one token out of the one Authorization header. Two headers
// are refused, never the first taken (RFC 6750, section 3.1); another scheme is
// no token at all.
func bearer(authorization []string) (string, Reason) {
	switch len(authorization) {
	case 0:
		return "", NoToken
	case 1:
	default:
		return "", MalformedCredentials
	}
	scheme, raw, ok := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", NoToken
	}
	raw = strings.Trim(raw, " ")
	if !ok || raw == "" {
		return "", MalformedCredentials
	}
	if len(raw) > token.MaxBytes {
		return "", MalformedToken
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c == ',' || c >= 0x7f {
			return "", MalformedCredentials
		}
	}
	return raw, Allowed
}

func tokenReason(err error) Reason {
	switch {
	case errors.Is(err, token.ErrKey):
		return UnknownKey
	case errors.Is(err, token.ErrSignature):
		return BadSignature
	case errors.Is(err, token.ErrIssuer):
		return WrongIssuer
	case errors.Is(err, token.ErrAudience):
		return WrongAudience
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		return Expired
	}
	return MalformedToken
}

// headerValue makes one header line of values. Nothing in it can split a header
// or a list: other bytes are percent-encoded. An empty identity is "-", because
// a header that is missing lets a client's own copy through at some gateways.
func headerValue(values ...string) []string {
	var b strings.Builder
	for _, v := range values {
		if v == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for i := range len(v) {
			if c := v[i]; c > ' ' && c < 0x7f && c != ',' && c != '%' && c != '"' || c == ' ' && i > 0 && i < len(v)-1 {
				b.WriteByte(c)
			} else {
				const hex = "0123456789ABCDEF"
				b.WriteByte('%')
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			}
		}
	}
	if b.Len() == 0 {
		return []string{"-"}
	}
	return []string{b.String()}
}
