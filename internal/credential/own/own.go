// Package own is the kind of credential that this service issues itself: the
// access tokens of package token.
package own

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Kind verifies access tokens of this service.
type Kind struct{ Verifier *token.Verifier }

// Recognises reports whether raw begins as every access token of this service does.
func (Kind) Recognises(raw string) bool { return token.HasForm(raw) }

// Verify returns the principal of an access token for r.
func (k Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	c, err := k.Verifier.Verify(raw, r.Host.Issuer, r.URI)
	if err != nil {
		return credential.Principal{}, err
	}
	p := &c.Person
	return credential.Principal{
		Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject, Client: c.ClientID, Scope: c.Scope,
		Email: p.Email, Name: p.Name, Groups: p.Groups, GroupsCut: p.GroupsCut, Policy: p.Policy,
		ID: c.ID, Family: c.Family, Flow: p.Flow, Generation: p.Generation,
		IssuedAt: c.IssuedAt, Expires: c.Expires,
	}, nil
}
