package authorize

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// renewGrace is how long several windows that ask at the same time get the same renewed
// session.
const renewGrace = 2 * time.Minute

// renew gives a browser a renewed session, and asks the identity provider first if that
// is due. It returns false if the person has to visit the provider instead.
func (e *Endpoint) renew(w http.ResponseWriter, r *http.Request, host *resource.Host, v session.Session, p pending) bool {
	if !e.Sessions.Due(&v) {
		return e.sealAgain(w, r, host, v, p)
	}
	vouching := e.Providers.Find(v.Provider)
	if vouching == nil {
		return false
	}
	sealed, err := e.askAgain(r.Context(), host, vouching, v)
	switch {
	case err == nil:
		v.Checked = e.Now().Unix()
		e.Audit.Write(r.Context(), audit.Entry{
			Event: audit.SessionRenewed, Host: host.Name, Flow: v.Flow, Family: v.ID, Subject: v.Identity.FullSubject(), Email: v.Identity.Email, Client: session.ClientID,
			Cause: e.note(r.Context(), host, &v),
		})
		session.Set(w.Header(), host, sealed)
		redirect(w, host.Issuer+p.Page)
		return true
	case errors.Is(err, connector.ErrSessionOver):
		return false
	case errors.Is(err, guard.ErrReused):
		e.endSession(r, host, &v, reasons.SessionReused, nil)
		session.Clear(w.Header(), host)
		return false
	}
	if reason := finalReason(err); reason != revocation.None {
		e.endSession(r, host, &v, reason, err)
		session.Clear(w.Header(), host)
		x := p.ending(host, &oauth.Error{Code: oauth.AccessDenied, Reason: reason, Cause: err})
		x.entry.Subject = v.Identity.FullSubject()
		e.end(w, r, x)
		return true
	}
	// The provider does not answer. The session goes on, but no longer than the one that
	// the browser has, and the provider is asked again.
	v.Tried = e.Now().Unix()
	return e.sealAgain(w, r, host, v, p)
}

// sealAgain gives the browser the same session, sealed again with a new expiry.
func (e *Endpoint) sealAgain(w http.ResponseWriter, r *http.Request, host *resource.Host, v session.Session, p pending) bool {
	sealed, err := e.Sessions.Seal(v, host, e.keep(r.Context(), &v))
	if err != nil {
		return false
	}
	session.Set(w.Header(), host, sealed)
	redirect(w, host.Issuer+p.Page)
	return true
}

// finalReason returns why a person may not go on, by an error of askAgain;
// revocation.None if the error may pass.
func finalReason(err error) reasons.Reason {
	if refused, ok := errors.AsType[policy.Refused](err); ok {
		return refused.Reason
	}
	switch {
	case errors.Is(err, connector.ErrGone):
		return reasons.UserGone
	case errors.Is(err, connector.ErrNotAllowed):
		return reasons.AccountNotAllowed
	}
	return revocation.None
}

// askAgain asks the identity provider who the person is now, once even if several windows
// ask. It returns the session cookie of the next generation.
func (e *Endpoint) askAgain(ctx context.Context, host *resource.Host, vouching *provider.Provider, v session.Session) (string, error) {
	if err := e.fetchKept(ctx, &v); err != nil {
		return "", err
	}
	if !vouching.MayRecheck(v.Kept) {
		return "", connector.ErrSessionOver
	}
	rotation := guard.Rotation{
		Family: v.ID, Generation: v.Generation, Issued: time.Unix(v.Checked, 0), Arrived: e.Now(), Grace: renewGrace, Expires: time.Unix(e.Sessions.End(&v), 0),
		Resume: func(kept string) {
			if s, err := e.Steps.kept.Open(kept, v.ID); err == nil {
				v.Kept = s
			}
		},
	}
	return e.Guard.Rotate(ctx, rotation, func(ctx context.Context, keep func(string)) (string, error) {
		ctx = connector.OnExchange(ctx, func(s connector.Session) {
			if sealed, err := e.sealKept(v.ID, s, e.Sessions.End(&v)); err == nil {
				keep(sealed)
			}
		})
		who := connector.Identity{Provider: v.Identity.Provider, Namespace: v.Identity.Namespace, Subject: v.Identity.Subject}
		identity, kept, err := vouching.Recheck(ctx, who, v.Kept)
		if err != nil {
			return "", e.unfinished(v.ID, kept, e.Sessions.End(&v), err)
		}
		if err := vouching.Gate.Admit(identity); err != nil {
			return "", err
		}
		v.Identity, v.Kept = identity, kept
		v.Generation, v.Checked, v.Tried = v.Generation+1, e.Now().Unix(), 0
		return e.Sessions.Seal(v, host, e.keep(ctx, &v))
	})
}

// unfinished returns err with the session that the provider gave before it, if any. The
// guard keeps that for the next try.
func (e *Endpoint) unfinished(id string, kept connector.Session, end int64, err error) error {
	if kept == (connector.Session{}) {
		return err
	}
	sealed, problem := e.sealKept(id, kept, end)
	if problem != nil {
		return errors.Join(err, problem)
	}
	return &guard.Unfinished{Keep: sealed, Err: err}
}

// sealKept returns a session with the provider as the guard keeps it for the next try.
func (e *Endpoint) sealKept(id string, kept connector.Session, end int64) (string, error) {
	return e.Steps.kept.Seal(kept, time.Unix(end, 0), id)
}

// keptID is the key in the guard for a session with the provider that is too long for the
// cookie.
func keptID(v *session.Session) string { return "browser session " + v.ID }

// keep returns a function that keeps the session with the provider of v in the guard.
func (e *Endpoint) keep(ctx context.Context, v *session.Session) func(connector.Session) error {
	end := time.Unix(e.Sessions.End(v), 0)
	return func(kept connector.Session) error {
		sealed, err := e.Steps.kept.Seal(kept, end, v.ID)
		if err != nil {
			return err
		}
		return e.Guard.Keep(ctx, keptID(v), sealed, end)
	}
}

// fetchKept fills in v.Kept from the guard, if the cookie does not have it.
func (e *Endpoint) fetchKept(ctx context.Context, v *session.Session) error {
	if v.Kept != (connector.Session{}) {
		return nil
	}
	sealed, err := e.Guard.Kept(ctx, keptID(v))
	if err != nil || sealed == "" {
		return err
	}
	v.Kept, err = e.Steps.kept.Open(sealed, v.ID)
	if err != nil {
		return connector.ErrSessionOver
	}
	return nil
}
