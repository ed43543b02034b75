// Package own is the kind of credential that this service issues itself: the
// access tokens of package token.
package own

import (
	"errors"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Kind verifies access tokens of this service.
type Kind struct{ Verifier *token.Verifier }

// Recognises reports whether raw begins as every access token of this service
// does. Another issuer's tokens may have the same header: where one is accepted,
// its name in the token decides.
func (Kind) Recognises(raw string, r *resource.Resource) bool {
	return token.HasForm(raw) && !anothers(raw, r)
}

func anothers(raw string, r *resource.Resource) bool {
	if len(r.Issuers) == 0 {
		return false
	}
	issuer, _ := credential.UnverifiedIssuer(raw)
	return slices.Contains(r.Issuers, issuer)
}

// Verify returns the principal of an access token for r.
func (k Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	if r.OwnTokensOff {
		return credential.Principal{}, credential.Refused{Reason: reasons.OwnTokenNotAccepted}
	}
	c, err := k.Verifier.Verify(raw, r.Host.Issuer, r.URI)
	if err != nil {
		return credential.Principal{}, credential.Refused{Reason: reasonOf(err)}
	}
	p := &c.Person
	return credential.Principal{
		Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject, Client: c.ClientID, Scope: c.Scope,
		Email: p.Email, Name: p.Name, Groups: p.Groups, GroupsCut: p.GroupsCut, Policy: p.Policy,
		ID: c.ID, Family: c.Family, Flow: p.Flow, Generation: p.Generation,
		Bound: c.Confirmation.Thumbprint, IssuedAt: c.IssuedAt, Expires: c.Expires,
	}, nil
}

func reasonOf(err error) reasons.Reason {
	switch {
	case errors.Is(err, token.ErrKey):
		return reasons.UnknownSigningKey
	case errors.Is(err, token.ErrSignature):
		return reasons.BadSignature
	case errors.Is(err, token.ErrIssuer):
		return reasons.WrongIssuer
	case errors.Is(err, token.ErrAudience):
		return reasons.WrongAudience
	case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
		return reasons.ExpiredToken
	}
	return reasons.MalformedToken
}
