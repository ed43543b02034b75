package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

func TestMetadataDocuments(t *testing.T) {
	m := mustParse(t, minimal).Registration.MetadataDocuments
	if !reflect.DeepEqual(m, registration.DocumentSettings{Enabled: true}) {
		t.Errorf("default %+v", m)
	}
	m = mustParse(t, minimal+`registration: {metadataDocuments: {allowedDomains: [claude.ai, "*.example.com"], deniedDomains: [bad.example.com], allowedPorts: ["8443"], allowQuery: true}}`).Registration.MetadataDocuments
	want := registration.DocumentSettings{Enabled: true, AllowedDomains: []string{"claude.ai", "*.example.com"}, DeniedDomains: []string{"bad.example.com"}, AllowedPorts: []string{"8443"}, Ports: []uint16{8443}, AllowQuery: true}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
	const at = "registration.metadataDocuments."
	for text, want := range map[string]string{
		"allowedDomains: [Claude.ai]":                          at + `allowedDomains[0]: "Claude.ai" must be in lower case`,
		"allowedDomains: ['https://claude.ai']":                at + "allowedDomains[0]: is not a DNS name",
		"deniedDomains: ['*']":                                 at + "deniedDomains[0]: is not a DNS name",
		"deniedDomains: ['*.*.a']":                             at + "deniedDomains[0]: is not a DNS name",
		"deniedDomains: [a.example, a.example]":                at + "deniedDomains[1]: is listed twice",
		"allowedPorts: ['0']":                                  at + "allowedPorts[0]: is not a port number",
		"allowedPorts: ['65536']":                              at + "allowedPorts[0]: is not a port number",
		"allowedPorts: [8443]":                                 at + "allowedPorts[0]: must be text, not a number",
		"AS-CIMD-11: x":                                        at + "AS-CIMD-11: unknown key",
		"allowLoopback: true":                                  at + "allowLoopback: is for development",
		"allowedDomains: [" + strings.Repeat("a,", 1001) + "]": at + "allowedDomains: has 1001 entries",
	} {
		t.Run(text[:min(len(text), 40)], func(t *testing.T) {
			refused(t, minimal+"registration: {metadataDocuments: {"+text+"}}", want)
		})
	}
	t.Run("AS-CIMD-11 loopback on loopback only", func(t *testing.T) {
		const dev = "registration: {metadataDocuments: {allowLoopback: true}}\n"
		local := "{host: 'localhost:8080', endpoint: 'http://localhost:1/mcp', scheme: http}"
		if !mustParse(t, oidc+dev+"proxy: {hosts: ["+local+"]}").Registration.MetadataDocuments.AllowLoopback {
			t.Error("is off")
		}
		refused(t, oidc+dev+"proxy: {hosts: ["+local+", {host: mcp.example.com, endpoint: 'http://mcp/'}]}", "registration.metadataDocuments.allowLoopback: is for development")
	})
}

func TestClients(t *testing.T) {
	const secret = "secret: " + marker + "0123456789"
	c := mustParse(t, minimal+`clients:
- {id: desktop, redirectURIs: ["http://localhost/cb"]}
- {id: "https://app.example/c", name: Web, redirectURIs: ["https://app.example/cb"], `+secret+`, secretFiles: [seed, seed2], scopes: [a], resources: ["https://mcp.example.com/mcp"]}
- {id: signer, redirectURIs: ["https://app.example/cb"], jwksURI: "https://app.example/jwks"}
- {id: checker, jwksFile: seed}
- {id: once, grantTypes: [authorization_code], redirectURIs: ["https://app.example/cb"]}
- {id: nightly, grantTypes: [client_credentials], jwksFile: seed, scopes: [a], resources: ["https://mcp.example.com/mcp"]}
introspection: {enabled: true}
`).Clients
	if len(c) != 6 {
		t.Fatalf("%d clients", len(c))
	}
	for i, want := range []struct {
		name, method string
		secrets      int
		grants       string
	}{
		{"desktop", "none", 0, "[authorization_code refresh_token]"}, {"Web", "client_secret_basic", 3, "[authorization_code refresh_token]"},
		{"signer", "private_key_jwt", 0, "[authorization_code refresh_token]"}, {"checker", "private_key_jwt", 0, "[]"},
		{"once", "none", 0, "[authorization_code]"}, {"nightly", "private_key_jwt", 0, "[client_credentials]"},
	} {
		if c[i].Name != want.name || c[i].AuthMethod != want.method || len(c[i].Secrets) != want.secrets || fmt.Sprint(c[i].GrantTypes) != want.grants {
			t.Errorf("%d: %+v", i, c[i])
		}
	}
	if got := c[1].Secrets[1].Reveal(); strings.HasSuffix(got, "\n") {
		t.Error("the newline after a secret stays")
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", c, c), marker) {
		t.Error("AS-PRE-02 a secret prints")
	}
	const redirect = "redirectURIs: ['https://a.example/']"
	for name, tt := range map[string]struct{ text, want string }{
		"no id":                      {redirect, "id: is required"},
		"id with a space":            {"id: 'a b', " + redirect, "id: is not a client id"},
		"no redirect":                {"id: a", "redirectURIs: is required"},
		"redirect pattern":           {"id: a, redirectURIs: ['https://a.example/*']", "redirectURIs[0]: holds an asterisk"},
		"redirect by http":           {"id: a, redirectURIs: ['http://agent.corp.example/cb']", "redirectURIs[0]: "},
		"redirect to a script":       {"id: a, redirectURIs: ['javascript:alert(1)']", "redirectURIs[0]: "},
		"id of another kind":         {"id: dcr1.x, " + redirect, "id: begins with"},
		"redirect with fragment":     {"id: a, redirectURIs: ['https://a.example/#x']", "redirectURIs[0]: has a fragment"},
		"many redirects":             {"id: a, redirectURIs: [" + strings.Repeat("'a:b',", 21) + "]", "redirectURIs: has 21 entries"},
		"AS-PRE-02 weak secret":      {"id: a, secret: " + marker + ", " + redirect, "secret: is shorter than 22 characters"},
		"AS-PRE-02 weak secret file": {"id: a, secretFiles: [secret], " + redirect, "secretFiles[0]: is shorter than 22 characters"},
		"secret of two lines":        {"id: a, secretFiles: [lines], " + redirect, "secretFiles[0]: holds a space, a line break"},
		"empty secret file":          {"id: a, secretFiles: [empty], " + redirect, "secretFiles[0]: is shorter than"},
		"no such secret file":        {"id: a, secretFiles: [nosuch], " + redirect, "secretFiles[0]: there is no such file"},
		"method":                     {"id: a, authMethod: client_secret_jwt, " + redirect, "authMethod: is not one of"},
		"method without secret":      {"id: a, authMethod: client_secret_post, " + redirect, "authMethod: needs secret or secretFiles"},
		"method without keys":        {"id: a, authMethod: private_key_jwt, " + redirect, "authMethod: needs jwksFile or jwksURI"},
		"secret without use":         {"id: a, authMethod: none, " + secret + ", " + redirect, "authMethod: has no use for a secret"},
		"keys without use":           {"id: a, authMethod: none, jwksFile: seed, " + redirect, "authMethod: has no use for keys"},
		"two kinds of keys":          {"id: a, jwksFile: seed, jwksURI: 'https://a.example/', " + redirect, "jwksURI: excludes jwksFile"},
		"keys over http":             {"id: a, jwksURI: 'http://a.example/', " + redirect, "jwksURI: must use https"},
		"grant":                      {"id: a, grantTypes: [authorization_code, implicit], " + redirect, "grantTypes[1]: is not one of"},
		"grant twice":                {"id: a, grantTypes: [authorization_code, refresh_token, refresh_token], " + redirect, "grantTypes[2]: is listed twice"},
		"AS-CC-01 no scopes":         {"id: a, " + secret + ", grantTypes: [client_credentials], resources: ['https://mcp.example.com/mcp']", "scopes: is required with the grant type"},
		"AS-CC-01 no resources":      {"id: a, " + secret + ", grantTypes: [client_credentials], scopes: [a]", "resources: is required with the grant type"},
		"AS-CC-01 no credentials":    {"id: a, grantTypes: [client_credentials], scopes: [a], resources: ['https://mcp.example.com/mcp']", "secretFiles: is required with the grant type"},
		"AS-CC-01 method none":       {"id: a, authMethod: none, " + secret + ", grantTypes: [client_credentials], scopes: [a], resources: ['https://mcp.example.com/mcp']", "authMethod: has no use for a secret"},
		"redirect without sign-ins":  {"id: a, " + secret + ", grantTypes: [client_credentials], scopes: [a], resources: ['https://mcp.example.com/mcp'], " + redirect, "redirectURIs: has no meaning without"},
		"sign-ins without redirect":  {"id: a, " + secret + ", grantTypes: [authorization_code, client_credentials], scopes: [a], resources: ['https://mcp.example.com/mcp']", "redirectURIs: is required with the grant type"},
		"refresh without sign-ins":   {"id: a, " + secret + ", grantTypes: [client_credentials, refresh_token], scopes: [a], resources: ['https://mcp.example.com/mcp']", "grantTypes: lacks"},
		"devices alone":              {"id: a, grantTypes: ['urn:ietf:params:oauth:grant-type:device_code', refresh_token]", ""},
		"devices, with a redirect":   {"id: a, grantTypes: ['urn:ietf:params:oauth:grant-type:device_code'], " + redirect, "redirectURIs: has no meaning without"},
		"devices and browsers":       {"id: a, grantTypes: ['urn:ietf:params:oauth:grant-type:device_code', authorization_code]", "redirectURIs: is required with the grant type"},
		"refresh of nothing":         {"id: a, grantTypes: [refresh_token], " + redirect, "grantTypes: lacks"},
		"nothing to do":              {"id: a, " + secret, "redirectURIs: is required"}, // introspection is off
		"resource":                   {"id: a, resources: ['https://other.example/mcp'], " + redirect, "resources[0]: is not the public URL of an entry"},
		"scope":                      {"id: a, scopes: ['a b'], " + redirect, "scopes[0]: is not a scope"},
	} {
		t.Run(name, func(t *testing.T) {
			text := minimal + "clients: [{" + tt.text + "}]"
			if tt.want == "" {
				mustParse(t, text)
				return
			}
			refused(t, text, "clients[0]."+tt.want)
		})
	}
	t.Run("id twice", func(t *testing.T) {
		one := "{id: a, " + redirect + "}"
		refused(t, minimal+"clients: ["+one+","+one+"]", "clients[1].id: is the id of clients[0] too")
	})
}
