package forwardauth

import (
	"context"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// answer fills in what the gateway is told.
func (e *Endpoint) answer(ctx context.Context, q *Request, d *Decision) {
	switch d.Reason {
	case Allowed, Advised:
		d.Status, d.Headers = http.StatusOK, e.added(q, d, Lines{e.out[d.Resource.Server().Index].names, e.identityOf(ctx, d.Token)})
		d.take(e.out[d.Resource.Server().Index].removal)
		if q.Dialect == Served {
			d.Client = corsHeaders(q, d)
		}
		if d.nextNonce != "" {
			d.Client.add(nonceName, d.nextNonce)
		}
		return
	case Preflight: // no user is known, and the client's own headers must go
		d.Status, d.Headers, d.Client = http.StatusOK, e.added(q, d, Lines{e.out[d.Resource.Server().Index].names, e.out[d.Resource.Server().Index].unknown}), corsHeaders(q, d)
		d.take(e.out[d.Resource.Server().Index].removal)
		return
	}
	if d.Resource != nil && d.Resource.Page != nil {
		e.answerPage(q, d)
		return
	}
	a := d.told()
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

// offerNonce gives a client that is challenged the nonce for its proofs, where one
// is demanded.
func (e *Endpoint) offerNonce(d *Decision) {
	if e.Proofs == nil || !d.Resource.DPoP.Accepts() {
		return
	}
	if nonce := e.Proofs.Nonce(d.Resource.Host.Issuer); nonce != "" {
		d.Headers.add(nonceName, nonce)
	}
}

// take sets what the gateway takes from the request.
func (d *Decision) take(r *removal) { d.Remove, d.removeLine = r.names, r.line }

// challenge makes the challenge of a denial that another token could cure.
// It depends on the request and the token alone, so asking again gives the same.
func (e *Endpoint) challenge(q *Request, d *Decision) string {
	c := oauth.Challenge{ResourceMetadata: d.Resource.MetadataURL(metadataPath(q, d.Resource))}
	if d.Reason != NoToken { // RFC 6750, section 3.1: no error code without a token
		c.Error, c.ErrorDescription = d.told().code, d.told().text
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

// stepUp returns the scopes that a client should ask for: those it has and those it
// needs, since some clients ask for exactly that and would lose the rest (MCP, "Scope
// Challenge Handling"), in the names of the token's issuer.
func stepUp(d *Decision) oauth.Scopes {
	named := func(scopes oauth.Scopes) oauth.Scopes { return d.Resource.Named(d.grant.issuer, scopes) }
	all := named(d.grant.Scopes.Without(oauth.OfflineAccess).Union(d.needed))
	if all.Len() > maxChallengeScope {
		return named(d.needed)
	}
	return all
}

// metadataPath is the path whose metadata document a challenge names, so that
// the document's resource is the URL the client called (RFC 9728, section 3.3).
// One that is very long would not pass a gateway; there is a document at the
// resource's own path too.
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

// baseline is the scope that a client should ask for first.
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
