package account

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// End answers POST /account/end: one entry of the person's own, or everything.
func (e *Endpoint) End(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.Account {
		notHere(w)
		return
	}
	v := e.submit(w, r, host)
	if v == nil {
		return
	}
	if v.form.Get("all") != "" {
		e.endAll(w, v)
		return
	}
	record, err := e.People.Of(r.Context(), v.subject(), e.Now())
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	for _, entry := range record.Entries {
		if entry.ID != v.form.Get("id") {
			continue
		}
		if err := e.end(r.Context(), v, entry); err != nil {
			e.unavailable(w, v, err)
			return
		}
		if entry.ID == v.session.ID {
			e.signedOut(w, v, nil)
			return
		}
	}
	e.show(w, v, page.AccountEnded, "")
}

// end ends what an entry is about, and takes the entry out of the record. An error
// means that it may live on.
func (e *Endpoint) end(ctx context.Context, v *visit, entry people.Entry) error {
	if err := e.Ended.RevokeFamily(entry.ID, time.Unix(entry.Until, 0)); err != nil && !errors.Is(err, revocation.ErrUntold) {
		return err
	}
	written := v.entry(audit.FamilyEnded, reasons.EndedByPerson)
	written.Family, written.Resource, written.Client, written.Name = entry.ID, entry.Resource, entry.Client, entry.Name
	if entry.Kind == people.Browser {
		written.Event = audit.SessionEnded
	}
	written.Cause = e.People.Forget(ctx, v.subject(), entry.ID)
	e.Audit.Write(ctx, written)
	return nil
}

// endAll ends everything of the person, also what no record knows, and signs the browser out.
func (e *Endpoint) endAll(w http.ResponseWriter, v *visit) {
	now := e.Now()
	if err := e.Ended.EndPerson(revocation.BySubject(v.subject()), now, now.Add(e.GrantLifetime)); err != nil && !errors.Is(err, revocation.ErrUntold) {
		e.unavailable(w, v, err)
		return
	}
	written := v.entry(audit.PersonEnded, reasons.EndedByPerson)
	written.Cause = e.People.Forget(v.Context(), v.subject())
	e.Audit.Write(v.Context(), written)
	e.signedOut(w, v, nil)
}

// SignOut answers /account/sign-out: a question, and the answer to it.
func (e *Endpoint) SignOut(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.SignsIn() {
		notHere(w)
		return
	}
	if r.Method == http.MethodPost {
		e.leave(w, r, host)
		return
	}
	v := e.enter(w, r, host)
	if v == nil {
		return
	}
	sealed, err := e.sealForm(v)
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	view := page.SignOut{Action: SignOutPath, Form: sealed, Host: host.Name}
	if e.logoutURL(v) != "" {
		view.Provider = e.Providers.Find(v.session.Provider).Name
	}
	e.Pages.For(r).SignOut(w, view)
}

// leave ends the session. The person may have the identity provider's ended as well
// (OpenID Connect RP-Initiated Logout).
func (e *Endpoint) leave(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	v := e.submit(w, r, host)
	if v == nil {
		return
	}
	entry := people.Entry{ID: v.session.ID, Kind: people.Browser, Client: session.ClientID, Until: e.Sessions.End(&v.session)}
	if err := e.end(r.Context(), v, entry); err != nil {
		e.unavailable(w, v, err)
		return
	}
	to := ""
	if v.form.Get("provider") != "" {
		to = e.logoutURL(v)
	}
	e.signedOut(w, v, &to)
}

// signedOut takes the cookie from the browser. to, if it is there and not "", is
// where it goes on to.
func (e *Endpoint) signedOut(w http.ResponseWriter, v *visit, to *string) {
	session.Clear(w.Header(), v.host)
	if to != nil && *to != "" {
		redirect(w, *to)
		return
	}
	e.Pages.For(v.Request).SignedOut(w, page.SignedOut{Host: v.host.Name, Again: page.Link(signIn(v.host, Path))})
}

// logoutURL is where the person's session at the identity provider ends, "" where
// the provider has no such place, or does not answer now.
func (e *Endpoint) logoutURL(v *visit) string {
	p := e.Providers.Find(v.session.Provider)
	if p == nil {
		return ""
	}
	return p.LogoutURL(v.Context())
}
