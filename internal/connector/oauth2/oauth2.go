// Package oauth2 signs people in with a provider that speaks OAuth 2.0 without
// OpenID Connect: there is no ID token, only an endpoint that says whose access
// token this is. Its invariants: PKCE binds the code to the visit, because there is no
// nonce; the subject is a claim that the operator named; and a response that
// names an issuer which the operator did not is refused.
package oauth2

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Connector implements connector.Connector and connector.Rechecker.
type Connector struct {
	provider  *Settings // its secret cannot be printed
	namespace string
	client    *upstream.Client
}

// New returns a connector. A nil client means the default transport; see
// upstream.NewClient.
func New(s *Settings, client *http.Client) *Connector {
	return &Connector{provider: s, namespace: s.Namespace(), client: upstream.NewClient(client)}
}

// namespace names the host that says who people are.
func namespace(userinfoURL string) string {
	return "oauth2@" + cmp.Or(strings.ToLower(upstream.HostOf(userinfoURL)), userinfoURL)
}

// AuthorizationURL implements connector.Connector. It does not use the network.
// A prompt is not forwarded: that is OpenID Connect's.
func (c *Connector) AuthorizationURL(_ context.Context, login connector.Login) (string, error) {
	if err := upstream.CheckLogin(login); err != nil {
		return "", err
	}
	options := upstream.Params(c.provider.Params, login)
	options = append(options, oauth2.S256ChallengeOption(login.Verifier))
	return c.oauthConfig(login).AuthCodeURL(login.State, options...), nil
}

func (c *Connector) oauthConfig(login connector.Login) *oauth2.Config {
	// One way, never a try of both, which would spend the code.
	style := oauth2.AuthStyleInHeader
	if c.provider.ClientAuthMethod == "client_secret_post" {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID:     c.provider.ClientID,
		ClientSecret: c.provider.ClientSecret.Reveal(),
		RedirectURL:  login.RedirectURI,
		Scopes:       upstream.Scopes(c.provider.Scopes, login),
		Endpoint:     oauth2.Endpoint{AuthURL: c.provider.AuthorizeURL, TokenURL: c.provider.TokenURL, AuthStyle: style},
	}
}

// Identify implements connector.Connector.
func (c *Connector) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	fail := func(err error) (connector.Identity, connector.Session, error) {
		return connector.Identity{}, connector.Session{}, err
	}
	if err := upstream.CheckLogin(login); err != nil {
		return fail(err)
	}
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	// RFC 9207, section 2.4. Who sends iss has to be known by it: with another
	// server's answer believed, our code goes where that server wants.
	if query.Has("iss") && (len(query["iss"]) != 1 || query.Get("iss") != c.provider.IssuerURL) {
		return fail(upstream.Rejected("authorization response names an issuer that is not provider.issuerURL", nil))
	}
	code, err := upstream.AuthorizationCode(query)
	if err != nil {
		return fail(err)
	}
	token, err := c.oauthConfig(login).Exchange(ctx, code, oauth2.VerifierOption(login.Verifier))
	if err != nil {
		return fail(upstream.Failed("token request", err))
	}
	id, err := c.identity(ctx, token.AccessToken)
	if err != nil {
		return fail(upstream.Failed("userinfo", err))
	}
	return id, upstream.Session(token, login.Want), nil
}

func (c *Connector) identity(ctx context.Context, accessToken string) (connector.Identity, error) {
	var claims claim.Set
	if _, err := c.client.Get(ctx, c.provider.UserinfoURL, http.Header{"Authorization": {"Bearer " + accessToken}}, &claims); err != nil {
		return connector.Identity{}, err
	}
	p := c.provider
	id := connector.Identity{Namespace: c.namespace, Subject: claim.Subject(claims.Identifier(p.SubjectClaim))}
	if id.Subject == "" {
		return connector.Identity{}, upstream.Rejected("the answer has no usable claim provider.subjectClaim", nil)
	}
	claim.Fill(ctx, &id, claims, claim.Names{
		Email: p.EmailClaim, Name: p.NameClaim, Groups: p.GroupsClaim, GroupsFilter: p.GroupsFilter,
		Verified: func(string, claim.Set) bool {
			return p.InsecureTrustUnverifiedEmail || claims.IsTrue(p.EmailVerifiedClaim)
		},
	})
	return id, nil
}

// Recheck implements connector.Rechecker: it asks the userinfo endpoint again,
// with the same access token for as long as it lives.
func (c *Connector) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	return c.client.AskAgain(ctx, c.oauthConfig(connector.Login{}), id, s, c.identity)
}
