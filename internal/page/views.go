package page

import (
	"net/http"
	"slices"
	"strings"

	"github.com/a-h/templ"
)

// Login asks for a user name and a password (the static provider).
type Login struct {
	Action string // the form's target
	Sealed string // hidden field "request", left out when empty
	State  string // hidden field "state", left out when empty

	Username string       // what was typed before, to be kept after a mistake
	Problem  LoginProblem // announced; empty for none

	// Others: there are other ways to sign in. A second button posts "other".
	Others bool

	ServerName string
	ClientName string
	FlowID     string
}

// LoginProblem says why the last try failed.
type LoginProblem string

// Login problems.
const (
	LoginRejected  LoginProblem = "rejected"
	LoginThrottled LoginProblem = "throttled"
	LoginBusy      LoginProblem = "busy"
)

// Login renders the sign-in page. The form posts "username" and
// "password", or "decision", "deny", of a person who gives up.
func (r *Renderer) Login(w http.ResponseWriter, status int, v Login) {
	v.ServerName = DisplayText(v.ServerName, maxName)
	v.ClientName = DisplayText(v.ClientName, maxName)
	r.render(w, status, referrerForm, r.locale.login(r.frame(v.FlowID), v))
}

// Error is a page instead of a redirect: what happened and what to do now.
type Error struct {
	Status  int // 400 to 599; anything else is shown as 500
	Problem Problem
	Detail  string // our own text, or names of scopes
	// Address is a URI that the client wrote. It is shown as a URI whatever it
	// is, encoded and cut short, so that it cannot speak to the person.
	Address string

	ContinueURL  Link
	ContinueHost string // the host of ContinueURL, for people

	// Account names whom the identity provider sent, and Another, the hidden field
	// "another" of a form to Action, lets the person sign in as someone else; "" for none.
	Account, Action, Another string
	// Retry is set for a person who came without an app: where they begin again. SignOut
	// is where one who is signed in leaves; "" for none.
	Retry, SignOut Link

	FlowID string
}

// Problem says what went wrong, in the words of the audit log.
type Problem string

// Problems that have texts of their own.
const (
	UnknownClient             Problem = "unknown_client"
	ClientDocumentUnavailable Problem = "client_document_unavailable"
	ClientDocumentUnreachable Problem = "client_document_unreachable"
	ClientDocumentInvalid     Problem = "client_document_invalid"
	ClientIDMissing           Problem = "client_id_missing"
	RedirectURIMismatch       Problem = "redirect_uri_mismatch"
	RedirectURIMissing        Problem = "redirect_uri_missing"
	InvalidScope              Problem = "invalid_scope"
	InvalidTarget             Problem = "invalid_target"
	InvalidRequest            Problem = "invalid_request"
	InteractionRequired       Problem = "interaction_required"
	ClientNotAllowed          Problem = "client_not_allowed_by_policy"
	NotAllowed                Problem = "not_allowed_by_policy"
	TemporarilyUnavailable    Problem = "temporarily_unavailable"
	ServerError               Problem = "server_error"
	TooManyRequests           Problem = "too_many_requests"
	ConsentExpired            Problem = "consent_expired"
	UsedTwice                 Problem = "used_twice"
	CrossSiteForm             Problem = "cross_site_form"
	UnknownProvider           Problem = "unknown_provider"
	OtherProvider             Problem = "other_provider"
	OtherBrowser              Problem = "other_browser"
	Displaced                 Problem = "displaced"
	ProviderMisconfigured     Problem = "provider_misconfigured"
	AccountNotAllowed         Problem = "account_not_allowed"
	ProviderRejected          Problem = "provider_rejected"
	ProviderFault             Problem = "provider_fault"
	NoSuchPage                Problem = "no_such_page"
	SessionRefused            Problem = "access_denied"
	PageNotAllowed            Problem = "page_not_allowed" // NotAllowed, and there is no app
)

// Problems lists every problem.
var Problems = []Problem{
	UnknownClient, ClientDocumentUnavailable, ClientDocumentUnreachable, ClientDocumentInvalid, ClientIDMissing, RedirectURIMismatch, RedirectURIMissing,
	InvalidScope, InvalidTarget, InvalidRequest, InteractionRequired, ClientNotAllowed, NotAllowed,
	TemporarilyUnavailable, ServerError, TooManyRequests,
	ConsentExpired, UsedTwice, CrossSiteForm, UnknownProvider, OtherProvider, OtherBrowser, Displaced,
	ProviderMisconfigured, AccountNotAllowed, ProviderRejected, ProviderFault, NoSuchPage, SessionRefused, PageNotAllowed,
}

// Error renders an error page.
func (r *Renderer) Error(w http.ResponseWriter, v Error) {
	if v.Status < 400 || v.Status > 599 {
		v.Status = http.StatusInternalServerError
	}
	if !slices.Contains(Problems, v.Problem) {
		v.Problem = ServerError
	}
	v.Account = DisplayText(v.Account, maxAccount)
	v.Detail = DisplayText(v.Detail, maxURI)
	v.Address = shortURI(v.Address)
	v.ContinueHost = displayHost(v.ContinueHost)
	referrer := referrerNone
	if v.Another != "" {
		referrer = referrerForm
	}
	r.render(w, v.Status, referrer, r.locale.failed(r.frame(v.FlowID), v))
}

// Done is a page that ends a conversation in this window without a fault.
type Done struct {
	Status  int // 200 if 0
	Outcome Outcome
	FlowID  string
}

// Outcome is how it ended.
type Outcome string

// Outcomes.
const (
	// SignedIn and Declined: the person answered this request before, and came back to it.
	SignedIn Outcome = "signedin"
	Declined Outcome = "declined"
	// NothingHere: a person opened an address that is for apps or for other pages.
	NothingHere Outcome = "nothing"
	// ServerHere: a person opened the address of an MCP server.
	ServerHere Outcome = "server"
	// DoctorDone: the doctor has the answer that it waited for.
	DoctorDone Outcome = "doctor"
	// DeviceDone and DeviceDeclined: the answer waits for the device that asks for it.
	DeviceDone     Outcome = "device"
	DeviceDeclined Outcome = "nodevice"
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{SignedIn, Declined, NothingHere, ServerHere, DoctorDone, DeviceDone, DeviceDeclined}

// Done renders the page.
func (r *Renderer) Done(w http.ResponseWriter, v Done) {
	if v.Status == 0 {
		v.Status = http.StatusOK
	}
	if !slices.Contains(Outcomes, v.Outcome) {
		v.Outcome = NothingHere
	}
	r.render(w, v.Status, referrerNone, r.locale.done(r.frame(v.FlowID), v))
}

// Link is the one link to a place that a client named. Its type switches off the
// templates' scheme filter, because private-use schemes are legitimate: only a
// redirect URI that the matcher produced may be made one, never request input.
type Link string

// checked is a second lock behind the redirect matcher: a scheme that a
// browser itself acts on is never a link, whatever was passed.
func (l Link) checked() templ.SafeURL {
	scheme, _, ok := strings.Cut(string(l), ":")
	if !ok || scheme == "" {
		return ""
	}
	for _, c := range scheme {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.", c) {
			return ""
		}
	}
	switch strings.ToLower(scheme) {
	case "javascript", "vbscript", "data", "blob", "file", "filesystem", "about", "view-source":
		return ""
	}
	return templ.SafeURL(l)
}
