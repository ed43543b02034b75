package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// An issuer where everyone can have an account needs a key that says who may
// sign in, whatever its spelling; one of a company does not.
func TestPublicIssuers(t *testing.T) {
	const creds = ", clientID: id, clientSecret: x}\n" + proxy
	for issuer, want := range map[string]string{
		"https://accounts.google.com":                                                 `provider.allowedEmailDomains: name "google" with hostedDomains`,
		"https://accounts.google.com/":                                                "provider.allowedEmailDomains: is required",
		"https://Accounts.Google.com:443":                                             "provider.allowedEmailDomains: is required",
		"https://accounts.google.com.":                                                "provider.allowedEmailDomains: is required",
		"https://login.microsoftonline.com/common/v2.0":                               `provider.allowAnyUser: name "microsoft" with tenants`,
		"https://login.microsoftonline.com/COMMON/v2.0/":                              "provider.allowAnyUser: is needed",
		"https://login.microsoftonline.com/organizations/v2.0":                        "provider.allowAnyUser: is needed",
		"https://login.microsoftonline.com/consumers/v2.0":                            "provider.allowAnyUser: is needed",
		"https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": "provider.allowAnyUser: is needed",
		"https://login.microsoftonline.us/common/v2.0":                                "provider.allowAnyUser: is needed",
		"https://sts.windows.net/common/":                                             "provider.allowAnyUser: is needed",
		"https://appleid.apple.com":                                                   "provider.allowedEmailDomains: is required",
		"https://gitlab.com":                                                          "provider.allowedEmailDomains: is required",
		"https://www.facebook.com":                                                    "provider.allowedEmailDomains: is required",
		"https://www.linkedin.com/oauth":                                              "provider.allowedEmailDomains: is required",
		"https://api.login.yahoo.com":                                                 "provider.allowedEmailDomains: is required",
		"https://slack.com":                                                           "provider.allowedEmailDomains: is required",
		"https://id.twitch.tv/oauth2":                                                 "provider.allowedEmailDomains: is required",
		"https://discord.com":                                                         "provider.allowedEmailDomains: is required",
		"https://www.paypal.com":                                                      "provider.allowedEmailDomains: is required",
		"https://access.line.me":                                                      "provider.allowedEmailDomains: is required",
		"https://oauth.yandex.ru":                                                     "provider.allowedEmailDomains: is required",
		"https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0": "",
		"https://corp.okta.com":                                                       "",
		"https://gitlab.corp.example":                                                 "",
		"https://accounts.google.com.corp.example":                                    "",
		"https://keycloak.example.com/realms/common":                                  "",
	} {
		text := "provider: {name: oidc, issuerURL: '" + issuer + "'"
		if want == "" {
			mustParse(t, text+creds)
			continue
		}
		refused(t, text+creds, want)
		mustParse(t, text+", allowAnyUser: true"+creds)
		if strings.Contains(want, "allowedEmailDomains") {
			mustParse(t, text+`, allowedEmailDomains: ['corp\.example']`+creds)
		} else { // an address says nothing there
			refused(t, text+`, allowedEmailDomains: ['corp\.example'], insecureTrustUnverifiedEmail: true`+creds,
				"provider.insecureTrustUnverifiedEmail: is refused", "provider.allowAnyUser: is needed")
		}
	}
}

// Every kind of provider answers who may sign in, and the answer to nothing is
// that nothing narrows it.
func TestKindsFailClosed(t *testing.T) {
	c := &conf.Check{}
	r := providerSection{conf.Section{Check: c, At: "provider"}}
	r.admitted(ProviderFile{AllowedEmailDomains: []string{"a"}, Settings: nothingSaid{}})
	if err := c.Err(); err == nil || !strings.HasPrefix(err.Error(), "provider.allowAnyUser: is needed") {
		t.Errorf("a kind that says nothing: %v", err)
	}
}

type nothingSaid struct{ connector.Settings }

func (nothingSaid) Audience() connector.Audience { return connector.Audience{} }

func TestProviderAddresses(t *testing.T) {
	const creds = ", clientID: id, clientSecret: x}\n" + proxy
	for name, tt := range map[string]struct{ text, want string }{
		"the discovery document":        {"name: oidc, issuerURL: 'https://sso.example/realms/x/.well-known/openid-configuration'", `provider.issuerURL: the issuer is "https://sso.example/realms/x"`},
		"the OAuth document":            {"name: oidc, issuerURL: 'https://sso.example/.well-known/oauth-authorization-server'", `provider.issuerURL: the issuer is "https://sso.example"`},
		"the inserted document":         {"name: oidc, issuerURL: 'https://sso.example/.well-known/oauth-authorization-server/realms/x'", "provider.issuerURL: is the address of a document"},
		"braces":                        {"name: oidc, issuerURL: 'https://sso.example/{tenantid}'", "provider.issuerURL: holds a brace"},
		"a back channel in the cluster": {"name: oidc, issuerURL: 'https://sso.example', backchannelURL: 'http://keycloak.iam.svc:8080/realms/x'", ""},
		"a back channel with a query":   {"name: oidc, issuerURL: 'https://sso.example', backchannelURL: 'https://sso.internal/?x'", "provider.backchannelURL: must not have a query"},
		"a back channel to a document":  {"name: oidc, issuerURL: 'https://sso.example', backchannelURL: 'https://sso.internal/.well-known/openid-configuration'", "provider.backchannelURL: is the address of a document"},
		"a back channel for google":     {"name: google, allowAnyUser: true, backchannelURL: 'https://sso.internal'", `provider.backchannelURL: has no meaning for provider "google"`},
		"authorities":                   {"name: oidc, issuerURL: 'https://sso.example', caFile: ca", ""},
		"no authorities":                {"name: oidc, issuerURL: 'https://sso.example', caFile: secret", "provider.caFile: the file holds no certificate in PEM"},
		"no file of authorities":        {"name: oidc, issuerURL: 'https://sso.example', caFile: none", "provider.caFile: there is no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "provider: {" + tt.text + creds
			c, err := Parse([]byte(text), filesWithCA(t))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if warned := len(c.Warnings) > 0; warned != strings.Contains(text, "backchannelURL: 'http:") {
					t.Errorf("warnings %v", c.Warnings)
				}
				return
			}
			path, problem, _ := strings.Cut(tt.want, ": ")
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), problem) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	for name, tt := range map[string]struct{ host, want string }{
		"authorities of an MCP server": {"{host: a.example, endpoint: 'https://mcp:8443/mcp', caFile: ca}", ""},
		"authorities without TLS":      {"{host: a.example, endpoint: 'http://mcp:8080/mcp', caFile: ca}", "proxy.hosts[0].caFile: has no meaning for an endpoint with http"},
		"the public address":           {"{host: a.example, endpoint: 'https://a.example/mcp'}", "proxy.hosts[0].endpoint: is a public address"},
		"the public address, longer":   {"{host: a.example, endpoint: 'https://A.example:443/mcp/x', path: /mcp}", "proxy.hosts[0].endpoint: is a public address"},
		"that of another server":       {"{host: a.example, endpoint: 'https://b.example/mcp'}, {host: b.example, endpoint: 'http://b/', path: /}", "proxy.hosts[0].endpoint: is a public address"},
		"another port":                 {"{host: a.example, endpoint: 'https://a.example:8443/mcp'}", ""},
		"another path":                 {"{host: a.example, endpoint: 'https://a.example/internal/mcp', path: /mcp}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := "provider: {name: oidc, issuerURL: 'https://sso.example', clientID: id, clientSecret: x}\nproxy: {hosts: [" + tt.host + "]}"
			_, err := Parse([]byte(text), filesWithCA(t))
			path, problem, _ := strings.Cut(tt.want, ": ")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), problem)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// filesWithCA reads testFiles and "ca", a certificate.
func filesWithCA(t *testing.T) func(string) ([]byte, error) {
	t.Helper()
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) ([]byte, error) {
		if name == "ca" {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
		}
		if name == "none" {
			return nil, fs.ErrNotExist
		}
		return testFiles(name)
	}
}

// A pattern that was written as if it were no regular expression admits more
// than it looks like.
func TestLoosePatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		`example.com`:               `"example\\.com"`,
		`mail.example\.com`:         `"mail\\.example\\.com"`,
		`(a|b).example\.com`:        `"(a|b)\\.example\\.com"`,
		`*.example.com`:             `it looks like a pattern for file names, which ".*\\.example\\.com" would be`,
		`.*example\.com`:            `"(.*\\.)?example\\.com"`,
		`.+example\.com`:            `admits "attacker-example.com" too`,
		`.*`:                        "admits every domain",
		`.+`:                        "admits every domain",
		`[a-z.]+`:                   "admits every domain",
		`[^@]*`:                     "admits every domain",
		`example\.com`:              "",
		`(.*\.)?example\.com`:       "",
		`.*\.example\.com`:          "",
		`[a-z]+\.example\.(com|de)`: "",
		`.{1,20}\.example\.com`:     "",
	} {
		text := "provider: {name: google, clientID: id, clientSecret: x, allowedEmailDomains: ['" + pattern + "']}\n" + proxy
		if want == "" {
			mustParse(t, text)
			continue
		}
		refused(t, text, "provider.allowedEmailDomains[0]: "+want)
	}
	for pattern, want := range map[string]string{
		`https://app.example.com/callback`:     `"https://app\\.example\\.com/callback"`,
		`https://app\.example\.com/*`:          `stands for any number of slashes`,
		`https://app\.example\.com/.*`:         "",
		`https://app\.example\.com/callback/?`: "",
	} {
		text := strings.Replace(minimal, "proxy: {", "proxy: {allowedRedirectURLs: ['"+pattern+"'], ", 1)
		if want == "" {
			mustParse(t, text)
			continue
		}
		refused(t, text, "proxy.allowedRedirectURLs[0]: "+want)
	}
}
