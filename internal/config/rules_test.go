package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

func TestRules(t *testing.T) {
	host := func(keys string) string {
		return oidc + "proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp', " + keys + "}]}\n"
	}
	t.Run("absent", func(t *testing.T) {
		if got, want := mustParse(t, minimal).Hosts[0].Rules, (rule.Rules{ToolPolicy: rule.Enforce}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("everything", func(t *testing.T) {
		got := mustParse(t, host(`toolPolicy: strict, body: true, stepUp: "401", refuseRefreshAfterStepUp: true, cors: {allowedOrigins: ["https://app.example.com", "http://localhost:6274"]},
  scopes: [{name: notes:read, description: Read, tools: [notes_read, "list_*"], resources: ["note://*"], prompts: [sum]}, {name: admin, includes: [notes:read, other]}]`)).Hosts[0].Rules
		want := rule.Rules{
			ToolPolicy: rule.Strict, Body: true, StepUpStatus: 401, RefuseRefresh: true, AllowedOrigins: []string{"https://app.example.com", "http://localhost:6274"},
			Scopes: []rule.Scope{
				{Name: "notes:read", Description: "Read", Tools: []string{"notes_read", "list_*"}, Resources: []string{"note://*"}, Prompts: []string{"sum"}},
				{Name: "admin", Includes: []string{"notes:read", "other"}},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v", got)
		}
	})
	const at = "proxy.hosts[0]."
	for name, tt := range map[string]struct {
		keys string
		want []string
	}{
		"policy":             {"toolPolicy: Strict", []string{at + "toolPolicy: is not one of"}},
		"step-up":            {`stepUp: "400"`, []string{at + "stepUp: is not one of"}},
		"step-up unquoted":   {"stepUp: 403", []string{at + "stepUp: must be text, not a number; put it in quotes"}},
		"two sources":        {"body: true, envoyMCP: true", []string{at + "envoyMCP: remove one of the two", at + "envoyMCP: needs listen.grpc"}},
		"two gateways":       {"extMCP: true, envoyMCP: true", []string{at + "envoyMCP: needs listen.grpc", at + "extMCP: is for agentgateway", at + "extMCP: needs listen.grpc"}},
		"nothing to ask":     {"extMCP: true", []string{at + "extMCP: needs listen.grpc"}},
		"credential of none": {"serverCredential: {toGateway: true}", []string{at + "serverCredential.toGateway: has no effect without"}},
		"header of the key":  {"apiKeys: {enabled: true, header: X-Api-Key}, serverCredential: {file: secret, header: x-api-key}", []string{at + "serverCredential.header: has another meaning"}},
		"nothing to tell":    {"envoyMCP: true", []string{at + "envoyMCP: needs listen.grpc"}},
		"holds nothing":      {"holdChangedTools: true, toolPolicy: advisory", []string{at + "holdChangedTools: holds nothing back"}},
		"nameless scope":     {"scopes: [{tools: [a]}]", []string{at + "scopes[0].name: is required"}},
		"odd scope":          {"scopes: [{name: a b, tools: [a]}, {name: offline_access, tools: [a]}]", []string{at + "scopes[0].name: not a scope", at + "scopes[1].name: meaning of its own"}},
		"scope twice":        {"scopes: [{name: a, tools: [a]}, {name: a, tools: [b]}]", []string{at + "scopes[1].name: listed twice"}},
		"opens nothing":      {"scopes: [{name: a}]", []string{at + "scopes[0]: opens nothing"}},
		"asterisk inside":    {`scopes: [{name: a, tools: ["a*b", "", "**"]}]`, []string{at + "scopes[0].tools[0]: asterisk", at + "scopes[0].tools[1]: not a name", at + "scopes[0].tools[2]: asterisk"}},
		"origins": {`cors: {allowedOrigins: ["https://a.example/", "https://A.example", "https://a.example:443", "null", "*", a.example]}`, []string{
			at + "cors.allowedOrigins[0]: not an origin", at + "cors.allowedOrigins[1]: not an origin", at + "cors.allowedOrigins[2]: not an origin",
			at + "cors.allowedOrigins[3]: not an origin", at + "cors.allowedOrigins[4]: every origin already", at + "cors.allowedOrigins[5]: not an origin",
		}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, host(tt.keys), tt.want...) })
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"read", "read", true}, {"read", "Read", false}, {"read", "read ", false}, {"read", "reader", false},
		{"read*", "read", true}, {"read*", "reader", true}, {"read*", "rea", false}, {"*", "", true}, {"*", "x", true},
	} {
		if got := rule.Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) is %v", tt.pattern, tt.name, got)
		}
	}
}

// Scopes that people choose from on the consent page, and that clients are not held to.
func TestPromisedScopes(t *testing.T) {
	for keys, want := range map[string]string{
		"":                       "",
		"toolPolicy: advisory":   "",
		"holdChangedTools: true": "refuses every request of an MCP revision before 2026-07-28",
		"holdChangedTools: true, toolPolicy: strict":                                  "",
		"holdChangedTools: true, body: true":                                          "",
		"scopes: [{name: a, tools: [b]}]":                                             `"enforce" holds clients of MCP revision 2026-07-28 and later`,
		"scopes: [{name: a, tools: [b]}], toolPolicy: advisory":                       `"advisory" holds no client`,
		"scopes: [{name: a, tools: [b]}], toolPolicy: advisory, body: true":           `"advisory" holds no client`,
		"scopes: [{name: a, tools: [b]}], toolPolicy: strict":                         "",
		"scopes: [{name: a, tools: [b]}], body: true":                                 "",
		"scopes: [{name: a, tools: [b]}], envoyMCP: true":                             "",
		"scopes: [{name: a, tools: [b]}], extMCP: true":                               "",
		"scopes: [{name: a, tools: [b]}], serve: {enabled: true}":                     "",
		"scopes: [{name: a, tools: [b]}], toolPolicy: strict, serve: {enabled: true}": "",
	} {
		c := mustParse(t, oidc+"listen: {grpc: ':9001'}\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp', "+keys+"}]}\n")
		got := c.Warnings.Error()
		if want == "" && (strings.Contains(got, "toolPolicy") || strings.Contains(got, "holdChangedTools")) || !strings.Contains(got, want) {
			t.Errorf("%s: warnings %q, want %q", keys, got, want)
		}
	}
}
