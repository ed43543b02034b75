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

// ending is how a conversation ends without a code: what the audit log says, what the
// person reads, and what the client is told.
type ending struct {
	entry audit.Entry
	view  page.Error
	// redirect is where the browser is sent at once, instead of showing view; "" for
	// nowhere.
	redirect string
	// done, if set, is shown instead of view, because nothing went wrong.
	done *page.Done
	// device is the record of a device that is told no; "" for none.
	device string
	wait   time.Duration // until another try may succeed; 0 if that is not known
}

// end ends a conversation. No other function ends one with an error.
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

// tell adds what the client is told: at once by redirect, or when the person follows the
// link on the page.
func (x ending) tell(to oauth.RedirectURI, host *resource.Host, state string, oe *oauth.Error, atOnce bool) ending {
	back := errorRedirect(to, host, state, oe)
	x.view.ContinueURL, x.view.ContinueHost = wayBack(back), to.DisplayHost()
	if atOnce {
		x.redirect = back
	}
	return x
}

// tellDevice tells the device about faults that cannot change while it waits. After other
// faults the person can type the code again.
func (x ending) tellDevice(record string, oe *oauth.Error) ending {
	if oe.Code == oauth.AccessDenied || oe.Code == oauth.InvalidScope || oe.Code == oauth.InvalidClient {
		x.device = record
	}
	return x
}

// ending is the ending of a request that failed a check. Until the redirect URI is
// matched, it is a page. After that, the client is told by redirect only if the operator
// vouches for the redirect URI. Otherwise the person decides, because this service must
// not be an open redirector (RFC 9700, section 4.11.2).
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

// ending is the ending of a sign-in that the person had agreed to, so that they want the
// redirect. The description for the client contains the flow of the audit log, which the
// page shows as reference: an app that shows the description then shows what to quote.
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

// goesBack reports whether the browser returns to the client at once: if the person
// cancelled, or if the next try may succeed. If a rule or the provider keeps the person
// out, or an operator has to act, the person first reads so on a page. An app would show
// its own text or none, and most of them say "try again".
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
// asked for. The page names the account, which is often not the one that the person has
// in mind, and lets them sign in with another one: what they agreed to holds for that one
// too.
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
		return x // the page still has the way back to the app
	}
	keepLogin(w, r, host, again.Handle, cookies)
	x.view.Action, x.view.Another = ConsentPath, ticket
	return x
}

// withAnotherAccount begins the sign-in again, for a person who wants to use another
// account.
func (e *Endpoint) withAnotherAccount(w http.ResponseWriter, r *http.Request, host *resource.Host, ticket string) {
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

// notHonoured is the ending of a form or callback that cannot be honoured: 403, and no
// state changes. If flow is "", it gets a new one, so that the page has a reference to
// quote.
func notHonoured(host *resource.Host, flow string, reason reasons.Reason, cause error) ending {
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
	x := notHonoured(host, flow, reason, err)
	if errors.Is(err, errSignedIn) {
		x.done = &page.Done{Status: x.view.Status, Outcome: page.SignedIn, FlowID: x.entry.Flow}
	}
	return x
}

// answered is the ending of a step that this browser has answered before. outcome says
// how, "" for unknown.
func answered(host *resource.Host, flow string, outcome page.Outcome) ending {
	x := notHonoured(host, flow, reasons.UsedTwice, nil)
	if outcome != "" {
		x.done = &page.Done{Status: x.view.Status, Outcome: outcome, FlowID: x.entry.Flow}
	}
	return x
}

// failed is the ending of a sign-in by a fault of this service.
func failed(flow string, err error) ending {
	return ending{
		entry: audit.Entry{Event: audit.LoginRefused, Reason: reasons.ServerError, Flow: flow, Cause: err},
		view:  errorView(&oauth.Error{Code: oauth.ServerError}, flow),
	}
}
