package grant

import (
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

// The operator may limit a client after it got a refresh token.
func TestCheckClientLimits(t *testing.T) {
	token := refreshToken{Resource: "https://mcp.example.com/mcp"}
	granted := oauth.Scopes{"read", "write"}
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
			got, err := checkClientLimits(&call{client: &tt.client}, token, granted)
			if got.String() != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}
