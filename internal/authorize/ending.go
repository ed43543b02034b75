package authorize

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// ending is how a conversation ends without a code: what the audit log says, what
// the person reads, and what the client is told.
type ending struct {
	entry audit.Entry
	view  page.Error
	// redirect is where the browser goes at once, instead of showing view; "" for nowhere.
	redirect string
	// done, if set, is shown instead of view: nothing went wrong.
	done *page.Done
	// device is the record of a device that is told no, "" for none.
	device string
	wait   time.Duration // until it is worth another try; 0 where that is not known
}

// end writes an ending. It is the only way to end a conversation with an error.
func (e *Endpoint) end(w http.ResponseWriter, r *http.Request, x ending) {
	e.Audit.Write(r.Context(), x.entry)
	if x.device != "" && e.Devices.Deny(r.Context(), x.device) != nil {
		e.Audit.Write(r.Context(), audit.Entry{Event: audit.DeviceRefused, Reason: reasons.DeviceCodeExpired, Flow: x.entry.Flow, Host: x.entry.Host})
	}
	if x.redirect != "" {
		redirect(w, x.redirect)
		return
	}
	if x.done != nil {
		e.Pages.For(r).Done(w, *x.done)
		return
	}
	showError(e.Pages, w, r, x.view, x.wait)
}

// tell adds what the client is told: at once by redirect, or else when the person
// follows a link on the page.
func (x ending) tell(to oauth.RedirectURI, host *resource.Host, state string, oe *oauth.Error, atOnce bool) ending {
	back := errorRedirect(to, host, state, oe)
	x.view.ContinueURL, x.view.ContinueHost = wayBack(back), to.DisplayHost()
	if atOnce {
		x.redirect = back
	}
	return x
}

// tellDevice has the device told what cannot change while it waits. After other faults
// the person can type its code again.
func (x ending) tellDevice(record string, oe *oauth.Error) ending {
	if oe.Code == oauth.AccessDenied || oe.Code == oauth.InvalidScope || oe.Code == oauth.InvalidClient {
		x.device = record
	}
	return x
}

// ending of a request that failed a check. Until the redirect URI is matched it
// is a page. After that the client is told by redirect, but only where the
// operator vouches for the target; others would make this service an open
// redirector, so the user decides (RFC 9700, section 4.11.2).
func (req *request) ending(err error) ending {
	if slow, ok := errors.AsType[*web.TooMany](err); ok {
		return ending{entry: req.auditEntry(audit.AuthorizeRefused, slow.Reason), view: tooManyView(req.flow), wait: slow.Wait}
	}
	oe, ok := errors.AsType[*oauth.Error](err)
	if !ok {
		oe = &oauth.Error{Code: oauth.ServerError, Description: "the service failed to answer", Cause: err}
	}
	x := ending{entry: req.auditEntry(audit.AuthorizeRefused, oe.AuditReason()), view: errorView(oe, req.flow)}
	if oe.Cause != nil {
		x.entry.Cause = oe.Cause
	}
	if req.device != "" {
		return x.tellDevice(req.device, oe)
	}
	if req.redirect.IsZero() {
		x.view.Address = req.rejectedRedirect
		return x
	}
	return x.tell(req.redirect, req.host, req.state, oe, req.client.Trusted)
}

// ending of a sign-in to which the user had agreed, which makes the redirect one
// that the user wanted. What the client is told has the reference of the page, which is
// the flow of the audit log: an app that shows the description shows what to quote.
func (p pending) ending(host *resource.Host, oe *oauth.Error) ending {
	x := ending{entry: p.auditEntry(host, audit.LoginRefused, oe.AuditReason()), view: errorView(oe, p.Flow)}
	x.entry.Cause = oe.Cause
	if p.Page != "" {
		if oe.Code == oauth.AccessDenied {
			x.view.Problem = page.SessionRefused
		}
		x.view.Retry = page.Link(web.SignInAgain(host, p.Page))
		return x
	}
	if p.onDevice() {
		return x.tellDevice(p.Device, oe)
	}
	told := *oe
	told.Description = withReference(oe.Description, p.Flow)
	return x.tell(p.Redirect, host, p.State, &told, goesBack(oe))
}

// goesBack reports whether the browser goes back to the client at once: where the person
// gave up, and where the next try may succeed. A person whom a rule or the provider keeps
// out, and one at a provider that an operator has to mend, reads so on a page first: an
// app shows its own text or none, and most of them say "try again".
func goesBack(oe *oauth.Error) bool {
	switch oe.AuditReason() {
	case reasons.ProviderCancelled:
		return true
	case reasons.ProviderMisconfigured, reasons.ProviderRejected, reasons.ProviderFault:
		return false
	}
	return oe.Code != oauth.AccessDenied
}

func withReference(description, flow string) string {
	if description == "" {
		return "reference " + flow
	}
	return description + "; reference " + flow
}

// refusedAccount is the ending of a sign-in with an account that may not have what is
// asked for. The page names the account, which is often another than the person thinks,
// and lets them sign in with another one: what they agreed to holds for that as well.
func (e *Endpoint) refusedAccount(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, identity connector.Identity, oe *oauth.Error) ending {
	x := st.ending(host, oe)
	x.view.Account = cmp.Or(identity.Email, identity.Name, identity.Subject)
	if x.redirect != "" || st.Page != "" || st.onDevice() {
		return x
	}
	again := newLogin(st.pending, st.Granted)
	again.Prompt = "select_account"
	ticket, cookies, err := e.Steps.ticket(r, host, again)
	if err != nil {
		return x // the way back to the app is there all the same
	}
	keepLogin(w, r, host, again.Handle, cookies)
	x.view.Action, x.view.Another = ConsentPath, ticket
	return x
}

// another begins the sign-in again, for a person who wants to use another account.
func (e *Endpoint) another(w http.ResponseWriter, r *http.Request, host *resource.Host, ticket string) {
	st, err := e.Steps.currentLogin(r, host, ticket)
	if err != nil {
		e.end(w, r, e.lost(host, ticket, err))
		return
	}
	if only := e.Providers.Only(); only != nil {
		e.visit(w, r, host, st, only)
		return
	}
	e.toChooser(w, r, host, st)
}

// notOurs is the ending of a form or callback that cannot be honoured: 403, and
// no state changes. Where it does not say which flow it is of, the answer begins
// one, so that the page has something to quote.
func notOurs(host *resource.Host, flow string, reason reasons.Reason, cause error) ending {
	if flow == "" {
		flow = audit.NewFlow()
	}
	return ending{
		entry: audit.Entry{Event: audit.LoginRefused, Reason: reason, Flow: flow, Host: host.Name, Cause: cause},
		view:  startAgainView(reason, flow),
	}
}

// lost is the ending of a step of a sign-in whose ticket does not open in this browser.
func (e *Endpoint) lost(host *resource.Host, ticket string, err error) ending {
	flow, late := e.Steps.flowOfTicket(host, ticket)
	reason := lostLogin(err)
	if late && reason == reasons.OtherBrowser {
		reason, err = reasons.SignInExpired, errLate
	}
	x := notOurs(host, flow, reason, err)
	if errors.Is(err, errSignedIn) {
		x.done = &page.Done{Status: x.view.Status, Outcome: page.SignedIn, FlowID: x.entry.Flow}
	}
	return x
}

// answered is the ending of a step of a request that the person answered before in
// this browser, as outcome says.
func answered(host *resource.Host, flow string, outcome page.Outcome) ending {
	x := notOurs(host, flow, reasons.UsedTwice, nil)
	if outcome != "" {
		x.done = &page.Done{Status: x.view.Status, Outcome: outcome, FlowID: x.entry.Flow}
	}
	return x
}

// failed is the ending of a sign-in because of a fault of this service.
func failed(flow string, err error) ending {
	return ending{
		entry: audit.Entry{Event: audit.LoginRefused, Reason: reasons.ServerError, Flow: flow, Cause: err},
		view:  errorView(&oauth.Error{Code: oauth.ServerError}, flow),
	}
}
