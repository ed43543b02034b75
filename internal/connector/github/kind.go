package github

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// organizationsScope is the scope that GitHub requires before it tells an OAuth app
// about organizations and teams.
const organizationsScope = "read:org"

var defaultScopes = []string{"read:user", "user:email"}

// Settings are the keys of provider.name "github".
type Settings struct {
	upstream.App
	// Base URL of a GitHub Enterprise Server.
	BaseURL string `json:"baseURL" default:"https://github.com"`
	// Organizations and teams, such as "octo-org" or "octo-org/security-team" (the team's slug): members of any of them may sign in. Default: no such restriction.
	AllowedOrganizations []string `json:"allowedOrganizations"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string        { return "github" }
func (*Settings) DisplayName() string { return "GitHub" }
func (s *Settings) TellsGroups() bool { return slices.Contains(s.Scopes, organizationsScope) }

// Namespace implements connector.Settings.
func (s *Settings) Namespace() string {
	_, namespace := locate(s.base())
	return namespace
}

func (s *Settings) base() string { return strings.TrimSuffix(cmp.Or(s.BaseURL, defaultBaseURL), "/") }

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	if len(s.AllowedOrganizations) > 0 {
		conditions = []string{"in " + conf.Names(s.AllowedOrganizations)}
	}
	return fmt.Sprintf("github at %s, client %q", s.BaseURL, s.ClientID), conditions
}

// New implements connector.Settings.
func (s *Settings) New(_ connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(s, client), nil, nil
}

// Audience implements connector.Settings.
func (s *Settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains", "allowedOrganizations"}, Of: `"github"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	scopes := defaultScopes
	if len(s.AllowedOrganizations) > 0 {
		scopes = append(slices.Clone(scopes), organizationsScope)
		s.MustAsk(c, organizationsScope, "must include %q for %s", organizationsScope, c.Key("allowedOrganizations"))
	}
	s.ResolveApp(c, p.Name, scopes...)
	s.BaseURL = s.base()
	if u := c.SecureURL(c.Key("baseURL"), s.BaseURL); u != nil && u.Path != "" {
		c.Add(c.Key("baseURL"), "%s has a path; write scheme and host alone", conf.ShowURL(s.BaseURL))
	}
	s.AllowedOrganizations = c.LowerNames(c.Key("allowedOrganizations"), s.AllowedOrganizations, func(name string) string {
		if !organization.MatchString(name) {
			return `is not an organization such as "octo-org" or a team such as "octo-org/security-team"`
		}
		return ""
	})
}

// organization is a GitHub login, optionally with the slug of a team after it.
var organization = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}(/[a-z0-9][a-z0-9._-]{0,254})?$`)
