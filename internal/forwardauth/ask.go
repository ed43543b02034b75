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

// Requests with a credential that a kind has to ask about wait here, and only
// they do: a credential that is known is decided from memory whatever happens to
// others.
const (
	// maxAsking is how many requests wait for the answers about one kind of credential,
	// and how many for what MCP servers advertise.
	maxAsking = 128
	// askTime is the longest that one waits.
	askTime = 5 * time.Second
	// learnTime is the longest that a request waits for what an MCP server advertises:
	// less than the three seconds that the recipes let gateways wait, so that the
	// client gets an answer of this service.
	learnTime = 2 * time.Second
)

// principal has a kind of credential verify raw, and ask about it if it does not
// know it. Of one that is refused, no is why, with what is proven of its holder.
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
	return rejection{refusal(err), holder(named, res), named.Detail}
}

// holder is the Token of a credential that was refused after it was proven whose
// it is, for the audit log.
func holder(named credential.Refused, res *resource.Resource) *Token {
	if named.Client == "" {
		return nil
	}
	return NewToken(&Grant{Resource: res}, 0, revocation.Facts{TokenID: named.ID, Subject: named.Subject, Client: revocation.Client(named.Client)}, nil)
}

// ask waits for what a kind finds out about raw. Where too many wait already it
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

// learn waits until it is known what the MCP server of an authenticated request
// advertises, and then looks again at what the credential is good for. Where that
// stays unknown, or too many wait already, the answer is CatalogueUnavailable. A
// policy that only advises is no reason to wait.
func (e *Endpoint) learn(ctx context.Context, q *Request, d *Decision) Reason {
	if d.grant.advised() || !e.learned(ctx, d.Resource) {
		return CatalogueUnavailable
	}
	lookup := d.lookup
	defer func() { d.lookup = lookup }() // of the request, not of this second look
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

// asking counts the requests that wait, by kind.
type asking []atomic.Int32
