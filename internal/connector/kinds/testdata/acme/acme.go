// Package acme is a kind of provider that exists in a test alone.
package acme

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

type Settings struct {
	upstream.App
	BaseURL string   `json:"baseURL"`
	Orbits  []string `json:"orbits"`
}

func (*Settings) Kind() string        { return "acme" }
func (*Settings) DisplayName() string { return "Acme" }
func (*Settings) Namespace() string   { return "acme" }
func (*Settings) TellsGroups() bool   { return true }

func (s *Settings) Summary() (provider string, conditions []string) {
	return "acme at " + s.BaseURL, []string{"of orbit " + conf.Names(s.Orbits)}
}

func (s *Settings) New(_ connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	o := oidc.OptionsOf(upstream.KeyedApp{App: s.App}, client)
	o.Issuer, o.Namespace = s.BaseURL, "acme"
	return oidc.New(o), nil, nil
}

func (s *Settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"orbits"}, Of: "Acme", Where: connector.OpenToAll}
}

func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p.Name, "openid")
	c.SecureURL(c.Key("baseURL"), s.BaseURL)
}
