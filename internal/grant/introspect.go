package grant

import (
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// IntrospectionPath is the path of the introspection endpoint (RFC 7662).
const IntrospectionPath = "/introspect"

// IntrospectionAuthMethods are the methods by which callers of the endpoint may
// authenticate.
var IntrospectionAuthMethods = []string{registration.AuthSecretBasic, registration.AuthSecretPost, registration.AuthPrivateKey}

// introspection is the answer of RFC 7662, section 2.2. If the token is not active, it
// has no other member.
type introspection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Subject   string `json:"sub,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	ID        string `json:"jti,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	// Confirmation is the key that the token is bound to, if any (RFC 9449, section 6.2).
	Confirmation *token.Confirmation `json:"cnf,omitempty"`
	// Act is who acts for the subject, if anyone does (RFC 8693, section 4.1).
	Act *actor.Actor `json:"act,omitempty"`
}

// Introspect answers POST /introspect. It is only for clients of the configuration with
// credentials: others could use it to try out tokens (RFC 7662, section 4).
func (e *Endpoint) Introspect(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	c := &call{Request: r, host: host, entry: audit.Entry{Host: host.Name}, refused: audit.IntrospectionRefused}
	err := e.begin(w, c)
	switch {
	case err != nil:
	case !c.client.PreRegistered || c.client.AuthMethod == registration.AuthNone:
		err = &oauth.Error{Code: oauth.InvalidClient, Description: "client authentication failed", Reason: reasons.IntrospectionNotForClient}
	case c.params.Get("token") == "":
		err = oauth.Errorf(oauth.InvalidRequest, "token is missing")
	default:
		err = c.spendProof()
	}
	if err != nil {
		e.refuse(w, c, err)
		return
	}
	web.JSON(w, http.StatusOK, e.introspect(c))
}

// introspect says of an access token what /authenticate would. A refresh token, and a
// token for a resource that the caller may not reach, are not active for it.
func (e *Endpoint) introspect(c *call) introspection {
	claims, err := e.Verifier.Open(c.params.Get("token"), c.host.Issuer)
	if err != nil || !c.client.MayReach(claims.Audience) {
		return introspection{}
	}
	if res, ok := c.host.ForSignIn(claims.Audience); !ok || res.URI != claims.Audience {
		return introspection{}
	}
	person := &claims.Person
	facts := revocation.Facts{
		TokenID: claims.ID, Family: claims.Family, Subject: claims.Subject, Email: person.Email, Client: revocation.Client(claims.ClientID), Since: claims.IssuedAt - revocation.IssueSlack,
	}
	if e.Ended.Check(facts) != revocation.None {
		return introspection{}
	}
	match, known := e.Policy.For(claims.Audience).Parse(person.Policy)
	bound := match.Bound(claims.Scopes())
	if !known || bound.Empty() {
		return introspection{}
	}
	if e.Used != nil { // the MCP server got a request with the token
		e.Used(claims.Family, person.Generation, time.Unix(claims.IssuedAt, 0))
	}
	answer := introspection{
		Active: true, Issuer: claims.Issuer, Audience: claims.Audience, Subject: claims.Subject, ClientID: claims.ClientID,
		Scope: bound.Scopes.String(), Expires: claims.Expires, IssuedAt: claims.IssuedAt, ID: claims.ID, TokenType: tokenType(claims.Confirmation.Thumbprint), Act: claims.Act,
	}
	if claims.Confirmation.Thumbprint != "" {
		answer.Confirmation = &claims.Confirmation
	}
	return answer
}
