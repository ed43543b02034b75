package config

import (
	"strings"
	"testing"
)

// exchanges is a configuration whose MCP server has this tokenExchange section. The
// secret has the length that one must have.
func exchanges(section string) string {
	const host = "host: mcp.example.com"
	return strings.Replace(minimal, host, host+", tokenExchange: "+section, 1) + `
identityHeaders: {jwt: {enabled: true}}
clients:
- {id: server, secret: "0123456789012345678901234", grantTypes: ["urn:ietf:params:oauth:grant-type:token-exchange"]}
- {id: public, redirectURIs: ["https://app.example.org/cb"]}
- {id: job, secret: "0123456789012345678901234", grantTypes: [client_credentials], scopes: [a], resources: ["https://mcp.example.com/mcp"]}
trustedIssuers:
- {kind: kubernetes, issuer: "https://cluster.example", rules: [{namespaces: [ci], scopes: [a], resources: ["https://mcp.example.com/mcp"]}]}
- {kind: id-jag, issuer: "https://people.example", rules: [{anyone: true, scopes: [a], resources: ["https://mcp.example.com/mcp"]}]}
`
}

func TestTokenExchange(t *testing.T) {
	c := mustParse(t, exchanges(`{clients: [server], workloads: [{issuer: "https://cluster.example", subject: "system:serviceaccount:a:b"}]}`))
	if x := c.Hosts[0].Exchange; x == nil || x.Lifetime.Minutes() != 5 || !strings.Contains(c.Summary(), "exchanges tokens as server, system:serviceaccount:a:b") {
		t.Errorf("%+v\n%s", x, c.Summary())
	}
	if mustParse(t, minimal).Hosts[0].Exchange != nil {
		t.Error("it is on by default")
	}
	const at = "proxy.hosts[0].tokenExchange."
	for section, want := range map[string]string{
		`{targets: [{resource: "https://mcp.example.com/mcp", scopes: [a]}]}`: "clients: is required with targets",
		`{lifetime: 2m}`:                                                "clients: is required with lifetime",
		`{clients: [server], lifetime: 2h}`:                             "lifetime: ",
		`{clients: [missing]}`:                                          `clients[0]: "missing" is not the id of an entry of clients`,
		`{clients: [public]}`:                                           "clients[0]: \"public\" has no secret and no key",
		`{clients: [job]}`:                                              "clients[0]: \"job\" lacks the grant type",
		`{workloads: [{issuer: "https://cluster.example"}]}`:            "workloads[0]: needs issuer and subject",
		`{workloads: [{issuer: "https://other.example", subject: a}]}`:  "workloads[0].issuer: \"https://other.example\" is not the issuer of an entry of trustedIssuers",
		`{workloads: [{issuer: "https://people.example", subject: a}]}`: "workloads[0].issuer: \"https://people.example\" makes assertions about people",
		`{clients: [server], targets: [{resource: "https://mcp.example.com/mcp", scopes: [a]}]}`:   "targets[0].resource: is this server itself",
		`{clients: [server], targets: [{resource: "https://other.example.com/mcp", scopes: [a]}]}`: "targets[0].resource: \"https://other.example.com/mcp\" is not the public URL",
		`{clients: [server], targets: [{scopes: [a]}]}`:                                            "targets[0].resource: is required",
	} {
		t.Run(section, func(t *testing.T) { refused(t, exchanges(section), at+want) })
	}
	refused(t, strings.Replace(exchanges(`{clients: [server]}`), "identityHeaders: {jwt: {enabled: true}}", "", 1), at+"clients: needs identityHeaders.jwt.enabled")
	refused(t, strings.Split(exchanges(`{clients: [server]}, ownTokens: false, authorizationServers: [{issuer: "https://as.example"}]`), "- {id: job")[0], at+"clients: needs ownTokens")
	// An issuer that is there for an exchange alone needs no rules.
	mustParse(t, strings.Replace(exchanges(`{workloads: [{issuer: "https://cluster.example", subject: a}]}`), `, rules: [{namespaces: [ci], scopes: [a], resources: ["https://mcp.example.com/mcp"]}]}`, "}", 1))
}
