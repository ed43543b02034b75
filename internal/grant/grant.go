// Package grant owns /token: it authenticates the client, picks the grant and
// mints the access token. Every answer is JSON and never cached. It reaches the
// network only to read what a client publishes about itself, and a code is spent before anything is minted for it.
package grant

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/code"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Path of the token endpoint.
const Path = "/token"

// GrantTypes lists what the endpoint serves, for discovery.
var GrantTypes = []string{"authorization_code"}

// Endpoint serves /token.
type Endpoint struct {
	Clients Clients
	// Failures bounds how often a client may fail to authenticate.
	Failures *limit.Limiter
	Now      func() time.Time
	Codes    *code.Codes
	Guard    guard.Guard
	Tokens   *token.Issuer
	Audit    *audit.Log
}

// Response is the successful answer of RFC 6749, section 5.1.
type Response struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// call is one token request on its way through the steps.
type call struct {
	*http.Request
	host   *resource.Host
	params oauth.Params
	client *registration.Client
	entry  audit.Entry
}

// Token answers POST /token.
func (e *Endpoint) Token(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Event: audit.TokenIssued, Host: host.Name}}
	resp, err := e.serve(w, c)
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	e.Audit.Write(r.Context(), c.entry)
	web.JSON(w, http.StatusOK, resp)
}

func (e *Endpoint) serve(w http.ResponseWriter, c *call) (*Response, error) {
	form, err := web.Form(w, c.Request)
	if err != nil {
		return nil, err
	}
	c.params = oauth.NewParams(form, "resource")
	if err := c.params.CheckDuplicates(); err != nil {
		return nil, err
	}
	if err := e.authenticate(c); err != nil {
		return nil, err
	}
	switch grantType := c.params.Get("grant_type"); grantType {
	case "authorization_code":
		return e.redeemCode(c)
	case "":
		return nil, oauth.Errorf(oauth.InvalidRequest, "grant_type is missing")
	default:
		return nil, oauth.Errorf(oauth.UnsupportedGrantType, "grant_type must be one of %s", strings.Join(GrantTypes, ", "))
	}
}

func (e *Endpoint) refuse(w http.ResponseWriter, c *call, err error) {
	c.entry.Event, c.entry.Reason, c.entry.Cause = audit.TokenRefused, string(oauth.ServerError), err
	if _, ok := errors.AsType[*web.TooLarge](err); ok {
		c.entry.Reason = "body_too_large"
		e.Audit.Write(c.Context(), c.entry)
		web.FormError(w, err)
		return
	}
	if slow, ok := errors.AsType[*throttled](err); ok {
		c.entry.Reason = "client_authentication_throttled"
		e.Audit.Write(c.Context(), c.entry)
		slow.write(w)
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
	web.Error(w, err)
}
