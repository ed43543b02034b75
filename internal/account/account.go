// Package account owns the pages where people see what they allowed and end it:
// /account and what is below it, but for the sign-in. A browser session opens them,
// and nothing else does.
//
// Its invariants: a page shows and ends only what belongs to the person of the session;
// a form is accepted only if this service made it for that browser session and it comes from
// its own page; and no script can read a page, because pages open only in windows that a
// person opened.
package account

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/personal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Paths of the pages.
const (
	Path        = web.AccountPath
	EndPath     = Path + "/end"
	KeysPath    = Path + "/keys"
	SignOutPath = Path + "/sign-out"
)

// Endpoint serves the pages.
type Endpoint struct {
	Sessions *session.Sessions
	People   *people.Records
	Ended    *revocation.List
	// Keys makes personal keys, for KeyLifetime at most. One rests where the person has not
	// signed in for KeySignIns.
	Keys                    *personal.Keys
	KeyLifetime, KeySignIns time.Duration
	// Resources are all MCP servers, for their names.
	Resources []*resource.Resource
	Catalogue func(ctx context.Context, r *resource.Resource) *catalog.Catalogue
	// Peek is Catalogue without I/O.
	Peek      func(r *resource.Resource) *catalog.Catalogue
	Policy    *policy.Policy
	Providers provider.Set
	Guard     guard.Guard
	Forms     Forms
	Pages     *page.Pages
	Audit     *audit.Log
	Now       func() time.Time
	// GrantLifetime is how long after now anything that was granted before can live.
	GrantLifetime time.Duration
}

// Forms seals what makes a form one of this service's.
type Forms struct{ box seal.Box[form] }

// NewForms returns the forms of a keyring.
func NewForms(keys *seal.Keyring) Forms { return Forms{seal.NewBox[form](keys, "account form")} }

// form is what is sealed into each form of a page.
type form struct {
	ID string `json:"id"` // spent where the form must count once
}

// formTTL is how long a page may stay open.
const formTTL = 30 * time.Minute

// Routes returns the routes of the pages.
func (e *Endpoint) Routes() []web.Route {
	get, post, both := []string{http.MethodGet}, []string{http.MethodPost}, []string{http.MethodGet, http.MethodPost}
	route := func(path string, methods []string, serve web.HostHandler) web.Route {
		return web.Route{Pattern: path, Methods: methods, Serve: serve, Person: true, Waits: true, Refused: audit.LoginRefused}
	}
	logout := web.Route{Pattern: LogoutPath, Methods: post, Serve: e.ProviderLogout, Waits: true, Refused: audit.SecurityEventRefused}
	ofProvider := logout
	ofProvider.Pattern += "/{provider}"
	return []web.Route{
		logout, ofProvider,
		route(web.RefusedPath, get, e.Refused),
		route(Path, get, e.Account), route(EndPath, post, e.End), route(KeysPath, post, e.MakeKey), route(SignOutPath, both, e.SignOut),
	}
}

// visit is a request of a person with a session.
type visit struct {
	*http.Request
	host    *resource.Host
	session session.Session
	form    url.Values // of a POST
	sealed  form
}

func (v *visit) subject() string { return v.session.Identity.FullSubject() }

func (v *visit) entry(event audit.Event, reason reasons.Reason) audit.Entry {
	return audit.Entry{
		Event: event, Reason: reason, Host: v.host.Name, Subject: v.subject(), Email: v.session.Identity.Email, Client: session.ClientID, Flow: v.session.Flow,
	}
}

// enter finds out who opens a page. Where it is no one, or no window of a person's,
// it answers and returns nil.
func (e *Endpoint) enter(w http.ResponseWriter, r *http.Request, host *resource.Host) *visit {
	// The page must not stay in reach of a window of the host's other pages, which
	// could otherwise read it and press its buttons.
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
	if !window(r) {
		e.refuse(w, r, host, refusal{http.StatusForbidden, page.CrossSiteForm, reasons.CrossSiteRequest, nil})
		return nil
	}
	raw, several := session.Presented(r.Header["Cookie"], host)
	if raw != "" && !several {
		v, err := e.Sessions.Open(raw, host)
		if err == nil && e.Ended.Check(v.Facts()) == revocation.None {
			return &visit{Request: r, host: host, session: v}
		}
	}
	redirect(w, signIn(host, r.URL.Path))
	return nil
}

// window reports whether the browser says that a person goes here in a window of
// its own: a script of another page of this host says something else, and cannot lie.
func window(r *http.Request) bool {
	mode, dest := r.Header["Sec-Fetch-Mode"], r.Header["Sec-Fetch-Dest"]
	return len(mode) == 1 && mode[0] == "navigate" && (len(dest) == 0 || len(dest) == 1 && dest[0] == "document")
}

// submit is enter for a form.
func (e *Endpoint) submit(w http.ResponseWriter, r *http.Request, host *resource.Host) *visit {
	v := e.enter(w, r, host)
	if v == nil {
		return nil
	}
	if err := crossOrigin.Check(r); err != nil || r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		e.refuse(w, r, host, refusal{http.StatusForbidden, page.CrossSiteForm, reasons.CrossSiteForm, err})
		return nil
	}
	values, err := web.Form(w, r)
	if err == nil {
		v.form = values
		v.sealed, err = e.Forms.box.Open(values.Get("form"), host.Issuer, v.session.ID)
	}
	if err != nil {
		e.refuse(w, r, host, refusal{http.StatusForbidden, page.ConsentExpired, reasons.ForeignConsent, err})
		return nil
	}
	return v
}

var crossOrigin = http.NewCrossOriginProtection()

// sealForm returns the hidden field of the forms of a page.
func (e *Endpoint) sealForm(v *visit) (string, error) {
	return e.Forms.box.Seal(form{ID: newID()}, e.Now().Add(formTTL), v.host.Issuer, v.session.ID)
}

// refusal is why nothing was done: what the person reads, and what the audit log says.
type refusal struct {
	status  int
	problem page.Problem
	reason  reasons.Reason
	cause   error
}

func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, host *resource.Host, why refusal) {
	flow := audit.NewFlow()
	e.Audit.Write(r.Context(), audit.Entry{Event: audit.LoginRefused, Reason: why.reason, Flow: flow, Host: host.Name, Cause: why.cause})
	e.Pages.For(r).Error(w, page.Error{Status: why.status, Problem: why.problem, FlowID: flow, Retry: page.Link(host.Issuer + web.SignInPath)})
}

func signIn(host *resource.Host, path string) string {
	if path != Path || !host.Account {
		return host.Issuer + web.SignInPath
	}
	return host.Issuer + web.SignInPath + "?" + url.Values{web.ReturnParam: {path}}.Encode()
}

func redirect(w http.ResponseWriter, target string) {
	h := w.Header()
	h.Set("Location", target)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// notHere answers at hosts without these pages.
func notHere(w http.ResponseWriter) {
	web.JSON(w, http.StatusNotFound, web.ErrorBody{Error: "not_found", Description: "there is nothing at this path"})
}

// Account answers GET /account.
func (e *Endpoint) Account(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.Account {
		notHere(w)
		return
	}
	v := e.enter(w, r, host)
	if v == nil {
		return
	}
	if e.Now().Unix() >= e.Sessions.Renew(&v.session) {
		redirect(w, signIn(host, Path))
		return
	}
	e.show(w, v, "", "")
}

// show renders the page; key is one that was just made.
func (e *Endpoint) show(w http.ResponseWriter, v *visit, notice page.AccountNotice, key string) {
	record, err := e.People.Of(v.Context(), v.subject(), e.Now())
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	sealed, err := e.sealForm(v)
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	id := v.session.Identity
	view := page.Account{
		Form: sealed, EndAction: EndPath, KeyAction: KeysPath, SignOut: v.host.Issuer + SignOutPath, Back: v.host.Issuer + Path,
		Email: id.Email, Name: id.Name, Subject: id.FullSubject(), Complete: e.People.Complete, Forgotten: record.Forgotten > 0, Notice: notice, NewKey: key,
	}
	for _, entry := range record.Entries {
		shown := e.entry(entry, v)
		switch entry.Kind {
		case people.App:
			view.Apps = append(view.Apps, shown)
		case people.Key:
			view.Keys = append(view.Keys, shown)
		case people.Browser:
			view.Browsers = append(view.Browsers, shown)
		}
	}
	if key == "" {
		view.KeyServers = e.keyServers(v)
	}
	e.Pages.For(v.Request).Account(w, view)
}

func (e *Endpoint) entry(entry people.Entry, v *visit) page.AccountEntry {
	out := page.AccountEntry{
		ID: entry.ID, Name: entry.Name, VouchedBy: entry.VouchedBy, Host: entry.Host, Scopes: entry.Scopes, MoreScopes: entry.MoreScopes,
		Since: time.Unix(entry.Since, 0), Used: time.Unix(entry.Used, 0), Until: time.Unix(entry.Until, 0), This: entry.ID == v.session.ID,
	}
	if r := e.resource(entry.Resource); r != nil {
		out.Server = r.DisplayName
		cat := e.Peek(r)
		for _, scope := range entry.Scopes {
			if s, ok := cat.Scope(scope); ok {
				out.Tools += len(s.Tools)
			}
		}
	} else {
		out.Server = entry.Resource
	}
	return out
}

func (e *Endpoint) resource(uri string) *resource.Resource {
	i := slices.IndexFunc(e.Resources, func(r *resource.Resource) bool { return r.URI == uri })
	if i < 0 {
		return nil
	}
	return e.Resources[i]
}

// unavailable says that the memory does not answer.
func (e *Endpoint) unavailable(w http.ResponseWriter, v *visit, err error) {
	w.Header().Set("Retry-After", "5")
	e.refuse(w, v.Request, v.host, refusal{http.StatusServiceUnavailable, page.TemporarilyUnavailable, reasons.GuardUnavailable, err})
}
