package forwardauth

import (
	"context"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// answer fills in what the gateway and the client are told.
func (e *Endpoint) answer(ctx context.Context, q *Request, d *Decision) {
	switch {
	case d.Reason == Allowed, d.Reason == Advised, d.Reason == Preflight:
		e.answerPassing(ctx, q, d)
	case d.Resource != nil && d.Resource.Page != nil:
		e.answerPage(q, d)
	default:
		e.answerDenied(q, d)
	}
}

// answerPassing fills in the answer to a request that passes. A preflight has no user: its
// identity headers are empty, to take the place of the client's own.
func (e *Endpoint) answerPassing(ctx context.Context, q *Request, d *Decision) {
	up := &e.upstream[d.Resource.Server().Index]
	identity := up.unknown
	if d.Reason != Preflight {
		identity = e.identityOf(ctx, d.Token)
	}
	d.Status, d.Headers = http.StatusOK, e.added(q, d, Lines{up.names, identity})
	d.Remove, d.removeLine = up.removal.names, up.removal.line
	if q.Dialect == Served || d.Reason == Preflight {
		d.Client = corsHeaders(q, d)
	}
	if d.nextNonce != "" {
		d.Client.add(nonceName, d.nextNonce)
	}
}

// answerDenied fills in the answer to a request to an MCP server that is denied.
func (e *Endpoint) answerDenied(q *Request, d *Decision) {
	a := d.denial()
	d.Status = d.Reason.status(q.Dialect)
	if d.Reason.asksForMore() && d.Resource.Rules.StepUpStatus != 0 {
		d.Status = d.Resource.Rules.StepUpStatus
	}
	d.Headers = corsHeaders(q, d)
	if d.Headers.Names == nil {
		d.Headers = Lines{make([]string, 0, 2), make([]string, 0, 2)}
	}
	d.Headers.add("Content-Type", "application/json")
	if a.challenge {
		d.Headers.add("Www-Authenticate", e.challenge(q, d))
		e.offerNonce(d)
	}
	d.Body = a.body
	if d.id != "" { // in an error of JSON-RPC
		d.Body = strings.Replace(d.Body, `"id":null`, `"id":`+d.id, 1)
	}
}

// offerNonce adds a nonce for the client's next proof, if this service demands nonces.
func (e *Endpoint) offerNonce(d *Decision) {
	if e.Proofs == nil || !d.Resource.DPoP.Accepts() {
		return
	}
	if nonce := e.Proofs.Nonce(d.Resource.Host.Issuer); nonce != "" {
		d.Headers.add(nonceName, nonce)
	}
}

// challenge returns the challenge of a denial that another token could cure. The same
// request gets the same challenge again, unless the server's list changes.
func (e *Endpoint) challenge(q *Request, d *Decision) string {
	c := oauth.Challenge{ResourceMetadata: d.Resource.MetadataURL(metadataPath(q, d.Resource))}
	if d.Reason != NoToken { // RFC 6750, section 3.1: no error code without a token
		c.Error, c.ErrorDescription = d.denial().code, d.denial().text
	}
	if d.aboutKey() || d.Resource.OwnTokensOff && len(d.Resource.Issuers) == 0 { // no sign-in would help
		c.ResourceMetadata = ""
		return challenges(c, d)
	}
	if d.Reason.asksForMore() {
		c.Scope = stepUp(d)
	} else {
		c.Scope = d.Resource.Named("", e.baseline(d.Resource))
	}
	return challenges(c, d)
}

// stepUp returns the scopes that a client should ask for, in the names of the token's
// issuer: those it has and those it needs. Some clients ask for exactly these and would
// lose the others (MCP, "Scope Challenge Handling").
func stepUp(d *Decision) oauth.Scopes {
	named := func(scopes oauth.Scopes) oauth.Scopes { return d.Resource.Named(d.grant.issuer, scopes) }
	all := named(d.grant.Scopes.Without(oauth.OfflineAccess).Union(d.needed))
	if all.Len() > maxChallengeScope {
		return named(d.needed)
	}
	return all
}

// metadataPath returns the path whose metadata document the challenge names. It is the
// path of the request, so that the document's resource is the URL that the client called
// (RFC 9728, section 3.3). A very long path might not pass a gateway; then it is the
// resource's own path, which has a document too.
func metadataPath(q *Request, r *resource.Resource) string {
	if q.NoPath || len(q.Path) > maxChallengePath {
		return r.Path
	}
	return q.Path
}

// These keep the challenge within a gateway's header buffer, which is 4 KB.
const (
	maxChallengeScope = 1 << 10
	maxChallengePath  = 1 << 10
)

// baseline returns the scopes that a client should ask for first, none if they would be
// too long.
func (e *Endpoint) baseline(r *resource.Resource) oauth.Scopes {
	scopes := r.DefaultScopes
	if len(scopes) == 0 {
		scopes = e.Scopes(r).Advertised()
	}
	scopes = scopes.Without(oauth.OfflineAccess)
	if scopes.Len() > maxChallengeScope {
		return nil
	}
	return scopes
}

func hostname(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		return hostport[:i]
	}
	return hostport
}
