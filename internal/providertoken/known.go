package providertoken

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Patience is how long a request waits for a token that this replica does not know, or
// that has to be renewed first.
const Patience = 2 * time.Second

// View is what a request of a sign-in gets for its MCP server.
type View struct {
	Token  token.Provider // "" if the token is too long for the header, and there is a Handle
	Handle string
	// Identity and Policy are the person and their rules as of the last renewal.
	Identity connector.Identity
	Policy   string
	// Until is when to ask for another View, in Unix seconds. Replaced becomes true if
	// there is a newer one before.
	Until    int64
	Replaced *atomic.Bool
}

// View returns what this replica knows of the sign-in at r, without waiting. ok is false
// if it knows nothing or the token has died. If it is time to renew, a renewal begins in
// the background.
func (h *Held) View(r *resource.Resource, family string) (v View, ok bool, err error) {
	s, now := h.state(family), h.Now()
	switch {
	case s == nil:
		return View{}, false, nil
	case s.Over != "":
		return View{}, false, ErrOver
	case s.Resource != r.URI:
		return View{}, false, errOtherServer
	case !now.Before(s.dead), now.Before(time.Unix(s.Got, 0).Add(-clockStep)):
		return View{}, false, nil
	}
	until := s.renew
	if s.due(now) {
		h.renewInBackground(s, now)
		until = now.Add(retry)
	}
	if s.dead.Before(until) {
		until = s.dead
	}
	v = View{Identity: s.Identity, Policy: s.Policy, Replaced: s.replaced}
	if t := r.ProviderToken; len(t.Line(string(s.Token.Value))) <= t.Room() {
		v.Token = s.Token.Value
	} else {
		if v.Handle, err = h.handle(r, family, now); err != nil {
			return View{}, false, err
		}
		if again := now.Add(handleLife / 2); again.Before(until) {
			until = again
		}
	}
	v.Until = max(until.Unix(), now.Unix()+1)
	return v, true, nil
}

// Wait is View for a request that can wait: it asks the guard and, if need be, the
// provider. Errors wrap ErrOver, or ErrCannotTell when ctx or Patience ends.
func (h *Held) Wait(ctx context.Context, r *resource.Resource, family string) (View, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		if _, err := h.await(ctx, family, alive); err != nil {
			return View{}, err
		}
		if v, ok, err := h.View(r, family); ok || err != nil {
			return v, err
		}
	}
}

// Person returns who the person of a sign-in is. The provider has said so within the last
// minute. Errors are those of connector.Rechecker.
func (h *Held) Person(ctx context.Context, family string) (connector.Identity, error) {
	s, err := h.await(ctx, family, fresh)
	if err != nil {
		return connector.Identity{}, err
	}
	return s.Identity, nil
}

// handleLife is how long a handle can be exchanged for the token.
const handleLife = 5 * time.Minute

// handle is the content of a handle: the sign-in whose token it stands for, and the MCP
// server that may exchange it.
type handle struct {
	Family   string `json:"family"`
	Resource string `json:"resource"`
}

func (h *Held) handle(r *resource.Resource, family string, now time.Time) (string, error) {
	return h.handles.Seal(handle{family, r.URI}, now.Add(handleLife), r.Host.Issuer)
}

// Handle returns the sign-in that a handle of issuer stands for, and the URI of the MCP
// server that it was made for. Errors are those of package seal.
func (h *Held) Handle(issuer, raw string) (family, uri string, err error) {
	content, err := h.handles.Open(raw, issuer)
	return content.Family, content.Resource, err
}

// Supply returns the token of a sign-in for the MCP server with this URI, and who the
// person is. The caller has checked that this MCP server asks. Errors wrap ErrOver, or
// ErrCannotTell when ctx or Patience ends.
func (h *Held) Supply(ctx context.Context, family, uri string) (Token, connector.Identity, error) {
	if h.Ended.Check(revocation.Facts{Family: family}) != revocation.None {
		return Token{}, connector.Identity{}, ErrOver
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	s, err := h.await(ctx, family, alive)
	if err != nil {
		return Token{}, connector.Identity{}, err
	}
	if s.Resource != uri {
		return Token{}, connector.Identity{}, ErrOver
	}
	if now := h.Now(); s.due(now) {
		h.renewInBackground(s, now)
	}
	return s.Token, s.Identity, nil
}

// Dead ends a sign-in whose token the MCP server reports as dead, and reports whether it
// did. sent is the value of the header that the server got. A sign-in goes on if its
// token was renewed meanwhile, or is younger than young.
func (h *Held) Dead(family, sent string, young time.Duration) bool {
	s := h.state(family)
	if s == nil || s.Over != "" || strings.TrimPrefix(sent, "Bearer ") != string(s.Token.Value) || h.Now().Sub(time.Unix(s.Got, 0)) < young {
		return false
	}
	h.endNow(s.record, reasons.ProviderTokenDead, errors.New("the MCP server says so"))
	return true
}
