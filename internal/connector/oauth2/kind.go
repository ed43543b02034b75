package oauth2

import (
	"fmt"
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Settings are the keys of provider.name "oauth2".
type Settings struct {
	upstream.App
	upstream.ClaimNames
	upstream.AuthorizationParams
	// How this service proves itself at the token endpoint: "client_secret_basic" or "client_secret_post". Default: "client_secret_basic".
	ClientAuthMethod string `json:"clientAuthMethod"`
	// Issuer that a provider which sends iss with its answers must send. Default: none, and an answer with iss is refused.
	IssuerURL string `json:"issuerURL"`
	// Authorization endpoint; https, or http on a loopback host. Required.
	AuthorizeURL string `json:"authorizeURL" check:"https"`
	// Token endpoint. Required.
	TokenURL string `json:"tokenURL" check:"https"`
	// Endpoint that answers a GET with the access token with a JSON object about the person. Its host is part of every subject; changing it gives every user a new subject. Required.
	UserinfoURL string `json:"userinfoURL" check:"https"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string          { return "oauth2" }
func (s *Settings) DisplayName() string { return upstream.HostOf(s.AuthorizeURL) }
func (s *Settings) Namespace() string   { return namespace(s.UserinfoURL) }
func (*Settings) TellsGroups() bool     { return true }

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	return fmt.Sprintf("oauth2 at %s, client %q", s.AuthorizeURL, s.ClientID), nil
}

// New implements connector.Settings.
func (s *Settings) New(_ connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(s, client), nil, nil
}

// Audience implements connector.Settings. The provider may be one company's or
// open to everyone.
func (s *Settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains"}, Of: `"oauth2"`}
}

// Resolve implements connector.Settings.
func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p.Name)
	s.ResolveClaims(c, p)
	s.ResolveParams(c, nil)
	s.ClientAuthMethod = clientauth.Method(c, s.ClientAuthMethod, clientauth.Basic, false, clientauth.Basic, clientauth.Post)
	if s.IssuerURL != "" {
		c.SecureURL(c.Key("issuerURL"), s.IssuerURL)
	}
	for _, endpoint := range []struct{ key, value string }{{"authorizeURL", s.AuthorizeURL}, {"tokenURL", s.TokenURL}, {"userinfoURL", s.UserinfoURL}} {
		if endpoint.value == "" {
			c.Add(c.Key(endpoint.key), "is required for %q", p.Name)
		}
	}
}
