package migrate_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/migrate"
)

var update = flag.Bool("update", false, "write testdata and docs/migration")

// examples are configurations from the predecessors' own documents, with values where
// these have placeholders. The result of each is beside it, as NAME.golden.
var examples = []struct {
	kind, files string
	request     migrate.Request
}{
	{kind: "oauth2-proxy", files: "example.cfg"},
	{kind: "oauth2-proxy", files: "keycloak.sh", request: migrate.Request{Server: "http://notes.mcp.svc:8080/mcp"}},
	{kind: "oauth2-proxy", files: "github.env"},
	{kind: "mcp-oauth2-proxy", files: "values.yaml", request: migrate.Request{Chart: true}},
	{kind: "mcp-oauth2-proxy", files: "config.yaml"},
	{kind: "obot", files: "readme-docker.sh", request: migrate.Request{URL: "http://localhost:8080/mcp/gmail"}},
	{kind: "obot", files: "readme.env", request: migrate.Request{URL: "https://mcp.example.com/mcp", EmailDomains: []string{"example.com"}, Chart: true}},
	{kind: "wso2", files: "config.yaml"},
	{kind: "wso2", files: "asgardeo.yaml"},
	{kind: "wso2", files: "keycloak.yaml"},
	{kind: "wso2", files: "stdio.yaml"},
	{kind: "mcp-framework", files: "jwt.json"},
	{kind: "mcp-framework", files: "introspection.json"},
	{kind: "mcp-framework", files: "apikey.json", request: migrate.Request{URL: "https://mcp.example.com"}},
	{kind: "mcp-auth-proxy", files: "readme.sh"},
	{kind: "mcp-auth-proxy", files: "compose.env command.sh"},
}

// request reads the files of an example.
func request(t *testing.T, kind, files string, r migrate.Request) migrate.Request {
	t.Helper()
	k, err := migrate.Of(kind)
	if err != nil {
		t.Fatal(err)
	}
	r.Kind, r.SecretsDir = k, "/etc/mcp-forward-auth"
	for _, name := range strings.Fields(files) {
		text, err := os.ReadFile(filepath.Join("testdata", kind, name))
		if err != nil {
			t.Fatal(err)
		}
		r.Files = append(r.Files, migrate.File{Name: name, Text: text})
	}
	return r
}

// load is what check-config does with a result.
func load(result *migrate.Result) (*config.Config, error) {
	return config.Parse(result.Plain(), func(name string) ([]byte, error) {
		for _, s := range result.Secrets {
			if s.Path == name {
				return []byte(s.Value.Reveal()), nil
			}
		}
		return nil, fs.ErrNotExist
	})
}

// random is what differs from run to run: hashes of new keys, and when they end.
var random = regexp.MustCompile(`hashes: \[.*\]|expires: .*`)

func TestExamples(t *testing.T) {
	for _, e := range examples {
		t.Run(e.kind+"/"+e.files, func(t *testing.T) {
			result, err := migrate.Translate(request(t, e.kind, e.files, e.request))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := load(result); err != nil {
				t.Errorf("the result does not load: %v\n%s", err, result.Config)
			}
			var report strings.Builder
			if err := result.Report(&report, true); err != nil {
				t.Fatal(err)
			}
			got := random.ReplaceAllString(string(result.Config), "random") + "\n# Reported:\n# " + strings.ReplaceAll(strings.TrimSpace(report.String()), "\n", "\n# ") + "\n"
			golden := filepath.Join("testdata", e.kind, strings.Fields(e.files)[0]+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || string(want) != got {
				t.Errorf("%s is not what comes of it (%v); run this test with -update\n%s", golden, err, got)
			}
			for _, s := range result.Secrets {
				if v := strings.TrimSpace(s.Value.Reveal()); strings.Contains(got, v) {
					t.Errorf("the secret %s is shown", s.Name)
				}
			}
		})
	}
}

// What is wrong is said all at once, and no secret with it.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		kind, name, text string
		url              string
		want             []string
	}{
		{kind: "oauth2-proxy", name: "a.cfg", text: "client_id = 'x'\nclient_secrets_x = 'canary'\nfoo = 1", want: []string{"client_secrets_x: unknown option", "foo: unknown option"}},
		{kind: "oauth2-proxy", name: "a.cfg", text: "client_id = 'x\nclient_secret = 'canary'", want: []string{"it is not TOML, see line 1"}},
		{kind: "oauth2-proxy", name: "a.sh", text: "oauth2-proxy --client-id=x --client-secret=canary --client-secret-file=y --email-domain=* --github-repo=a/b --provider=github --upstream=http://a/mcp --redirect-url=https://a.example/cb",
			want: []string{"client-secret: stands beside client-secret-file", "github-repo: keeps people out and has no counterpart"}},
		{kind: "oauth2-proxy", name: "a.sh", text: "oauth2-proxy --client-id=x --client-id=y", want: []string{"client-id: given twice"}},
		{kind: "oauth2-proxy", name: "a.sh", text: `oauth2-proxy --client-secret "$SECRET"`, want: []string{"the shell would replace a part"}},
		{kind: "oauth2-proxy", name: "a.sh", text: "rm -rf /", want: []string{`"rm" is not a command of this predecessor`}},
		{kind: "oauth2-proxy", name: "a.sh", text: "oauth2-proxy --provider=linkedin --client-id=x --client-secret=canary --email-domain=a.com --upstream=http://a/mcp --redirect-url=https://a.example/cb", want: []string{`"linkedin" has no counterpart`}},
		{kind: "oauth2-proxy", name: "a.sh", text: "oauth2-proxy --provider=oidc --oidc-issuer-url=http://login.example.com --client-id=x --client-secret=canary --email-domain=a.com --upstream=http://a/mcp --redirect-url=https://a.example/cb", want: []string{"begins with http://"}},
		{kind: "oauth2-proxy", name: "a.sh", text: "oauth2-proxy --provider=keycloak-oidc --oidc-issuer-url=https://l.example --client-id=x --client-secret=canary --allowed-role=admin --upstream=http://a/mcp --redirect-url=https://a.example/cb",
			want: []string{"allowed-role: keeps people out", "email-domain is missing"}},
		{kind: "mcp-oauth2-proxy", name: "v.yaml", text: "provider: {name: okta, clientSecret: canary, organisation: x}", want: []string{"provider.organisation: unknown option"}},
		{kind: "mcp-oauth2-proxy", name: "v.yaml", text: "provider: {name: okta, clientSecret: canary}", want: []string{`"okta" is not a provider`, "provider.clientID is required", "proxy.hosts is empty"}},
		{kind: "mcp-oauth2-proxy", name: "v.yaml", text: "provider: {name: google\n  canary", want: []string{"it is not YAML"}},
		{kind: "mcp-oauth2-proxy", name: "v.yaml", text: "[1, 2]", want: []string{"it is not a YAML mapping"}},
		{kind: "mcp-oauth2-proxy", name: "v.yaml", text: "", want: []string{"there is no option in v.yaml"}},
		{kind: "obot", name: "a.env", text: "OAUTH_CLIENT_SECRET=canary\nMODE=sideways\nENCRYPTION_KEY=ca^nary", want: []string{"OAUTH_CLIENT_ID is required", "MCP_SERVER_URL is required", `"sideways" is not one of`, "ENCRYPTION_KEY: is not base64", "the public address of the MCP server is in none of the files"}},
		{kind: "obot", name: "a.env", text: "DATABASE_DSN=postgres://u:canary@h/d?a=b&sslmode=disable", want: []string{"put a value with &", "sslmode: unknown option"}},
		{kind: "obot", name: "a.sh", text: "docker run -e OAUTH_CLIENT_SECRET other/image", want: []string{"names a variable without its value", "docker runs no image"}},
		{kind: "wso2", name: "c.yaml", text: "transport_mode: stdio\nstdio: {enabled: false}\nlisten_port: x\ndemo: {client_secret: canary}", want: []string{"stdio.enabled is not true", "must be a whole number", "no authorization server is named"}},
		{kind: "wso2", name: "c.yaml", text: "listen_port: 8080\nprotected_resource_metadata:\n  authorization_servers: [https://l.example]\n  scopes_supported: [{tools/call: [{a: [x, y]}]}]", want: []string{"a of tools/call needs several scopes at once"}},
		{kind: "mcp-framework", name: "o.json", text: `{"auth":{"provider":{"JWTAuthProvider":{"secret":"canary"}}}}`, url: "https://a.example", want: []string{"secret: keeps people out"}},
		{kind: "mcp-framework", name: "o.json", text: `{"transport":{"type":"stdio"},"transport":{}}`, want: []string{"it is not a JSON object"}},
		{kind: "mcp-framework", name: "o.json", text: `{"transports":[{},{}]}`, want: []string{"one transport at a time"}},
		{kind: "mcp-framework", name: "o.json", text: `{"transport":{"type":"http-stream","options":{"auth":{"provider":{"OAuthAuthProvider":{"validation":{"type":"introspection","introspection":{"clientSecret":"canary"}}}}}}}}`, url: "https://a.example",
			want: []string{"issuer is required", "introspection.endpoint is required", "introspection.clientId is required"}},
		{kind: "mcp-auth-proxy", name: "a.sh", text: "mcp-auth-proxy --external-url https://a.example --google-client-id x --tls-cert-file c http://a/mcp", want: []string{"google-client-secret go together", "tls-key-file go together", "neither a provider nor a password"}},
		{kind: "mcp-auth-proxy", name: "a.sh", text: "mcp-auth-proxy -e https://a.example --password canary --password-hash canary --proxy-headers A:canary,B:canary --tls-host x --no-auto-tls http://a/mcp",
			want: []string{"password: stands beside password-hash", "proxy-headers: the MCP server gets one credential", "tls-host: stands beside no-auto-tls"}},
	} {
		kind, err := migrate.Of(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		_, err = migrate.Translate(migrate.Request{Kind: kind, URL: c.url, SecretsDir: "/s", Files: []migrate.File{{Name: c.name, Text: []byte(c.text)}}})
		if err == nil {
			t.Errorf("%s %q: translated", c.kind, c.text)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q:\n%v\ndoes not say %q", c.kind, c.text, err, want)
			}
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s %q: a secret is shown: %v", c.kind, c.text, err)
		}
	}
	if _, err := migrate.Of("envoy"); err == nil || !strings.Contains(err.Error(), "oauth2-proxy") {
		t.Errorf("an unknown predecessor: %v", err)
	}
}

// Docs have a page for each predecessor, and each page is what the program says.
func TestPages(t *testing.T) {
	for _, k := range migrate.Kinds() {
		page := filepath.Join("..", "..", "docs", "migration", k.Name+".md")
		if *update {
			if err := errors.Join(os.MkdirAll(filepath.Dir(page), 0o755), os.WriteFile(page, []byte(k.Page()), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(page)
		if err != nil || string(got) != k.Page() {
			t.Errorf("%s is not what the program says (%v); run this test with -update", page, err)
		}
		seen := map[string]bool{}
		for _, o := range k.Options {
			if seen[o.Name] {
				t.Errorf("%s declares %s twice", k.Name, o.Name)
			}
			seen[o.Name] = true
			if o.Becomes == "" && o.Note == "" {
				t.Errorf("%s: %s becomes nothing, and nothing says why", k.Name, o.Name)
			}
		}
	}
}

// Any text is translated or refused, and never worse.
func FuzzTranslate(f *testing.F) {
	for i := range migrate.Kinds() {
		for _, e := range examples {
			text, err := os.ReadFile(filepath.Join("testdata", e.kind, strings.Fields(e.files)[0]))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(i, text)
		}
	}
	f.Fuzz(func(t *testing.T, i int, text []byte) {
		kinds := migrate.Kinds()
		k := kinds[((i%len(kinds))+len(kinds))%len(kinds)]
		for _, name := range []string{"a.cfg", "a.sh"} {
			result, err := migrate.Translate(migrate.Request{Kind: k, URL: "https://mcp.example.com/mcp", Server: "http://a/mcp", SecretsDir: "/s", Files: []migrate.File{{Name: name, Text: text}}})
			if err == nil && len(result.Config) == 0 {
				t.Error("nothing came of it")
			}
		}
	})
}
