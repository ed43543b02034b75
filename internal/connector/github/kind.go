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

// organizationsScope is what GitHub wants to be asked for before it tells an
// OAuth app of organizations and teams.
const organizationsScope = "read:org"

var defaultScopes = []string{"read:user", "user:email"}

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                        { return "github" }
func (Kind) Settings() connector.Settings        { return new(settings) }
func (Kind) DisplayName(connector.Config) string { return "GitHub" }
func (Kind) TellsGroups(p connector.Config) bool {
	return slices.Contains(p.Scopes, organizationsScope)
}

// Namespace implements connector.Kind.
func (Kind) Namespace(p connector.Config) string {
	_, namespace := locate(strings.TrimSuffix(cmp.Or(p.BaseURL, defaultBaseURL), "/"))
	return namespace
}

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	if len(p.Organizations) > 0 {
		conditions = []string{"in " + conf.Names(p.Organizations)}
	}
	return fmt.Sprintf("github at %s, client %q", p.BaseURL, p.ClientID), conditions
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(p, client), nil, nil
}

// settings are the keys of provider.name "github".
type settings struct {
	upstream.App
	BaseURL              string   `json:"baseURL"`
	AllowedOrganizations []string `json:"allowedOrganizations"`
}

// Audience implements connector.Settings.
func (s *settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"allowedEmailDomains", "allowedOrganizations"}, Of: `"github"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	scopes := defaultScopes
	if len(s.AllowedOrganizations) > 0 {
		scopes = append(slices.Clone(scopes), organizationsScope)
		s.MustAsk(c, organizationsScope, "must include %q for %s", organizationsScope, c.Key("allowedOrganizations"))
	}
	s.ResolveApp(c, p, scopes...)
	p.BaseURL = strings.TrimSuffix(cmp.Or(s.BaseURL, defaultBaseURL), "/")
	if u := c.SecureURL(c.Key("baseURL"), p.BaseURL); u != nil && u.Path != "" {
		c.Add(c.Key("baseURL"), "%s has a path; write scheme and host alone", conf.ShowURL(p.BaseURL))
	}
	p.Organizations = c.LowerNames(c.Key("allowedOrganizations"), s.AllowedOrganizations, func(name string) string {
		if !organization.MatchString(name) {
			return `is not an organization such as "octo-org" or a team such as "octo-org/security-team"`
		}
		return ""
	})
}

// organization is a login of GitHub's, with the slug of a team behind it.
var organization = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}(/[a-z0-9][a-z0-9._-]{0,254})?$`)
