package oidc

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// exchange redeems the code of a visit.
func (c *Connector) exchange(ctx context.Context, p *provider, login connector.Login, code string) (*oauth2.Token, error) {
	if c.options.ClientKey.IsZero() {
		return c.oauthConfig(p, login).Exchange(ctx, code, oauth2.VerifierOption(login.Verifier))
	}
	return c.asserted(ctx, p, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {login.RedirectURI}, "code_verifier": {login.Verifier},
	})
}

// refresh uses a refresh token. Where the provider gives no new one, the old one stays good.
func (c *Connector) refresh(ctx context.Context, p *provider, refreshToken string) (*oauth2.Token, error) {
	if c.options.ClientKey.IsZero() {
		return c.oauthConfig(p, connector.Login{}).TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	}
	token, err := c.asserted(ctx, p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
	if err == nil && token.RefreshToken == "" {
		token.RefreshToken = refreshToken
	}
	return token, err
}

// asserted makes a token request with private_key_jwt (OpenID Connect Core, section 9).
func (c *Connector) asserted(ctx context.Context, p *provider, form url.Values) (*oauth2.Token, error) {
	audience := p.TokenEndpoint
	if c.options.AssertionForIssuer {
		audience = p.Issuer
	}
	if err := clientauth.Assert(form, c.options.ClientKey, c.options.ClientID, audience, c.options.Now()); err != nil {
		return nil, err
	}
	return c.client.Token(ctx, p.TokenEndpoint, form)
}

// authStyle decides once how the secret is sent. Trying both, as x/oauth2 does
// by default, spends the single-use code on the first try.
func (c *Connector) authStyle(p *provider) oauth2.AuthStyle {
	switch c.options.ClientAuthMethod {
	case "client_secret_basic":
		return oauth2.AuthStyleInHeader
	case "client_secret_post":
		return oauth2.AuthStyleInParams
	}
	return p.authStyle(c.options.ClientSecret)
}
