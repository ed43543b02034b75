// Package acme is a kind of provider that exists in a test alone.
package acme

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

type Kind struct{}

func (Kind) Name() string                        { return "acme" }
func (Kind) Settings() connector.Settings        { return new(settings) }
func (Kind) DisplayName(connector.Config) string { return "Acme" }
func (Kind) Namespace(connector.Config) string   { return "acme" }
func (Kind) TellsGroups(connector.Config) bool   { return true }

func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	return "acme at " + p.BaseURL, []string{"of tenant " + conf.Names(p.Tenants)}
}

func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return oidc.New(oidc.Options{Issuer: p.BaseURL, ClientID: p.ClientID, ClientSecret: p.ClientSecret, Namespace: "acme", HTTPClient: client}), nil, nil
}

type settings struct {
	upstream.App
	BaseURL string   `json:"baseURL"`
	Tenants []string `json:"tenants"`
}

func (s *settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"tenants"}, Of: "Acme", Where: connector.OpenToAll}
}

func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p, "openid")
	c.SecureURL(c.Key("baseURL"), s.BaseURL)
	p.BaseURL, p.Tenants = s.BaseURL, s.Tenants
}
