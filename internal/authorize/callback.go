package authorize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Callback answers GET /callback, with which the browser returns from the identity
// provider. It must be the browser that left, and can return once. After a POST, the
// browser is sent to the same address with GET, see repost.
func (e *Endpoint) Callback(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if r.Method == http.MethodPost {
		e.repost(w, r, host)
		return
	}
	query, err := web.Query(r)
	if err == nil {
		err = oauth.NewParams(query).CheckDuplicates()
	}
	if err != nil {
		e.end(w, r, notHonoured(host, "", reasons.MalformedCallback, err))
		return
	}
	v, ticket, err := e.visitOf(host, query.Get("state"))
	if errors.Is(err, errOtherHost) {
		e.end(w, r, notHonoured(host, v.Flow, reasons.CallbackOfAnotherHost, err))
		return
	}
	if err != nil {
		e.end(w, r, notHonoured(host, v.Flow, reasons.OtherBrowser, err))
		return
	}
	st, err := e.Steps.currentLogin(r, host, ticket)
	if err != nil {
		e.end(w, r, e.lost(host, ticket, err))
		return
	}
	st.Login.State = query.Get("state") // it contains the ticket, so it is not part of st
	visited := e.Providers.Find(st.Provider)
	if visited == nil || visited.Browser == nil || !st.chosen() {
		e.end(w, r, notHonoured(host, st.Flow, reasons.UnknownProvider, fmt.Errorf("provider %q has no callback", st.Provider)))
		return
	}
	if r.URL.Path != e.answerPath(host, visited) {
		e.end(w, r, notHonoured(host, st.Flow, reasons.OtherProvider, fmt.Errorf("the answer to a visit to provider %q came to %s", st.Provider, r.URL.Path)))
		return
	}
	e.Steps.endLogin(w, r, host, st.Handle)
	if !e.firstAnswer(w, r, host, st.pending, st.id(), loginTTL) {
		return
	}
	e.returned(r, host, st)
	by := vouched{provider: visited}
	by.identity, by.session, err = visited.Identify(r.Context(), forResource(st.Login, host, st.Resource, visited), query)
	if err != nil {
		oe := loginError(err)
		if errors.Is(err, connector.ErrNotAllowed) {
			e.end(w, r, e.refusedAccount(w, r, host, st, by.identity, oe))
			return
		}
		e.end(w, r, st.ending(host, oe))
		return
	}
	// The provider has vouched for a person, so strangers cannot fill the guard with this.
	if !e.spend(w, r, host, st.Flow, "login "+st.Handle, loginTTL) {
		return
	}
	e.complete(w, r, host, st, by)
}

// vouched is the result of a sign-in: the provider, the person that it vouches for, and
// its session.
type vouched struct {
	provider *provider.Provider
	identity connector.Identity
	session  connector.Session
}

// returned writes the audit entry of a person who is back from the identity provider.
func (e *Endpoint) returned(r *http.Request, host *resource.Host, st loginState) {
	entry := st.auditEntry(host, audit.LoginReturned, "")
	entry.Step = st.step(audit.StepCallback)
	e.Audit.Write(r.Context(), entry)
}

// maxAnswer bounds the Location header together with the cookie mcp-granted, which can be
// left out. nginx takes 4 KB of headers by default, and there are others in the answer.
const maxAnswer = 2600

// maxLocation bounds the Location header. If the provider's tokens do not fit into the
// code, the guard keeps them.
const maxLocation = 3000

// complete ends the conversation with a code for the client, or with a session for the
// person's own browser.
func (e *Endpoint) complete(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, by vouched) {
	if st.Page != "" {
		e.signedIn(w, r, host, st, by)
		return
	}
	e.issueCode(w, r, host, st, by)
}

// issueCode applies the policy, and sends the browser back to the client with a code.
func (e *Endpoint) issueCode(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, by vouched) {
	identity := by.identity
	entry := st.auditEntry(host, audit.LoginCompleted, "")
	entry.Subject, entry.Email = identity.FullSubject(), identity.Email
	entry.Cause = unread(identity)
	if reason := e.admit(st, by); reason != revocation.None {
		x := e.refusedAccount(w, r, host, st, identity, &oauth.Error{Code: oauth.AccessDenied, Description: "this account may not use this service", Reason: reasons.AccountNotAllowed})
		entry.Event, entry.Reason = audit.LoginRefused, reason
		x.entry = entry
		e.end(w, r, x)
		return
	}
	res, ok := host.ForSignIn(st.Resource)
	if !ok {
		e.end(w, r, failed(st.Flow, errors.New("a sealed request names a resource that is gone")))
		return
	}
	agreed := st
	cat := e.Catalogue(r.Context(), res)
	seen := catalog.Digest(cat.Agree(st.Granted)) == st.Shown
	st.Catalogue = cat.Recall(st.Granted, st.Catalogue)
	match := e.Policy.For(st.Resource).Match(identity, st.policyClient())
	withheld := minus(st.Granted, match.Narrow(st.Granted))
	switch {
	case len(withheld) == len(st.Granted):
		x := e.refusedAccount(w, r, host, agreed, identity, &oauth.Error{Code: oauth.AccessDenied, Description: "the rules of this service do not let this account have what the app asks for", Reason: reasons.NotAllowedByPolicy})
		entry.Event, entry.Reason, entry.Withheld = audit.LoginRefused, reasons.NotAllowedByPolicy, st.Granted.String()
		x.entry, x.view.Detail = entry, st.Granted.String()
		e.end(w, r, x)
		return
	case len(withheld) > 0:
		narrowed := entry
		narrowed.Event, narrowed.Reason, narrowed.Withheld = audit.PolicyNarrowed, reasons.NarrowedByPolicy, withheld.String()
		e.Audit.Write(r.Context(), narrowed)
		st.narrow(withheld)
	}
	if seen {
		st.agreed, st.agreedScopes = cat.Agree(st.Granted), cat.AgreeScopes(st.Granted)
	}
	e.issue(w, r, host, granting{st, entry, withheld, authcode.Authorization{
		Flow: st.Flow, ClientKey: st.ClientKey, Redirect: oauth.RedirectKey(st.Redirect.String()), Challenge: st.Challenge, Key: st.Key,
		Resource: st.Resource, Scopes: st.Granted, Identity: identity, AuthTime: e.Now().Unix(), Catalogue: st.Catalogue,
		Session: by.session, Offline: st.Offline, Policy: match.String(), Agreed: st.heldTo(res),
	}})
}

// granting is a sign-in that ends with a code.
type granting struct {
	loginState
	entry    audit.Entry
	withheld oauth.Scopes // what the person agreed to and the rules deny
	code     authcode.Authorization
}

// heldTo returns what the tools of a resource are held to, "" if they are not held to
// anything. If the server's list changed after the page was shown, the person has agreed
// to nothing of it.
func (st *loginState) heldTo(res *resource.Resource) string {
	if !res.Rules.HoldChanged {
		return ""
	}
	return cmp.Or(st.agreed, catalog.AgreedToNothing)
}

// issue makes the code and gives it to the client, or to the device that waits.
func (e *Endpoint) issue(w http.ResponseWriter, r *http.Request, host *resource.Host, g granting) {
	params := url.Values{"code": {""}, "iss": {host.Issuer}} // iss: RFC 9207, section 2
	if g.State != "" {
		params.Set("state", g.State)
	}
	if g.onDevice() {
		g.code.Life = device.Lifetime // until the device asks
	} else {
		g.code.Room = max(1, maxLocation-len(g.Redirect.With(params)))
	}
	sealed, lost, err := e.Codes.Issue(r.Context(), host.Issuer, g.code)
	if err != nil {
		e.end(w, r, g.ending(host, &oauth.Error{Code: oauth.ServerError, Cause: err}))
		return
	}
	// If the session was lost, only the audit log says so: the sign-in is good, but there
	// will be no refresh token.
	g.entry.Scope, g.entry.Step, g.entry.Cause = g.Granted.String(), audit.StepCodeIssued, lost
	e.Audit.Write(r.Context(), g.entry)
	if e.Providers.Only() == nil {
		setCookie(w, host, providerCookie, g.code.Identity.Provider, grantedTTL)
	}
	if g.onDevice() {
		e.approveDevice(w, r, host, g.loginState, sealed)
		return
	}
	params.Set("code", sealed)
	target := g.Redirect.With(params)
	e.Steps.remember(w, r, host, g, min(maxGranted, maxAnswer-len(target)))
	noteEnds(w, r, host, []string{signedIn + g.Handle[:shortName], allowedRequest + g.Mark})
	redirect(w, target)
}

// unread returns, for the audit log, what of a person could not be read, nil if nothing.
func unread(id connector.Identity) error {
	switch {
	case id.Unknown.Groups && id.Unknown.Email:
		return errors.New("e-mail address and groups are unknown, because the provider's claims cannot be read in full; what denies by them holds")
	case id.Unknown.Groups:
		return errors.New("the groups are unknown, because the provider's claim cannot be read in full; rules that deny by group hold")
	case id.Unknown.Email:
		return errors.New("the e-mail address is unknown, because the provider's claim cannot be read; what denies by address holds")
	}
	return nil
}

// narrow takes scopes away from what the person agreed to.
func (st *loginState) narrow(withheld oauth.Scopes) {
	left := minus(st.Granted, withheld)
	st.Catalogue = fingerprintsOf(left, st.Granted, st.Catalogue)
	st.Granted = left
}

// admit returns why the account may not use the service, by the provider's policy or the
// operator's denials; revocation.None if it may.
func (e *Endpoint) admit(st loginState, by vouched) reasons.Reason {
	identity := by.identity
	if err := by.provider.Gate.Admit(identity); err != nil {
		return policy.ReasonOf(err)
	}
	return e.Ended.Check(revocation.Facts{
		Subject: identity.FullSubject(), Email: identity.Email, EmailUnknown: identity.Unknown.Email, Client: st.ClientID,
		Since: e.Now().Unix() + 1, // this very sign-in
	})
}

// firstAnswer makes sure that a form or callback is answered once, and reports whether
// this is the first answer. Anyone can ask for pages and answer them. So these answers
// are not remembered in the guard, where a flood of them would stop all sign-ins, but in
// a memory of their own. When that is full, an answer counts as the first one. What must
// be used once for certain is spent later, see spend.
func (e *Endpoint) firstAnswer(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending, id string, ttl time.Duration) bool {
	if first, err := e.Answered.Redeem(r.Context(), id, e.Now().Add(ttl)); err == nil && !first {
		e.end(w, r, answered(host, p.Flow, outcomeBefore(r, host, p.Mark)))
		return false
	}
	return true
}

// spend uses up a single-use value in the guard. If it cannot, it writes the answer and
// returns false.
func (e *Endpoint) spend(w http.ResponseWriter, r *http.Request, host *resource.Host, flow, id string, ttl time.Duration) bool {
	first, err := e.Guard.Redeem(r.Context(), id, e.Now().Add(ttl))
	switch {
	case err != nil:
		x := notHonoured(host, flow, reasons.GuardUnavailable, err)
		x.view, x.wait = errorView(&oauth.Error{Code: oauth.TemporarilyUnavailable}, flow), soon
		e.end(w, r, x)
		return false
	case !first:
		e.end(w, r, notHonoured(host, flow, reasons.UsedTwice, nil))
		return false
	}
	return true
}

// loginError maps an error of a connector to what the client is told (RFC 6749, section
// 4.1.2.1). The provider's own words are only in the audit log.
func loginError(err error) *oauth.Error {
	switch {
	case errors.Is(err, connector.ErrCancelled):
		return &oauth.Error{Code: oauth.AccessDenied, Description: "sign-in was cancelled", Reason: reasons.ProviderCancelled, Cause: err}
	case errors.Is(err, connector.ErrNotAllowed):
		return &oauth.Error{Code: oauth.AccessDenied, Description: "this account may not use this service", Reason: reasons.AccountNotAllowed, Cause: err}
	case errors.Is(err, connector.ErrMisconfigured):
		return &oauth.Error{Code: oauth.ServerError, Description: "the identity provider cannot be used until the operator of this service has changed something", Reason: reasons.ProviderMisconfigured, Cause: err}
	case errors.Is(err, connector.ErrRejected):
		return &oauth.Error{Code: oauth.ServerError, Description: "the identity provider's answer was not accepted", Reason: reasons.ProviderRejected, Cause: err}
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the identity provider does not answer", Reason: reasons.ProviderUnavailable, Cause: err}
	}
	return &oauth.Error{Code: oauth.ServerError, Description: "sign-in failed", Reason: reasons.ProviderFault, Cause: err}
}
