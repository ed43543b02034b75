// Package grant owns /token: it authenticates the client, picks the grant and
// mints the access token. Every answer is JSON and never cached. It reaches no
// network, and a code is spent before anything is minted for it.
package grant

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/code"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
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

// Clients finds and authenticates clients.
type Clients interface {
	Client(ctx context.Context, host *resource.Host, id string) (*registration.Client, error)
	CheckSecret(c *registration.Client, secret string) bool
}

// Endpoint serves /token.
type Endpoint struct {
	Clients Clients
	Codes   *code.Codes
	Guard   guard.Guard
	Tokens  *token.Issuer
	Audit   *audit.Log
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

// authenticate finds the client and checks its credentials (RFC 6749, sections
// 2.3 and 3.2.1). An unknown client gets invalid_client, which MCP clients take
// as the signal to register again.
func (e *Endpoint) authenticate(c *call) error {
	id, secret, method, err := credentials(c)
	if err != nil {
		return err
	}
	invalid := func(reason string) error {
		return &oauth.Error{Code: oauth.InvalidClient, Description: "client authentication failed", Reason: reason}
	}
	client, err := e.Clients.Client(c.Context(), c.host, id)
	if errors.Is(err, registration.ErrUnknown) {
		return invalid("unknown_client")
	}
	if err != nil {
		return err
	}
	c.client = client
	c.entry.Client, c.entry.Name = client.ShortID(), client.Name
	if method != client.AuthMethod && !(isSecret(method) && isSecret(client.AuthMethod)) {
		return invalid("wrong_client_authentication_method")
	}
	if isSecret(method) && !e.Clients.CheckSecret(client, secret) {
		return invalid("wrong_client_secret")
	}
	return nil
}

// isSecret: a client may send its secret either way, whatever it registered;
// libraries differ in which they prefer, and the proof is the same.
func isSecret(method string) bool {
	return method == registration.AuthSecretBasic || method == registration.AuthSecretPost
}

// credentials reads the client's id and secret from the one place they may be in.
func credentials(c *call) (id, secret, method string, err error) {
	id, secret = c.params.Get("client_id"), c.params.Get("client_secret")
	header := c.Header.Values("Authorization")
	if len(header) == 0 {
		if id == "" {
			return "", "", "", &oauth.Error{Code: oauth.InvalidClient, Description: "client_id is missing", Reason: "client_id_missing"}
		}
		if secret != "" {
			return id, secret, registration.AuthSecretPost, nil
		}
		return id, "", registration.AuthNone, nil
	}
	if len(header) > 1 || secret != "" {
		return "", "", "", &oauth.Error{Code: oauth.InvalidRequest, Description: "use one client authentication method", Reason: "two_client_authentications"}
	}
	user, pass, ok := c.BasicAuth()
	if !ok {
		return "", "", "", &oauth.Error{Code: oauth.InvalidClient, Description: "the Authorization header is not Basic", Reason: "malformed_client_authentication"}
	}
	// RFC 6749, section 2.3.1: both are form-encoded before base64.
	basicID, err1 := url.QueryUnescape(user)
	basicSecret, err2 := url.QueryUnescape(pass)
	if err1 != nil || err2 != nil {
		return "", "", "", &oauth.Error{Code: oauth.InvalidClient, Description: "the Basic credentials are malformed", Reason: "malformed_client_authentication"}
	}
	if id != "" && id != basicID {
		return "", "", "", &oauth.Error{Code: oauth.InvalidRequest, Description: "client_id differs from the authenticated client", Reason: "two_client_ids"}
	}
	return basicID, basicSecret, registration.AuthSecretBasic, nil
}

func (e *Endpoint) refuse(w http.ResponseWriter, c *call, err error) {
	c.entry.Event, c.entry.Reason, c.entry.Cause = audit.TokenRefused, string(oauth.ServerError), err
	if _, ok := errors.AsType[*web.TooLarge](err); ok {
		c.entry.Reason = "body_too_large"
		e.Audit.Write(c.Context(), c.entry)
		web.FormError(w, err)
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
