package oauth2

import (
	"fmt"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                          { return "oauth2" }
func (Kind) Settings() connector.Settings          { return new(settings) }
func (Kind) DisplayName(p connector.Config) string { return upstream.HostOf(p.AuthorizeURL) }
func (Kind) Namespace(p connector.Config) string   { return namespace(p.UserinfoURL) }
func (Kind) TellsGroups(connector.Config) bool     { return true }

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	return fmt.Sprintf("oauth2 at %s, client %q", p.AuthorizeURL, p.ClientID), nil
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(p, client), nil, nil
}

// settings are the keys of provider.name "oauth2".
type settings struct {
	upstream.App
	upstream.ClaimNames
	upstream.AuthorizationParams
	ClientAuthMethod string `json:"clientAuthMethod"`
	IssuerURL        string `json:"issuerURL"`
	AuthorizeURL     string `json:"authorizeURL"`
	TokenURL         string `json:"tokenURL"`
	UserinfoURL      string `json:"userinfoURL"`
}

// Audience implements connector.Settings. The provider may be one company's or
// open to everyone.
func (s *settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains"}, Of: `"oauth2"`}
}

// Resolve implements connector.Settings.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p)
	s.ResolveClaims(c, p)
	s.ResolveParams(c, p, nil)
	p.ClientAuthMethod = clientauth.Method(c, s.ClientAuthMethod, clientauth.Basic, false, clientauth.Basic, clientauth.Post)
	if s.IssuerURL != "" {
		c.SecureURL(c.Key("issuerURL"), s.IssuerURL)
	}
	for _, endpoint := range []struct{ key, value string }{{"authorizeURL", s.AuthorizeURL}, {"tokenURL", s.TokenURL}, {"userinfoURL", s.UserinfoURL}} {
		if endpoint.value == "" {
			c.Add(c.Key(endpoint.key), "is required for %q", p.Name)
			continue
		}
		c.SecureURL(c.Key(endpoint.key), endpoint.value)
	}
	p.IssuerURL, p.AuthorizeURL, p.TokenURL, p.UserinfoURL = s.IssuerURL, s.AuthorizeURL, s.TokenURL, s.UserinfoURL
}
