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

// Settings are the keys of provider.name "google".
type Settings struct {
	upstream.App
	// Google Workspace organizations whose accounts may sign in, by primary domain such as "example.com" (claim hd). Default: no such restriction.
	HostedDomains []string `json:"hostedDomains"`
	// Ask the directory of Google Workspace about each account. Default: it is not asked.
	Workspace Workspace `json:"workspace"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string        { return "google" }
func (*Settings) DisplayName() string { return "Google" }
func (*Settings) Namespace() string   { return Namespace }
func (*Settings) Tokens() []string    { return []string{"access", "id"} }
func (s *Settings) TellsGroups() bool { return s.Workspace.Groups }

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	if len(s.HostedDomains) > 0 {
		conditions = append(conditions, "of Google Workspace "+conf.Names(s.HostedDomains))
	}
	if s.Workspace.Credentials != "" {
		conditions = append(conditions, "active in the directory of the Google Workspace of "+s.Workspace.Admin)
	}
	return fmt.Sprintf("google, client %q", s.ClientID), conditions
}

// New implements connector.Settings.
func (s *Settings) New(unused connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(s, unused, client), nil, nil
}

// Audience implements connector.Settings.
func (*Settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains", "hostedDomains"}, Of: `"google"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveApp(c, p.Name, defaultScopes...)
	s.MustAskOpenID(c, p.Name)
	s.HostedDomains = c.LowerNames(c.Key("hostedDomains"), s.HostedDomains, func(domain string) string {
		if conf.DNSNameProblem(domain) != "" || !strings.Contains(domain, ".") {
			return `is not a domain such as "example.com"`
		}
		return ""
	})
	s.Workspace.resolve(c.Sub("workspace"))
}
