package grant

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Clients finds and authenticates clients.
type Clients interface {
	Client(ctx context.Context, host *resource.Host, id string) (*registration.Client, error)
	CheckSecret(c *registration.Client, secret string) bool
	Keys(ctx context.Context, c *registration.Client, refresh bool) ([]jose.JSONWebKey, error)
	// Reaches reports whether a client of the configuration that may use the grant
	// may have tokens for the resource.
	Reaches(grantType, resourceURI string) bool
}

// failureRate bounds the failed authentications of one client (RFC 6749, section 2.3.1).
// A right secret is always accepted, whatever the failures before: secrets have at least
// 128 bits, so no rate of guesses finds one, and otherwise anyone who knows a client id
// could shut the client out. Assertions of clients that registered themselves are the
// exception, see checkAssertion.
var failureRate = limit.PerMinute(20)

// NewFailures returns the limiter for Endpoint.Failures.
func NewFailures(now func() time.Time) *limit.Limiter { return limit.New(failureRate, 10_000, now) }

// proof is what a request shows to prove which client sends it.
type proof struct {
	method  string
	id      string   // as claimed
	secrets []string // the readings of the secret that was sent; each may be the right one
	jwt     *clientAssertion
}

// authenticate finds the client and checks its credentials (RFC 6749, sections 2.3 and
// 3.2.1). After invalid_client, MCP clients throw their registration away and register
// again, so a temporary fault must never get that code.
func (e *Endpoint) authenticate(c *call) error {
	p, err := readProof(c)
	if err != nil {
		return err
	}
	client, err := e.Clients.Client(c.Context(), c.host, p.id)
	if err != nil {
		return clientError(err)
	}
	c.client = client
	c.entry.Client, c.entry.Name = client.ShortID(), client.Name
	if err := e.checkProof(c, p); err != nil {
		return e.countFailure(client, err)
	}
	return nil
}

// checkProof checks that the proof is of the client's method, and right.
func (e *Endpoint) checkProof(c *call, p proof) error {
	registered := c.client.AuthMethod
	if p.method != registered && !(isSecret(p.method) && isSecret(registered)) {
		return invalidClient(reasons.WrongClientAuthenticationMethod, nil)
	}
	switch {
	case isSecret(p.method):
		for _, s := range p.secrets {
			if e.Clients.CheckSecret(c.client, s) {
				return nil
			}
		}
		return invalidClient(reasons.WrongClientSecret, nil)
	case p.method == registration.AuthPrivateKey:
		return e.checkAssertion(c, p.jwt)
	}
	return nil
}

// countFailure counts err as a failed authentication, if it is one, and returns it. If
// there were too many, it returns *web.TooMany instead.
func (e *Endpoint) countFailure(client *registration.Client, err error) error {
	oe, ok := errors.AsType[*oauth.Error](err)
	if !ok || oe.Code != oauth.InvalidClient {
		return err
	}
	if ok, wait := e.Failures.Allow(client.Key()); !ok {
		return &web.TooMany{Reason: reasons.ClientAuthenticationThrottled, Wait: wait}
	}
	return err
}

func invalidClient(reason reasons.Reason, cause error) error {
	return &oauth.Error{Code: oauth.InvalidClient, Description: "client authentication failed", Reason: reason, Cause: cause}
}

// clientError returns what the client is told if it is not found. If its document cannot
// be fetched, the client may be fine, and invalid_client would make it throw its
// registration away.
func clientError(err error) error {
	switch {
	case errors.Is(err, registration.ErrUnfetchable):
		return &oauth.Error{Code: oauth.ServerError, Description: "what the client publishes: " + registration.Unfetchable(err), Reason: reasons.ClientDocumentUnreachable, Cause: err}
	case errors.Is(err, registration.ErrUnavailable):
		return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "what the client publishes cannot be fetched right now", Reason: reasons.ClientDocumentUnavailable, Cause: err}
	case errors.Is(err, registration.ErrDocument):
		return invalidClient(reasons.ClientDocumentInvalid, err)
	case errors.Is(err, registration.ErrUnknown):
		return invalidClient(reasons.UnknownClient, err)
	}
	return err
}

// isSecret reports whether the method sends a secret. A client may send its secret either
// way, whichever it registered, because libraries differ and the proof is the same.
func isSecret(method string) bool {
	return method == registration.AuthSecretBasic || method == registration.AuthSecretPost
}

// readProof reads the client's id and proof from the one place they may be in.
// "The client MUST NOT use more than one authentication method in each request"
// (RFC 6749, section 2.3).
func readProof(c *call) (proof, error) {
	id, secret := c.params.Get("client_id"), c.params.Get("client_secret")
	signed := c.params.Get("client_assertion") != "" || c.params.Get("client_assertion_type") != ""
	header := len(c.Header.Values("Authorization"))
	switch {
	case header > 1, header == 1 && (secret != "" || signed), secret != "" && signed:
		return proof{}, &oauth.Error{Code: oauth.InvalidRequest, Description: "use one client authentication method", Reason: reasons.TwoClientAuthentications}
	case header == 1:
		return basicProof(c, id)
	case signed:
		return assertionProof(c, id)
	case id == "":
		return proof{}, &oauth.Error{Code: oauth.InvalidClient, Description: "client_id is missing", Reason: reasons.ClientIDMissing}
	case secret != "":
		return proof{method: registration.AuthSecretPost, id: id, secrets: []string{secret}}, nil
	}
	return proof{method: registration.AuthNone, id: id}, nil
}

// basicProof reads HTTP Basic. RFC 6749, section 2.3.1, has the client form-encode id and
// secret before Base64. Many clients do not, so the secret is also tried as it was sent.
func basicProof(c *call, claimed string) (proof, error) {
	user, pass, ok := c.BasicAuth()
	if !ok {
		return proof{}, &oauth.Error{Code: oauth.InvalidClient, Description: "the Authorization header is not Basic", Reason: reasons.MalformedClientAuthentication}
	}
	p := proof{method: registration.AuthSecretBasic, id: user, secrets: []string{pass}}
	if decoded, err := url.QueryUnescape(user); err == nil {
		p.id = decoded
	}
	if decoded, err := url.QueryUnescape(pass); err == nil && decoded != pass {
		p.secrets = append(p.secrets, decoded)
	}
	return p, p.agrees(claimed)
}

// agrees refuses a client_id parameter that is not the client of the other credentials
// (RFC 7521, section 4.2).
func (p proof) agrees(claimed string) error {
	if claimed != "" && claimed != p.id {
		return &oauth.Error{Code: oauth.InvalidRequest, Description: "client_id differs from the authenticated client", Reason: reasons.TwoClientIDs}
	}
	return nil
}
