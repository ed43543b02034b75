package grant

import (
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// RevocationPath is the path of the revocation endpoint (RFC 7009).
const RevocationPath = "/revoke"

// Revoke answers POST /revoke. It succeeds for a token that is unknown or has expired
// (RFC 7009, section 2.2).
func (e *Endpoint) Revoke(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Host: host.Name}, refused: audit.RevocationRefused}
	err := e.begin(w, c)
	if err == nil {
		err = e.revoke(c)
	}
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	if c.entry.Event != "" {
		e.Audit.Write(r.Context(), c.entry)
	}
	web.JSON(w, http.StatusOK, struct{}{})
}

// revoke tries the token as a refresh token and then as an access token. It does not need
// token_type_hint, and a wrong hint must not matter (RFC 7009, section 2.1).
func (e *Endpoint) revoke(c *call) error {
	raw := c.params.Get("token")
	if raw == "" {
		return oauth.Errorf(oauth.InvalidRequest, "token is missing")
	}
	if e.Refresh != nil {
		t, err := e.Refresh.tokens.Open(raw, c.host.Issuer)
		if err == nil {
			return e.revokeRefresh(c, t)
		}
		if errors.Is(err, seal.ErrExpired) {
			return nil
		}
	}
	return e.revokeAccess(c, raw)
}

// revokeRefresh ends the family of a refresh token, and with it all access tokens of the
// sign-in (RFC 7009, section 2.1). A token of any generation will do, because a client
// that lost the newest one must be able to end the family too.
func (e *Endpoint) revokeRefresh(c *call, t refreshToken) error {
	c.noteRefresh(t)
	if t.ClientKey != c.client.Key() {
		return foreignToken()
	}
	if err := c.spendProof(); err != nil {
		return err
	}
	return e.endForClient(c, t.Family, e.familyDies(t.AuthTime))
}

// Bounds on what one person can add to the list of revocations, which all people share. Each
// family on it takes a sign-in, and each token a refresh.
var (
	familyRevocations = limit.Rate{Interval: time.Minute, Burst: 300} // of a subject
	tokenRevocations  = limit.Rate{Interval: time.Minute, Burst: 60}  // of a family
)

// Revocations bounds how fast the list of revocations may grow.
type Revocations struct{ families, tokens *limit.Limiter }

// NewRevocations returns the limiters for Endpoint.Revocations.
func NewRevocations(now func() time.Time) Revocations {
	const keys = 1 << 16
	return Revocations{limit.New(familyRevocations, keys, now), limit.New(tokenRevocations, keys, now)}
}

// endForClient ends a family, unless its person has ended too many lately. A family that
// has ended already does not count.
func (e *Endpoint) endForClient(c *call, family string, dies time.Time) error {
	if e.Ended.Check(revocation.Facts{Family: family}) == revocation.None {
		if ok, wait := e.Revocations.families.Allow(c.entry.Subject); !ok {
			return &web.TooMany{Reason: reasons.TooManyRevocations, Wait: wait}
		}
	}
	if err := e.Ended.RevokeFamily(family, dies); err != nil {
		return cannotRevoke(err)
	}
	e.drop(family)
	c.entry.Event, c.entry.Reason = audit.FamilyEnded, reasons.RevokedByClient
	return nil
}

// drop removes the session with the provider that is held for a family.
func (e *Endpoint) drop(family string) {
	if e.Held != nil {
		e.Held.Drop(family)
	}
}

func (e *Endpoint) revokeAccess(c *call, raw string) error {
	claims, err := e.Verifier.Open(raw, c.host.Issuer)
	if err != nil {
		return nil
	}
	c.entry.Family, c.entry.Resource, c.entry.Subject, c.entry.TokenID = claims.Family, claims.Audience, claims.Subject, claims.ID
	if claims.ClientID != c.client.ID {
		return foreignToken()
	}
	if err := c.spendProof(); err != nil {
		return err
	}
	if ok, _ := e.Revocations.tokens.Allow(claims.Family); !ok && claims.Family != "" {
		// Too many tokens of this family were revoked. End all of it, which takes one entry.
		return e.endForClient(c, claims.Family, e.familyDies(e.Now().Unix()))
	}
	if err := e.Ended.RevokeToken(claims.ID, claims.ExpiresAt()); err != nil {
		return cannotRevoke(err)
	}
	c.entry.Event, c.entry.Reason = audit.TokenRevoked, reasons.RevokedByClient
	return nil
}

func foreignToken() error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the token was issued to another client", Reason: reasons.TokenOfAnotherClient}
}

// cannotRevoke tells the client to assume that the token still works (RFC 7009, section
// 2.2.1).
func cannotRevoke(err error) error {
	if errors.Is(err, revocation.ErrUntold) {
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the token is not revoked everywhere yet", Reason: reasons.GuardUnavailable, Cause: err}
	}
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the token could not be revoked", Reason: reasons.RevocationListFull, Cause: err}
}
