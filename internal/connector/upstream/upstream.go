// Package upstream is how every connector talks to an identity provider. Its invariant: a call ends in bounded time, reads a
// bounded body, never follows a redirect, and every failure becomes one of the
// errors of package connector with a short text that is safe to log.
package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

const (
	// Timeout bounds one call of a connector, all its requests together.
	Timeout = 10 * time.Second
	// MostPatience bounds one that connector.Patient marked.
	MostPatience = 40 * time.Second
	// MaxBody bounds one response body, in bytes.
	MaxBody = 1 << 20

	maxText = 300 // bytes of upstream text in one of our errors
)

// Client reaches one identity provider.
type Client struct {
	http    *http.Client
	timeout time.Duration
	patient *http.Client // for calls that connector.Patient marked
}

// NewClient wraps the transport of base, which may be nil. A Timeout of base
// shorter than ours replaces it; nothing else of base is used.
func NewClient(base *http.Client) *Client {
	if base == nil {
		base = &http.Client{}
	}
	transport := base.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	timeout := Timeout
	if base.Timeout > 0 && base.Timeout < timeout {
		timeout = base.Timeout
	}
	bounded := &bounded{next: transport}
	return &Client{
		http:    &http.Client{Transport: bounded, Timeout: timeout},
		timeout: timeout,
		patient: &http.Client{Transport: bounded, Timeout: MostPatience},
	}
}

// Context bounds ctx in time and makes golang.org/x/oauth2 and go-oidc, which
// look there, use this client.
func (c *Client) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.timeout
	if connector.IsPatient(ctx) {
		timeout = MostPatience
	}
	return context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, c.of(ctx)), timeout)
}

// of returns the client for calls in ctx.
func (c *Client) of(ctx context.Context) *http.Client {
	if connector.IsPatient(ctx) {
		return c.patient
	}
	return c.http
}

// Get fetches address and decodes a 200 JSON answer into out.
func (c *Client) Get(ctx context.Context, address string, header http.Header, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.of(ctx).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Header, &StatusError{Code: resp.StatusCode}
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return resp.Header, fmt.Errorf("decoding the answer of %s: %w", req.URL.Host, err)
	}
	return resp.Header, nil
}

// Do makes one request and returns status and body of the answer, whatever the
// status says, except those that every call treats alike: they are a StatusError.
func (c *Client) Do(ctx context.Context, method, address string, header http.Header, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.of(ctx).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body) // bounded by the transport
	return resp.StatusCode, answer, err
}

// StatusError is an HTTP status that is no answer.
type StatusError struct {
	Code int
	// Location is where a redirect leads, without its query; "" for none.
	Location string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d %s", e.Code, http.StatusText(e.Code))
	if e.Location != "" {
		text += ", to " + e.Location
	}
	return text
}

// statusError is that of resp.
func statusError(resp *http.Response) *StatusError {
	e := &StatusError{Code: resp.StatusCode}
	if to, err := resp.Location(); err == nil {
		to.User, to.RawQuery, to.Fragment = nil, "", ""
		e.Location = Clip(to.String())
	}
	return e
}

var errTooLarge = fmt.Errorf("response larger than %d bytes", MaxBody)

// bounded is the transport under every request. It reads the body itself, so
// that the libraries above, which drop the type of a read error, only ever see
// whole and small bodies; and it refuses redirects, because a token request that
// is followed elsewhere takes the client secret and the code with it.
type bounded struct{ next http.RoundTripper }

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", "mcp-forward-auth") // GitHub refuses requests without one
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400, code == http.StatusTooManyRequests, code >= 500:
		return nil, statusError(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > MaxBody {
		return nil, errTooLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// Unavailable, Rejected and Cancelled wrap the errors of package connector with
// a text for the log. The cause is kept as text only: its type may hold a whole
// response, tokens included.
func Unavailable(what string, cause error) error {
	return wrap(connector.ErrUnavailable, what, cause)
}

// Rejected: see Unavailable.
func Rejected(what string, cause error) error {
	return wrap(connector.ErrRejected, what, cause)
}

// NotAllowed: see Unavailable.
func NotAllowed(what string) error { return wrap(connector.ErrNotAllowed, what, nil) }

// Gone and SessionOver: see Unavailable.
func Gone(what string, cause error) error { return wrap(connector.ErrGone, what, cause) }

// SessionOver: see Unavailable.
func SessionOver(what string, cause error) error {
	return wrap(connector.ErrSessionOver, what, cause)
}

// RecheckFailed turns what went wrong while asking about a person again into
// one of the errors of connector.Rechecker. Only a clear refusal by the provider ends
// a session. An answer that cannot be read, and one about the credentials of this
// service, are temporary faults.
func RecheckFailed(what string, err error) error {
	for _, known := range []error{connector.ErrGone, connector.ErrNotAllowed, connector.ErrSessionOver, connector.ErrMisconfigured, connector.ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	if fault := permanent(what, err); fault != nil {
		return fault
	}
	if status, ok := errors.AsType[*StatusError](err); ok && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) {
		return Gone(what, err)
	}
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		switch retrieve.ErrorCode {
		// RFC 6749, sections 4.1.2.1 and 5.2; bad_refresh_token is GitHub's.
		case "invalid_grant", "access_denied", "bad_refresh_token":
			return Gone(what, err)
		// OpenID Connect Core, section 3.1.2.6: the person has to sign in with a browser.
		case "interaction_required", "login_required", "consent_required", "account_selection_required":
			return SessionOver(what, err)
		}
	}
	return Unavailable(what, err)
}

func wrap(kind error, what string, cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: %s", kind, what)
	}
	return fmt.Errorf("%w: %s: %s", kind, what, Clip(describe(cause)))
}

// Failed turns what went wrong while doing what into one of our errors. An
// error that is one already stays as it is.
func Failed(what string, err error) error {
	switch {
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, connector.ErrRejected), errors.Is(err, connector.ErrNotAllowed), errors.Is(err, connector.ErrCancelled):
		return err
	}
	if fault := permanent(what, err); fault != nil {
		return fault
	}
	if unavailable(err) {
		return Unavailable(what, err)
	}
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok && retrieve.ErrorCode == "invalid_grant" {
		what += ": it does not take the code; it was redeemed before or too late, or the redirect URI is another than at the sign-in"
	}
	return Rejected(what, err)
}

func unavailable(err error) bool {
	if errors.Is(err, errTooLarge) {
		return false
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Code == http.StatusTooManyRequests || status.Code >= 500
	}
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return temporary(retrieve.ErrorCode)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	_, network := errors.AsType[*url.Error](err)
	return network
}

// temporary holds the codes of RFC 6749, section 4.1.2.1, that blame the server,
// as token endpoints send them too.
func temporary(code string) bool {
	return code == "temporarily_unavailable" || code == "server_error"
}

func describe(err error) string {
	if retrieve, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return strings.TrimSpace(retrieve.Response.Status + " " + retrieve.ErrorCode + " " + retrieve.ErrorDescription)
	}
	text := err.Error()
	if strings.Contains(text, "invalid character '<'") { // encoding/json's, which golang.org/x/oauth2 keeps as text alone
		text += "; that is a page in the place of JSON, as of a proxy, a firewall or a maintenance"
	}
	return text
}

// Clip makes text from the identity provider fit for one line of a log: short,
// and without characters that could forge another line.
func Clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), maxText)], ""))
	return text
}

// AuthorizationCode reads the callback's query (RFC 6749, section 4.1.2):
// the code, or the provider's error as one of package connector's.
func AuthorizationCode(query url.Values) (string, error) {
	for _, name := range []string{"code", "error", "iss", "state"} {
		if len(query[name]) > 1 {
			return "", Rejected("authorization response repeats "+name, nil)
		}
	}
	if code := query.Get("error"); code != "" {
		return "", authorizationError(code, query.Get("error_description"))
	}
	code := query.Get("code")
	if code == "" || len(code) > 4096 {
		return "", Rejected("authorization response has no usable code", nil)
	}
	return code, nil
}

func authorizationError(code, description string) error {
	cause := errors.New(Clip(code) + " " + description)
	const what = "authorization response"
	switch code {
	// Auth0 says unauthorized for a person it has blocked.
	case "access_denied", "unauthorized":
		return wrap(connector.ErrCancelled, what, cause)
	case "temporarily_unavailable":
		return Unavailable(what, cause)
	case "unauthorized_client", "invalid_scope", "invalid_request", "unsupported_response_type", "redirect_uri_mismatch":
		return Rejected(what+": the provider does not take this service's request; check the client, its redirect URI and provider.scopes there", cause)
	case "server_error":
		return Rejected(what+": the provider failed by itself; its own log has why", cause)
	// OpenID Connect Core, section 3.1.2.6.
	case "interaction_required", "login_required", "consent_required", "account_selection_required":
		return Rejected(what+": the provider has to ask the person something, and did not; look there for a rule about sign-ins, or for the consent of an administrator", cause)
	}
	return Rejected(what, cause)
}

// CheckLogin refuses a Login that would switch a protection off. That is a
// fault of this service, so it wraps none of the errors of package connector.
func CheckLogin(login connector.Login) error {
	if login.State == "" || login.Nonce == "" || login.RedirectURI == "" {
		return errors.New("internal error: login without state, nonce or redirect URI")
	}
	// RFC 7636, section 4.1.
	if n := len(login.Verifier); n < 43 || n > 128 {
		return errors.New("internal error: login without a PKCE verifier of 43 to 128 characters")
	}
	return nil
}
