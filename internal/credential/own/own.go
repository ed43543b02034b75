// Package own is the kind of credential that this service issues itself: the
// access tokens of package token. It does I/O only for a token whose sign-in
// holds a session at the identity provider, if this replica does not know the session
// yet or its token for the MCP server has expired.
package own

import (
	"context"
	"errors"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Kind verifies access tokens of this service. Held has the sessions with identity
// providers that are kept here; nil where there are none.
type Kind struct {
	Verifier *token.Verifier
	Held     *providertoken.Held
}

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
	p, held, err := k.principal(raw, r)
	if err != nil || !held {
		return p, err
	}
	v, ok, err := k.Held.View(r, p.Family)
	switch {
	case err != nil:
		return credential.Principal{}, over(&p)
	case !ok:
		return credential.Principal{}, credential.ErrUnknown
	}
	return supplied(p, v), nil
}

// Ask implements credential.Asker.
func (k Kind) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	p, held, err := k.principal(raw, r)
	if err != nil || !held {
		return p, err
	}
	v, err := k.Held.Wait(ctx, r, p.Family)
	switch {
	case errors.Is(err, providertoken.ErrCannotTell):
		return credential.Principal{}, credential.Refused{Reason: reasons.VerifierUnavailable}
	case err != nil:
		return credential.Principal{}, over(&p)
	}
	return supplied(p, v), nil
}

// over is the refusal of a token whose sign-in has no session with the provider any more.
func over(p *credential.Principal) error {
	return credential.Refused{Reason: reasons.ProviderSessionOver, Subject: p.Subject, Client: p.Client, ID: p.ID}
}

// supplied is p with the token for the MCP server, and with who the person is by the
// last word of the provider.
func supplied(p credential.Principal, v providertoken.View) credential.Principal {
	p.ProviderToken, p.ProviderHandle = v.Token, v.Handle
	p.Email, p.Name, p.Groups, p.GroupsCut, p.Policy = v.Identity.Email, v.Identity.Name, v.Identity.Groups, v.Identity.Unknown.Groups, v.Policy
	p.EmailUnknown = v.Identity.Unknown.Email
	p.Until, p.Withdrawn = v.Until, v.Replaced
	return p
}

// principal is what the token itself says; held reports whether there is a session
// with the provider that says more.
func (k Kind) principal(raw string, r *resource.Resource) (p credential.Principal, held bool, err error) {
	if r.OwnTokensOff {
		return credential.Principal{}, false, credential.Refused{Reason: reasons.OwnTokenNotAccepted}
	}
	c, err := k.Verifier.Verify(raw, r.Host.Issuer, r.URI)
	if err != nil {
		return credential.Principal{}, false, credential.Refused{Reason: reasonOf(err)}
	}
	person := &c.Person
	p = credential.Principal{
		Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject, Actor: c.Act, Client: c.ClientID, Scope: c.Scope,
		Email: person.Email, Name: person.Name, Groups: person.Groups, GroupsCut: person.GroupsCut, Roles: person.Roles, Context: person.Context, Policy: person.Policy, Agreed: person.Agreed,
		ID: c.ID, Family: c.Family, Flow: person.Flow, Generation: person.Generation,
		Bound: c.Confirmation.Thumbprint, IssuedAt: c.IssuedAt, Expires: c.Expires,
	}
	if r.ProviderToken == nil {
		return p, false, nil
	}
	p.ProviderToken = person.Provider
	return p, person.Held && r.ProviderToken.Held && k.Held != nil, nil
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
