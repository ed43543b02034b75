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

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
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
	Claims                []string `json:"claims_supported"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	ResponseIssuer        bool     `json:"authorization_response_iss_parameter_supported"`

	keys *keySet
}

// discover fetches the document.
func (c *Connector) discover(ctx context.Context) (*provider, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	address := c.options.Issuer
	for _, other := range []string{c.options.Discovery, c.options.BackChannel} {
		if other != "" {
			address = other
		}
	}
	address = strings.TrimSuffix(address, "/") + "/.well-known/openid-configuration"
	var p provider
	if _, err := c.client.Get(ctx, address, nil, &p); err != nil {
		return nil, discoveryFailed(address, err)
	}
	if err := p.check(c.options.Issuer, c.options.BackChannel); err != nil {
		return nil, upstream.Misconfigured("discovery: the document at "+address+" does not fit provider.issuerURL", err)
	}
	if c.options.Subject != nil {
		p.UserInfoEndpoint = ""
	}
	p.keys = newKeySet(c.client, p.JWKSURI, c.options.Now)
	return &p, nil
}

// discoveryFailed: an answer that is no document means that the address is wrong.
func discoveryFailed(address string, err error) error {
	err = upstream.Failed("discovery", err)
	if errors.Is(err, connector.ErrRejected) && !errors.Is(err, connector.ErrMisconfigured) {
		return upstream.Misconfigured("discovery: there is no discovery document at "+address+"; check provider.issuerURL", err)
	}
	return err
}

// check holds the document to the issuer, and moves what this service asks itself
// to backChannel, if there is one.
func (p *provider) check(issuer, backChannel string) error {
	if p.Issuer != issuer { // OpenID Connect Discovery, section 4.3
		return fmt.Errorf("it is of the issuer %q, which must be the same as %q to the last slash", upstream.Clip(p.Issuer), issuer)
	}
	for _, endpoint := range []struct {
		name    string
		address *string
		browser bool // and not this service goes there
	}{
		{"authorization_endpoint", &p.AuthorizationEndpoint, true},
		{"token_endpoint", &p.TokenEndpoint, false},
		{"jwks_uri", &p.JWKSURI, false},
		{"userinfo_endpoint", &p.UserInfoEndpoint, false},
	} {
		if *endpoint.address == "" && endpoint.name == "userinfo_endpoint" {
			continue
		}
		if backChannel != "" && !endpoint.browser {
			*endpoint.address = moved(*endpoint.address, issuer, backChannel)
		}
		u, err := url.Parse(*endpoint.address)
		if err != nil || u.Host == "" || u.User != nil {
			return fmt.Errorf("%s is not a URL", endpoint.name)
		}
		named := !endpoint.browser && backChannel != "" && sameOrigin(u, backChannel)
		// A document that came over TLS must not lead away from it.
		if u.Scheme != "https" && !(u.Scheme == "http" && (named || strings.HasPrefix(issuer, "http://"))) {
			return fmt.Errorf("%s is not https", endpoint.name)
		}
	}
	if u, err := url.Parse(p.EndSessionEndpoint); err != nil || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && strings.HasPrefix(issuer, "http://")) {
		p.EndSessionEndpoint = "" // sign-ins do without
	}
	if p.Algorithms = p.allowedAlgorithms(); len(p.Algorithms) == 0 {
		return errors.New("no signing algorithm in common")
	}
	return nil
}

// moved returns an endpoint of the issuer at the back channel: below the issuer
// itself below the back channel, and elsewhere on the issuer's host with another
// scheme and host. Other hosts are left alone.
func moved(endpoint, issuer, backChannel string) string {
	base := strings.TrimSuffix(backChannel, "/")
	if rest, below := strings.CutPrefix(endpoint, strings.TrimSuffix(issuer, "/")+"/"); below {
		return base + "/" + rest
	}
	u, err := url.Parse(endpoint)
	to, problem := url.Parse(base)
	if err != nil || problem != nil || !sameOrigin(u, issuer) {
		return endpoint
	}
	u.Scheme, u.Host = to.Scheme, to.Host
	return u.String()
}

func sameOrigin(u *url.URL, other string) bool {
	o, err := url.Parse(other)
	return err == nil && u.Scheme == o.Scheme && strings.EqualFold(u.Host, o.Host)
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
func (p *provider) authStyle(secret conf.Secret) oauth2.AuthStyle {
	if secret.IsZero() || slices.Contains(p.TokenAuthMethods, "client_secret_post") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// prompt is what the provider is asked for: value, if it knows that. One that cannot
// let the person choose an account can let them sign in again, which comes to the same.
func (p *provider) prompt(value string) string {
	switch {
	case value == "" || p.knowsPrompt(value):
		return value
	case value == "select_account" && p.knowsPrompt("login"):
		return "login"
	}
	return ""
}

func (p *provider) knowsPrompt(value string) bool {
	return len(p.Prompts) == 0 || slices.Contains(p.Prompts, value)
}
