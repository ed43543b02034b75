package grant

import (
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// DeadTokenPath is where an MCP server reports that the identity provider's token, which
// it got from this service, does not work any more.
const DeadTokenPath = "/dead-token"

// YoungToken is the age up to which a report is not believed: the provider gave the token
// a moment ago, so the fault is the MCP server's, and a new sign-in would bring a token
// like it.
const YoungToken = time.Minute

// DeadTokenRoute returns the route of reports of dead tokens.
func (e *Endpoint) DeadTokenRoute() web.Route {
	return web.Route{Pattern: DeadTokenPath, Methods: []string{http.MethodPost}, Serve: e.DeadToken, Waits: true, Refused: audit.RevocationRefused}
}

// DeadToken answers POST /dead-token. The server proves itself as at a token exchange,
// and shows the identity header or the handle that came with the token. The answer says
// whether the sign-in has ended.
func (e *Endpoint) DeadToken(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Event: audit.ProviderTokenDead, Host: host.Name}, refused: audit.RevocationRefused}
	ended, err := e.deadToken(w, c)
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	c.entry.Reason = reasons.StillGood
	if ended {
		c.entry.Reason = reasons.ProviderTokenDead
	}
	e.Audit.Write(r.Context(), c.entry)
	web.JSON(w, http.StatusOK, map[string]bool{"ended": ended})
}

func (e *Endpoint) deadToken(w http.ResponseWriter, c *call) (ended bool, err error) {
	if e.Exchanges == nil || !c.host.Exchanges() {
		return false, oauth.Errorf(oauth.UnauthorizedClient, "no MCP server of this host exchanges tokens")
	}
	if err := e.read(w, c); err != nil {
		return false, err
	}
	if !namesNoClient(c) {
		if err := e.authenticate(c); err != nil {
			return false, err
		}
		if err := e.count(c, c.client.Key()); err != nil {
			return false, err
		}
		if !c.client.MayUse(tokenExchangeType) {
			return false, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", tokenExchangeType)
		}
	}
	s, err := e.askingServer(c)
	if err != nil {
		return false, err
	}
	c.entry.Actor = s.actor.String()
	dead := c.params.Get("token")
	if dead == "" {
		return false, oauth.Errorf(oauth.InvalidRequest, "token is missing: the identity provider's token that is dead")
	}
	sub, err := e.readSubject(c)
	switch {
	case err != nil:
		return false, err
	case !s.is(sub.at):
		return false, subjectRefused(reasons.ExchangeNotForServer, nil)
	case sub.at.ProviderToken == nil:
		return false, &oauth.Error{Code: oauth.InvalidTarget, Description: "this server gets no token of an identity provider", Reason: reasons.ExchangeTarget}
	}
	return e.endForDead(c, sub, dead)
}

// endForDead ends the sign-in whose token is dead, and reports whether it did. A sign-in
// goes on if its token was replaced meanwhile or is young. The sign-ins of one person can
// be ended only so often.
func (e *Endpoint) endForDead(c *call, s *subject, dead string) (ended bool, err error) {
	if s.at.ProviderToken.Held {
		if _, err := e.supplyHeld(c, s); err != nil {
			return false, err
		}
	} else if !s.ticket.Provider { // the server got no such token: another server may have called it
		return false, subjectRefused(reasons.NothingToExchange, nil)
	}
	if ok, wait := e.Revocations.families.Allow(c.entry.Subject); !ok {
		return false, &web.TooMany{Reason: reasons.TooManyRevocations, Wait: wait}
	}
	if err := c.spendProof(); err != nil {
		return false, err
	}
	if s.at.ProviderToken.Held {
		return e.Held.Dead(s.family, dead, YoungToken), nil
	}
	if e.Now().Sub(time.Unix(s.ticket.Issued, 0)) < YoungToken {
		return false, nil
	}
	err = e.Ended.RevokeFamily(s.family, e.familyDies(e.Now().Unix()))
	if err != nil && !errors.Is(err, revocation.ErrUntold) { // it has ended here, and the other replicas learn of it later
		return false, cannotRevoke(err)
	}
	return true, nil
}
