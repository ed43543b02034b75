package grant

import (
	"errors"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// DevicePath is the path of the device authorization endpoint (RFC 8628, section 3.1).
const DevicePath = "/device_authorization"

// VerificationPath is the page where people type the code that their device shows.
const VerificationPath = "/device"

// deviceAnswer is the answer of RFC 8628, section 3.2. It has no
// verification_uri_complete: a person who opens a link of a stranger has not seen the
// device. Typing the code proves that they have it before them (section 5.4).
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
}

// Device answers POST /device_authorization. It notes what a device asks for until a
// person types its code. Which of the scopes it can get is decided then, as at
// /authorize.
func (e *Endpoint) Device(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Event: audit.DeviceRequested, Step: audit.StepAuthorize, Host: host.Name, Flow: audit.NewFlow()}, refused: audit.DeviceRefused}
	answer, err := e.beginDevice(w, c)
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	e.Audit.Write(r.Context(), c.entry)
	web.JSON(w, http.StatusOK, answer)
}

// beginDevice is Device, from the form to the codes.
func (e *Endpoint) beginDevice(w http.ResponseWriter, c *call) (*deviceAnswer, error) {
	if !c.host.SignsInDevices() || e.Devices == nil {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "no MCP server of this host lets devices sign in")
	}
	if err := e.begin(w, c); err != nil {
		return nil, err
	}
	if ok, wait := e.Requests.Allow(c.host.Name + " " + c.client.Key()); !ok {
		return nil, &web.TooMany{Reason: reasons.TooManyRequestsOfClient, Wait: wait}
	}
	if !c.client.MayUse(device.GrantType) {
		return nil, oauth.Errorf(oauth.UnauthorizedClient, "this client may not use the grant %s", device.GrantType)
	}
	res, err := deviceResource(c)
	if err != nil {
		return nil, err
	}
	scopes, err := oauth.ParseScopes(c.params.Get("scope"))
	if err != nil {
		return nil, err
	}
	if err := c.spendProof(); err != nil {
		return nil, err
	}
	c.entry.Resource = res.URI
	issued, err := e.Devices.Begin(c.Context(), c.host.Issuer, c.client.Key(), device.Request{
		Flow: c.entry.Flow, ClientID: c.client.ID, Resource: res.URI, Scope: scopes.String(),
	})
	if err != nil {
		return nil, deviceError(err)
	}
	return &deviceAnswer{
		DeviceCode: issued.DeviceCode, UserCode: issued.UserCode, VerificationURI: c.host.Issuer + VerificationPath,
		ExpiresIn: int64(device.Lifetime.Seconds()), Interval: int64(device.Interval.Seconds()),
	}, nil
}

// deviceResource returns the MCP server that a device asks for. The device need not name
// one if only one server of the host lets devices sign in.
func deviceResource(c *call) (*resource.Resource, error) {
	var found *resource.Resource
	for _, uri := range c.params.All("resource") {
		res, ok := c.host.ForSignIn(uri)
		if !ok || !res.DeviceGrant || found != nil && found != res {
			return nil, oauth.Errorf(oauth.InvalidTarget, "resource is not one MCP server of this host that lets devices sign in")
		}
		found = res
	}
	if found == nil {
		var ok bool
		if found, ok = c.host.DeviceDefault(); !ok {
			return nil, oauth.Errorf(oauth.InvalidTarget, "resource is missing, and several MCP servers of this host let devices sign in")
		}
	}
	if !c.client.MayReach(found.URI) {
		return nil, oauth.Errorf(oauth.InvalidTarget, "this client may not have tokens for the resource")
	}
	return found, nil
}

// redeemDevice is the device_code grant (RFC 8628, section 3.4). The device asks again
// and again until the person has decided.
func (e *Endpoint) redeemDevice(c *call) (*Response, error) {
	raw := c.params.Get("device_code")
	if raw == "" {
		return nil, oauth.Errorf(oauth.InvalidRequest, "device_code is missing")
	}
	code, err := e.Devices.Poll(c.Context(), c.host.Issuer, c.client.Key(), raw)
	if err != nil {
		if errors.Is(err, device.ErrPending) || errors.Is(err, device.ErrTooSoon) {
			c.refused = audit.DevicePolled
		}
		return nil, deviceError(err)
	}
	a, err := e.Codes.Open(c.host.Issuer, code)
	if err != nil || a.ClientKey != c.client.Key() || a.Challenge != "" { // a code with a challenge is for another grant
		return nil, &oauth.Error{Code: oauth.ExpiredToken, Description: "the device code has expired; begin again", Reason: reasons.DeviceCodeExpired, Cause: err}
	}
	c.note(a)
	return e.redeem(c, a)
}

// deviceError returns what a device is told about an error of package device or the
// guard.
func deviceError(err error) error {
	if oe := device.Error(err); oe != nil {
		oe.Cause = err
		return oe
	}
	if errors.Is(err, guard.ErrUnavailable) {
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "devices cannot sign in right now", Reason: reasons.GuardUnavailable, Cause: err}
	}
	return err
}
