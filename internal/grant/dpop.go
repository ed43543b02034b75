package grant

import (
	"crypto/subtle"
	"errors"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// readKeyProof verifies the DPoP proof of a request, if it has one (RFC 9449, section 5).
// At a host that binds no tokens the proof is ignored; the token type in the answer tells
// the client so.
func (e *Endpoint) readKeyProof(w http.ResponseWriter, c *call, path string) error {
	headers := c.Header[http.CanonicalHeaderKey(dpop.Header)]
	if e.Proofs == nil || !c.host.BindsTokens() {
		return nil
	}
	if len(headers) == 0 { // the grant may demand one
		e.offerNonce(w, c)
		return nil
	}
	p, err := e.Proofs.Verify(headers, dpop.Request{Method: c.Method, Origin: c.host.Issuer, Path: path})
	if err != nil {
		return e.refuseProof(w, c, err)
	}
	if p.NextNonce != "" {
		w.Header().Set(dpop.NonceHeader, p.NextNonce)
	}
	c.proof = &p
	c.alsoSpend(func() error { return e.spendKeyProof(c) })
	return nil
}

// refuseProof returns the error for a proof that is not valid, and offers a nonce for the
// next one.
func (e *Endpoint) refuseProof(w http.ResponseWriter, c *call, err error) error {
	refused, _ := errors.AsType[dpop.Refused](err)
	e.offerNonce(w, c)
	if refused.Reason == reasons.DPoPNonceNeeded {
		return &oauth.Error{Code: oauth.UseDPoPNonce, Description: "the DPoP proof needs the nonce of this answer", Reason: refused.Reason}
	}
	return invalidProof(refused.Reason, refused.Cause())
}

// offerNonce sets the header with a nonce for the client's next proof, if nonces are
// demanded.
func (e *Endpoint) offerNonce(w http.ResponseWriter, c *call) {
	if nonce := e.Proofs.Nonce(c.host.Issuer); nonce != "" {
		w.Header().Set(dpop.NonceHeader, nonce)
	}
}

func invalidProof(reason reasons.Reason, cause error) error {
	return &oauth.Error{Code: oauth.InvalidDPoPProof, Description: dpop.Told(reason), Reason: reason, Cause: cause}
}

// spendKeyProof uses a proof up, for every replica that shares the guard. Only proofs of
// requests that succeed are remembered, so that no stranger can fill the guard.
func (e *Endpoint) spendKeyProof(c *call) error {
	first, err := e.Guard.Redeem(c.Context(), "dpop "+c.proof.ID.String(), c.proof.Expires)
	if err != nil {
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "DPoP proofs cannot be checked right now", Reason: reasons.GuardUnavailable, Cause: err}
	}
	if !first {
		return invalidProof(reasons.DPoPProofReplayed, nil)
	}
	return nil
}

// bind returns the thumbprint of the key that an access token for res is bound to, "" for
// none. bound is the key of the code or the refresh token, "" for none; with one, the
// request must prove the same key (RFC 9449, sections 5 and 10). Every grant calls bind
// before it spends anything, and mint does so once more.
func (c *call) bind(res *resource.Resource, bound string) (string, error) {
	accepts := res.DPoP.Accepts()
	switch {
	case accepts && c.proof != nil && (bound == "" || subtle.ConstantTimeCompare([]byte(bound), []byte(c.proof.Thumbprint)) == 1):
		return c.proof.Thumbprint, nil
	case bound != "" && accepts && c.proof != nil:
		return "", wrongKey(reasons.DPoPWrongKey)
	case bound != "": // also where the operator has turned DPoP off meanwhile
		return "", wrongKey(reasons.DPoPProofMissing)
	case accepts && (res.DPoP.Requires() || c.client != nil && c.client.DPoPBound):
		return "", invalidProof(reasons.DPoPProofMissing, nil)
	}
	return "", nil
}

func wrongKey(reason reasons.Reason) error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the grant is bound to a key, and the request has no DPoP proof of it", Reason: reason}
}

// bindTo is bind for the resource with this URI.
func (c *call) bindTo(uri, bound string) (string, error) {
	res, err := c.resource(grantee{Resource: uri})
	if err != nil {
		return "", err
	}
	return c.bind(res, bound)
}

// refreshKey returns the key that a refresh token is bound to, "" for none. key is that
// of the access token beside it. The refresh token of a client that authenticates is
// bound to its credentials already (RFC 9449, section 5).
func (c *call) refreshKey(key string) string {
	if c.client.AuthMethod != registration.AuthNone {
		return ""
	}
	return key
}
