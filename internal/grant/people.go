package grant

import (
	"errors"
	"fmt"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
)

// allowed is what a person allowed a client.
type allowed struct {
	Family, Resource string
	Scopes           oauth.Scopes
	AuthTime         int64
	Refreshes        bool // the client has a refresh token
}

// note records what a person allowed a client, for the person and the operator to see. If
// that fails, the token is issued all the same, and the audit entry says so.
func (e *Endpoint) note(c *call, who connector.Identity, a allowed) {
	if e.People == nil {
		return
	}
	now := e.Now()
	until := now.Add(e.Tokens.Lifetime).Unix()
	if a.Refreshes && e.Refresh != nil {
		until = max(until, time.Unix(a.AuthTime, 0).Add(e.Refresh.Absolute).Unix())
	}
	err := e.People.Note(c.Context(), people.Who{Subject: who.FullSubject(), Email: who.Email, Name: who.Name}, people.Entry{
		ID: a.Family, Kind: people.App, Client: c.client.ShortID(), Name: c.client.Name, VouchedBy: c.client.VouchedBy, Host: c.host.Name,
		Resource: a.Resource, Scopes: a.Scopes, Since: a.AuthTime, Used: now.Unix(), Until: until,
	})
	if err != nil {
		c.entry.Cause = errors.Join(c.entry.Cause, fmt.Errorf("what the person allowed could not be written down: %w", err))
	}
}
