package authorize

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// SignIn answers GET /account/sign-in: a person's browser needs a session for the pages
// of this host. A session that it has is renewed; otherwise the person visits the
// identity provider. There is nothing to consent to, because no app is involved.
func (e *Endpoint) SignIn(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	flow := audit.NewFlow()
	query, err := web.Query(r)
	if err == nil {
		err = oauth.NewParams(query).CheckDuplicates()
	}
	to, beside := "", (*resource.Resource)(nil)
	if err == nil {
		to, beside, err = returnTo(host, query.Get(web.ReturnParam))
	}
	if err != nil {
		x := notHonoured(host, flow, reasons.NoSuchPage, err)
		x.view = page.Error{Status: http.StatusBadRequest, Problem: page.NoSuchPage, FlowID: flow}
		e.end(w, r, x)
		return
	}
	p := pending{Flow: flow, ClientID: session.ClientID, Page: to}
	if beside != nil {
		p.Resource = beside.URI
	}
	if prompt := query.Get("prompt"); prompt == "login" || prompt == "select_account" {
		p.Prompt = prompt
	}
	if v, ok := e.currentSession(r, host); ok && p.Prompt == "" && e.renew(w, r, host, v, p) {
		return
	}
	e.beginLogin(w, r, host, p, nil)
}

// maxReturn bounds the address that a person comes back to, in bytes.
const maxReturn = 3 << 10

var errReturn = errors.New("the address to come back to is none of the pages of this host")

// returnTo returns the path of this host that the person goes on to, and the MCP server
// beside it. There must be a page at the path, or it is /account. Some gateways name it
// by its whole URL. Nothing that a browser could take for another host is accepted.
func returnTo(host *resource.Host, asked string) (path string, beside *resource.Resource, err error) {
	target := strings.TrimPrefix(asked, host.Issuer)
	switch {
	case !host.SignsIn():
		return "", nil, errReturn
	case asked == "" && host.Account:
		return web.AccountPath, nil, nil
	case asked == "":
		p := host.Pages[len(host.Pages)-1]
		return p.Path + "/", p.Beside, nil
	case len(target) > maxReturn:
		return "", nil, errReturn
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return "", nil, errReturn
		}
	}
	plain, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(plain, "/") || strings.HasPrefix(plain, "//") || !oauth.PlainPath(plain) {
		return "", nil, errReturn
	}
	if plain == web.AccountPath && host.Account {
		return target, nil, nil
	}
	if at := host.At(plain); at != nil && at.Page != nil {
		return target, at.Beside, nil
	}
	return "", nil, errReturn
}

// currentSession returns the browser's session. ok is false if there is none, or if it
// has expired or was revoked.
func (e *Endpoint) currentSession(r *http.Request, host *resource.Host) (v session.Session, ok bool) {
	raw, several := session.Presented(r.Header["Cookie"], host)
	if raw == "" || several {
		return session.Session{}, false
	}
	v, err := e.Sessions.Open(raw, host)
	return v, err == nil && e.Ended.Check(v.Facts()) == revocation.None
}

// signedIn gives a browser its session after a sign-in. The session is always a new one,
// so that it cannot be one that an attacker has put into the browser before (session
// fixation).
func (e *Endpoint) signedIn(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, by vouched) {
	identity, kept := by.identity, by.session
	entry := st.auditEntry(host, audit.SessionBegun, "")
	entry.Subject, entry.Email, entry.Cause = identity.FullSubject(), identity.Email, unread(identity)
	if reason := e.admit(st, by); reason != revocation.None {
		x := st.ending(host, oauth.Errorf(oauth.AccessDenied, "this account may not use this service"))
		entry.Event, entry.Reason = audit.LoginRefused, reason
		x.entry = entry
		e.end(w, r, x)
		return
	}
	now := e.Now().Unix()
	atProvider := revocation.ProviderSession(identity.Namespace, kept.ID)
	kept.ID = ""
	v := session.Session{
		ID: rand.Text(), Flow: st.Flow, Provider: by.provider.ID, Identity: identity, InGroups: len(identity.Groups) > 0 || identity.Unknown.Groups,
		AuthTime: now, Checked: now, Kept: kept, AtProvider: atProvider,
	}
	sealed, err := e.Sessions.Seal(v, host, e.keep(r.Context(), &v))
	if err != nil {
		e.end(w, r, st.ending(host, &oauth.Error{Code: oauth.TemporarilyUnavailable, Reason: reasons.GuardUnavailable, Cause: err}))
		return
	}
	if before, ok := e.currentSession(r, host); ok {
		e.endSession(r, host, &before, reasons.SessionReplaced, nil)
	}
	entry.Family = v.ID
	if err := e.note(r.Context(), host, &v); err != nil {
		entry.Cause = errors.Join(entry.Cause, err)
	}
	e.Audit.Write(r.Context(), entry)
	session.Set(w.Header(), host, sealed)
	if e.Providers.Only() == nil {
		setCookie(w, host, providerCookie, by.provider.ID, grantedTTL)
	}
	redirect(w, host.Issuer+st.Page)
}

// note records the session, for the person to see on the account page.
func (e *Endpoint) note(ctx context.Context, host *resource.Host, v *session.Session) error {
	who := people.Who{Subject: v.Identity.FullSubject(), Email: v.Identity.Email, Name: v.Identity.Name}
	return e.People.Note(ctx, who, people.Entry{
		ID: v.ID, Kind: people.Browser, Client: session.ClientID, Host: host.Name, Since: v.AuthTime, Used: v.Checked, Until: e.Sessions.End(v),
	})
}

// endSession revokes a session.
func (e *Endpoint) endSession(r *http.Request, host *resource.Host, v *session.Session, reason reasons.Reason, cause error) {
	if err := e.Ended.RevokeFamily(v.ID, time.Unix(e.Sessions.End(v), 0)); err != nil {
		cause = errors.Join(cause, err)
	}
	e.Audit.Write(r.Context(), audit.Entry{
		Event: audit.SessionEnded, Reason: reason, Cause: cause, Host: host.Name, Flow: v.Flow, Family: v.ID,
		Subject: v.Identity.FullSubject(), Email: v.Identity.Email, Client: session.ClientID,
	})
	_ = e.People.Forget(r.Context(), v.Identity.FullSubject(), v.ID) // otherwise the record expires by itself
}
