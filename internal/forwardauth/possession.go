package forwardauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// possession checks the DPoP proof of the key that the token is bound to (RFC 9449,
// sections 7.1 and 7.2). raw is the token of d. The proof is checked against the method
// and path that the gateway tells, and the origin that is configured.
func (e *Endpoint) possession(q *Request, d *Decision, raw string) Reason {
	bound, r := d.Token.bound(), d.Resource
	switch {
	case bound == "" && (d.byDPoP || r.DPoP.Requires() && d.Token.key() == nil):
		return UnboundToken
	case bound == "":
		return Allowed
	case !d.byDPoP:
		return BoundTokenAsBearer
	case e.Proofs == nil, e.UsedProofs == nil, q.Method == "", q.NoPath:
		return NotCheckable
	}
	hash := sha256.Sum256([]byte(raw))
	proof, err := e.Proofs.Verify(q.Proof, dpop.Request{Method: q.Method, Origin: r.Host.Issuer, Path: q.Path, TokenHash: &hash})
	switch {
	case err != nil:
		reason, detail := proofReason(err)
		d.detail = detail
		return reason
	case subtle.ConstantTimeCompare([]byte(proof.Thumbprint), []byte(bound)) != 1:
		d.detail = fmt.Sprintf("the proof is of the key %s, and the token of %s (thumbprints)", proof.Thumbprint, bound)
		return ProofWrongKey
	case !e.UsedProofs.First(&proof):
		return ProofReplayed
	}
	d.nextNonce = proof.NextNonce
	return Allowed
}

// proofReason returns the reason of an error of package dpop, with its detail. An error
// without a known reason counts as a malformed proof.
func proofReason(err error) (reason Reason, detail string) {
	refused, _ := errors.AsType[dpop.Refused](err)
	if r := bySlug[refused.Reason]; answers[r].code == oauth.InvalidDPoPProof || answers[r].code == oauth.UseDPoPNonce {
		return r, refused.Detail
	}
	return ProofMalformed, refused.Detail
}

// nonceName is dpop.NonceHeader in canonical form.
var nonceName = http.CanonicalHeaderKey(dpop.NonceHeader)

// algorithms are the signature algorithms of proofs, as a challenge names them.
var algorithms = strings.Join(dpop.Algorithms(), " ")

// challenges returns the value of WWW-Authenticate. The challenge of the scheme that the
// request used comes first, with all parameters. If the resource takes the other scheme
// too, that one follows (RFC 9449, section 7.1).
func challenges(c oauth.Challenge, d *Decision) string {
	accepts := d.Resource.DPoP
	if !accepts.Accepts() {
		return c.String()
	}
	proofs := oauth.Challenge{Scheme: dpop.Scheme, Algorithms: algorithms}
	if d.aboutKey() { // a key is never bound
		return c.String()
	}
	if accepts.Requires() || d.byDPoP || d.Reason == BoundTokenAsBearer {
		c.Scheme, c.Algorithms = proofs.Scheme, proofs.Algorithms
		if accepts.Requires() {
			return c.String()
		}
		return c.String() + ", Bearer"
	}
	return c.String() + ", " + proofs.String()
}
