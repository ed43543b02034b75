// Package authorize owns the conversation with a browser in which a person signs in: for
// an app that asks at /authorize, for a device whose code they type at /device, or for
// the pages of a host, at /account/sign-in.
//
// Authorize checks the request and shows the consent page. Consent takes the answer and
// begins the login step: visit sends the browser to an identity provider, or to Login,
// our own page to choose a provider or to type a password. Callback, or Login, learns who
// the person is. complete applies the policy and ends the conversation: with a code for
// the client (issueCode) or with a session of the browser (signedIn). Each step passes
// one sealed value to the next, in the form, the state or a cookie, so no request in
// progress is stored.
//
// The package cannot mint tokens. It redirects an app's browser only to a URI that the
// matcher found among the client's own.
package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/refusal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Paths of the browser conversation.
const (
	Path         = "/authorize"
	ConsentPath  = "/consent"
	LoginPath    = "/login"
	CallbackPath = "/callback"
)

// Endpoint serves the browser conversation.
type Endpoint struct {
	Clients   Clients
	Catalogue func(ctx context.Context, r *resource.Resource) *catalog.Catalogue
	// Providers sign people in, on their own pages or on ours.
	Providers provider.Set
	// CallbackHost is the host that providers send all browsers back to; nil if each host
	// has its own callback.
	CallbackHost *resource.Host
	// Hosts returns the MCP host of this name, nil if there is none.
	Hosts  func(name string) *resource.Host
	Policy *policy.Policy
	Ended  *revocation.List
	Codes  *authcode.Codes
	Guard  guard.Guard
	// Answered remembers which pages and callbacks were answered. When it is full, it
	// remembers no further ones, see firstAnswer.
	Answered *guard.Memory
	Steps    Steps
	// Refused remembers what clients were refused lately, to point it out on the consent
	// page; nil remembers nothing.
	Refused *refusal.Memory
	Pages   *page.Pages
	Audit   *audit.Log
	Now     func() time.Time
	// Requests bounds the authorization requests of each client at each host; nil for no limit.
	Requests *limit.Limiter
	// SignIns bounds the passwords that are tried.
	SignIns Attempts
	// Sessions are the browser sessions of people; nil if no host has any.
	Sessions *session.Sessions
	// People notes new sessions, for the account page; nil notes nothing.
	People *people.Records
	// Pushed says that clients may push their requests. With PushedOnly they must.
	Pushed, PushedOnly bool
	// Devices are the devices that wait for a person; nil if there are none.
	Devices *device.Codes
	// UserCodes bounds the codes of devices that are tried.
	UserCodes Attempts
	// SkipConsent says that there is no consent page, because the operator lists every
	// redirect URL.
	SkipConsent bool
}

// Clients finds clients. Errors wrap registration.ErrUnknown or
// registration.ErrUnavailable.
type Clients interface {
	Client(ctx context.Context, host *resource.Host, id string) (*registration.Client, error)
}

// Authorize answers GET /authorize: it checks the request and shows the consent page.
// Nothing is sent to the identity provider before the person said yes to this client (MCP
// security best practices, confused deputy).
func (e *Endpoint) Authorize(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	req := &request{flow: audit.NewFlow(), host: host}
	e.Audit.Write(r.Context(), audit.Entry{Event: audit.AuthorizeRequested, Step: audit.StepAuthorize, Flow: req.flow, Host: host.Name})
	for _, check := range e.checks() {
		if err := check(r, req); err != nil {
			e.end(w, r, req.ending(err))
			return
		}
	}
	p := req.pending()
	p.Mark = requestMark(r.URL.RawQuery)
	if e.SkipConsent {
		e.beginLogin(w, r, host, p, fitting(p.Offered, p.ScopeRoom))
		return
	}
	e.showConsent(w, r, host, p, nil, "")
}

// showConsent renders the consent page for p. checked is what the person had selected
// before, or nil at first: then preselected decides.
func (e *Endpoint) showConsent(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending, checked oauth.Scopes, notice page.Notice) {
	res, ok := host.ForSignIn(p.Resource)
	if !ok {
		e.end(w, r, failed(p.Flow, errors.New("a sealed request names a resource that is gone")))
		return
	}
	browser, err := e.Steps.browser(w, r, host)
	if err != nil {
		e.end(w, r, failed(p.Flow, err))
		return
	}
	before := e.Steps.remembered(r, host, p)
	cat := e.Catalogue(r.Context(), res)
	p.Catalogue, p.Shown = cat.Fingerprints(p.choices()), catalog.Digest(cat.Agree(p.choices())) // the answer is to what this page shows
	sealed, err := e.Steps.sealPending(host, browser, p)
	if err != nil {
		e.end(w, r, failed(p.Flow, err))
		return
	}
	entry, again := p.auditEntry(host, audit.ConsentShown, ""), false
	if cat.Unavailable {
		entry.Reason = reasons.CatalogueUnavailable
	}
	if checked == nil {
		entry.Step = audit.StepConsentShown
	}
	e.Audit.Write(r.Context(), entry)

	if checked == nil {
		checked = preselected(cat, p)
	} else {
		again = true
	}
	view := page.Consent{
		Action: ConsentPath, Sealed: sealed, FlowID: p.Flow, Notice: notice, Again: again, ToStranger: p.toStranger(), Before: outcomeBefore(r, host, p.Mark),
		ClientName: p.ClientName, ClientHost: p.VouchedBy, LoopbackOnly: p.LoopbackOnly,
		RedirectURI: p.Redirect.String(), RedirectHost: p.Redirect.DisplayHost(), UserCode: p.UserCode,
		ServerName: res.DisplayName, ServerURL: res.URI, ProviderName: e.providerName(),
		CatalogueUnavailable: cat.Unavailable, Held: e.held(res, p), Withheld: p.Withheld, WithheldBefore: before.Withheld.of(p.Offered),
	}
	if t := res.ProviderToken; t != nil {
		view.ActsAs, view.ActsWith = true, t.Scopes
		if p := e.Providers.Find(t.Provider); p != nil {
			view.ActsAt = p.Name
		}
	}
	view.Calls = calls(res.Exchange)
	needed := e.Refused.Recent(p.Resource, p.ClientID, before.Person)
	for _, name := range p.Offered {
		view.Scopes = append(view.Scopes, consentScope(cat, name, checked.Contains(name), needed.Contains(name)))
	}
	for _, name := range p.More {
		view.More = append(view.More, consentScope(cat, name, checked.Contains(name), needed.Contains(name)))
	}
	markChanged(&view, cat, before, p.choices())
	markNew(&view, before.Scopes.of(p.Offered))
	e.Pages.For(r).Consent(w, http.StatusOK, view)
}

// calls returns the MCP servers at which the server may act for the person, each once.
func calls(x *resource.Exchange) (all []page.Call) {
	if x == nil {
		return nil
	}
	for _, t := range x.Targets {
		i := slices.IndexFunc(all, func(c page.Call) bool { return c.Server == t.Resource })
		if i < 0 {
			i, all = len(all), append(all, page.Call{Server: t.Resource})
		}
		all[i].Scopes = oauth.Scopes(all[i].Scopes).Union(t.Scopes)
	}
	return all
}

// preselected returns the scopes that are ticked at first: those offered that one token
// can hold. Scopes that can delete or overwrite are ticked only if the app asked for them
// by name.
func preselected(cat *catalog.Catalogue, p pending) oauth.Scopes {
	ticked := p.Offered
	if !p.Named {
		ticked = slices.DeleteFunc(slices.Clone(ticked), func(name string) bool { return destroys(cat, name) })
	}
	return fitting(append(oauth.Scopes{}, ticked...), p.ScopeRoom)
}

// destroys reports whether a scope opens a tool that can delete or overwrite.
func destroys(cat *catalog.Catalogue, scope string) bool {
	s, ok := cat.Scope(scope)
	return ok && slices.ContainsFunc(s.Tools, func(name string) bool { return consentTool(cat, name).Destructive })
}

// toStranger reports whether the answer goes to a place that the operator does not vouch
// for and that is not the person's own computer.
func (p pending) toStranger() bool { return !p.onDevice() && !p.Trusted && !p.Redirect.IsLoopback() }

// held tells the person which requests at res will be checked against what they grant. It
// must agree with package forwardauth.
func (e *Endpoint) held(res *resource.Resource, p pending) page.Held {
	rules := &res.Rules
	bound := e.Policy.For(res.URI).MatchClient(p.policyClient()).Bound(p.choices())
	switch {
	case bound.LimitsTools: // requests that cannot be decided are then refused
		return page.HeldAll
	case rules.ToolPolicy == rule.Advisory:
		return page.HeldNone
	case rules.SeeBody(), rules.ToolPolicy == rule.Strict, rules.HoldChanged:
		return page.HeldAll
	}
	return page.HeldRecent
}

func consentScope(cat *catalog.Catalogue, name string, checked, needed bool) page.ConsentScope {
	out := page.ConsentScope{Name: name, Checked: checked, Needed: needed}
	for _, s := range cat.Scopes {
		if s.Name != name {
			continue
		}
		out.Description = s.Description
		if s.IsDefault() {
			out.Description, out.Everything = "", true
		}
		out.Broad = len(s.Tools) == len(cat.Tools)
		for _, t := range s.Tools {
			out.Tools = append(out.Tools, consentTool(cat, t))
		}
	}
	return out
}

func consentTool(cat *catalog.Catalogue, name string) page.ConsentTool {
	for _, t := range cat.Tools {
		if t.Name == name {
			return page.ConsentTool{Name: t.Name, Title: t.Title, Description: t.Description, ReadOnly: t.ReadOnly, Destructive: t.Destructive}
		}
	}
	return page.ConsentTool{Name: name}
}

// redirect sends the browser to target with 303, which turns a POST into a GET, so that a
// form is never sent on (RFC 9700, section 4.12).
func redirect(w http.ResponseWriter, target string) {
	h := w.Header()
	h.Set("Location", target)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// errorRedirect returns the error response of RFC 6749, section 4.1.2.1, with the issuer
// (RFC 9207).
func errorRedirect(to oauth.RedirectURI, host *resource.Host, state string, oe *oauth.Error) string {
	params := url.Values{"error": {string(oe.Code)}, "iss": {host.Issuer}}
	if oe.Description != "" {
		params.Set("error_description", oe.Description)
	}
	if state != "" {
		params.Set("state", state)
	}
	return to.With(params)
}

// Routes returns the routes of the browser conversation.
func (e *Endpoint) Routes() []web.Route {
	get, post, both := []string{http.MethodGet}, []string{http.MethodPost}, []string{http.MethodGet, http.MethodPost}
	callback := web.Route{Pattern: CallbackPath, Methods: both, Serve: e.Callback, Before: e.returning, Person: true, Waits: true}
	ofProvider := callback
	ofProvider.Pattern += "/{provider}"
	routes := []web.Route{
		{Pattern: Path, Methods: get, Serve: e.Authorize, Person: true, Waits: true, Begins: true, Refused: audit.AuthorizeRefused},
		{Pattern: ConsentPath, Methods: post, Serve: e.Consent, Person: true, Waits: true, Refused: audit.LoginRefused},
		callback, ofProvider,
	}
	if e.Sessions != nil {
		routes = append(routes, web.Route{Pattern: web.SignInPath, Methods: get, Serve: e.SignIn, Person: true, Waits: true, Begins: true, Refused: audit.LoginRefused})
	}
	if e.Devices != nil {
		routes = append(routes, web.Route{Pattern: DevicePath, Methods: both, Serve: e.Device, Person: true, Waits: true, Refused: audit.DeviceRefused})
	}
	if e.hasLoginPage() {
		routes = append(routes, web.Route{Pattern: LoginPath, Methods: both, Serve: e.Login, Person: true, Waits: true, Refused: audit.LoginRefused})
	}
	return routes
}

// hasLoginPage reports whether people choose among providers or type a password on our
// own page.
func (e *Endpoint) hasLoginPage() bool {
	only := e.Providers.Only()
	return only == nil || only.Password != nil
}

// providerName returns the name of the provider, "" if people choose among several.
func (e *Endpoint) providerName() string {
	if only := e.Providers.Only(); only != nil {
		return only.Name
	}
	return ""
}
