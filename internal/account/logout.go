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
// well, or only those that the session which ended there had signed in. Apps keep the
// access that the person gave them.
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
	entry := audit.Entry{Event: audit.SessionEnded, Reason: reasons.EndedByProvider, Host: host.Name, Name: p.ID, TokenID: said.ID}
	if said.Identity.Subject != "" {
		entry.Subject = who
	}
	if err := e.endAsSaid(said, now.Add(e.Sessions.Lifetime)); err != nil {
		if !errors.Is(err, revocation.ErrUntold) || errors.Is(err, revocation.ErrFull) {
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

// endAsSaid ends the sessions that a logout token is about: those of the session that it
// names (sid), or else all of the person (section 2.4). Of a session that began before
// the provider named any, it cannot be known which it was, so a token that names the
// person as well ends that too.
func (e *Endpoint) endAsSaid(said connector.Logout, until time.Time) error {
	who := said.Identity.FullSubject()
	switch {
	case said.Session == "":
		return e.Ended.EndPerson(revocation.BrowsersOf(who), said.IssuedAt, until)
	case said.Identity.Subject == "":
		return e.Ended.RevokeProviderSession(revocation.ProviderSession(said.Identity.Namespace, said.Session), until)
	}
	return errors.Join(
		e.Ended.RevokeProviderSession(revocation.ProviderSession(said.Identity.Namespace, said.Session), until),
		e.Ended.EndPerson(revocation.UnnamedBrowsersOf(who), said.IssuedAt, until),
	)
}

func (e *Endpoint) refuseLogout(w http.ResponseWriter, r *http.Request, host *resource.Host, provider string, cause error) {
	e.Audit.Write(r.Context(), audit.Entry{Event: audit.SecurityEventRefused, Reason: reasons.ProviderRejected, Host: host.Name, Name: provider, Cause: cause})
	if errors.Is(cause, connector.ErrUnavailable) {
		web.Error(w, oauth.Errorf(oauth.TemporarilyUnavailable, "the logout token cannot be checked right now"))
		return
	}
	web.Error(w, oauth.Errorf(oauth.InvalidRequest, "the logout token is not valid"))
}
