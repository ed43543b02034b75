package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// provider is what one discovery document says, checked.
type provider struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	Prompts               []string `json:"prompt_values_supported"`
	ResponseIssuer        bool     `json:"authorization_response_iss_parameter_supported"`

	keys *keySet
}

// discover fetches the document.
func (c *Connector) discover(ctx context.Context) (*provider, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	address := c.options.Issuer
	if c.options.Discovery != "" {
		// Then go-oidc does not compare the issuer; check does.
		address, ctx = c.options.Discovery, gooidc.InsecureIssuerURLContext(ctx, c.options.Issuer)
	}
	document, err := gooidc.NewProvider(ctx, address)
	if err != nil {
		return nil, upstream.Failed("discovery", err)
	}
	var p provider
	if err := document.Claims(&p); err != nil {
		return nil, upstream.Rejected("discovery", err)
	}
	if err := p.check(c.options.Issuer); err != nil {
		return nil, upstream.Rejected("discovery", err)
	}
	if c.options.Subject != nil {
		p.UserInfoEndpoint = ""
	}
	p.keys = newKeySet(c.client, p.JWKSURI, c.options.Now)
	return &p, nil
}

func (p *provider) check(issuer string) error {
	if p.Issuer != issuer { // OpenID Connect Discovery, section 4.3
		return errors.New("the document is of another issuer")
	}
	for name, address := range map[string]string{
		"authorization_endpoint": p.AuthorizationEndpoint,
		"token_endpoint":         p.TokenEndpoint,
		"jwks_uri":               p.JWKSURI,
		"userinfo_endpoint":      p.UserInfoEndpoint,
	} {
		if address == "" && name == "userinfo_endpoint" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil {
			return fmt.Errorf("%s is not a URL", name)
		}
		// A document that came over TLS must not lead away from it.
		if u.Scheme != "https" && !(u.Scheme == "http" && strings.HasPrefix(issuer, "http://")) {
			return fmt.Errorf("%s is not https", name)
		}
	}
	if p.Algorithms = p.allowedAlgorithms(); len(p.Algorithms) == 0 {
		return errors.New("no signing algorithm in common")
	}
	return nil
}

// algorithms are the ones we accept at all: asymmetric, and not "none".
var algorithms = []string{
	gooidc.RS256, gooidc.RS384, gooidc.RS512,
	gooidc.PS256, gooidc.PS384, gooidc.PS512,
	gooidc.ES256, gooidc.ES384, gooidc.ES512,
	gooidc.EdDSA,
}

func (p *provider) allowedAlgorithms() []string {
	if len(p.Algorithms) == 0 {
		return []string{gooidc.RS256} // the default of OpenID Connect Registration, section 2
	}
	var both []string
	for _, alg := range algorithms {
		if slices.Contains(p.Algorithms, alg) {
			both = append(both, alg)
		}
	}
	return both
}

// authStyle is how the provider wants the secret. The body comes first because
// providers disagree on the encoding inside the Basic header.
func (p *provider) authStyle(secret config.Secret) oauth2.AuthStyle {
	if secret.IsZero() || slices.Contains(p.TokenAuthMethods, "client_secret_post") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func (p *provider) knowsPrompt(value string) bool {
	return len(p.Prompts) == 0 || slices.Contains(p.Prompts, value)
}
