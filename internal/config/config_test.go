package config

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	openid "github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf/conftest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

const (
	// marker stands for a secret; no output may hold it.
	marker = "MARKED-SECRET-7f3a91"
	hash10 = "$2a$10$3gDc9dgFp6qTKij2naAWPu5fJdchCmC55e/XiBOZgD/9lT7I4J25K"
	hash09 = "$2a$09$QAcB0B4vvCywOvpPRGz3g..giCDqoFx2ND5GKg4IKchPjs4TqFecG"

	oidc     = "provider: {name: oidc, clientID: id, clientSecret: " + marker + ", issuerURL: 'https://idp.example.com/'}\n"
	proxy    = "proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp/'}]}\n"
	accounts = "provider: {name: static, users: [{username: jane, passwordHash: '" + hash10 + "'}]}\n"

	minimal      = oidc + proxy
	githubConfig = "provider: {name: github, clientID: id, clientSecret: " + marker + ", allowAnyUser: true}\n" + proxy
	staticConfig = accounts + proxy
)

// testFiles is what the configurations of these tests may name.
func testFiles(name string) ([]byte, error) {
	switch name {
	case "secret":
		return []byte(marker + "\r\n"), nil
	case "lines":
		return []byte(marker + "\nsecond\n"), nil
	case "empty":
		return nil, nil
	case "seed", "seed2":
		sum := sha256.Sum256([]byte(name)) // random enough, and every byte counts, a newline at the end as well
		return fmt.Appendf(nil, "%x\n", sum), nil
	case "short":
		return []byte(strings.Repeat("x", 31)), nil
	case "huge":
		return make([]byte, conf.MaxSecretBytes+1), nil
	case "forbidden":
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	case "broken":
		return nil, errors.New(marker)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), testFiles)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

// refused checks that text has exactly the mistakes that begin and go on like want
// ("path: beginning" or "path: …middle"), in that order, and shows no secret.
func refused(t *testing.T, text string, want ...string) {
	t.Helper()
	c, err := Parse([]byte(text), testFiles)
	var mistakes conf.Errors
	if !errors.As(err, &mistakes) || c != nil {
		t.Fatalf("got %v, %v; want Errors", c, err)
	}
	if strings.Contains(err.Error(), marker) {
		t.Errorf("a secret is in: %v", err)
	}
	ok := len(mistakes) == len(want)
	for i := 0; ok && i < len(want); i++ {
		path, problem, _ := strings.Cut(want[i], ": ")
		ok = mistakes[i].Path == path && strings.Contains(mistakes[i].Problem, problem)
	}
	if !ok {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// own returns the settings of the first provider.
func own[T connector.Settings](c *Config) T { return c.Providers[0].Settings.(T) }

// mark puts the marker into the secrets of a provider, and returns how many there are.
func mark(s connector.Settings) int {
	switch s := s.(type) {
	case *openid.Settings:
		s.ClientSecret = conf.NewSecret(marker)
		return 1
	case *github.Settings:
		s.ClientSecret = conf.NewSecret(marker)
		return 1
	case *static.Settings:
		for i := range s.Users {
			s.Users[i].PasswordHash = conf.NewSecret(marker)
		}
		return len(s.Users)
	}
	return 0
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, minimal)
	h := c.Hosts[0]
	got := fmt.Sprintln(c.Listen.HTTP, c.Listen.Management, c.LogLevel, own[*openid.Settings](c).Scopes, own[*openid.Settings](c).GroupsClaim, c.ConsentScreen,
		len(c.RedirectURLs), c.Registration.Dynamic.Enabled, c.Keys.Source, c.Keys.Rotation, c.Tokens.AccessTokenLifetime,
		c.IdentityHeaders.Names(), h.Scheme, h.Host, h.Path, h.Endpoint, h.DisplayName, h.DefaultScopes)
	const want = ":8080 :9090 INFO [openid email profile] groups true 0 true ephemeral 1h0m0s 1h0m0s " +
		"[X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups] https mcp.example.com /mcp http://mcp:8080/mcp/ mcp.example.com []\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if own[*openid.Settings](c).ClientSecret.Reveal() != marker {
		t.Error("the client secret is lost")
	}
}

func TestEverything(t *testing.T) {
	c := mustParse(t, `
listen: {http: "127.0.0.1:8081", management: "[::1]:8081", trustedProxies: [10.0.0.0/8, "2001:db8::/32"]}
limits: {registrations: 1, clientRequests: 0, signInAttempts: 1e+06, addressRequests: 4}
logging: {level: debug}
provider:
  name: google
  clientID: id
  clientSecretFile: secret
  scopes: [openid, email]
  allowedEmailDomains: ['example\.com', '[a-z]+\.example\.org|example\.net']
proxy:
  disableConsentScreen: true
  allowedRedirectURLs: ['https://app\.example\.com/.*', 'http://(localhost|127\.0\.0\.1)(:[0-9]+)?/callback']
  hosts:
  - {host: "mcp.example.com:443", endpoint: "https://mcp/", displayName: Über-MCP, defaultScopes: ["a:read", b]}
  - {host: mcp.example.com, endpoint: "https://mcp/x", path: /one/}
  - {host: "mcp.example.com:8443", endpoint: "https://mcp/x"}
  - {host: "localhost:80", endpoint: "http://localhost:3000/mcp", scheme: http, path: /}
  - {host: "[::1]:8080", endpoint: "http://[::1]:3000/mcp?tenant=a", scheme: http}
registration: {dynamic: {enabled: false}}
keys: {source: seed, seedFiles: [seed, seed2], rotation: 24h}
tokens: {accessTokenLifetime: 90s, refreshTokens: {enabled: false}, refreshTokenIdleLifetime: 2h, refreshTokenLifetime: 3h}
denyList: {file: secret}
introspection: {enabled: true}
identityHeaders: {user: x-user, email: X-Email, groups: X-Groups}
`)
	var urls []string
	for _, h := range c.Hosts {
		urls = append(urls, h.Scheme+"://"+h.Host+h.Path)
	}
	want := []string{"https://mcp.example.com", "https://mcp.example.com/one", "https://mcp.example.com:8443/x", "http://localhost", "http://[::1]:8080/mcp"}
	if !reflect.DeepEqual(urls, want) {
		t.Errorf("resources %q", urls)
	}
	if own[*google.Settings](c).ClientSecret.Reveal() != marker {
		t.Error("the newline after the client secret stays")
	}
	if c.ConsentScreen || c.Registration.Dynamic.Enabled || c.LogLevel != slog.LevelDebug || c.Tokens.AccessTokenLifetime != 90*time.Second || c.IdentityHeaders.User != "X-User" {
		t.Errorf("got %+v", c)
	}
	if want := (token.Settings{AccessTokenLifetime: 90 * time.Second, RefreshIdle: 2 * time.Hour, RefreshAbsolute: 3 * time.Hour, Remembered: 1 << 16}); c.Tokens != want || c.DenyList != "secret" || !c.Introspection {
		t.Errorf("tokens are %+v, the deny-list is %q", c.Tokens, c.DenyList)
	}
	if len(c.Keys.Seeds) != 2 || !strings.HasSuffix(c.Keys.Seeds[0].Reveal(), "\n") {
		t.Error("a seed must be kept to the last byte")
	}
	for domain, admitted := range map[string]bool{
		"example.com": true, "a.example.org": true, "example.net": true,
		"notexample.com": false, "example.com.evil.example": false, "evil.example.net": false, "examplexcom": false, "example.com\n": false,
	} {
		got := false
		for _, re := range c.Providers[0].EmailDomains {
			got = got || re.MatchString(domain)
		}
		if got != admitted {
			t.Errorf("%q: admitted %v", domain, got)
		}
	}
}

func TestDocument(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"empty":                             {"", []string{"provider.name: is required", "proxy.hosts: is required"}},
		"null section":                      {"provider:\nproxy:\n", []string{"provider.name: is required", "proxy.hosts: is required"}},
		"not a mapping":                     {"- a", []string{": must be a mapping of keys to values, not a list"}},
		"not UTF-8":                         {"a: \xff", []string{": not UTF-8"}},
		"too large":                         {minimal + strings.Repeat("#", conf.MaxFileBytes), []string{": larger than 1 MiB"}},
		"two documents":                     {minimal + "---\n" + minimal, []string{": line 3: a second YAML document"}},
		"two documents after an end marker": {minimal + "...\nlisten: {}\n", []string{": line 4: a second YAML document"}},
		"repeated keys, and the rest as well": {
			minimal + "logging: {level: info, level: warn}\nlisten: {http: x}\nlisten: {}\ntokens: {accessTokenLifetime: 2h}\n",
			[]string{`: line 3: level is set twice`, ": line 5: listen is set twice", "tokens.accessTokenLifetime: not between 1m and 1h"}},
		"repeated key that is a secret": {minimal + "'" + marker + " x': 1\n'" + marker + " x': 2\n",
			[]string{": line 4: (a key that is not a plain word) is set twice", "(a key that is not a plain word): unknown key"}},
		"syntax":                        {"a: b: c", []string{": not valid YAML: mapping values"}},
		"value that begins with a star": {"provider: {clientSecret: *" + marker + "}", []string{`: not valid YAML: a value that begins with "*" needs quotes`}},
		"secret with a tag":             {"provider: {clientSecret: !!int " + marker + "}", []string{": not valid YAML: a value cannot be read"}},
		"secret as a key of a key":      {"provider:\n  ? {" + marker + ": x}\n  : y\n", []string{": not valid YAML: a value cannot be read"}},
		"infinite number":               {minimal + "tokens: {accessTokenLifetime: .inf}", []string{": not valid YAML: a value cannot be read"}},
		"types": {`
listen: {http: 8080}
provider: {name: oidc, clientID: [id], clientSecret: 12345, issuerURL: "https://idp", scopes: openid, allowAnyUser: "true"}
proxy: {hosts: [null, mcp, {host: 1.5, endpoint: {}}], allowedRedirectURLs: [yes]}
registration: {dynamic: true}
`, []string{
			"listen.http: must be text, not a number; put it in quotes",
			"provider.clientID: must be text, not a list",
			"provider.clientSecret: must be text, not a number; put it in quotes",
			"provider.scopes: must be a list, not text",
			"provider.allowAnyUser: must be true or false, not text",
			"proxy.hosts[0]: must be a mapping of keys to values, not nothing",
			"proxy.hosts[1]: must be a mapping of keys to values, not text",
			"proxy.hosts[2].host: must be text, not a number",
			"proxy.hosts[2].endpoint: must be text, not a mapping",
			"proxy.allowedRedirectURLs[0]: must be text, not true or false; put it in quotes",
			"registration.dynamic: must be a mapping of keys to values, not true or false",
		}},
		"unknown keys": {`
provider: {Name: oidc, clientId: id, clientSecret: s, issuerUrl: "https://idp", xyz: 1}
proxy: {hosts: [{host: a.example, endpont: "http://x/"}], host: a}
loging: {level: x}
`, []string{
			"provider.Name: unknown key; did you mean name?",
			"provider.clientId: unknown key; did you mean clientID?",
			"provider.issuerUrl: unknown key; did you mean issuerURL?",
			"provider.xyz: unknown key; known are name, clientID,",
			"proxy.hosts[0].endpont: unknown key; did you mean endpoint?",
			"proxy.host: unknown key; did you mean hosts?",
			"loging: unknown key; did you mean logging?",
		}},
		"keys are case-sensitive beside the right one": {minimal + "logging: {level: warn, Level: info}",
			[]string{"logging.Level: unknown key; did you mean level?"}},
		"all at once, in order": {`
tokens: {accessTokenLifetime: 2h}
keys: {source: disk}
proxy:
  hosts:
  - {host: a.example, endpoint: "http://a/"}
  - {host: b.example, endpoint: "ftp://x"}
provider: {name: google, clientID: id}
logging: {level: WARN}
`, []string{
			`logging.level: "WARN" is not one of`,
			"provider.clientSecret: or provider.clientSecretFile is required",
			"provider.allowedEmailDomains: is required for \"google\"",
			`proxy.hosts[1].endpoint: "ftp://x" is not an http or https URL`,
			`keys.source: "disk" is not one of`,
			`tokens.accessTokenLifetime: "2h" is not between 1m and 1h`,
		}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.text, tt.want...) })
	}
}

// One document is one document, whatever surrounds it.
func TestOneDocument(t *testing.T) {
	for _, text := range []string{"---\n" + minimal, "\ufeff# x\n\n---\n" + minimal + "...\n# end\n", "%YAML 1.1\n---\n" + minimal,
		strings.ReplaceAll(minimal, "\n", "\r\n"), minimal + "logging:\n  level: # nothing\n"} {
		mustParse(t, text)
	}
}

func TestProvider(t *testing.T) {
	const creds = "clientID: id, clientSecret: " + marker
	const tenant = "11111111-2222-3333-4444-55555555555a"
	const endpoints = "allowAnyUser: true, authorizeURL: 'https://idp/authorize', tokenURL: 'https://idp/token', userinfoURL: 'https://idp/user'"
	const user = "{username: jane, passwordHash: '" + hash10 + "'}"
	for name, tt := range map[string]struct{ provider, want string }{
		"oidc":                          {"name: oidc, issuerURL: 'https://idp/x/', " + creds, ""},
		"oidc on loopback":              {"name: oidc, issuerURL: 'http://127.0.0.1:5556/dex', " + creds, ""},
		"oidc on localhost":             {"name: oidc, issuerURL: 'http://localhost', " + creds, ""},
		"oidc on [::1]":                 {"name: oidc, issuerURL: 'http://[::1]:80', " + creds, ""},
		"github enterprise":             {"name: github, baseURL: 'https://ghe.example.com/', allowAnyUser: true, " + creds, ""},
		"secret in a file":              {"name: google, allowAnyUser: true, clientID: id, clientSecretFile: secret", ""},
		"no name":                       {creds, "name: is required: one of"},
		"another name":                  {"name: okta, " + creds, `name: "okta" is not one of "google", "github", "microsoft", "oidc", "oauth2", "static"`},
		"name in capitals":              {"name: OIDC, " + creds, `name: "OIDC" is not one of`},
		"no client id":                  {"name: oidc, issuerURL: 'https://idp', clientSecret: x", `clientID: is required for "oidc"`},
		"client id with a space":        {"name: oidc, issuerURL: 'https://idp', clientID: 'a b', clientSecret: x", "clientID: is not a client id"},
		"two secrets":                   {"name: oidc, issuerURL: 'https://idp', clientSecretFile: secret, " + creds, "clientSecretFile: excludes provider.clientSecret"},
		"no secret":                     {"name: oidc, issuerURL: 'https://idp', clientID: id", "clientSecret: or provider.clientSecretFile is required"},
		"secret with a line break":      {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: lines", "clientSecretFile: holds a space, a line break"},
		"empty secret file":             {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: empty", "clientSecretFile: the file is empty"},
		"huge secret file":              {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: huge", "clientSecretFile: the file is larger than 64 KiB"},
		"secret file forbidden":         {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: forbidden", "clientSecretFile: permission to read the file is denied"},
		"secret file broken":            {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: broken", "clientSecretFile: the file cannot be read"},
		"secret in place of a file":     {"name: oidc, issuerURL: 'https://idp', clientID: id, clientSecretFile: " + marker, "clientSecretFile: there is no such file"},
		"no issuer":                     {"name: oidc, " + creds, `issuerURL: is required for "oidc"`},
		"AS-META-01 http issuer":        {"name: oidc, issuerURL: 'http://idp', " + creds, "issuerURL: must use https"},
		"AS-META-01 issuer query":       {"name: oidc, issuerURL: 'https://idp/?a=" + marker + "', " + creds, `issuerURL: "https://idp/?…" must not have a query`},
		"AS-META-01 issuer empty query": {"name: oidc, issuerURL: 'https://idp/?', " + creds, "issuerURL: must not have a query"},
		"AS-META-01 issuer fragment":    {"name: oidc, issuerURL: 'https://idp/#', " + creds, "issuerURL: must not have a fragment"},
		"issuer with password":          {"name: oidc, issuerURL: 'https://u:" + marker + "@idp/', " + creds, "issuerURL: the URL must not hold a user name"},
		"issuer is no URL":              {"name: oidc, issuerURL: 'idp.example.com', " + creds, `issuerURL: "idp.example.com" is not an http or https URL`},
		"loopback by name only":         {"name: oidc, issuerURL: 'http://localhost.example.com', " + creds, "issuerURL: must use https"},
		"issuer for google":             {"name: google, allowAnyUser: true, issuerURL: 'https://idp', " + creds, `issuerURL: has no meaning for provider "google"`},
		"base URL for oidc":             {"name: oidc, issuerURL: 'https://idp', baseURL: 'https://x', " + creds, "baseURL: has no meaning"},
		"microsoft":                     {"name: microsoft, tenants: [" + tenant + "], " + creds, ""},
		"microsoft in another cloud":    {"name: microsoft, baseURL: 'https://login.microsoftonline.us/', tenants: [" + tenant + "], " + creds, ""},
		"microsoft at large":            {"name: microsoft, allowAnyUser: true, " + creds, ""},
		"microsoft by omission":         {"name: microsoft, allowedEmailDomains: [a], " + creds, `tenants: is required for "microsoft", where anyone`},
		"microsoft's unknown cloud":     {"name: microsoft, baseURL: 'https://login.example.com', tenants: [" + tenant + "], " + creds, `baseURL: "https://login.example.com" is not one of`},
		"microsoft without profile":     {"name: microsoft, scopes: [openid], tenants: [" + tenant + "], " + creds, `scopes: must include "profile"`},
		"tenant by name":                {"name: microsoft, tenants: [contoso.com], " + creds, `tenants[0]: "contoso.com" is not a directory id`},
		"tenant twice":                  {"name: microsoft, tenants: [" + tenant + ", " + strings.ToUpper(tenant) + "], " + creds, "tenants[1]: "},
		"tenant and everyone":           {"name: microsoft, allowAnyUser: true, tenants: [" + tenant + "], " + creds, "allowAnyUser: contradicts provider.tenants"},
		"AS-FED-06 any address":         {"name: microsoft, allowAnyUser: true, insecureTrustUnverifiedEmail: true, " + creds, "insecureTrustUnverifiedEmail: is refused"},
		"unverified addresses":          {"name: oidc, issuerURL: 'https://idp', insecureTrustUnverifiedEmail: true, " + creds, ""},
		"unverified at google":          {"name: google, allowAnyUser: true, insecureTrustUnverifiedEmail: true, " + creds, "insecureTrustUnverifiedEmail: has no meaning"},
		"tenants for oidc":              {"name: oidc, issuerURL: 'https://idp', tenants: [" + tenant + "], " + creds, "tenants: has no meaning"},
		"hosted domains":                {"name: google, hostedDomains: [Example.com], " + creds, ""},
		"hosted domain pattern":         {"name: google, hostedDomains: ['*.example.com'], " + creds, `hostedDomains[0]: "*.example.com" is not a domain`},
		"hosted domains and everyone":   {"name: google, hostedDomains: [example.com], allowAnyUser: true, " + creds, "allowAnyUser: contradicts provider.hostedDomains"},
		"organizations":                 {"name: github, allowedOrganizations: [Octo-Org, octo-org/sec_team], " + creds, ""},
		"organization by URL":           {"name: github, allowedOrganizations: ['https://github.com/x'], " + creds, "allowedOrganizations[0]: "},
		"organizations unasked":         {"name: github, scopes: [user:email], allowedOrganizations: [x], " + creds, `scopes: must include "read:org"`},
		"organizations for oidc":        {"name: oidc, issuerURL: 'https://idp', allowedOrganizations: [x], " + creds, "allowedOrganizations: has no meaning"},
		"groups filter":                 {"name: oidc, issuerURL: 'https://idp', groupsFilter: ['mcp-*'], " + creds, ""},
		"groups filter inside":          {"name: oidc, issuerURL: 'https://idp', groupsFilter: ['*-mcp'], " + creds, "groupsFilter[0]: "},
		"claims":                        {"name: oidc, issuerURL: 'https://idp', groupsClaim: /resource_access/mcp/roles, nameClaim: 'https://corp.example/name', " + creds, ""},
		"AS-FED-06 address by itself":   {"name: oidc, issuerURL: 'https://idp', emailClaim: mail, " + creds, "emailVerifiedClaim: is required with provider.emailClaim"},
		"AS-FED-06 address and word":    {"name: oidc, issuerURL: 'https://idp', emailClaim: /u/mail, emailVerifiedClaim: /u/ok, " + creds, ""},
		"AS-FED-06 address on trust":    {"name: oidc, issuerURL: 'https://idp', emailClaim: mail, insecureTrustUnverifiedEmail: true, " + creds, ""},
		"pointer with a bad escape":     {"name: oidc, issuerURL: 'https://idp', groupsClaim: /a~2, " + creds, "groupsClaim: "},
		"subject claim for google":      {"name: google, allowAnyUser: true, subjectClaim: email, " + creds, "subjectClaim: has no meaning"},
		"acr":                           {"name: oidc, issuerURL: 'https://idp', acrValues: [phr, 'urn:x'], " + creds, ""},
		"two acr in one":                {"name: oidc, issuerURL: 'https://idp', acrValues: ['a b'], " + creds, "acrValues[0]: "},
		"parameters":                    {"name: oidc, issuerURL: 'https://idp', authorizationParams: {audience: 'https://x', ui_locales: de}, " + creds, ""},
		"parameter of the protocol":     {"name: oidc, issuerURL: 'https://idp', authorizationParams: {redirect_uri: 'https://x'}, " + creds, "authorizationParams.redirect_uri: is a parameter of the protocol"},
		"parameter in capitals":         {"name: oidc, issuerURL: 'https://idp', authorizationParams: {State: x}, " + creds, "authorizationParams.State: is a parameter of the protocol"},
		"parameter that is a number":    {"name: oidc, issuerURL: 'https://idp', authorizationParams: {max_age: 5}, " + creds, "authorizationParams.max_age: must be text, not a number"},
		"parameters in a list":          {"name: oidc, issuerURL: 'https://idp', authorizationParams: [a], " + creds, "authorizationParams: must be a mapping"},
		"parameter with an odd name":    {"name: oidc, issuerURL: 'https://idp', authorizationParams: {'a&b': c}, " + creds, "authorizationParams.(a key that is not a plain word): is not the name"},
		"resource for microsoft":        {"name: microsoft, tenants: [" + tenant + "], authorizationParams: {resource: x}, " + creds, "authorizationParams.resource: is refused"},
		"oauth2":                        {"name: oauth2, " + endpoints + ", " + creds, ""},
		"oauth2 without endpoints":      {"name: oauth2, " + endpoints[:strings.LastIndex(endpoints, ",")] + ", " + creds, `userinfoURL: is required for "oauth2"`},
		"oauth2 by http":                {"name: oauth2, " + strings.Replace(endpoints, "https://idp/token", "http://idp/token", 1) + ", " + creds, "tokenURL: must use https"},
		"oauth2's secret in the body":   {"name: oauth2, clientAuthMethod: client_secret_post, subjectClaim: id, scopes: [read], " + endpoints + ", " + creds, ""},
		"oauth2's secret elsewhere":     {"name: oauth2, clientAuthMethod: query, " + endpoints + ", " + creds, "clientAuthMethod: "},
		"oauth2 for all by omission":    {"name: oauth2, " + strings.TrimPrefix(endpoints, "allowAnyUser: true, ") + ", " + creds, `allowedEmailDomains: is required for "oauth2"`},
		"endpoints for oidc":            {"name: oidc, issuerURL: 'https://idp', tokenURL: 'https://idp/token', " + creds, "tokenURL: has no meaning"},
		"base URL with a path":          {"name: github, allowAnyUser: true, baseURL: 'https://x/api/v3', " + creds, "baseURL: has a path"},
		"base URL by http":              {"name: github, allowAnyUser: true, baseURL: 'http://x', " + creds, "baseURL: must use https"},
		"groups claim for google":       {"name: google, allowAnyUser: true, groupsClaim: g, " + creds, "groupsClaim: has no meaning"},
		"scopes without openid":         {"name: oidc, issuerURL: 'https://idp', scopes: [email], " + creds, `scopes: must include "openid"`},
		"two scopes in one":             {"name: oidc, issuerURL: 'https://idp', scopes: [openid, 'a b'], " + creds, `scopes[1]: "a b" is not a scope`},
		"google for all by omission":    {"name: google, " + creds, `allowedEmailDomains: is required for "google", where anyone`},
		"github for all by omission":    {"name: github, allowedEmailDomains: [], " + creds, `allowedEmailDomains: is required for "github", where anyone`},
		"domains and everyone":          {"name: oidc, issuerURL: 'https://idp', allowedEmailDomains: [a], allowAnyUser: true, " + creds, "allowAnyUser: contradicts"},
		"domain is no pattern":          {"name: google, allowedEmailDomains: ['*.example.com'], " + creds, "allowedEmailDomains[0]: is not a Go regular expression: missing argument"},
		"ATK-09 domain breaks out":      {"name: google, allowedEmailDomains: ['a)|(?:.*'], " + creds, "allowedEmailDomains[0]: is not a Go regular expression"},
		"ATK-09 domain quotes out":      {"name: google, allowedEmailDomains: ['a\\Q'], " + creds, "allowedEmailDomains[0]: is not a Go regular expression"},
		"empty domain":                  {"name: google, allowedEmailDomains: [''], " + creds, "allowedEmailDomains[0]: is empty"},
		"domain with an @":              {"name: google, allowedEmailDomains: ['.*@example\\.com'], " + creds, `allowedEmailDomains[0]: holds an "@"`},
		"domain in capitals":            {"name: google, allowedEmailDomains: ['Example\\.com'], " + creds, "allowedEmailDomains[0]: holds a capital letter"},
		"domain in either case":         {"name: google, allowedEmailDomains: ['(?i)Example\\.com'], " + creds, ""},
		"long domain pattern":           {"name: google, allowedEmailDomains: ['" + strings.Repeat("a", 1001) + "'], " + creds, "allowedEmailDomains[0]: is longer than"},
		"static":                        {"name: static, users: [" + user + ", {username: Jane, email: j@example.com, name: J, groups: [a, b], passwordHash: '" + hash10 + "'}]", ""},
		"static without users":          {"name: static", `users: is required for "static": at least one user`},
		"static with client id":         {"name: static, clientID: a, users: [" + user + "]", `clientID: has no meaning`},
		"static with scopes":            {"name: static, scopes: [openid], users: [" + user + "]", `scopes: has no meaning`},
		"users for oidc":                {"name: oidc, issuerURL: 'https://idp', users: [" + user + "], " + creds, "users: has no meaning"},
		"two users of one name":         {"name: static, users: [" + user + ", " + user + "]", `users[1].username: "jane" is the name of provider.users[0] too`},
		"user without name":             {"name: static, users: [{passwordHash: '" + hash10 + "'}]", "users[0].username: is required"},
		"user with a hidden letter":     {"name: static, users: [{username: \"ja\\u202ene\", passwordHash: '" + hash10 + "'}]", "users[0].username: holds a control or invisible character"},
		"user without hash":             {"name: static, users: [{username: a}]", "users[0].passwordHash: is required"},
		"password instead of a hash":    {"name: static, users: [{username: a, passwordHash: " + marker + "}]", "users[0].passwordHash: is neither a bcrypt nor an argon2id hash"},
		"hash and more":                 {"name: static, users: [{username: a, passwordHash: '" + hash10 + "x'}]", "users[0].passwordHash: is neither a bcrypt nor an argon2id hash"},
		"cheap hash":                    {"name: static, users: [{username: a, passwordHash: '" + hash09 + "'}]", "users[0].passwordHash: is a bcrypt hash of a cost below 10"},
		"dear hash":                     {"name: static, users: [{username: a, passwordHash: '" + strings.Replace(hash09, "09", "31", 1) + "'}]", "users[0].passwordHash: is a bcrypt hash of a cost above 15"},
		"user's address":                {"name: static, users: [{username: a, email: 'A <a@b.example>', passwordHash: '" + hash10 + "'}]", "users[0].email: is not an e-mail address"},
		"group twice":                   {"name: static, users: [{username: a, groups: [b, c, b], passwordHash: '" + hash10 + "'}]", "users[0].groups[2]: is listed twice"},
		"empty group":                   {"name: static, users: [{username: a, groups: [''], passwordHash: '" + hash10 + "'}]", "users[0].groups[0]: is empty"},
		"many groups":                   {"name: static, users: [{username: a, groups: [" + strings.Repeat("b,", 101) + "], passwordHash: '" + hash10 + "'}]", "users[0].groups: has 101 entries"},
		"user's name with a space":      {"name: static, users: [{username: 'a ', passwordHash: '" + hash10 + "'}]", "users[0].username: begins or ends with a space"},
		"two groups in one":             {"name: static, users: [{username: a, groups: ['b,c'], passwordHash: '" + hash10 + "'}]", "users[0].groups[0]: holds a comma"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "provider: {" + tt.provider + "}\n" + proxy
			if tt.want == "" {
				mustParse(t, text)
				return
			}
			refused(t, text, "provider."+tt.want)
		})
	}
}

func TestHosts(t *testing.T) {
	const endpoint = ", endpoint: 'http://mcp:8080/mcp'"
	for name, tt := range map[string]struct{ hosts, want string }{
		"name with port":                         {"{host: 'a.example:8443'" + endpoint + "}", ""},
		"IPv4":                                   {"{host: 192.0.2.1" + endpoint + "}", ""},
		"IPv6":                                   {"{host: '[2001:db8::1]:8443'" + endpoint + "}", ""},
		"punycode":                               {"{host: xn--bcher-kva.example" + endpoint + "}", ""},
		"one label":                              {"{host: mcp" + endpoint + "}", ""},
		"http on loopback":                       {"{host: '127.1.2.3:80', scheme: http" + endpoint + "}", ""},
		"nested paths":                           {"{host: a.example" + endpoint + "}, {host: a.example, path: /mcp/b" + endpoint + "}, {host: a.example, path: /" + endpoint + "}", ""},
		"no host":                                {"{endpoint: 'http://x/'}", "[0].host: is required"},
		"capitals":                               {"{host: MCP.example.com" + endpoint + "}", `[0].host: must be in lower case: "mcp.example.com"`},
		"URL":                                    {"{host: 'https://a.example'" + endpoint + "}", "[0].host: is a URL; write the host alone"},
		"path in host":                           {"{host: 'a.example/mcp'" + endpoint + "}", "[0].host: the path goes into the key path"},
		"query in host":                          {"{host: 'a.example?x'" + endpoint + "}", "[0].host: has more than a host"},
		"user in host":                           {"{host: 'u:" + marker + "@a.example'" + endpoint + "}", "[0].host: must not hold a user name"},
		"wildcard":                               {"{host: '*.example.com'" + endpoint + "}", "[0].host: has a wildcard"},
		"IDN":                                    {"{host: bücher.example" + endpoint + "}", `[0].host: must be written in punycode: "xn--bcher-kva.example"`},
		"full-width letters":                     {"{host: ｅxample.com" + endpoint + "}", `[0].host: must be written in punycode: "example.com"`},
		"broken punycode":                        {"{host: xn--a.example" + endpoint + "}", "[0].host: holds invalid punycode"},
		"final dot":                              {"{host: a.example." + endpoint + "}", "[0].host: must not end with a dot"},
		"empty label":                            {"{host: a..example" + endpoint + "}", "[0].host: is not a DNS name"},
		"underscore":                             {"{host: a_b.example" + endpoint + "}", "[0].host: is not a DNS name"},
		"leading dash":                           {"{host: -a.example" + endpoint + "}", "[0].host: is not a DNS name"},
		"long label":                             {"{host: " + strings.Repeat("a", 64) + ".example" + endpoint + "}", "[0].host: is not a DNS name"},
		"space":                                  {"{host: 'a example'" + endpoint + "}", "[0].host: is not a DNS name"},
		"newline":                                {"{host: \"a.example\\n\"" + endpoint + "}", "[0].host: is not a DNS name"},
		"IPv4 with zeros":                        {"{host: 192.0.2.01" + endpoint + "}", "[0].host: is not a DNS name"},
		"IPv4 in hexadecimal":                    {"{host: '0x7f.0x1'" + endpoint + "}", "[0].host: is not a DNS name"},
		"IPv4 as a number":                       {"{host: '2130706433'" + endpoint + "}", "[0].host: is not a DNS name"},
		"IPv6 without brackets":                  {"{host: '2001:db8::1'" + endpoint + "}", "[0].host: needs brackets"},
		"IPv6 the long way":                      {"{host: '[2001:db8:0::1]'" + endpoint + "}", `[0].host: must be written "2001:db8::1"`},
		"IPv6 with a zone":                       {"{host: '[fe80::1%eth0]'" + endpoint + "}", "[0].host: without zone"},
		"IPv4 in brackets":                       {"{host: '[192.0.2.1]'" + endpoint + "}", "[0].host: has brackets"},
		"bracket left open":                      {"{host: '[::1'" + endpoint + "}", "[0].host: is not an IPv6 address"},
		"more after the bracket":                 {"{host: '[::1]x'" + endpoint + "}", "[0].host: is not an IPv6 address"},
		"port 0":                                 {"{host: 'a.example:0'" + endpoint + "}", "[0].host: has no port number"},
		"port with a zero":                       {"{host: 'a.example:0443'" + endpoint + "}", "[0].host: has no port number"},
		"port too high":                          {"{host: 'a.example:65536'" + endpoint + "}", "[0].host: has no port number"},
		"colon alone":                            {"{host: 'a.example:'" + endpoint + "}", "[0].host: has no port number"},
		"http in public":                         {"{host: a.example, scheme: http" + endpoint + "}", "[0].scheme: http is for localhost"},
		"http on a private network":              {"{host: 10.0.0.1, scheme: http" + endpoint + "}", "[0].scheme: http is for localhost"},
		"another scheme":                         {"{host: a.example, scheme: HTTPS" + endpoint + "}", `[0].scheme: "HTTPS" is not one of`},
		"two schemes":                            {"{host: localhost" + endpoint + "}, {host: localhost, path: /b, scheme: http" + endpoint + "}", `[1].scheme: "localhost" has scheme "https" in proxy.hosts[0]`},
		"same place":                             {"{host: a.example" + endpoint + "}, {host: 'a.example:443', path: /mcp/" + endpoint + "}", `[1].host: "a.example" with path "/mcp" is proxy.hosts[0] already`},
		"IPv4 in octal, invalid":                 {"{host: a.08" + endpoint + "}", "[0].host: is not a DNS name"},
		"a malformed path is no duplicate":       {"{host: a.example" + endpoint + "}, {host: a.example, path: 5" + endpoint + "}", "[1].path: must be text, not a number"},
		"a malformed scheme is no second scheme": {"{host: localhost, scheme: http" + endpoint + "}, {host: localhost, path: /b, scheme: 5" + endpoint + "}", "[1].scheme: must be text, not a number"},
		"brackets around a name":                 {"{host: '[a.example]'" + endpoint + "}", "[0].host: is not an IPv6 address"},
		"long endpoint":                          {"{host: a.example, path: /, endpoint: 'http://" + strings.Repeat("a", conf.MaxURL) + "/'}", "[0].endpoint: is too long"},
		"duplicate and a bad endpoint at once":   {"{host: a.example" + endpoint + "}, {host: a.example, path: /mcp, endpoint: x}", "[1].host: is proxy.hosts[0] already"},
		"no endpoint":                            {"{host: a.example}", "[0].endpoint: is required"},
		"endpoint by ftp":                        {"{host: a.example, endpoint: 'ftp://x'}", `[0].endpoint: "ftp://x" is not an http or https URL`},
		"endpoint without host":                  {"{host: a.example, endpoint: 'http:///mcp'}", "[0].endpoint: is not an http or https URL"},
		"opaque endpoint":                        {"{host: a.example, endpoint: 'http:mcp'}", "[0].endpoint: is not an http or https URL"},
		"relative endpoint":                      {"{host: a.example, endpoint: /mcp}", "[0].endpoint: is not an http or https URL"},
		"endpoint with password":                 {"{host: a.example, endpoint: 'http://u:" + marker + "@x/'}", "[0].endpoint: the URL must not hold a user name"},
		"endpoint with bad password":             {"{host: a.example, endpoint: 'http://u:" + marker + "%@x/'}", "[0].endpoint: the URL is not an http or https URL"},
		"endpoint with fragment":                 {"{host: a.example, endpoint: 'http://x/#" + marker + "'}", "[0].endpoint: must not have a fragment"},
		"endpoint's port":                        {"{host: a.example, endpoint: 'http://x:70000/'}", "[0].endpoint: has no port number"},
		"endpoint's path unfit":                  {"{host: a.example, endpoint: 'http://x/a%20b'}", `[0].path: is required here, because the path of endpoint, "/a%20b",`},
		"endpoint's path taken":                  {"{host: a.example, endpoint: 'http://x/token'}", "[0].path: is required here"},
		"relative path":                          {"{host: a.example, path: mcp" + endpoint + "}", `[0].path: does not begin with "/"`},
		"double slash":                           {"{host: a.example, path: /a//b" + endpoint + "}", "[0].path: has an empty"},
		"two slashes":                            {"{host: a.example, path: //" + endpoint + "}", "[0].path: has an empty"},
		"two final slashes":                      {"{host: a.example, path: /a//" + endpoint + "}", "[0].path: has an empty"},
		"dot segment":                            {"{host: a.example, path: /a/../b" + endpoint + "}", "[0].path: has an empty"},
		"escape":                                 {"{host: a.example, path: /a%2fb" + endpoint + "}", "[0].path: holds a character"},
		"path parameter":                         {"{host: a.example, path: /a;b" + endpoint + "}", "[0].path: holds a character"},
		"backslash":                              {"{host: a.example, path: '/a\\b'" + endpoint + "}", "[0].path: holds a character"},
		"query":                                  {"{host: a.example, path: '/a?b'" + endpoint + "}", "[0].path: holds a character"},
		"fragment":                               {"{host: a.example, path: '/a#b'" + endpoint + "}", "[0].path: holds a character"},
		"line break in path":                     {"{host: a.example, path: \"/a\\nb\"" + endpoint + "}", "[0].path: holds a character"},
		"long path":                              {"{host: a.example, path: /" + strings.Repeat("a", conf.MaxURL) + endpoint + "}", "[0].path: is too long"},
		"well-known in the middle":               {"{host: a.example, path: /a/.well-known/b" + endpoint + "}", "[0].path: collides with /.well-known"},
		"well-known at the end":                  {"{host: a.example, path: /a/.well-known" + endpoint + "}", "[0].path: collides with /.well-known"},
		"below an own path":                      {"{host: a.example, path: /openid/v1" + endpoint + "}", "[0].path: collides with /openid"},
		"beside an own path":                     {"{host: a.example, path: /tokens" + endpoint + "}, {host: a.example, path: /mcp/token" + endpoint + "}", ""},
		"display name":                           {"{host: a.example, displayName: \"a\\tb\"" + endpoint + "}", "[0].displayName: holds a control"},
		"long display name":                      {"{host: a.example, displayName: " + strings.Repeat("a", 201) + endpoint + "}", "[0].displayName: is longer than"},
		"offline_access":                         {"{host: a.example, defaultScopes: [offline_access]" + endpoint + "}", "[0].defaultScopes[0]: offline_access is a matter"},
		"scope twice":                            {"{host: a.example, defaultScopes: [a, a]" + endpoint + "}", `[0].defaultScopes[1]: "a" is listed twice`},
		"scope with a quote":                     {"{host: a.example, defaultScopes: ['a\"']" + endpoint + "}", "[0].defaultScopes[0]: is not a scope"},
		"empty scope":                            {"{host: a.example, defaultScopes: ['']" + endpoint + "}", "[0].defaultScopes[0]: is not a scope"},
	} {
		t.Run(name, func(t *testing.T) {
			text := oidc + "proxy: {hosts: [" + tt.hosts + "]}\n"
			if tt.want == "" {
				mustParse(t, text)
				return
			}
			want := []string{"proxy.hosts" + tt.want}
			if strings.HasPrefix(name, "duplicate and") {
				want = append(want, "proxy.hosts[1].endpoint: is not an http or https URL")
			}
			refused(t, text, want...)
		})
	}
	for _, own := range ownPaths {
		t.Run("own path "+own, func(t *testing.T) {
			refused(t, oidc+"proxy: {hosts: [{host: a.example, path: /"+own+endpoint+"}]}", "proxy.hosts[0].path: collides with /"+own)
		})
	}
}

// Without the consent page, a pattern that admits a stranger's host gives that
// stranger the tokens of everyone who follows a link.
func TestRedirectPatterns(t *testing.T) {
	for pattern, pins := range map[string]bool{
		`https://app\.example\.com/callback`:                true,
		`https://app\.example\.com/.*`:                      true,
		`https://(a|b)\.example\.com/cb`:                    true,
		`https://[a-z0-9-]+\.apps\.example\.com(:8443)?/cb`: true,
		`http://(localhost|127\.0\.0\.1|\[::1\]):[0-9]+/.*`: true,
		`http://localhost(:\d+)?/callback`:                  true,
		`cursor://anysphere\.cursor-retrieval/.*`:           true,
		`(?i)https://app\.example\.com/callback`:            true,
		`.*`:                                                false,
		`(?s).+`:                                            false,
		`https://.*`:                                        false,
		`https?://[^/]+/callback`:                           false,
		`https://.*\.example\.com/callback`:                 false,
		`https://[^/]*\.example\.com/callback`:              false,
		`https://[^/?]*\.example\.com/callback`:             false,
		`http://localhost.*`:                                false,
		`http://localhost:.*`:                               false,
		`http://127\.0\.0\.1.*`:                             false,
		`https://app\.example\.com/cb|https://attacker.*`:   false,
		`(https://app\.example\.com/cb)?|.{1,200}`:          false,
		`[a-z]+:.*`:                                         false,
		`(?i)HTTPS://ATTACKER\.EXAMPLE/.*`:                  false,
	} {
		t.Run("ATK-09 "+pattern, func(t *testing.T) {
			hosts := strings.TrimSuffix(strings.TrimSpace(proxy), "}")
			text := oidc + hosts + ", allowedRedirectURLs: ['" + pattern + "']"
			mustParse(t, text+"}") // behind consent it is the operator's choice
			text += ", disableConsentScreen: true}"
			if pins {
				mustParse(t, text)
				return
			}
			refused(t, text, "proxy.allowedRedirectURLs[0]: needs the consent screen")
		})
	}
}

// Every entry that cannot be a private-use scheme is told, with what is wrong with it.
func TestRedirectSchemes(t *testing.T) {
	text := oidc + strings.TrimSuffix(strings.TrimSpace(proxy), "}")
	c := mustParse(t, text+", allowedRedirectSchemes: [vscodium, com.example.app]}")
	if !slices.Equal(c.RedirectSchemes, []string{"vscodium", "com.example.app"}) {
		t.Errorf("%q", c.RedirectSchemes)
	}
	bad := text + ", allowedRedirectSchemes: ['vscodium://', Vscodium, javascript, https, '']}"
	var want []string
	for i, why := range []string{`"vscodium://" is not the name of a scheme`, `"Vscodium" is not the name`, `"javascript" is a scheme that browsers act on themselves`, `"https" is not a private-use scheme`, `"" is not the name`} {
		want = append(want, "proxy.allowedRedirectSchemes["+strconv.Itoa(i)+"]: "+why)
	}
	refused(t, bad, want...)
	refused(t, strings.Replace(text, "hosts: [{", "hosts: [{holdChangedTools: true, ", 1)+", disableConsentScreen: true, allowedRedirectURLs: ['https://a\\.example/cb']}", "proxy.hosts[0].holdChangedTools: needs the consent screen")
	refused(t, text+", allowedRedirectSchemes: [vscodium], disableConsentScreen: true, allowedRedirectURLs: ['https://a\\.example/cb']}", "proxy.allowedRedirectSchemes: needs the consent screen")
}

func TestOtherSections(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"no consent, no list":         {"disableConsentScreen", "proxy.disableConsentScreen: needs proxy.allowedRedirectURLs"},
		"listen without port":         {"listen: {http: localhost}", `listen.http: "localhost" is not an address`},
		"listen on port number alone": {"listen: {http: '8080'}", `listen.http: "8080" is not an address`},
		"listen on a named port":      {"listen: {http: ':http'}", "listen.http: has no port number"},
		"listen on port too high":     {"listen: {http: ':65536'}", "listen.http: has no port number"},
		"listen on a bad host":        {"listen: {http: 'a b:80'}", "listen.http: has neither an IP address"},
		"listen on any port":          {"listen: {http: '127.0.0.1:0', management: '127.0.0.1:0'}", ""},
		"listen twice":                {"listen: {http: ':9090'}", `listen.management: ":9090" is taken by listen.http`},
		"listen twice on one host":    {"listen: {http: '127.0.0.1:9090', management: ':9090'}", "listen.management: is taken by listen.http"},
		"one port on two hosts":       {"listen: {http: '127.0.0.1:80', management: '127.0.0.2:80'}", ""},
		"logging level":               {"logging: {level: trace}", `logging.level: "trace" is not one of "debug", "info", "warn", "error"`},
		"keys source":                 {"keys: {source: vault}", `keys.source: "vault" is not one of`},
		"seeds without source":        {"keys: {seedFiles: [seed]}", `keys.seedFiles: is used only where keys.source is "seed"`},
		"source without seeds":        {"keys: {source: seed}", "keys.seedFiles: is required"},
		"short seed":                  {"keys: {source: seed, seedFiles: [seed, short]}", "keys.seedFiles[1]: the file holds 31 bytes"},
		"seed twice":                  {"keys: {source: seed, seedFiles: [seed, seed]}", "keys.seedFiles[1]: is the same file as keys.seedFiles[0]"},
		"no seed":                     {"keys: {source: seed, seedFiles: [" + marker + "]}", "keys.seedFiles[0]: there is no such file"},
		"empty seed name":             {"keys: {source: seed, seedFiles: ['']}", "keys.seedFiles[0]: is empty; name a file"},
		"many seeds":                  {"keys: {source: seed, seedFiles: [" + strings.Repeat("seed,", 17) + "]}", "keys.seedFiles: has 17 entries; at most 16"},
		"rotation too fast":           {"keys: {rotation: 9m59s}", `keys.rotation: "9m59s" is not between 10m and 24h`},
		"rotation too slow":           {"keys: {rotation: 24h1s}", "keys.rotation: is not between 10m and 24h"},
		"rotation at the bounds":      {"keys: {rotation: 10m}", ""},
		"rotation in days":            {"keys: {rotation: 1d}", `keys.rotation: "1d" is not a duration such as`},
		"negative lifetime":           {"tokens: {accessTokenLifetime: -5m}", "tokens.accessTokenLifetime: is not between 1m and 1h"},
		"short lifetime":              {"tokens: {accessTokenLifetime: 59s}", "tokens.accessTokenLifetime: is not between 1m and 1h"},
		"long lifetime":               {"tokens: {accessTokenLifetime: 61m}", "tokens.accessTokenLifetime: is not between 1m and 1h"},
		"too few tokens remembered":   {"tokens: {remembered: 1023}", "tokens.remembered: 1023 is not between 1024 and 16777216"},
		"too many tokens remembered":  {"tokens: {remembered: 16777217}", "tokens.remembered: 16777217 is not between 1024 and 16777216"},
		"a million tokens remembered": {"tokens: {remembered: 1000000}", ""},
		"short refresh lifetime":      {"tokens: {refreshTokenIdleLifetime: 59m}", "tokens.refreshTokenIdleLifetime: is not between 1h and 8760h"},
		"long refresh lifetime":       {"tokens: {refreshTokenLifetime: 8761h}", "tokens.refreshTokenLifetime: is not between 1h and 8760h"},
		"idle for longer than alive":  {"tokens: {refreshTokenIdleLifetime: 3h, refreshTokenLifetime: 2h}", "tokens.refreshTokenLifetime: is less than tokens.refreshTokenIdleLifetime"},
		"no such deny-list":           {"denyList: {file: nosuch}", "denyList.file: there is no such file"},
		"forbidden deny-list":         {"denyList: {file: forbidden}", "denyList.file: permission to read"},
		"header with a space":         {"identityHeaders: {user: 'X User'}", "identityHeaders.user: is not a header name"},
		"header with an underscore":   {"identityHeaders: {user: X_User}", "identityHeaders.user: is not a header name"},
		"header with a line break":    {"identityHeaders: {user: \"X-A\\r\\nX-B\"}", "identityHeaders.user: is not a header name"},
		"header twice":                {"identityHeaders: {groups: x-auth-request-USER}", `identityHeaders.groups: is the header of identityHeaders.user too`},
	} {
		t.Run(name, func(t *testing.T) {
			text := minimal + tt.text + "\n"
			if tt.text == "disableConsentScreen" {
				text = strings.Replace(minimal, "proxy: {", "proxy: {disableConsentScreen: true, ", 1)
			}
			if tt.want == "" {
				mustParse(t, text)
				return
			}
			refused(t, text, tt.want)
		})
	}
	// Both mistakes at once: neither a number, nor one without its unit.
	for _, key := range []string{"tokens.accessTokenLifetime", "tokens.refreshTokenLifetime", "tokens.refreshTokenIdleLifetime", "keys.rotation"} {
		section, name, _ := strings.Cut(key, ".")
		refused(t, minimal+section+": {"+name+": 3600}", key+": must be text, not a number; put it in quotes, and write it like \"")
	}
	for _, header := range []string{"Authorization", "host", "Cookie", "Set-Cookie", "Content-Type", "Mcp-Session-Id", "MCP-Protocol-Version",
		"Connection", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Original-URL", "Origin"} {
		t.Run("reserved header "+header, func(t *testing.T) {
			refused(t, minimal+"identityHeaders: {email: "+header+"}", "identityHeaders.email: has a meaning of its own")
		})
	}
}

func TestBounds(t *testing.T) {
	many := func(n int, entry string) string { return strings.Repeat(entry+",", n) }
	for name, tt := range map[string]struct{ text, want string }{
		"hosts":     {oidc + "proxy: {hosts: [" + many(10_001, "{host: a}") + "]}", "proxy.hosts: has 10001 entries; at most 10000"},
		"redirects": {oidc + strings.Replace(proxy, "proxy: {", "proxy: {allowedRedirectURLs: ["+many(1001, "a")+"], ", 1), "proxy.allowedRedirectURLs: has 1001 entries"},
		"users":     {"provider: {name: static, users: [" + many(1001, "{username: a}") + "]}\n" + proxy, "provider.users: has 1001 entries"},
		"scopes":    {strings.Replace(minimal, "name: oidc", "name: oidc, scopes: [openid,"+many(100, "a")+"]", 1), "provider.scopes: has 101 entries"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.text, tt.want) })
	}
}

func TestManyHostsAreFast(t *testing.T) {
	var b strings.Builder
	b.WriteString(oidc + "proxy:\n  hosts:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  - {host: h%d.example.com, endpoint: 'http://h%d.ns.svc:8080/mcp'}\n", i, i)
	}
	start := time.Now()
	c := mustParse(t, b.String())
	if len(c.Hosts) != 10_000 {
		t.Fatalf("%d hosts", len(c.Hosts))
	}
	// A tenth of it without the race detector; quadratic work takes minutes.
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("10 000 hosts took %s", d)
	} else {
		t.Logf("10 000 hosts took %s", d)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("client", "from-file\n")
	text := strings.Replace(minimal, "clientSecret: "+marker, "clientSecretFile: client", 1)
	t.Run("relative to the configuration", func(t *testing.T) {
		c, err := Load(write("config.yaml", text))
		if err != nil || own[*openid.Settings](c).ClientSecret.Reveal() != "from-file" {
			t.Errorf("got %v, %v", c, err)
		}
	})
	t.Run("absolute", func(t *testing.T) {
		abs := strings.Replace(text, "File: client", "File: "+filepath.Join(dir, "client"), 1)
		if _, err := Load(write("config.yaml", abs)); err != nil {
			t.Error(err)
		}
	})
	t.Run("secret file is a directory", func(t *testing.T) {
		_, err := Load(write("config.yaml", strings.Replace(text, "File: client", "File: .", 1)))
		if err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the audit file among the other mistakes", func(t *testing.T) {
		_, err := Load(write("config.yaml", text+"audit: {file: nowhere/audit.log}\nlogging: {level: loud}\n"))
		if err == nil || !strings.Contains(err.Error(), "audit.file: there is no directory "+filepath.Join(dir, "nowhere")) || !strings.Contains(err.Error(), "logging.level: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no file", func(t *testing.T) {
		if _, err := Load(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		if _, err := Load(write("config.yaml", strings.Repeat("#", conf.MaxFileBytes+1))); !errors.Is(err, conf.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSecretDoesNotPrint(t *testing.T) {
	type nested struct {
		Public  conf.Secret
		private conf.Secret
		list    []conf.Secret
	}
	s := conf.NewSecret(marker)
	value := nested{s, s, []conf.Secret{s}}
	var outputs []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%z"} {
		if got := fmt.Sprintf(verb, s); got != conf.Redacted && verb != "%p" { // fmt answers %p itself, with the address
			t.Errorf("%s prints %s", verb, got)
		}
		outputs = append(outputs, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, value), fmt.Sprintf(verb, &value))
	}
	encoded, _ := json.Marshal(map[string]any{"a": s, "b": value})
	text, _ := yaml.Marshal(value)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "value", value)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "value", value)
	outputs = append(outputs, string(encoded), string(text), log.String())
	for _, output := range outputs {
		if strings.Contains(output, marker) || strings.Contains(output, fmt.Sprintf("%x", marker)) || strings.Contains(output, fmt.Sprintf("%X", marker)) {
			t.Errorf("printed: %s", output)
		}
	}
	if s.Reveal() != marker || s.IsZero() || !conf.NewSecret("").IsZero() || (conf.Secret{}).Reveal() != "" {
		t.Error("the secret is lost")
	}
}

func TestSummary(t *testing.T) {
	c := mustParse(t, strings.Replace(minimal, "/mcp/'", "/mcp?key="+marker+"'", 1))
	got := c.Summary()
	const want = `protocol listener     :8080
management listener   :9090 (never expose it)
log level             info
identity provider     oidc, issuer https://idp.example.com/, client "id"
who may sign in       every account of the identity provider
register at provider  https://mcp.example.com/callback
consent screen        on
redirect URLs         https, loopback and private-use schemes
dynamic registration  on
metadata documents    of every public host
configured clients    0
keys                  ephemeral (a restart ends all tokens; one replica only), a new signing key every 1h
access tokens         valid for 1h
refresh tokens        valid for 720h unused, at most 2160h after the sign-in
limits per minute     600 registrations, any number of requests of a client, 10 wrong passwords, any number of requests of an address
guard                 in memory (each replica for itself; a restart forgets)
introspection         off
deny-list             none
audit log             standard output
tracing               off
gate watch            off
identity headers      X-Auth-Request-User, X-Auth-Request-Email, X-Auth-Request-Groups
protected MCP servers 1
  https://mcp.example.com/mcp -> http://mcp:8080/mcp?…
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c = mustParse(t, "provider: {name: google, clientID: id, clientSecret: x, allowedEmailDomains: [a, b, c, d, e, f, g]}\n"+
		proxy+"registration: {dynamic: {enabled: false}}\nkeys: {source: seed, seedFiles: [seed], rotation: 90m}")
	for _, line := range []string{"e-mail address at ^(?:a)$, ^(?:b)$, ^(?:c)$, ^(?:d)$, ^(?:e)$, and 2 more\n", "registration  off\n", "derived from 1 seed(s), a new signing key every 1h30m\n"} {
		if got := c.Summary(); !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	for _, text := range []string{githubConfig, staticConfig} {
		if got := mustParse(t, text).Summary(); strings.Contains(got, marker) || strings.Contains(got, hash10) {
			t.Errorf("a secret is in\n%s", got)
		}
	}
}

// Accepted means that neither the configuration nor its summary prints a
// secret, and that writing the file again gives the same configuration.
// Refused means that no message holds a secret.
func FuzzParse(f *testing.F) {
	for _, text := range []string{minimal, githubConfig, staticConfig, "", "a: *b", "---\n---\n", minimal + "keys: {source: seed, seedFiles: [seed]}"} {
		f.Add([]byte(text))
	}
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	readFile := func(string) ([]byte, error) { return []byte(marker + marker), nil }
	f.Fuzz(func(t *testing.T, data []byte) {
		// Every file holds its own name, so that what is read can be written down again.
		named := func(name string) ([]byte, error) { return []byte(name), nil }
		var file File
		(&conf.Check{ReadFile: named}).Decode(data, &file)
		written, err := json.Marshal(conftest.Document(file))
		if err != nil {
			t.Fatal(err)
		}
		// The fuzzer may put any text anywhere; only ours is surely secret.
		marked := mark(file.Provider.Settings)
		secret, err := json.Marshal(conftest.Document(file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(secret), marker) == marked && marked > 0 {
			if c, err := Parse(secret, readFile); err != nil {
				noSecret(t, err.Error())
			} else {
				noSecret(t, c.Summary(), fmt.Sprintf("%+v", c))
			}
		}

		c, err := Parse(data, readFile)
		if err != nil {
			if _, ok := errors.AsType[conf.Errors](err); !ok || err.Error() == "" {
				t.Fatalf("not a list of mistakes: %v", err)
			}
			return
		}
		again, err := Parse(written, readFile)
		if err != nil {
			t.Fatalf("refused when written again: %v", err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("differs when written again:\n%+v\n%+v", c, again)
		}
		if strings.Contains(string(data), marker[:6]) {
			return
		}
		mark(c.Providers[0].Settings)
		encoded, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		noSecret(t, c.Summary(), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", *c), string(encoded))
	})
}

func noSecret(t *testing.T, outputs ...string) {
	t.Helper()
	for _, output := range outputs {
		if strings.Contains(output, marker) {
			t.Fatalf("a secret is in: %s", output)
		}
	}
}

// One lifetime of refresh tokens alone moves the other where it has to.
func TestRefreshLifetimes(t *testing.T) {
	for text, want := range map[string][2]time.Duration{
		"":                                    {720 * time.Hour, 2160 * time.Hour},
		"tokens: {refreshTokenLifetime: 24h}": {24 * time.Hour, 24 * time.Hour},
		"tokens: {refreshTokenIdleLifetime: 4000h}": {4000 * time.Hour, 4000 * time.Hour},
		"tokens: {refreshTokenIdleLifetime: 2h}":    {2 * time.Hour, 2160 * time.Hour},
	} {
		tokens := mustParse(t, minimal+text).Tokens
		if got := [2]time.Duration{tokens.RefreshIdle, tokens.RefreshAbsolute}; got != want || !tokens.Refresh.Enabled {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// A relative deny-list is read long after the start, from the same place.
func TestDenyListPath(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"config.yaml": staticConfig + "denyList: {file: deny.yaml}\n", "deny.yaml": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "config.yaml"))
	if err != nil || c.DenyList != filepath.Join(dir, "deny.yaml") {
		t.Errorf("got %v, %v", c, err)
	}
}
