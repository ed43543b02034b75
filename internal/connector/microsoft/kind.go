package microsoft

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// clouds are the base URLs of Microsoft's sign-in, each with that of the Graph
// API beside it.
// https://learn.microsoft.com/en-us/graph/deployments
var clouds = map[string]string{
	"https://login.microsoftonline.com":        "https://graph.microsoft.com",
	"https://login.microsoftonline.us":         "https://graph.microsoft.us",
	"https://login.partner.microsoftonline.cn": "https://microsoftgraph.chinacloudapi.cn",
}

var defaultScopes = []string{"openid", "email", "profile", "User.Read"}

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                        { return "microsoft" }
func (Kind) Settings() connector.Settings        { return new(settings) }
func (Kind) DisplayName(connector.Config) string { return "Microsoft" }
func (Kind) TellsGroups(connector.Config) bool   { return true }

// Namespace implements connector.Kind.
func (Kind) Namespace(p connector.Config) string {
	if p.BaseURL == "" || p.BaseURL == defaultCloud {
		return Namespace
	}
	return Namespace + "@" + strings.TrimPrefix(p.BaseURL, "https://")
}

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	if len(p.Tenants) > 0 {
		conditions = []string{"of tenant " + conf.Names(p.Tenants)}
	}
	return fmt.Sprintf("microsoft at %s, client %q", p.BaseURL, p.ClientID), conditions
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(p, client), nil, nil
}

// settings are the keys of provider.name "microsoft".
type settings struct {
	upstream.KeyedApp
	upstream.AuthorizationParams
	BaseURL                      string   `json:"baseURL"`
	Tenants                      []string `json:"tenants"`
	InsecureTrustUnverifiedEmail bool     `json:"insecureTrustUnverifiedEmail"`
}

// Audience implements connector.Settings. An address alone says little there,
// whatever it is verified by.
func (s *settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"tenants"}, Of: `"microsoft"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveKeyedApp(c, p, false, defaultScopes...)
	if s.MustAskOpenID(c, p) {
		s.MustAsk(c, "profile", `must include "profile" for "microsoft", which names the account (oid) only then`)
	}
	s.ResolveParams(c, p, map[string]string{"resource": "is refused by version 2.0 of Microsoft's endpoints; name scopes instead"})
	p.BaseURL = strings.TrimSuffix(cmp.Or(s.BaseURL, defaultCloud), "/")
	if _, known := clouds[p.BaseURL]; !known {
		c.Add(c.Key("baseURL"), "%s is not one of %s", conf.ShowURL(p.BaseURL), strings.Join(slices.Sorted(maps.Keys(clouds)), ", "))
	}
	p.Tenants = c.LowerNames(c.Key("tenants"), s.Tenants, func(id string) string {
		if !guid.MatchString(id) {
			return `is not a directory id such as "11111111-2222-3333-4444-555555555555"`
		}
		return ""
	})
	// Who makes a directory writes any address into it. So where any directory is
	// admitted, an address says nothing.
	if s.InsecureTrustUnverifiedEmail && p.AllowAnyUser {
		c.Add(c.Key("insecureTrustUnverifiedEmail"), "is refused with %s: anybody could come with any address; name %s", c.Key("allowAnyUser"), c.Key("tenants"))
	}
	p.TrustUnverifiedEmail = s.InsecureTrustUnverifiedEmail
}
