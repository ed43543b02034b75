// Package credential is the seam for what a request to an MCP server proves
// itself with. A Kind reads one form of credential and returns its Principal;
// forwardauth makes the one decision for all kinds. A kind is a directory below
// this one and an entry in the list that package server gives to forwardauth.
//
// It fails closed: a credential that no kind recognises is refused, and so is a
// principal that lacks something which the decision relies on.
package credential

import (
	"errors"
	"fmt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Principal is who a request comes from and what the credential gives them. The
// zero value is no one.
type Principal struct {
	// Issuer vouches for the subject, Audience is the URI of the one resource that
	// the credential is for.
	Issuer, Audience string
	// Subject is the full subject, see connector.Identity.FullSubject.
	Subject string
	// Actor is who acts for the subject, "" if the subject acts alone.
	Actor  string
	Client string // the full client id
	Scope  string // as granted; the policy may leave less

	Email  string // verified
	Name   string
	Groups []string
	// GroupsCut: there are more groups, which the credential could not hold.
	GroupsCut bool
	// Policy is which rules hold for the person and the client, see policy.Match.
	Policy string

	// ID is what this one credential can be revoked by.
	ID string
	// Family is the sign-in that it comes from, Flow the audit flow of that, and
	// Generation that of the refresh token that came with it. All may be empty.
	Family, Flow string
	Generation   int

	IssuedAt, Expires int64 // Unix seconds
}

// Kind is one form of credential.
type Kind interface {
	// Recognises reports whether raw has the form of this kind. It looks at the form
	// alone and does no work worth flooding.
	Recognises(raw string) bool
	// Verify returns the principal of a credential that is good for r. It does no
	// I/O. Errors are those of package token; any other counts as malformed.
	Verify(raw string, r *resource.Resource) (Principal, error)
}

// Kinds are the kinds that a service accepts, in order; the zero value accepts none.
type Kinds []Kind

// ErrNoKind is the error for a credential that no kind recognises.
var ErrNoKind = errors.New("no kind of credential has this form")

// Verify has the first kind that recognises raw verify it. No second kind is
// asked, whatever the first one finds.
func (k Kinds) Verify(raw string, r *resource.Resource) (Principal, error) {
	for _, kind := range k {
		if !kind.Recognises(raw) {
			continue
		}
		p, err := kind.Verify(raw, r)
		if err == nil {
			err = p.check(r)
		}
		if err != nil {
			return Principal{}, err
		}
		return p, nil
	}
	return Principal{}, ErrNoKind
}

// check refuses a principal that a kind did not fill in. Without an ID it could
// not be revoked; an actor could not be named to anyone yet.
func (p *Principal) check(r *resource.Resource) error {
	missing := ""
	switch {
	case p.Issuer == "":
		missing = "an issuer"
	case p.Audience != r.URI:
		missing = "the audience"
	case p.Subject == "":
		missing = "a subject"
	case p.Client == "":
		missing = "a client"
	case p.ID == "":
		missing = "an ID"
	case p.Expires == 0:
		missing = "an expiry"
	case p.Actor != "":
		missing = "a subject that acts alone"
	default:
		return nil
	}
	return fmt.Errorf("the credential's principal lacks %s", missing)
}
