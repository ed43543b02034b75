package authorize

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// DevicePath is where people type the code that a device without a browser shows (RFC
// 8628, section 3.3). Then follow the same consent page and providers as in every
// sign-in. At its end, the answer goes to the record that the device asks about, and the
// browser is redirected nowhere.
const DevicePath = "/device"

// Device serves the page for the code. The person must type the code: one in the address
// is ignored, because the link could come from a stranger (section 5.4).
func (e *Endpoint) Device(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.SignsInDevices() {
		e.Pages.For(r).Done(w, page.Done{Status: http.StatusNotFound, Outcome: page.NothingHere})
		return
	}
	if r.Method != http.MethodPost {
		e.showDevice(w, r, http.StatusOK, "", "")
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
	// Each code counts as a try before it is looked at, so that tries at the same time
	// count too, and a right one is given back.
	try, ok, wait := e.UserCodes.begin(r, host, "", "user codes")
	if !ok {
		e.Audit.Write(r.Context(), audit.Entry{Event: audit.DeviceRefused, Reason: reasons.TooManyUserCodes, Host: host.Name})
		(&web.TooMany{Wait: wait}).Headers(w.Header())
		e.showDevice(w, r, http.StatusTooManyRequests, "", page.DeviceThrottled)
		return
	}
	found, err := e.Devices.Find(r.Context(), host.Issuer, form.Get("user_code"))
	switch {
	case errors.Is(err, device.ErrUnknown):
		e.Audit.Write(r.Context(), audit.Entry{Event: audit.DeviceRefused, Reason: reasons.UnknownUserCode, Host: host.Name})
		e.showDevice(w, r, http.StatusBadRequest, form.Get("user_code"), page.DeviceUnknown)
	case err != nil:
		try.undo()
		e.end(w, r, unavailable(host, err))
	default:
		try.undo()
		e.consentForDevice(w, r, host, found)
	}
}

func (e *Endpoint) showDevice(w http.ResponseWriter, r *http.Request, status int, typed string, problem page.DeviceProblem) {
	e.Pages.For(r).Device(w, status, page.Device{Action: DevicePath, Code: typed, Problem: problem})
}

// consentForDevice shows the consent page for what a device asks for, after the checks of
// an authorization request. There is always a page: SkipConsent is for redirect URLs that
// the operator lists, and a device has none.
func (e *Endpoint) consentForDevice(w http.ResponseWriter, r *http.Request, host *resource.Host, d device.Pending) {
	req := &request{flow: d.Flow, host: host, device: d.ID, params: oauth.NewParams(url.Values{
		"client_id": {d.ClientID}, "resource": {d.Resource}, "scope": {d.Scope},
	}, "resource")}
	for _, check := range []check{e.findClient, findResource, checkClientResource, e.selectScopes, e.checkPolicy} {
		if err := check(r, req); err != nil {
			e.end(w, r, req.ending(err))
			return
		}
	}
	p := req.pending()
	p.Device, p.UserCode, p.Mark = d.ID, d.UserCode, requestMark(d.ID+d.Flow)
	e.showConsent(w, r, host, p, nil, "")
}

// onDevice reports whether the answer is for a device, so that there is no redirect URI.
func (p pending) onDevice() bool { return p.Device != "" }

// denyDevice tells the device that the person declined.
func (e *Endpoint) denyDevice(w http.ResponseWriter, r *http.Request, host *resource.Host, p pending) {
	if err := e.Devices.Deny(r.Context(), p.Device); err != nil {
		e.end(w, r, deviceEnding(host, p, err))
		return
	}
	e.Pages.For(r).Done(w, page.Done{Outcome: page.DeviceDeclined, FlowID: p.Flow})
}

// approveDevice ends the sign-in of a device, which gets the code when it asks again.
func (e *Endpoint) approveDevice(w http.ResponseWriter, r *http.Request, host *resource.Host, st loginState, code string) {
	if err := e.Devices.Approve(r.Context(), st.Device, code); err != nil {
		e.end(w, r, deviceEnding(host, st.pending, err))
		return
	}
	entry := st.auditEntry(host, audit.DeviceApproved, "")
	entry.Scope = st.Granted.String()
	e.Audit.Write(r.Context(), entry)
	noteEnds(w, r, host, []string{signedIn + st.Handle[:shortName], allowedRequest + st.Mark})
	e.Pages.For(r).Done(w, page.Done{Outcome: page.DeviceDone, FlowID: st.Flow})
}

// deviceEnding is the ending if the device cannot be told the answer.
func deviceEnding(host *resource.Host, p pending, err error) ending {
	if errors.Is(err, device.ErrUnknown) { // the code has expired, or was answered before
		x := notHonoured(host, p.Flow, reasons.DeviceCodeExpired, err)
		x.view.Problem = page.ConsentExpired
		return x
	}
	x := unavailable(host, err)
	x.entry.Flow, x.view.FlowID = p.Flow, p.Flow
	return x
}

// unavailable is the ending if the guard does not answer.
func unavailable(host *resource.Host, err error) ending {
	x := notHonoured(host, "", reasons.ServerError, err)
	code := oauth.ServerError
	if errors.Is(err, guard.ErrUnavailable) {
		x.entry.Reason, code, x.wait = reasons.GuardUnavailable, oauth.TemporarilyUnavailable, soon
	}
	x.view = errorView(&oauth.Error{Code: code}, x.entry.Flow)
	return x
}
