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

// DeadTokenPath is where an MCP server says that the identity provider's token, which
// it got from here no longer works.
const DeadTokenPath = "/dead-token"

// YoungToken is the age up to which a token that an MCP server refuses is the server's
// mistake: the provider has given it a moment ago, and a sign-in would bring the same.
const YoungToken = time.Minute

// DeadTokenRoute returns the route for servers that got a dead token.
func (e *Endpoint) DeadTokenRoute() web.Route {
	return web.Route{Pattern: DeadTokenPath, Methods: []string{http.MethodPost}, Serve: e.DeadToken, Waits: true, Refused: audit.RevocationRefused}
}

// DeadToken answers POST /dead-token. The server proves itself as at a token exchange,
// and shows the identity header or the handle that came with the token.
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
	s, err := e.server(c)
	if err != nil {
		return false, err
	}
	c.entry.Actor = s.actor.String()
	dead := c.params.Get("token")
	if dead == "" {
		return false, oauth.Errorf(oauth.InvalidRequest, "token is missing: the identity provider's token that is dead")
	}
	sh, err := e.shown(c)
	switch {
	case err != nil:
		return false, err
	case !s.is(sh.at):
		return false, subjectRefused(reasons.ExchangeNotForServer, nil)
	case sh.at.ProviderToken == nil:
		return false, &oauth.Error{Code: oauth.InvalidTarget, Description: "this server gets no token of an identity provider", Reason: reasons.ExchangeTarget}
	}
	return e.endForDead(c, sh, dead)
}

// endForDead ends the sign-in of s unless its token was replaced meanwhile, or is young. One
// person's sign-ins end so often and no more.
func (e *Endpoint) endForDead(c *call, s *shown, dead string) (ended bool, err error) {
	if s.at.ProviderToken.Held {
		if _, err := e.supplyHeld(c, s); err != nil {
			return false, err
		}
	} else if !s.ticket.Provider { // the sign-in is for another server, which may have called this one
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
	if err != nil && !errors.Is(err, revocation.ErrUntold) { // here it has ended, and the others hear of it later
		return false, cannotRevoke(err)
	}
	return true, nil
}
