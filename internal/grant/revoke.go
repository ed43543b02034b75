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

// Revoke answers POST /revoke. A token that is unknown, or dead already, is as
// good as revoked (RFC 7009, section 2.2).
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

// revoke finds out what the token is by itself; the hint could only say it
// sooner, and a wrong one must not matter (RFC 7009, section 2.1).
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

// revokeRefresh ends the family, and with it the access tokens made from it
// (RFC 7009, section 2.1). Any generation will do: a client that lost the
// newest one must be able to end the family too.
func (e *Endpoint) revokeRefresh(c *call, t refreshToken) error {
	c.entry.Flow, c.entry.Family, c.entry.Resource, c.entry.Subject = t.Flow, t.Family, t.Resource, t.person().FullSubject()
	if t.ClientKey != c.client.Key() {
		return foreignToken()
	}
	if err := c.spendProof(); err != nil {
		return err
	}
	return e.endForClient(c, t.Family, e.familyDies(t.AuthTime))
}

// Bounds on what one person can put on the list of what was revoked, which is
// everybody's: it takes a sign-in for each family, and a refresh for each token.
var (
	familyRevocations = limit.Rate{Interval: time.Minute, Burst: 300} // of a subject
	tokenRevocations  = limit.Rate{Interval: time.Minute, Burst: 60}  // of a family
)

// Revocations bounds how fast the list may grow.
type Revocations struct{ families, tokens *limit.Limiter }

// NewRevocations returns the limiters for Endpoint.Revocations.
func NewRevocations(now func() time.Time) Revocations {
	const keys = 1 << 16
	return Revocations{limit.New(familyRevocations, keys, now), limit.New(tokenRevocations, keys, now)}
}

// endForClient ends a family, unless this person has ended too many of late. One
// that has ended already counts for nothing.
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

// drop forgets the session with the provider that is kept for a family.
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
		// One entry instead of many, and more than was asked for: the whole sign-in.
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

// cannotRevoke: the client must assume that the token still lives (RFC 7009, section 2.2.1).
func cannotRevoke(err error) error {
	if errors.Is(err, revocation.ErrUntold) {
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the token is not revoked everywhere yet", Reason: reasons.GuardUnavailable, Cause: err}
	}
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the token could not be revoked", Reason: reasons.RevocationListFull, Cause: err}
}
