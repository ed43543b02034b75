// Package oidc signs people in with any OpenID provider that publishes a
// discovery document. Its invariant: an Identity comes only from an ID token
// that passed every check of OpenID Connect Core, section 3.1.3.7, for this one
// visit; the userinfo endpoint may complete it but never changes whose it is.
package oidc

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Options describe one OpenID provider. Issuer and ClientID are required.
type Options struct {
	// Issuer must equal the discovery document's issuer, to the last slash. It
	// may hold "{tenantid}" once, which stands for the claim tid of each ID token
	// (Microsoft's way of naming all its tenants at once).
	Issuer string
	// KeyIssuer holds a key of the provider to the member issuer that Microsoft
	// adds to each (it may hold "{tenantid}" too).
	KeyIssuer bool
	// Discovery is what stands before /.well-known/openid-configuration, where
	// that is not Issuer.
	Discovery string
	// BackChannel stands in place of Issuer in what this service asks itself:
	// discovery, key set, token and userinfo endpoint. See Settings.
	BackChannel  string
	ClientID     string
	ClientSecret conf.Secret // empty: a public client, unless there is a ClientKey
	// ClientAuthMethod, ClientKey and AssertionForIssuer: see upstream.KeyedApp.
	ClientAuthMethod   string
	ClientKey          clientauth.Key
	AssertionForIssuer bool
	// Scopes default to openid, profile and email; openid is added if missing.
	Scopes []string
	// EmailClaim, EmailVerifiedClaim and NameClaim default to email,
	// email_verified (beside email only) and name.
	EmailClaim, EmailVerifiedClaim, NameClaim string
	// ACRValues are asked for, and one of them must be in the ID token of a
	// sign-in; empty: none.
	ACRValues []string
	// GroupsClaim names the claim with the groups; empty: none.
	GroupsClaim string
	// GroupsFilter: see upstream.App.
	GroupsFilter []string
	// Unused are the properties that the configuration makes no use of. The
	// zero value uses all.
	Unused connector.Properties
	// Groups, if set, replaces GroupsClaim. What it returns need not be bounded; the
	// problem says that there are others, which cannot be read. accessToken is the
	// person's own. It may refuse, as Admit may.
	Groups func(ctx context.Context, client *upstream.Client, about Person, accessToken string) (groups []string, problem string, err error)
	// Subject, if set, reads the stable identifier from the ID token in the place
	// of sub. Then the userinfo endpoint is not used: it knows sub only.
	Subject func(Claims) (string, error)
	// SubjectClaim names the claim of the ID token, text or a whole number, that
	// is the stable identifier in place of sub.
	SubjectClaim string
	// Admit may refuse an account that the configuration does not admit, with an
	// error that wraps connector.ErrNotAllowed. It gets the ID token's claims, and
	// where there was no ID token those of userinfo. Nil admits.
	Admit func(Claims) error
	// Namespace defaults to the issuer without its scheme.
	Namespace string
	// ExtraAuthParams go into the authorization request; they cannot replace
	// parameters of the protocol.
	ExtraAuthParams map[string]string
	// OfflineScope adds offline_access to Scopes where the provider knows it
	// (OpenID Connect Core, section 11), so that it gives a refresh token.
	OfflineScope bool
	// TrustEmail says whether an address is verified; claims are those of the
	// source of the address. Nil trusts EmailVerifiedClaim.
	TrustEmail func(email string, claims Claims) bool
	// HTTPClient may be nil; see upstream.NewClient.
	HTTPClient *http.Client
	// Now defaults to time.Now.
	Now func() time.Time
}

// Person is whom Options.Groups is asked about. After a refresh without an ID
// token there are no Claims.
type Person struct {
	Subject string
	Claims  Claims
}

// Claims are those of an ID token or a userinfo response.
type Claims = claim.Set

// Connector implements connector.Connector.
type Connector struct {
	options   Options
	client    *upstream.Client
	discovery *upstream.Refetched[*provider]
}

// New returns a connector that has not yet spoken to the provider, so one that
// is down when the service starts does not stop it.
func New(o Options) *Connector {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Scopes) == 0 {
		o.Scopes = defaultScopes
	} else if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	if o.Namespace == "" {
		o.Namespace = namespace(o.Issuer)
	}
	if o.EmailClaim == "" {
		o.EmailClaim = "email"
	}
	if o.EmailVerifiedClaim == "" && o.EmailClaim == "email" {
		o.EmailVerifiedClaim = "email_verified"
	}
	if o.SubjectClaim == "" {
		o.SubjectClaim = "sub"
	}
	if o.NameClaim == "" {
		o.NameClaim = "name"
	}
	if o.TrustEmail == nil {
		// Without a name for it no claim is true.
		o.TrustEmail = func(_ string, claims Claims) bool { return claims.IsTrue(o.EmailVerifiedClaim) }
	}
	c := &Connector{options: o, client: upstream.NewClient(o.HTTPClient)}
	c.discovery = &upstream.Refetched[*provider]{
		Fetch:      c.discover,
		Now:        o.Now,
		MaxAge:     time.Hour,
		AfterError: 2 * time.Second,
	}
	return c
}

// learnt is what c knows of the provider: its discovery document with the key set.
func (c *Connector) learnt() *upstream.Refetched[*provider] { return c.discovery }

// Adopt implements connector.Adopter.
func (c *Connector) Adopt(from connector.Connector) {
	if other, ok := from.(interface {
		learnt() *upstream.Refetched[*provider]
	}); ok {
		c.discovery.Adopt(other.learnt())
	}
}

// OptionsOf returns what follows from the keys of an application.
func OptionsOf(a upstream.KeyedApp, client *http.Client) Options {
	return Options{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret, ClientAuthMethod: a.ClientAuthMethod, ClientKey: a.ClientKey,
		AssertionForIssuer: a.AssertionForIssuer(), Scopes: a.Scopes, GroupsFilter: a.GroupsFilter, HTTPClient: client,
	}
}

// AuthorizationURL implements connector.Connector.
func (c *Connector) AuthorizationURL(ctx context.Context, login connector.Login) (string, error) {
	if err := upstream.CheckLogin(login); err != nil {
		return "", err
	}
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	p, err := c.provider(ctx)
	if err != nil {
		return "", upstream.Failed("discovery", err)
	}
	options := append(upstream.Params(c.options.ExtraAuthParams, login),
		oauth2.SetAuthURLParam("nonce", login.Nonce),
		oauth2.S256ChallengeOption(login.Verifier))
	if len(c.options.ACRValues) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(c.options.ACRValues, " ")))
	}
	if prompt := p.prompt(login.Prompt); prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	return c.oauthConfig(p, login).AuthCodeURL(login.State, options...), nil
}

// Identify implements connector.Connector.
func (c *Connector) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	if err := upstream.CheckLogin(login); err != nil {
		return connector.Identity{}, connector.Session{}, err
	}
	id, claims, token, err := c.identify(ctx, login, query)
	if err != nil {
		return connector.Identity{}, connector.Session{}, err
	}
	s := session(token, login.Want, connector.Session{})
	s.ID = sessionID(claims)
	return id, s, nil
}

// identify also returns the claims of the ID token, and the token response that had it.
func (c *Connector) identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, Claims, *oauth2.Token, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	p, err := c.provider(ctx)
	if err != nil {
		return connector.Identity{}, nil, nil, upstream.Failed("discovery", err)
	}
	// Before anything else of the response is believed, its error included (RFC 9207, section 2.4).
	if err := c.checkResponseIssuer(p, query); err != nil {
		return connector.Identity{}, nil, nil, err
	}
	code, err := upstream.AuthorizationCode(query)
	if err != nil {
		return connector.Identity{}, nil, nil, err
	}
	token, err := c.exchange(ctx, p, login, code)
	if err != nil {
		return connector.Identity{}, nil, nil, upstream.Failed("token request", err)
	}
	subject, claims, err := c.verify(ctx, p, login, token)
	if err != nil {
		return connector.Identity{}, nil, nil, upstream.Failed("ID token", err)
	}
	// The issuer of the response, where it has one, is that of the token.
	if query.Has("iss") && query.Get("iss") != claims.String("iss") {
		return connector.Identity{}, nil, nil, upstream.Rejected("ID token is of another issuer than the authorization response", nil)
	}
	id, err := c.identity(ctx, p, token, subject, answers{idToken: claims})
	if err != nil {
		return connector.Identity{}, nil, nil, upstream.Failed("identity", err)
	}
	return id, claims, token, nil
}

func (c *Connector) provider(ctx context.Context) (*provider, error) {
	s, err := c.discovery.Get(ctx, 0)
	return s.Value, err
}

// ReadKeys implements connector.KeyReader.
func (c *Connector) ReadKeys(ctx context.Context) (int, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	p, err := c.provider(ctx)
	if err != nil {
		return 0, upstream.Failed("discovery", err)
	}
	set, err := p.keys.keys.Get(ctx, 0)
	if err != nil {
		return 0, upstream.Failed("key set", err)
	}
	return len(set.Value), nil
}

func (c *Connector) checkResponseIssuer(p *provider, query url.Values) error {
	if !query.Has("iss") && !p.ResponseIssuer {
		return nil
	}
	if len(query["iss"]) != 1 || !c.issuerFits(query.Get("iss")) {
		return upstream.Rejected("authorization response does not name the issuer", nil)
	}
	return nil
}

func (c *Connector) oauthConfig(p *provider, login connector.Login) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     c.options.ClientID,
		ClientSecret: c.options.ClientSecret.Reveal(),
		RedirectURL:  login.RedirectURI,
		Scopes:       upstream.Scopes(c.scopes(p), login),
		Endpoint: oauth2.Endpoint{
			AuthURL:   p.AuthorizationEndpoint,
			TokenURL:  p.TokenEndpoint,
			AuthStyle: c.authStyle(p),
		},
	}
}

func (c *Connector) scopes(p *provider) []string {
	const offline = "offline_access"
	if !c.options.OfflineScope || !slices.Contains(p.Scopes, offline) || slices.Contains(c.options.Scopes, offline) {
		return c.options.Scopes
	}
	return append(slices.Clone(c.options.Scopes), offline)
}
