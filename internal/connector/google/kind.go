package google

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

var defaultScopes = []string{"openid", "email", "profile"}

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                        { return "google" }
func (Kind) Settings() connector.Settings        { return new(settings) }
func (Kind) DisplayName(connector.Config) string { return "Google" }
func (Kind) Namespace(connector.Config) string   { return Namespace }
func (Kind) TellsGroups(p connector.Config) bool { return p.Workspace.Groups }

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	if len(p.HostedDomains) > 0 {
		conditions = append(conditions, "of Google Workspace "+conf.Names(p.HostedDomains))
	}
	if !p.Workspace.IsZero() {
		conditions = append(conditions, "active in the directory of the Google Workspace of "+p.Workspace.Admin)
	}
	return fmt.Sprintf("google, client %q", p.ClientID), conditions
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(p, client), nil, nil
}

// settings are the keys of provider.name "google".
type settings struct {
	upstream.App
	HostedDomains []string      `json:"hostedDomains"`
	Workspace     WorkspaceFile `json:"workspace"`
}

// Audience implements connector.Settings.
func (s *settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains", "hostedDomains"}, Of: `"google"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p, defaultScopes...)
	s.MustAskOpenID(c, p)
	p.HostedDomains = c.LowerNames(c.Key("hostedDomains"), s.HostedDomains, func(domain string) string {
		if conf.DNSNameProblem(domain) != "" || !strings.Contains(domain, ".") {
			return `is not a domain such as "example.com"`
		}
		return ""
	})
	p.Workspace = s.Workspace.resolve(c.Sub("workspace"))
}
