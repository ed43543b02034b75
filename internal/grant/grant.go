// Package grant owns /token and /revoke: it authenticates the client, picks the
// grant and mints the access token. Every answer is JSON and never cached. A
// code or refresh token is spent before anything is minted for it. It reaches
// the network for three things: to read what a client publishes about itself, to ask
// connector.Rechecker when a token is refreshed, and connector.Exchanger where an MCP
// server gets a token of the identity provider that was exchanged for it.
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

// Endpoint serves /token and /revoke.
type Endpoint struct {
	Clients Clients
	// Grants are those that the endpoint knows, see All.
	Grants []Grant
	// Failures bounds how often a client may fail to authenticate.
	Failures *limit.Limiter
	// Requests bounds the token requests of each client at each host, nil for no
	// limit. They are counted after authentication: no one can use up the
	// allowance of a client that has credentials.
	Requests *limit.Limiter
	// Devices are the devices that wait for a person, nil where no host lets any sign in.
	Devices *device.Codes
	// Revocations bounds what one person can have revoked.
	Revocations Revocations
	Now         func() time.Time
	Codes       *authcode.Codes
	Guard       guard.Guard
	Tokens      *token.Issuer
	// Proofs verifies DPoP proofs; nil where no host has bound tokens.
	Proofs *dpop.Verifier
	// Issued, if set, is called with every new access token.
	Issued func(raw string, r *resource.Resource)
	// Push takes authorization requests that clients push; nil where they cannot.
	Push Push
	// Used is told of access tokens that a resource server asks about; nil if
	// nothing wants to know. See forwardauth.Endpoint.
	Used func(family string, generation int, issued time.Time)
	// Verifier reads access tokens that are to be revoked or introspected. These are
	// the service's own alone, so no other kind of credential has a part in it.
	Verifier *token.Verifier
	// Providers are asked to exchange a token for the MCP server's own, where the
	// configuration says so.
	Providers provider.Set
	// Held keeps sessions with identity providers where the configuration says so; nil
	// where it does for no MCP server.
	Held *providertoken.Held
	// Refresh is nil where there are no refresh tokens.
	Refresh *Refresh
	// Assertions reads what machines show instead of a sign-in; nil where nothing
	// of that is taken.
	Assertions *assertion.Registry
	// Exchanges is nil where no MCP server exchanges tokens.
	Exchanges *Exchanges
	Ended     *revocation.List
	// People notes what people allow; nil notes nothing.
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
	// Timeout is for how many seconds the refresh token works unused, and Ends in how
	// many the sign-in is over, whatever the client does
	// (draft-ietf-oauth-refresh-token-expiration, section 6.1). They come with a refresh token.
	Timeout int64 `json:"refresh_token_timeout,omitempty"`
	Ends    int64 `json:"authorization_expires_in,omitempty"`
}

// addRefresh adds a refresh token, which may be one that another request got a
// moment ago.
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

// call is one token request on its way through the steps.
type call struct {
	*http.Request
	host   *resource.Host
	form   url.Values // as it was sent
	params oauth.Params
	client *registration.Client
	entry  audit.Entry
	// arrived is when all of the request was here.
	arrived time.Time
	// spend uses up what the client proved itself with; nil if that may be used again.
	spend func() error
	// proof is the DPoP proof of the request, nil if there is none.
	proof *dpop.Proof
	// refused is the event of a call that fails.
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

// begin is what a call begins with: the form, and the client that sends it.
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

// count bounds the requests of one client, or of one machine without a client.
func (e *Endpoint) count(c *call, key string) error {
	if ok, wait := e.Requests.Allow(c.host.Name + " " + key); !ok {
		return &web.TooMany{Reason: reasons.TooManyRequestsOfClient, Wait: wait}
	}
	return nil
}

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
