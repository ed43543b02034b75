// Package credential is the seam for what a request to an MCP server proves
// itself with. A Kind reads one form of credential and returns its Principal;
// forwardauth makes the one decision for all kinds.
//
// To add a kind, make a directory below this one with its section of the
// configuration, and an entry in the list that package server gives to
// forwardauth. The kind looks up for itself at which MCP servers it is turned on:
// by default at none. It says why it refuses a credential with a Refused, whose
// reason forwardauth has an answer for. A principal that this service did not sign
// in has an Outsider, whom the rules of the policy are matched with. A kind that
// must ask over the network is an Asker, and one whose credentials may end before
// they expire sets Until and Withdrawn.
//
// It fails closed: a credential that no kind recognises is refused, and so is a
// principal that lacks something which the decision relies on.
package credential

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// MaxBytes bounds a credential of any kind. Other authorization servers put
// groups and roles into their tokens; few gateways pass a longer header.
const MaxBytes = 16 << 10

// Principal is who a request comes from and what the credential gives them. The
// zero value is no one.
type Principal struct {
	// Issuer vouches for the subject, Audience is the URI of the one resource that
	// the credential is for.
	Issuer, Audience string
	// Subject is the full subject, see connector.Identity.FullSubject.
	Subject string
	// Actor is who acts for the subject, nil if the subject acts alone.
	Actor  *actor.Actor
	Client string // the full client id
	Scope  string // as granted; the policy may leave less

	Email string // verified
	// EmailUnknown: the provider told an address that cannot be read.
	EmailUnknown bool

	Name   string
	Groups []string
	// GroupsCut: there are more groups, which the credential could not hold.
	GroupsCut bool
	// Roles and Context are what a platform says of its workload besides its groups.
	Roles   []string
	Context string
	// Policy is which rules hold for the person and the client, see policy.Match.
	// With an Outsider it is not looked at.
	Policy string
	// Outsider is set for a principal that this service did not sign in. The rules
	// are matched with it once, when the credential is first seen.
	Outsider *policy.Outsider

	// Agreed is what the person agreed to, see catalog.Agree; "" where no person was
	// asked, and if nothing depends on it.
	Agreed string

	// Key is set for an API key.
	Key *Key

	// ProviderToken is the token of the person's identity provider that the MCP server
	// gets, and ProviderHandle what stands for one that is too large for a header. Both
	// may be empty.
	ProviderToken  token.Provider
	ProviderHandle string

	// ID is what this one credential can be revoked by.
	ID string
	// Family is the sign-in that it comes from, Flow the audit flow of that, and
	// Generation that of the refresh token that came with it. All may be empty.
	Family, Flow string
	Generation   int

	// Bound is the thumbprint of the key that the client must prove with each request
	// (RFC 9449), "" for a credential that is bound to none.
	Bound string

	IssuedAt, Expires int64 // Unix seconds
	// SignedIn is when the person signed in, where the credential knows it, and Renew
	// when a browser that comes with it should fetch another. In Unix seconds; 0 for
	// unknown and for never.
	SignedIn, Renew int64
	// AtProvider is the session at the provider that a browser's session comes from, see
	// revocation.ProviderSession; "" for unknown.
	AtProvider string
	// Until is when the kind wants to see the credential again, in Unix seconds; 0
	// for not before Expires.
	Until int64
	// Withdrawn, if set, becomes true when the kind no longer accepts the credential, such
	// as when its key is gone. Then the next request has it verified again.
	Withdrawn *atomic.Bool
}

// Key is what bounds an API key beyond its scopes. It may come in the header that
// the resource names for keys, too, and no sign-in gives it more.
type Key struct {
	Tools   []string       // patterns; none for every tool
	Sources []netip.Prefix // networks that it may come from; none for everywhere
}

// Kind is one form of credential.
type Kind interface {
	// Recognises reports whether raw, presented at r, is of this kind. It looks at
	// the form and at what raw says of itself, unverified, and does no work worth
	// flooding. A kind that is not turned on at r may recognise its form all the same,
	// to refuse it with a reason.
	Recognises(raw string, r *resource.Resource) bool
	// Verify returns the principal of a credential that is good for r. It does no
	// I/O and does not wait. Errors wrap a Refused, or ErrUnknown if the kind is an
	// Asker; any other counts as malformed.
	Verify(raw string, r *resource.Resource) (Principal, error)
}

// Asker is a Kind that may have to ask over the network.
type Asker interface {
	Kind
	// Ask is called when Verify returned ErrUnknown. It may wait until ctx ends, and
	// its errors wrap a Refused. What it learnt is remembered by the kind, so that
	// Verify knows next time. Only so many calls are under way at once.
	Ask(ctx context.Context, raw string, r *resource.Resource) (Principal, error)
}

// Refused is the error for a credential that is refused for a reason that has a
// name. Subject, Client and ID say for the audit log whose it is, where that is
// proven, and Detail what the reason leaves open: in words of the kind, never in those
// of a stranger.
type Refused struct {
	Reason              reasons.Reason
	Subject, Client, ID string
	Detail              string
}

func (r Refused) Error() string { return string(r.Reason) }

var (
	// ErrNoKind is the error for a credential that no kind recognises.
	ErrNoKind = errors.New("no kind of credential has this form")
	// ErrUnknown is the error of an Asker's Verify for a credential that it has to ask about.
	ErrUnknown = errors.New("the credential is not known yet")
)

// Kinds are the kinds that a service accepts, in order; the zero value accepts none.
type Kinds []Kind

// Find returns the place of the first kind that recognises raw at r. No second
// kind is asked, whatever the first one finds.
func (k Kinds) Find(raw string, r *resource.Resource) (i int, found bool) {
	for i, kind := range k {
		if kind.Recognises(raw, r) {
			return i, true
		}
	}
	return 0, false
}

// Verify has the kind at place i verify raw.
func (k Kinds) Verify(i int, raw string, r *resource.Resource) (Principal, error) {
	p, err := k[i].Verify(raw, r)
	return checked(p, err, r)
}

// Ask has the kind at place i, which is an Asker, find out about raw.
func (k Kinds) Ask(ctx context.Context, i int, raw string, r *resource.Resource) (Principal, error) {
	asker, ok := k[i].(Asker)
	if !ok {
		return Principal{}, ErrUnknown
	}
	p, err := asker.Ask(ctx, raw, r)
	return checked(p, err, r)
}

func checked(p Principal, err error, r *resource.Resource) (Principal, error) {
	if err == nil {
		err = p.check(r)
	}
	if err == nil && p.Bound != "" && !r.DPoP.Accepts() { // its proofs would not be looked at
		err = Refused{Reason: reasons.BoundToken, Subject: p.Subject, Client: p.Client, ID: p.ID}
	}
	if err != nil {
		return Principal{}, err
	}
	return p, nil
}

// check refuses a principal that a kind did not fill in. Without an ID it could
// not be revoked.
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
	case p.Outsider != nil && (p.Subject != p.Outsider.Person.FullSubject() || p.Email != p.Outsider.Person.Email):
		missing = "the person whom the rules are matched with"
	default:
		return nil
	}
	return fmt.Errorf("the credential's principal lacks %s", missing)
}
