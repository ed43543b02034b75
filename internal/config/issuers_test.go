package config

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// hostWith is a configuration whose one MCP server takes tokens of others.
func hostWith(rest string) string {
	return "proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp', " + rest + "}]}\n"
}

func TestAuthorizationServers(t *testing.T) {
	c := mustParse(t, hostWith(`ownTokens: false, authorizationServers: [{issuer: 'https://sso.example.com/realms/corp', scopeMap: {'api://notes/read': 'read'}}]`))
	if len(c.Providers) != 0 || !c.Hosts[0].OwnTokensOff || !slices.Equal(c.Hosts[0].Issuers, []string{"https://sso.example.com/realms/corp"}) ||
		c.Hosts[0].ScopeNames["https://sso.example.com/realms/corp"]["read"] != "api://notes/read" {
		t.Errorf("%+v %+v", c.Providers, c.Hosts[0])
	}
	as := c.AuthorizationServers[0][0]
	if as.Namespace != "sso.example.com/realms/corp" || as.SameAs != "" || as.Claims.Subject != "sub" || as.Claims.EmailVerified != "email_verified" || as.Leeway.Seconds() != 10 {
		t.Errorf("%+v", as)
	}
}

// The people of an issuer that is an identity provider here have one name.
func TestIssuerOfAProvider(t *testing.T) {
	server := hostWith(`authorizationServers: [{issuer: 'https://sso.example.com'}]`)
	creds := "name: oidc, issuerURL: 'https://sso.example.com', clientID: id, clientSecret: x"
	one := mustParse(t, "provider: {"+creds+"}\n"+server).AuthorizationServers[0][0]
	if one.Namespace != "sso.example.com" || one.SameAs != "oidc" {
		t.Errorf("%+v", one)
	}
	two := mustParse(t, "providers: [{id: corp, "+creds+"}, {id: github, name: github, clientID: id, clientSecret: x, allowAnyUser: true}]\n"+server).AuthorizationServers[0][0]
	if two.Namespace != "corp:sso.example.com" || two.SameAs != "corp" {
		t.Errorf("%+v", two)
	}
	other := mustParse(t, "provider: {subjectClaim: oid, "+creds+"}\n"+server)
	if len(other.Warnings) != 1 || other.Warnings[0].Path != "proxy.hosts[0].authorizationServers[0].claims.subject" {
		t.Errorf("subjects from two claims: %v", other.Warnings)
	}
}

// No issuer's people can be spelled to look like those of another.
func TestReservedNamespaces(t *testing.T) {
	c := mustParse(t, hostWith(`ownTokens: false, authorizationServers: [{issuer: 'https://sso.example.com'}, {issuer: 'https://sso.example.com:8443/corp'}]`))
	if got := c.AuthorizationServers[0][0].Reserved; !slices.Equal(got, []string{"sso.example.com:8443/corp"}) {
		t.Errorf("%q", got)
	}
}

func TestAuthorizationServerMistakes(t *testing.T) {
	const at = "proxy.hosts[0].authorizationServers[0]."
	for entry, want := range map[string]string{
		`{}`:                                 at + "issuer: is required",
		`{issuer: 'http://sso.example.com'}`: at + "issuer: \"http://sso.example.com\" must use https",
		`{issuer: 'https://sso.example.com/.well-known/openid-configuration'}`:            at + "issuer: ",
		`{issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0'}`:                   at + "issuer: ",
		`{issuer: 'https://mcp.example.com'}`:                                             at + "issuer: is this service itself",
		`{issuer: 'https://static/x'}`:                                                    at + "issuer: ",
		`{issuer: 'https://a.example'}, {issuer: 'https://a.example'}`:                    "proxy.hosts[0].authorizationServers[1].issuer: ",
		`{issuer: 'https://a.example', jwksURL: 'https://a.example/k', jwksFile: secret}`: at + "jwksURL: excludes jwksFile",
		`{issuer: 'https://a.example', jwksURL: 'ftp://a.example/k'}`:                     at + "jwksURL: ",
		`{issuer: 'https://a.example', jwksFile: missing.json}`:                           at + "jwksFile: there is no such file",
		`{issuer: 'https://a.example', algorithms: [HS256]}`:                              at + "algorithms[0]: \"HS256\" is refused",
		`{issuer: 'https://a.example', algorithms: [none]}`:                               at + "algorithms[0]: \"none\" is refused",
		`{issuer: 'https://a.example', algorithms: [rs256]}`:                              at + "algorithms[0]: \"rs256\" is not one of",
		`{issuer: 'https://a.example', algorithms: []}`:                                   at + "algorithms: is empty",
		`{issuer: 'https://a.example', audiences: []}`:                                    at + "audiences: is empty",
		`{issuer: 'https://a.example', audiences: ['*']}`:                                 at + "audiences[0]: \"*\" has an asterisk",
		`{issuer: 'https://a.example', audiences: [a, a]}`:                                at + "audiences[1]: \"a\" is listed twice",
		`{issuer: 'https://a.example', types: ['logout+jwt']}`:                            at + "types[0]: ",
		`{issuer: 'https://a.example', types: []}`:                                        at + "types: is empty",
		`{issuer: 'https://a.example', claims: {subject: email}}`:                         at + "claims.subject: \"email\" can pass",
		`{issuer: 'https://a.example', claims: {email: mail}}`:                            at + "claims.emailVerified: is required",
		`{issuer: 'https://a.example', claims: {groups: '/a~2'}}`:                         at + "claims.groups: \"/a~2\" is not a JSON pointer",
		`{issuer: 'https://a.example', scopeMap: {'a b': c}}`:                             at + "scopeMap.(a key that is not a plain word): is not a scope",
		`{issuer: 'https://a.example', addScopes: ['a b']}`:                               at + "addScopes[0]: ",
		`{issuer: 'https://a.example', leeway: 10m}`:                                      at + "leeway: \"10m\" is not between",
		`{issuer: 'https://a.example', tenants: []}`:                                      at + "tenants: is empty",
		`{issuer: 'https://a.example', audience: x}`:                                      at + "audience: ",
	} {
		refused(t, hostWith("ownTokens: false, authorizationServers: ["+entry+"]"), want)
	}
	refused(t, hostWith("ownTokens: false"), "proxy.hosts[0].ownTokens: is off, and the MCP server takes no other tokens")
	refused(t, hostWith("authorizationServers: [{issuer: 'https://a.example'}]"), "provider.name: is required")
}

// Rules name people, clients and issuers of other authorization servers.
func TestRulesAboutOtherIssuers(t *testing.T) {
	server := hostWith(`ownTokens: false, authorizationServers: [{issuer: 'https://sso.example.com'}]`)
	mustParse(t, server+`policy: {rules: [
		{effect: allow, users: ['sso.example.com:1234', 'client@sso.example.com:ci'], providers: ['https://sso.example.com']},
		{effect: allow, clients: ['sso.example.com:cli'], clientKinds: [external]},
		{effect: allow, groups: [staff], scopes: [read]}]}`)
	for rule, want := range map[string]string{
		`users: ['1234']`:                                           ".users[0]: \"1234\" does not say whose subject it is",
		`providers: ['https://other.example']`:                      ".providers[0]: ",
		`clients: ['other.example:cli']`:                            ".clients[0]: ",
		`clientKinds: [foreign]`:                                    ".clientKinds[0]: ",
		`clients: ['sso.example.com:cli'], clientKinds: [document]`: ": can never hold",
	} {
		refused(t, server+"policy: {rules: [{effect: allow, "+rule+"}]}", "policy.rules[0]"+want)
	}
	refused(t, minimal+"policy: {rules: [{effect: allow, clientKinds: [external]}]}", "policy.rules[0].clientKinds[0]: there are no \"external\" clients")
}

// A file with keys is read later, when the working directory may be another.
func TestKeySetFile(t *testing.T) {
	c, err := Parse([]byte(hostWith("ownTokens: false, authorizationServers: [{issuer: 'https://a.example', jwksFile: keys.json}]")), func(name string) ([]byte, error) {
		if name == "keys.json" {
			return []byte("{}"), nil
		}
		return nil, fs.ErrNotExist
	})
	if err != nil || !strings.HasSuffix(c.AuthorizationServers[0][0].JWKSFile, "keys.json") {
		t.Error(err)
	}
}
