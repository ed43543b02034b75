package forwardauth

import (
	"net/http"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// What a rule about tools leaves of a scope follows the catalogue, for tokens
// that are remembered and for new ones. It used to stay what it was when the
// first token came: clients were sent to sign in again forever.
func TestPolicyFollowsCatalogue(t *testing.T) {
	const uri = "https://a.example/mcp"
	without := &fixed{names: []string{"read", "write"}, known: true, tools: map[string][]string{"list": {"read"}, "put": {"write"}}}
	with := &fixed{names: []string{"read", "write"}, known: true, tools: map[string][]string{"list": {"read"}, "put": {"write"}, "drop": {"write"}}}
	now := without
	f := signs(t)
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return now }
	rules := policy.New(tableOf(t, resource.Entry{
		Host: "a.example", Scheme: "https", Path: "/mcp",
		Policy: []rule.Rule{{Allow: true, Scopes: []string{"read"}}, {Allow: true, Tools: []string{"drop"}}},
	}), nil, func(_, scope string) (tools []string, known bool) {
		for tool, scopes := range now.tools {
			if scopes[0] == scope {
				tools = append(tools, tool)
			}
		}
		return tools, true
	})
	f.Policy = rules
	mint := func(scope string) string {
		match := rules.For(uri).Match(connector.Identity{Namespace: "static", Subject: "jane"}, policy.Client{})
		return f.mint(t, f.issuer, uri, scope, token.Person{Policy: match.String()})
	}
	ask := func(raw, tool string) *http.Response {
		return f.ask(t, nginxRequest("POST", uri, append(call(tool), "Authorization", "Bearer "+raw)...))
	}
	calls := func(raw, tool string) int { return ask(raw, tool).StatusCode }
	lists := func(raw string, scope string) {
		t.Helper()
		resp := ask(raw, "list")
		if got := resp.Header.Get("X-Scope"); resp.StatusCode != http.StatusOK || got != scope {
			t.Errorf("a tool that has nothing to do with it: %d, for the scopes %q, want %q", resp.StatusCode, got, scope)
		}
		if got := claimsOf(t, resp.Header.Get("X-Auth-Request-Identity"))["scope"]; got != scope {
			t.Errorf("the signed header says %v, want %v", got, scope)
		}
	}

	both, write := mint("read write"), mint("write")
	lists(both, "read")
	for name, raw := range map[string]string{"remembered": both, "nothing is left": write, "new": mint("read write")} {
		if got := calls(raw, "drop"); got != http.StatusForbidden {
			t.Errorf("%s, without the tool: %d", name, got)
		}
	}
	now = with
	for name, raw := range map[string]string{"remembered": both, "nothing was left": write, "new": mint("read write")} {
		if got := calls(raw, "drop"); got != http.StatusOK {
			t.Errorf("%s, with the tool: %d", name, got)
		}
	}
	lists(both, "read write")
	now = without
	if got := calls(write, "list"); got != http.StatusForbidden {
		t.Errorf("nothing is left again: %d, want %v", got, http.StatusForbidden)
	}
	lists(both, "read")
}

func tableOf(t *testing.T, hosts ...resource.Entry) []*resource.Resource {
	t.Helper()
	table, err := resource.NewTable(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return table.All()
}
