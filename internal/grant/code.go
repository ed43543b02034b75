package grant

import (
	"errors"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authcode"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/providertoken"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// redeemCode is the authorization_code grant (RFC 6749, section 4.1.3; RFC
// 7636, section 4.6; RFC 8707, section 2.2). Everything is checked before the
// code is spent, so that a request with a mistake can be sent again corrected.
func (e *Endpoint) redeemCode(c *call) (*Response, error) {
	a, err := e.openCode(c)
	if err != nil {
		return nil, err
	}
	if err := checkBinding(c, a); err != nil {
		return nil, err
	}
	return e.redeem(c, a)
}

// redeem issues tokens for what a person agreed to. The caller has checked that a belongs
// to the client. redeem checks all else before it spends the code.
func (e *Endpoint) redeem(c *call, a authcode.Authorization) (_ *Response, err error) {
	if err := checkResource(c, a.Resource); err != nil {
		return nil, err
	}
	key, err := c.bindTo(a.Resource, a.Key)
	if err != nil {
		return nil, err
	}
	if err := e.checkEnded(c, revocation.Facts{Subject: c.entry.Subject, Email: a.Identity.Email, EmailUnknown: a.Identity.Unknown.Email, Since: a.AuthTime}); err != nil {
		return nil, err
	}
	if a.Session, err = e.Codes.Session(c.Context(), a); err != nil {
		return nil, codesUnavailable(err)
	}
	supplied, err := e.supply(c, a)
	if err != nil {
		return nil, err
	}
	if err := c.spendProof(); err != nil {
		return nil, err
	}
	first, err := e.Guard.Redeem(c.Context(), "code "+a.ID, a.ExpiresAt())
	if err != nil {
		return nil, codesUnavailable(err)
	}
	if !first {
		// This caller has proved that it is the client, so the first one may have been a thief.
		// The tokens that were issued for the code are revoked (OAuth 2.1, section 4.1.3).
		e.endFamily(c, refreshToken{Family: a.ID, AuthTime: a.AuthTime}, reasons.CodeUsedTwice)
		return nil, invalidGrant(reasons.CodeUsedTwice)
	}
	resp, err := e.mint(c, grantee{Flow: a.Flow, Family: a.ID, Resource: a.Resource, Scopes: a.Scopes, Identity: a.Identity, Policy: a.Policy, Agreed: a.Agreed, Key: a.Key, Provider: supplied})
	if err != nil {
		return nil, err
	}
	refresh, err := e.Refresh.first(c, a, key)
	if err != nil {
		return nil, err
	}
	if err := e.addRefresh(c, resp, refresh); err != nil {
		return nil, err
	}
	c.entry.Step = audit.StepRedeemed
	e.note(c, a.Identity, allowed{Family: a.ID, Resource: a.Resource, Scopes: a.Scopes, AuthTime: a.AuthTime, Refreshes: resp.RefreshToken != ""})
	return resp, nil
}

func codesUnavailable(cause error) error {
	return &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "codes cannot be redeemed right now", Reason: reasons.GuardUnavailable, Cause: cause}
}

// invalidGrant refuses a code. The client gets the same answer whatever is wrong
// (AS-TOK-06).
func invalidGrant(reason reasons.Reason) *oauth.Error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the code is not valid", Reason: reason}
}

func (e *Endpoint) openCode(c *call) (authcode.Authorization, error) {
	raw := c.params.Get("code")
	if raw == "" {
		return authcode.Authorization{}, oauth.Errorf(oauth.InvalidRequest, "code is missing")
	}
	a, err := e.Codes.Open(c.host.Issuer, raw)
	if errors.Is(err, seal.ErrExpired) {
		if late, err := e.Codes.Late(c.host.Issuer, raw); err == nil {
			c.note(late)
		}
		return a, invalidGrant(reasons.CodeExpired)
	}
	if err != nil {
		oe := invalidGrant(reasons.InvalidCode)
		oe.Cause = err
		return a, oe
	}
	c.note(a)
	return a, nil
}

// note writes into the audit entry whose code it is.
func (c *call) note(a authcode.Authorization) {
	c.entry.Family = a.ID
	c.entry.Flow, c.entry.Resource, c.entry.Scope = a.Flow, a.Resource, a.Scopes.String()
	c.entry.Subject, c.entry.Email = a.Identity.FullSubject(), a.Identity.Email
}

// checkBinding checks that the code belongs to this client, redirect URI and verifier.
func checkBinding(c *call, a authcode.Authorization) error {
	if a.ClientKey != c.client.Key() {
		return invalidGrant(reasons.CodeOfAnotherClient)
	}
	// OAuth 2.1 drops the parameter redirect_uri here. If it is sent, it must be the same.
	if uri := c.params.Get("redirect_uri"); uri != "" && oauth.RedirectKey(uri) != a.Redirect {
		return invalidGrant(reasons.RedirectURIMismatch)
	}
	verifier := c.params.Get("code_verifier")
	if verifier == "" {
		return oauth.Errorf(oauth.InvalidRequest, "code_verifier is missing")
	}
	if !oauth.VerifyCodeChallenge(verifier, a.Challenge) {
		return invalidGrant(reasons.WrongCodeVerifier)
	}
	return nil
}

// checkResource checks that each resource parameter names what was granted.
func checkResource(c *call, granted string) error {
	for _, uri := range c.params.All("resource") {
		if res, ok := c.host.ForSignIn(uri); !ok || res.URI != granted {
			return oauth.Errorf(oauth.InvalidTarget, "resource is not the one that was authorized")
		}
	}
	return nil
}

// grantee is the person or machine that an access token is minted for, and what it may
// do.
type grantee struct {
	Flow, Family, Resource string
	At                     *resource.Resource // what Resource names, if it is at another host; else nil
	Scopes                 oauth.Scopes
	Identity               connector.Identity
	Policy                 string    // the rules that matched, see policy.Match
	Agreed                 string    // the tools that the person agreed to, see catalog.Agree
	Generation             int       // of the refresh token that comes with it
	Client                 string    // "" for the one that authenticated
	Until                  time.Time // the token expires no later; zero is no bound
	Key                    string    // thumbprint of the key that the grant is bound to, "" for none
	Provider               supplied
	Actor                  *actor.Actor
	Roles                  []string // of a workload
	Context                string   // of a workload
}

// mint makes the access token and the response with it. It adds no refresh token.
func (e *Endpoint) mint(c *call, g grantee) (*Response, error) {
	res, err := c.resource(g)
	if err != nil {
		return nil, err
	}
	key, err := c.bind(res, g.Key)
	if err != nil {
		return nil, err
	}
	if g.Client == "" {
		g.Client = c.client.ID
	}
	if err := e.endWithProviderToken(&g); err != nil {
		return nil, err
	}
	raw, claims, err := e.issuerFor(g).Mint(
		token.Claims{
			Issuer: res.Host.Issuer, Audience: g.Resource, ClientID: g.Client, Scope: g.Scopes.String(),
			Subject: g.Identity.FullSubject(), Family: g.Family, Expires: unix(g.Until), Act: g.Actor, Confirmation: token.Confirmation{Thumbprint: key},
		},
		token.Person{
			Email: g.Identity.Email, Name: g.Identity.Name, Groups: g.Identity.Groups, Flow: g.Flow, Policy: g.Policy, Generation: g.Generation, Roles: g.Roles, Context: g.Context, Agreed: held(c.host, g.Resource, g.Agreed),
			GroupsCut: g.Identity.Unknown.Groups, Provider: g.Provider.Value, Held: g.Provider.For != nil && g.Provider.For.Held,
		},
	)
	if errors.Is(err, token.ErrTooLarge) && g.Provider.Value != "" {
		return nil, notSupplied(providertoken.ErrTooLarge, g.Generation > 0)
	}
	if err != nil {
		return nil, err
	}
	c.entry.TokenID = claims.ID
	if e.Issued != nil {
		e.Issued(raw, res)
	}
	return &Response{AccessToken: raw, TokenType: tokenType(key), ExpiresIn: claims.Expires - claims.IssuedAt, Scope: claims.Scope}, nil
}

// resource returns the MCP server that g is for.
func (c *call) resource(g grantee) (*resource.Resource, error) {
	if g.At != nil {
		return g.At, nil
	}
	res, ok := c.host.ForSignIn(g.Resource)
	if !ok {
		return nil, oauth.Errorf(oauth.InvalidTarget, "the MCP server is not one of this host any more")
	}
	return res, nil
}

// held returns what a person agreed to if the tools of the resource are held to it, else
// "".
func held(host *resource.Host, uri, agreed string) string {
	if !holdsChanged(host, uri) {
		return ""
	}
	return agreed
}

// holdsChanged reports whether a resource holds back tools that changed since the person
// agreed.
func holdsChanged(host *resource.Host, uri string) bool {
	r, ok := host.ForSignIn(uri)
	return ok && r.Rules.HoldChanged
}

// tokenType returns the type of an access token bound to key, "" for none.
func tokenType(key string) string {
	if key == "" {
		return "Bearer"
	}
	return dpop.Scheme
}

// unix returns t in Unix seconds, 0 for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
