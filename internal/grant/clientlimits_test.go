package grant

import (
	"net/url"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// The operator may limit a client after it got a refresh token.
func TestClientLimits(t *testing.T) {
	token := refreshToken{Resource: "https://mcp.example.com/mcp"}
	token.Scopes = oauth.Scopes{"read", "write"}
	table, err := resource.NewTable([]resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "mcp"}}})
	if err != nil {
		t.Fatal(err)
	}
	host := table.Host("mcp.example.com")
	e := &Endpoint{Refresh: &Refresh{Exists: func(string, string) bool { return true }}}
	for name, tt := range map[string]struct {
		client registration.Client
		want   string // "" is refused
	}{
		"a stranger's grant types are a wish": {registration.Client{}, "read write"},
		"no limits":                           {registration.Client{PreRegistered: true, GrantTypes: []string{"refresh_token"}}, "read write"},
		"grant type withdrawn":                {registration.Client{PreRegistered: true, GrantTypes: []string{"authorization_code"}}, ""},
		"scope withdrawn":                     {registration.Client{Scopes: oauth.Scopes{"read"}}, "read"},
		"all scopes withdrawn":                {registration.Client{Scopes: oauth.Scopes{"other"}}, ""},
		"resource withdrawn":                  {registration.Client{Resources: []string{"https://other.example.com/mcp"}}, ""},
		"resource listed":                     {registration.Client{Resources: []string{token.Resource}}, "read write"},
	} {
		t.Run("AS-PRE-01 "+name, func(t *testing.T) {
			r := &refreshing{call: &call{host: host, client: &tt.client}, token: token}
			err := r.pass([]refreshCheck{mayRefresh, findResource, e.selectScopes})
			if r.scopes.String() != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%q %v", r.scopes, err)
			}
		})
	}
}
