// Package grant owns the token endpoint and the endpoints beside it that clients, devices
// and servers call: revocation, introspection, pushed authorization requests, device
// authorization and reports of dead tokens.
//
// A request for a token is a call. Token reads its form, authenticates the client, checks
// the DPoP proof and picks the Grant. The grant checks everything that it can check, then
// uses up what may be used only once (the code, the refresh token, the assertion, the
// proofs), and only then mints. Every answer is JSON, and none may be cached.
//
// The package reaches the network for what a client publishes about itself, for the keys
// behind an assertion, and for the identity provider: at a refresh (connector.Rechecker),
// and when an MCP server gets a token that the provider exchanges (connector.Exchanger).
package grant

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Path of the token endpoint.
const Path = "/token"

// Endpoint serves the token endpoint and those beside it.
type Endpoint struct {
	Clients Clients
	// Grants are the grants that the endpoint may offer, see All.
	Grants []Grant
	// Failures bounds how often a client may fail to authenticate.
	Failures *limit.Limiter
	// Requests bounds the token requests of each client at each host; nil for no limit.
	// They are counted after authentication, so that a stranger cannot use up the
	// allowance of a client with credentials.
	Requests *limit.Limiter
	// Devices are the devices that wait for a person; nil if no host lets devices sign
	// in.
	Devices *device.Codes
	// Revocations bounds how much one person can have revoked.
	Revocations Revocations
	Now         func() time.Time
	Codes       *authcode.Codes
	Guard       guard.Guard
	Tokens      *token.Issuer
	// Proofs verifies DPoP proofs; nil if no host binds tokens to keys.
	Proofs *dpop.Verifier
	// Issued, if set, is called with every new access token.
	Issued func(raw string, r *resource.Resource)
	// Push takes authorization requests that clients push; nil if they cannot.
	Push Push
	// Used, if set, is called when a resource server introspects an access token, see
	// forwardauth.Endpoint.Used.
	Used func(family string, generation int, issued time.Time)
	// Verifier reads access tokens that are to be revoked or introspected. Only this
	// service's own tokens can be, so no other kind of credential is asked.
	Verifier *token.Verifier
	// Providers exchange their tokens for one for the MCP server, if its configuration
	// says so.
	Providers provider.Set
	// Held keeps the sessions with identity providers for MCP servers; nil if none is
	// configured so.
	Held *providertoken.Held
	// Refresh makes refresh tokens; nil if there are none.
	Refresh *Refresh
	// Assertions reads what machines show instead of a sign-in; nil if no assertion is
	// accepted.
	Assertions *assertion.Registry
	// Exchanges is nil if no MCP server exchanges tokens.
	Exchanges *Exchanges
	Ended     *revocation.List
	// People notes what people allowed, for their account page; nil notes nothing.
	People *people.Records
	Policy *policy.Policy
	Audit  *audit.Log
}

// Response is the successful answer of RFC 6749, section 5.1.
type Response struct {
	AccessToken string `json:"access_token"`
	// IssuedType is the type of the token, after an exchange (RFC 8693, section 2.2.1).
	IssuedType string `json:"issued_token_type,omitempty"`
	TokenType  string `json:"token_type"` // "Bearer", or "DPoP" for a token that is bound to a key
	ExpiresIn  int64  `json:"expires_in,omitempty"`
	Scope      string `json:"scope,omitempty"`
	// RefreshToken is left out where the client gets none.
	RefreshToken string `json:"refresh_token,omitempty"`
	// Timeout is for how many seconds the refresh token works if it is not used. Ends is
	// in how many seconds the sign-in ends, whatever the client does
	// (draft-ietf-oauth-refresh-token-expiration, section 6.1). Both come with a refresh
	// token.
	Timeout int64 `json:"refresh_token_timeout,omitempty"`
	Ends    int64 `json:"authorization_expires_in,omitempty"`
}

// addRefresh adds the refresh token raw to resp, "" for none. It may be one that was made
// a moment ago for another request.
func (e *Endpoint) addRefresh(c *call, resp *Response, raw string) error {
	if raw == "" {
		return nil
	}
	t, err := e.Refresh.tokens.Open(raw, c.host.Issuer)
	if err != nil {
		return err
	}
	now := e.Refresh.Now().Unix()
	resp.RefreshToken = raw
	resp.Timeout = e.Refresh.expires(t, time.Unix(t.Issued, 0)).Unix() - now
	resp.Ends = time.Unix(t.AuthTime, 0).Add(e.Refresh.Absolute).Unix() - now
	return nil
}

// call is one request to an endpoint of this package, while it is checked.
type call struct {
	*http.Request
	host   *resource.Host
	form   url.Values // as the client sent it
	params oauth.Params
	client *registration.Client
	entry  audit.Entry
	// arrived is when the whole form was read.
	arrived time.Time
	// spend uses up what the client proved itself with, just before the request takes
	// effect; nil if that may be used again. See alsoSpend.
	spend func() error
	// proof is the DPoP proof of the request, nil if there is none.
	proof *dpop.Proof
	// refused is the audit event if the call fails.
	refused audit.Event
}

// Token answers POST /token.
func (e *Endpoint) Token(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Event: audit.TokenIssued, Host: host.Name}, refused: audit.TokenRefused}
	resp, err := e.serve(w, c)
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	e.Audit.Write(r.Context(), c.entry)
	web.JSON(w, http.StatusOK, resp)
}

// begin reads the form and authenticates the client.
func (e *Endpoint) begin(w http.ResponseWriter, c *call) error {
	if err := e.read(w, c); err != nil {
		return err
	}
	return e.authenticate(c)
}

// read reads the form.
func (e *Endpoint) read(w http.ResponseWriter, c *call) error {
	form, err := web.Form(w, c.Request)
	if err != nil {
		return err
	}
	c.arrived = e.Now()
	c.form, c.params = form, oauth.NewParams(form, "resource", "audience")
	return c.params.CheckDuplicates()
}

// serve is Token, from the form to the response of the grant.
func (e *Endpoint) serve(w http.ResponseWriter, c *call) (*Response, error) {
	if err := e.read(w, c); err != nil {
		return nil, err
	}
	if !e.withoutClient(c) {
		if err := e.authenticate(c); err != nil {
			return nil, err
		}
		if err := e.count(c, c.client.Key()); err != nil {
			return nil, err
		}
	}
	if err := e.readKeyProof(w, c, Path); err != nil {
		return nil, err
	}
	g, err := e.grant(c)
	if err != nil {
		return nil, err
	}
	return g.serve(e, c)
}

// count bounds the requests of one client, or of one machine without a client, at a host.
func (e *Endpoint) count(c *call, key string) error {
	if ok, wait := e.Requests.Allow(c.host.Name + " " + key); !ok {
		return &web.TooMany{Reason: reasons.TooManyRequestsOfClient, Wait: wait}
	}
	return nil
}

// refuse writes the audit entry and the answer of a call that failed.
func (e *Endpoint) refuse(w http.ResponseWriter, c *call, err error) {
	c.entry.Event, c.entry.Reason, c.entry.Cause = c.refused, reasons.ServerError, err
	if _, ok := errors.AsType[*web.TooLarge](err); ok {
		c.entry.Reason = reasons.BodyTooLarge
		e.Audit.Write(c.Context(), c.entry)
		web.FormError(w, err)
		return
	}
	if slow, ok := errors.AsType[*web.TooMany](err); ok {
		c.entry.Reason, c.entry.Cause = slow.Reason, nil
		e.Audit.Write(c.Context(), c.entry)
		web.FormError(w, slow)
		return
	}
	if oe, ok := errors.AsType[*oauth.Error](err); ok {
		c.entry.Reason, c.entry.Cause = oe.AuditReason(), oe.Cause
		if oe.Code == oauth.InvalidClient && c.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="token endpoint"`) // RFC 6749, section 5.2
		}
		err = oe
	}
	e.Audit.Write(c.Context(), c.entry)
	if denied, ok := err.(*oauth.Error); ok && denied.Code == oauth.AccessDenied { // 403 is for pages (RFC 6749, section 5.2)
		web.JSON(w, http.StatusBadRequest, web.ErrorBody{Error: string(denied.Code), Description: denied.Description})
		return
	}
	web.Error(w, err)
}
