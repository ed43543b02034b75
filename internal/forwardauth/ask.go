package forwardauth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// Two kinds of requests wait here: those with a credential that its kind must ask another
// server about, and those that depend on the list of an MCP server that was never read. Both
// are bounded, and all other requests are decided from memory meanwhile.
const (
	// maxAsking bounds the requests that wait for one kind of credential, and those that
	// wait for lists of MCP servers.
	maxAsking = 128
	// askTime is the longest that a request waits for a kind of credential.
	askTime = 5 * time.Second
	// learnTime is the longest that a request waits for the list of an MCP server. It is
	// less than the three seconds that our recipes let gateways wait, so that the client
	// gets this service's answer.
	learnTime = 2 * time.Second
)

// principal returns who raw belongs to. Its kind of credential verifies it, and asks
// about it if it does not know it. Of a credential that is refused, no says why, with
// what is proven of its holder.
func (e *Endpoint) principal(ctx context.Context, raw string, res *resource.Resource) (p credential.Principal, no rejection) {
	kind, found := e.Credentials.Find(raw, res)
	if !found {
		return credential.Principal{}, rejection{reason: MalformedToken}
	}
	p, err := e.Credentials.Verify(kind, raw, res)
	if errors.Is(err, credential.ErrUnknown) {
		return e.ask(ctx, kind, raw, res)
	}
	if err != nil {
		return credential.Principal{}, refusedFor(err, res)
	}
	return p, rejection{reason: Allowed}
}

// rejection is why a credential is not good: reason is Allowed if it is.
type rejection struct {
	reason Reason
	holder *Token // what is proven of whom it belongs to, nil for nothing
	detail string // what the reason leaves open, for the audit log
}

// refusedFor reads the error of a kind of credential.
func refusedFor(err error, res *resource.Resource) rejection {
	named, _ := errors.AsType[credential.Refused](err)
	return rejection{reasonOf(err), holder(named, res), named.Detail}
}

// holder returns the Token of a credential that was refused after its holder was proven,
// nil for any other. It is for the audit log.
func holder(named credential.Refused, res *resource.Resource) *Token {
	if named.Client == "" {
		return nil
	}
	return NewToken(&Grant{Resource: res}, 0, revocation.Facts{TokenID: named.ID, Subject: named.Subject, Client: revocation.Client(named.Client)}, nil)
}

// ask waits for what the kind finds out about raw. If too many requests wait already, it
// refuses at once.
func (e *Endpoint) ask(ctx context.Context, kind int, raw string, res *resource.Resource) (credential.Principal, rejection) {
	if kind >= len(e.asking) {
		return credential.Principal{}, rejection{reason: TooManyWaiting}
	}
	waiting := &e.asking[kind]
	defer waiting.Add(-1)
	if waiting.Add(1) > maxAsking {
		return credential.Principal{}, rejection{reason: TooManyWaiting}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	p, err := e.Credentials.Ask(ctx, kind, raw, res)
	switch {
	case err == nil:
		return p, rejection{reason: Allowed}
	case ctx.Err() != nil, errors.Is(err, credential.ErrUnknown):
		return credential.Principal{}, rejection{reason: VerifierUnavailable}
	}
	return credential.Principal{}, refusedFor(err, res)
}

// learn waits until the list of d.Resource's MCP server is known, and then looks again at
// what the credential is good for. The reason is CatalogueUnavailable if the list stays
// unknown, or if too many requests wait already. It does not wait if the policy only
// advises.
func (e *Endpoint) learn(ctx context.Context, q *Request, d *Decision) Reason {
	if d.grant.advised() || !e.learned(ctx, d.Resource) {
		return CatalogueUnavailable
	}
	lookup := d.lookup
	defer func() { d.lookup = lookup }() // the second look is not counted
	raw, _, reason := presented(q, d)
	if reason != Allowed {
		return reason
	}
	return e.find(ctx, raw, d)
}

func (e *Endpoint) learned(ctx context.Context, r *resource.Resource) bool {
	if e.Learn == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	defer e.learning.Add(-1)
	return e.learning.Add(1) <= maxAsking && e.Learn(ctx, r)
}

// asking counts the requests that wait, by kind of credential.
type asking []atomic.Int32
