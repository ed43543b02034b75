package policy

import (
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// A person of another authorization server is never treated as one of the configured
// provider by a rule that allows; a rule that denies them holds by every name they
// have.
func TestOutsiders(t *testing.T) {
	const stranger, same = "https://as.example", "https://sso.corp.example"
	outsider := func(issuer, namespace, sameAs string) *Outsider {
		return &Outsider{
			Person: connector.Identity{Provider: issuer, Namespace: namespace, Subject: "1234", Groups: []string{"staff"}}, SameAs: sameAs,
			Client: Client{Key: oauth.ClientKey(namespace + ":cli"), Kind: rule.KindExternal, Host: "evil.example", HostUnproven: true}, ClientID: "cli",
		}
	}
	// corp is the only provider, and people of same are its people.
	other, ours := outsider(stranger, "as.example", ""), outsider(same, "sso.corp.example", "corp")
	for name, tt := range map[string]struct {
		rule        rule.Rule
		other, ours [2]bool // whether it holds as a rule that allows, and one that denies
	}{
		"the whole subject":          {rule.Rule{Users: []string{"sso.corp.example:1234"}}, [2]bool{}, [2]bool{true, true}},
		"the other's whole subject":  {rule.Rule{Users: []string{"as.example:1234"}}, [2]bool{true, true}, [2]bool{}},
		"the provider's id":          {rule.Rule{Users: []string{"corp:1234"}}, [2]bool{}, [2]bool{true, true}},
		"the bare subject":           {rule.Rule{Users: []string{"1234"}}, [2]bool{}, [2]bool{true, true}},
		"the provider":               {rule.Rule{Providers: []string{"corp"}}, [2]bool{}, [2]bool{false, true}},
		"the issuer":                 {rule.Rule{Providers: []string{stranger}}, [2]bool{true, true}, [2]bool{}},
		"the client as here":         {rule.Rule{Clients: []string{"as.example:cli"}}, [2]bool{true, true}, [2]bool{}},
		"the client as there":        {rule.Rule{Clients: []string{"cli"}}, [2]bool{false, true}, [2]bool{false, true}},
		"the host of a client":       {rule.Rule{ClientHosts: []string{"evil.example"}}, [2]bool{false, true}, [2]bool{false, true}},
		"the kind of client":         {rule.Rule{ClientKinds: []string{rule.KindExternal}}, [2]bool{true, true}, [2]bool{true, true}},
		"clients of the operator":    {rule.Rule{ClientKinds: []string{rule.KindStatic}}, [2]bool{}, [2]bool{}},
		"a group":                    {rule.Rule{Groups: []string{"staff"}}, [2]bool{true, true}, [2]bool{true, true}},
		"an e-mail address, unknown": {rule.Rule{Emails: []string{"jane@corp.example"}}, [2]bool{false, true}, [2]bool{false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, allow := range []bool{true, false} {
				tt.rule.Allow = allow
				r := &resource.Resource{URI: "https://mcp.example", Policy: []rule.Rule{tt.rule}}
				rules := New([]*resource.Resource{r}, []string{"corp"}, nil).For(r.URI)
				if got := rules.MatchOutsider(other).holds[0]; got != tt.other[i] {
					t.Errorf("allow %t, another issuer: %t", allow, got)
				}
				if got := rules.MatchOutsider(ours).holds[0]; got != tt.ours[i] {
					t.Errorf("allow %t, the provider's issuer: %t", allow, got)
				}
			}
		})
	}
}
