package config

import (
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// withDPoP is a configuration whose MCP server has this entry for dpop.
func withDPoP(entry, more string) string {
	return "provider: {name: oidc, issuerURL: 'https://idp.example.com/', clientID: id, clientSecret: x}\n" +
		"proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp'" + entry + "}]}\n" + more
}

func TestDPoP(t *testing.T) {
	for written, want := range map[string]resource.DPoP{
		"": "", ", dpop: off": "", ", dpop: 'off'": "", ", dpop: accepted": resource.DPoPAccepted, ", dpop: required": resource.DPoPRequired,
	} {
		c := mustParse(t, withDPoP(written, ""))
		if c.Hosts[0].DPoP != want {
			t.Errorf("%s: %q", written, c.Hosts[0].DPoP)
		}
		if said := strings.Contains(c.Summary(), ", DPoP "+string(want)); said != (want != "") {
			t.Errorf("%s: summary\n%s", written, c.Summary())
		}
	}
	const client = "clients: [{id: app, redirectURIs: ['https://app.example/cb'], dpopBoundAccessTokens: true"
	for name, tt := range map[string]struct{ text, want string }{
		"another word":           {withDPoP(", dpop: optional", ""), `proxy.hosts[0].dpop: "optional" is not one of "off", "accepted", "required"`},
		"on":                     {withDPoP(", dpop: on", ""), `proxy.hosts[0].dpop: must be text, not true or false`},
		"without tokens":         {withDPoP(", dpop: accepted, ownTokens: false, apiKeys: {enabled: true}", ""), "proxy.hosts[0].dpop: has no effect, because the MCP server takes no tokens"},
		"nonces":                 {withDPoP(", dpop: accepted", "dpop: {nonces: true, nonceLifetime: 1m}"), ""},
		"nonces without DPoP":    {withDPoP("", "dpop: {nonces: true}"), "dpop.nonces: has no effect, because no entry of proxy.hosts has dpop"},
		"lifetime alone":         {withDPoP(", dpop: accepted", "dpop: {nonceLifetime: 1m}"), "dpop.nonceLifetime: has no effect while dpop.nonces is false"},
		"a short lifetime":       {withDPoP(", dpop: accepted", "dpop: {nonces: true, nonceLifetime: 1s}"), "dpop.nonceLifetime: is not between 30s and 10m"},
		"client":                 {withDPoP(", dpop: accepted", client+"}]"), ""},
		"client without DPoP":    {withDPoP("", client+"}]"), "clients[0].dpopBoundAccessTokens: has no effect, because no MCP server that the client may have tokens for has dpop"},
		"client of other server": {withDPoP(", dpop: accepted}, {host: b.example.com, endpoint: 'http://mcp:8080/mcp'", client+", resources: ['https://b.example.com/mcp']}]"), "clients[0].dpopBoundAccessTokens: has no effect"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.want == "" {
				mustParse(t, tt.text)
				return
			}
			refused(t, tt.text, tt.want)
		})
	}
}
