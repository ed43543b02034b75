package authorize

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Login serves our own pages between consent and code. If there are several providers,
// people first choose one, and can return to that page with the browser's back button. A
// provider with passwords then has a page that asks for the password, and ends the
// conversation as a callback would.
func (e *Endpoint) Login(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if r.Method != http.MethodPost {
		e.loginPage(w, r, host)
		return
	}
	if err := sameOrigin(r); err != nil {
		e.end(w, r, notHonoured(host, "", reasons.CrossSiteForm, err))
		return
	}
	form, err := web.Form(w, r)
	if err != nil {
		e.end(w, r, notHonoured(host, "", reasons.MalformedForm, err))
		return
	}
	st, err := e.Steps.currentLogin(r, host, form.Get("state"))
	if err != nil {
		e.end(w, r, e.lost(host, form.Get("state"), err))
		return
	}
	switch several := e.Providers.Only() == nil; {
	case form.Get("decision") == "deny":
		e.cancel(w, r, host, st)
	case several && form.Has("choice"):
		e.choose(w, r, host, st, form["choice"])
	case several && form.Has("other"):
		e.toChooser(w, r, host, st)
	default:
		e.password(w, r, host, st, form)
	}
}

func (e *Endpoint) loginPage(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	ticket := r.URL.Query().Get("state")
	st, err := e.Steps.currentLogin(r, host, ticket)
	if err != nil {
		e.end(w, r, e.lost(host, ticket, err))
		return
	}
	if e.Providers.Only() == nil && !st.chosen() {
		e.showChooser(w, r, host, st, ticket)
		return
	}
	if e.passwordProvider(st) == nil {
		e.end(w, r, notHonoured(host, st.Flow, reasons.UnknownProvider, fmt.Errorf("provider %q asks for no password", st.Provider)))
		return
	}
	e.showLogin(w, r, host, st, http.StatusOK, page.Login{State: ticket})
}

// cancel ends a sign-in that the person cancelled on one of our own pages.
func (e *Endpoint) cancel(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState) {
	e.Steps.endLogin(w, r, host, st.Handle)
	e.end(w, r, st.ending(host, loginError(connector.ErrCancelled)))
}

// passwordProvider returns the provider that was chosen, if its passwords are typed here;
// else nil.
func (e *Endpoint) passwordProvider(st loginState) *provider.Provider {
	if p := e.Providers.Find(st.Provider); p != nil && st.chosen() && p.Password != nil {
		return p
	}
	return nil
}

// loginURL is the address of our own page for a ticket.
func loginURL(ticket string) string { return LoginPath + "?state=" + ticket }

// lostLogin returns the audit reason for a ticket that cannot be opened in this browser.
func lostLogin(err error) reasons.Reason {
	switch {
	case errors.Is(err, errEnded), errors.Is(err, errSignedIn):
		return reasons.UsedTwice
	case errors.Is(err, errDisplaced):
		return reasons.Displaced
	}
	return reasons.OtherBrowser
}

// choose sends the browser to the provider that the person chose.
func (e *Endpoint) choose(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, choice []string) {
	var p *provider.Provider
	if len(choice) == 1 && choice[0] != "" {
		p = e.Providers.Find(choice[0])
	}
	if p == nil {
		e.end(w, r, notHonoured(host, st.Flow, reasons.UnknownProvider, fmt.Errorf("choice %q", choice)))
		return
	}
	e.visit(w, r, host, st, p)
}

// password checks the password that was typed on the login page.
func (e *Endpoint) password(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, form url.Values) {
	p := e.passwordProvider(st)
	if p == nil {
		e.end(w, r, notHonoured(host, st.Flow, reasons.UnknownProvider, fmt.Errorf("provider %q asks for no password", st.Provider)))
		return
	}
	username, password := form.Get("username"), form.Get("password")
	who := p.ID + " " + username
	attempt, ok, wait := e.SignIns.begin(r, host, e.Steps.knownAs(r, host, who), who)
	if !ok {
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, reasons.TooManySignIns))
		(&web.TooMany{Wait: wait}).Headers(w.Header())
		e.showLogin(w, r, host, st, http.StatusTooManyRequests, page.Login{State: form.Get("state"), Username: username, Problem: page.LoginThrottled})
		return
	}
	identity, err := attempt.authenticate(r.Context(), p, username, password)
	if !errors.Is(err, connector.ErrRejected) {
		attempt.undo()
	}
	switch {
	case errors.Is(err, connector.ErrRejected):
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, reasons.WrongPassword))
		e.showLogin(w, r, host, st, http.StatusUnauthorized, page.Login{State: form.Get("state"), Username: username, Problem: page.LoginRejected})
		return
	case errors.Is(err, connector.ErrUnavailable):
		reason := reasons.ProviderUnavailable
		if errors.Is(err, connector.ErrBusy) {
			reason = reasons.TooManyPasswords
		}
		e.Audit.Write(r.Context(), st.auditEntry(host, audit.LoginRefused, reason))
		w.Header().Set("Retry-After", "5")
		e.showLogin(w, r, host, st, http.StatusServiceUnavailable, page.Login{State: form.Get("state"), Username: username, Problem: page.LoginBusy})
		return
	case err != nil:
		e.end(w, r, st.ending(host, loginError(err)))
		return
	}
	e.Steps.makeKnown(w, host, who)
	e.Steps.endLogin(w, r, host, st.Handle)
	e.returned(r, host, st)
	if !e.spend(w, r, host, st.Flow, "login "+st.Handle, loginTTL) {
		return
	}
	e.complete(w, r, host, st, vouched{provider: p, identity: identity})
}

// showLogin renders the page that asks for a password. After a try, view has the user
// name and what was wrong.
func (e *Endpoint) showLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, status int, view page.Login) {
	view.Action, view.ClientName, view.FlowID, view.Others = LoginPath, st.ClientName, st.Flow, e.Providers.Only() == nil
	if res, ok := host.ForSignIn(st.Resource); ok {
		view.ServerName = res.DisplayName
	}
	e.Pages.For(r).Login(w, status, view)
}

// providerCookie holds the id of the provider of this browser's last sign-in. It only
// puts that provider first on the page.
const providerCookie = "mcp-provider"

func (e *Endpoint) showChooser(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, ticket string) {
	view := page.Choose{Action: LoginPath, State: ticket, ClientName: st.ClientName, FlowID: st.Flow}
	if res, ok := host.ForSignIn(st.Resource); ok {
		view.ServerName = res.DisplayName
	}
	last := ""
	if cookies := r.CookiesNamed(cookieName(host, providerCookie)); len(cookies) == 1 {
		last = cookies[0].Value
	}
	for _, p := range e.Providers {
		view.Providers = append(view.Providers, page.ChooseProvider{ID: p.ID, Name: p.Name, Last: p.ID == last})
	}
	e.Pages.For(r).Choose(w, view)
}
