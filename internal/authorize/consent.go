package authorize

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Consent answers POST /consent: the person's yes or no. The form is sealed for this
// browser, can be answered once, and must come from our own page.
func (e *Endpoint) Consent(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if err := sameOrigin(r); err != nil {
		e.end(w, r, notHonoured(host, "", reasons.CrossSiteForm, err))
		return
	}
	form, err := web.Form(w, r)
	if err != nil {
		e.end(w, r, notHonoured(host, "", reasons.MalformedForm, err))
		return
	}
	if form.Has("another") {
		e.withAnotherAccount(w, r, host, form.Get("another"))
		return
	}
	browser, err := currentBrowser(r, host)
	if err == nil && browser == "" {
		err = errors.New("no browser cookie")
	}
	flow, late := e.Steps.flowOf(host, "", form.Get("request"))
	if err != nil {
		e.end(w, r, notHonoured(host, flow, reasons.OtherBrowser, err))
		return
	}
	p, err := e.Steps.openPending(host, browser, form.Get("request"))
	if err != nil && late || errors.Is(err, seal.ErrExpired) {
		e.end(w, r, notHonoured(host, flow, reasons.ConsentExpired, err))
		return
	}
	if err != nil {
		e.end(w, r, notHonoured(host, flow, reasons.ForeignConsent, err))
		return
	}
	switch form.Get("decision") {
	case "allow":
		e.allow(w, r, host, p, form)
	case "deny":
		e.deny(w, r, host, p)
	default:
		e.showConsent(w, r, host, p, selected(p, form), "")
	}
}

// selected returns what is ticked when the page is shown again: what the person asked for
// with a button, or else what they had ticked.
func selected(p pending, form url.Values) oauth.Scopes {
	switch form.Get("select") {
	case "none":
		return oauth.Scopes{}
	case "all":
		return fitting(append(oauth.Scopes{}, p.Offered...), p.ScopeRoom)
	}
	return append(oauth.Scopes{}, form["scope"]...)
}

// allow grants those of the offered scopes that the person left selected. The form cannot
// add scopes.
func (e *Endpoint) allow(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending, form url.Values) {
	granted := p.choices().Intersect(form["scope"])
	if len(granted) == 0 {
		e.showConsent(w, r, host, p, oauth.Scopes{}, page.NothingChosen)
		return
	}
	if len(granted.String()) > p.ScopeRoom {
		e.showConsent(w, r, host, p, granted, page.TooMuchChosen)
		return
	}
	if e.changed(r, host, p, granted) {
		e.showConsent(w, r, host, p, granted, page.ScopesChanged)
		return
	}
	if !e.firstAnswer(w, r, host, p, "consent "+p.ID, consentTTL) {
		return
	}
	entry := p.auditEntry(host, audit.ConsentGiven, "")
	entry.Step = audit.StepApproved
	entry.Scope = granted.String()
	e.Audit.Write(r.Context(), entry)
	e.beginLogin(w, r, host, p, granted)
}

// changed reports whether a granted scope now opens other tools than the page said. If
// changed tools are held back, it also reports tools that say something else.
func (e *Endpoint) changed(r *http.Request, host *resource.Host, p pending, granted oauth.Scopes) bool {
	res, ok := host.ForSignIn(p.Resource)
	if !ok {
		return false // the page would not help; the next step finds that the resource is gone
	}
	cat := e.Catalogue(r.Context(), res)
	return len(granted.Intersect(cat.Changed(p.choices(), p.Catalogue))) > 0 ||
		res.Rules.HoldChanged && catalog.Digest(cat.Agree(p.choices())) != p.Shown
}

// fingerprintsOf returns the fingerprints of the granted scopes out of those of the
// offered ones.
func fingerprintsOf(granted, offered oauth.Scopes, fingerprints string) string {
	if len(offered) == 0 || len(fingerprints)%len(offered) != 0 {
		return ""
	}
	width := len(fingerprints) / len(offered)
	var b strings.Builder
	for i, name := range offered {
		if granted.Contains(name) {
			b.WriteString(fingerprints[i*width : (i+1)*width])
		}
	}
	return b.String()
}

// deny tells the client by redirect, at once. The page says where the answer goes, and an
// app that is told nothing would wait until its time limit (RFC 6749, section 4.1.2.1).
func (e *Endpoint) deny(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending) {
	if !e.firstAnswer(w, r, host, p, "consent "+p.ID, consentTTL) {
		return
	}
	e.Audit.Write(r.Context(), p.auditEntry(host, audit.ConsentDeclined, ""))
	noteEnds(w, r, host, []string{declinedRequest + p.Mark})
	if p.onDevice() {
		e.denyDevice(w, r, host, p)
		return
	}
	redirect(w, errorRedirect(p.Redirect, host, p.State, oauth.Errorf(oauth.AccessDenied, "the user declined")))
}

// beginLogin begins the login step, and sends the browser to the one provider or to the
// page where people choose among several. A cookie that belongs to the request does not
// exist before (MCP security best practices, state validation).
func (e *Endpoint) beginLogin(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending, granted oauth.Scopes) {
	p.Catalogue = catalog.Digest(fingerprintsOf(granted, p.choices(), p.Catalogue))
	p.Shown = ""
	if res, ok := host.ForSignIn(p.Resource); ok {
		p.Shown = catalog.Digest(e.Catalogue(r.Context(), res).Agree(granted))
	}
	p.Withheld = nil
	p.UserCode = ""
	p.Offered = nil                                  // the login step carries what was granted
	p.ID, p.LoopbackOnly, p.ScopeRoom = "", false, 0 // only for the consent page
	st := newLogin(p, granted)
	if only := e.Providers.Only(); only != nil {
		e.visit(w, r, host, st, only)
		return
	}
	e.toChooser(w, r, host, st)
}

// toChooser sends the browser to the page where people choose among providers.
func (e *Endpoint) toChooser(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState) {
	st.unchoose()
	ticket, cookies, err := e.Steps.ticket(r, host, st)
	if err != nil {
		e.end(w, r, failed(st.Flow, err))
		return
	}
	keepLogin(w, r, host, st.Handle, cookies)
	redirect(w, loginURL(ticket))
}

// visit sends the browser to a provider, or to our own login page if the provider has
// none.
func (e *Endpoint) visit(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, p *provider.Provider) {
	st.Provider, st.Visit = p.ID, rand.Text()[:visitSize]
	st.Login = connector.Login{Nonce: rand.Text(), Verifier: rand.Text() + rand.Text(), RedirectURI: e.callbackURL(host, p), Prompt: st.Prompt}
	ticket, cookies, err := e.Steps.ticket(r, host, st)
	if err == nil {
		st.Login.State, err = e.visitState(host, st, ticket)
	}
	if err != nil {
		e.end(w, r, failed(st.Flow, err))
		return
	}
	target := loginURL(ticket)
	if p.Browser != nil {
		if target, err = p.Browser.AuthorizationURL(r.Context(), forResource(st.Login, host, st.Resource, p)); err != nil {
			e.end(w, r, st.ending(host, loginError(err)))
			return
		}
	}
	keepLogin(w, r, host, st.Handle, cookies)
	entry := st.auditEntry(host, audit.LoginStarted, "")
	entry.Step = st.step(audit.StepProvider)
	e.Audit.Write(r.Context(), entry)
	redirect(w, target)
}

// forResource adds to login what the resource gets of the provider. The configuration
// says what that is, so it is not part of the sealed value.
func forResource(login connector.Login, host *resource.Host, uri string, p *provider.Provider) connector.Login {
	r, ok := host.ForSignIn(uri)
	if !ok || !r.ProviderToken.Of(p.ID) {
		return login
	}
	t := r.ProviderToken
	login.Scopes, login.Params, login.Want = t.Scopes, t.Params, connector.WantAccess
	if t.Token == string(connector.WantID) {
		login.Want = connector.WantID
	}
	return login
}

// sameOrigin refuses a form that another site made the browser send.
func sameOrigin(r *http.Request) error { return crossOrigin.Check(r) }

var crossOrigin = http.NewCrossOriginProtection()
