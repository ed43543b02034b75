package microsoft

import (
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

// Settings are the keys of provider.name "microsoft".
type Settings struct {
	upstream.KeyedApp
	upstream.AuthorizationParams
	// Base URL of a national cloud, "https://login.microsoftonline.us" or "https://login.partner.microsoftonline.cn".
	BaseURL string `json:"baseURL" default:"https://login.microsoftonline.com"`
	// Directories (tenants) whose accounts may sign in, by id such as "11111111-2222-3333-4444-555555555555". With exactly one, Microsoft shows only that tenant's sign-in page; with several, the groups of the identity begin with the tenant's id and a slash. Required unless allowAnyUser is set.
	Tenants []string `json:"tenants"`
	// Treat e-mail addresses as verified even if Microsoft does not say so; the optional claim xms_edov is the better way. Refused with allowAnyUser. Default false.
	InsecureTrustUnverifiedEmail bool `json:"insecureTrustUnverifiedEmail"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string        { return "microsoft" }
func (*Settings) DisplayName() string { return "Microsoft" }
func (*Settings) TellsGroups() bool   { return true }

// Namespace implements connector.Settings.
func (s *Settings) Namespace() string {
	if s.BaseURL == "" || s.BaseURL == defaultCloud {
		return Namespace
	}
	return Namespace + "@" + strings.TrimPrefix(s.BaseURL, "https://")
}

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	if len(s.Tenants) > 0 {
		conditions = []string{"of tenant " + conf.Names(s.Tenants)}
	}
	return fmt.Sprintf("microsoft at %s, client %q", s.BaseURL, s.ClientID), conditions
}

// New implements connector.Settings.
func (s *Settings) New(_ connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return New(s, client), nil, nil
}

// Audience implements connector.Settings. An address alone proves little there, however
// it was verified.
func (s *Settings) Audience() connector.Audience {
	return connector.Audience{Keys: []string{"tenants"}, Of: `"microsoft"`, Where: connector.OpenToAll}
}

// Resolve implements connector.Settings.
func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveKeyedApp(c, p.Name, false, defaultScopes...)
	if s.MustAskOpenID(c, p.Name) {
		s.MustAsk(c, "profile", `must include "profile" for "microsoft", which names the account (oid) only then`)
	}
	s.ResolveParams(c, map[string]string{"resource": "is refused by version 2.0 of Microsoft's endpoints; name scopes instead"})
	s.BaseURL = strings.TrimSuffix(s.BaseURL, "/")
	if _, known := clouds[s.BaseURL]; !known {
		c.Add(c.Key("baseURL"), "%s is not one of %s", conf.ShowURL(s.BaseURL), strings.Join(slices.Sorted(maps.Keys(clouds)), ", "))
	}
	s.Tenants = c.LowerNames(c.Key("tenants"), s.Tenants, func(id string) string {
		if !guid.MatchString(id) {
			return `is not a directory id such as "11111111-2222-3333-4444-555555555555"`
		}
		return ""
	})
	// The administrator of a directory can write any address into it. So if every
	// directory is admitted, an address proves nothing.
	if s.InsecureTrustUnverifiedEmail && p.AllowAnyUser {
		c.Add(c.Key("insecureTrustUnverifiedEmail"), "is refused with %s: people could enter any address there; name %s", c.Key("allowAnyUser"), c.Key("tenants"))
	}
	p.TrustUnverifiedEmail = s.InsecureTrustUnverifiedEmail
}
