package account

import (
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// LogoutPath is where an identity provider says that a person's session there has
// ended; with several providers the id of one is behind it.
const LogoutPath = Path + "/backchannel-logout"

// logoutRemembered is how long the id of a logout token is kept.
const logoutRemembered = time.Hour

// ProviderLogout answers POST /account/backchannel-logout (OpenID Connect
// Back-Channel Logout 1.0, section 2.5): the person's browsers are signed out here as
// well. Apps keep the access that the person gave them.
func (e *Endpoint) ProviderLogout(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.SignsIn() {
		notHere(w)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	p := e.Providers.Find(r.PathValue("provider"))
	if only := e.Providers.Only(); p == nil && r.PathValue("provider") == "" {
		p = only
	}
	if p == nil {
		notHere(w)
		return
	}
	form, err := web.Form(w, r)
	if err != nil {
		web.FormError(w, err)
		return
	}
	said, ok, err := p.ReadLogout(r.Context(), form.Get("logout_token"))
	if !ok {
		notHere(w)
		return
	}
	if err != nil {
		e.refuseLogout(w, r, host, p.ID, err)
		return
	}
	now := e.Now()
	who := said.Identity.FullSubject()
	entry := audit.Entry{Event: audit.SessionEnded, Reason: reasons.EndedByProvider, Host: host.Name, Name: p.ID, Subject: who, TokenID: said.ID}
	if err := e.Ended.EndPerson(revocation.BrowsersOf(who), said.IssuedAt, now.Add(e.Sessions.Lifetime)); err != nil {
		if !errors.Is(err, revocation.ErrUntold) {
			e.refuseLogout(w, r, host, p.ID, connector.ErrUnavailable)
			return
		}
		entry.Cause = err
	}
	// It ends what came before it, so one that comes again ends nothing new.
	if first, err := e.Guard.Redeem(r.Context(), "logout token "+who+" "+said.ID, now.Add(logoutRemembered)); err == nil && !first {
		entry.Reason = reasons.UsedTwice
	}
	e.Audit.Write(r.Context(), entry)
	w.WriteHeader(http.StatusOK)
}

func (e *Endpoint) refuseLogout(w http.ResponseWriter, r *http.Request, host *resource.Host, provider string, cause error) {
	e.Audit.Write(r.Context(), audit.Entry{Event: audit.SecurityEventRefused, Reason: reasons.ProviderRejected, Host: host.Name, Name: provider, Cause: cause})
	if errors.Is(cause, connector.ErrUnavailable) {
		web.Error(w, oauth.Errorf(oauth.TemporarilyUnavailable, "the logout token cannot be checked right now"))
		return
	}
	web.Error(w, oauth.Errorf(oauth.InvalidRequest, "the logout token is not valid"))
}
