package migrate

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// bases are what each predecessor needs at least.
var bases = map[string]map[string]any{
	"oauth2-proxy":     {"provider": "oidc", "oidc-issuer-url": "https://login.example.com", "client-id": "x", "client-secret": "s3cret", "email-domain": []string{"example.com"}, "upstream": []string{"http://notes/mcp"}, "redirect-url": "https://mcp.example.com/oauth2/callback"},
	"mcp-oauth2-proxy": {"provider.name": "google", "provider.clientID": "x", "provider.clientSecret": "s3cret", "provider.allowedEmailDomains": []any{`example\.com`}, "proxy.hosts[0].host": "mcp.example.com", "proxy.hosts[0].endpoint": "http://notes/mcp"},
	"obot":             {"OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "s3cret", "OAUTH_AUTHORIZE_URL": "https://accounts.google.com", "MCP_SERVER_URL": "http://notes/mcp"},
	"wso2":             {"protected_resource_metadata.resource_identifier": "https://mcp.example.com/mcp", "protected_resource_metadata.authorization_servers": []any{"https://login.example.com"}, "protected_resource_metadata.audience": "mcp", "transport_mode": "streamable_http", "base_url": "http://notes:8000"},
	"mcp-framework": {"transport.type": "http-stream", frameworkOAuth + "authorizationServers": []any{"https://login.example.com"}, frameworkOAuth + "resource": "https://mcp.example.com/mcp", frameworkOAuth + "validation.type": "jwt",
		frameworkOAuth + "validation.issuer": "https://login.example.com", frameworkOAuth + "validation.audience": "mcp", frameworkOAuth + "validation.jwksUri": "https://login.example.com/jwks"},
	"mcp-auth-proxy": {"external-url": "https://mcp.example.com", "tls-accept-tos": "true", "google-client-id": "x", "google-client-secret": "s3cret", "google-allowed-workspaces": "example.com", "TARGET": []string{"http://notes/mcp"}},
}

// outcome is everything that a person sees of a translation.
func outcome(k Kind, values map[string]any, chart bool) (said string, lost bool, err error) {
	in := &given{options: k.Options, values: map[string]value{}}
	for _, path := range sortedKeys(values) {
		in.set("the file", path, values[path])
	}
	r := Request{Kind: k, Chart: chart, SecretsDir: "/s", URL: "https://mcp.example.com/mcp"}
	if k.Name != "obot" {
		r.URL = ""
	}
	result, err := translate(r, in)
	if err != nil {
		return "", false, err
	}
	var report strings.Builder
	_ = result.Report(&report, true)
	return string(result.Config) + report.String(), len(result.Lost) > 0, nil
}

// Each option that a predecessor knows is carried over, refused or reported, and a
// secret among them is never shown.
func TestNoOptionIsDropped(t *testing.T) {
	const canary = "canary-canary-canary"
	for _, k := range Kinds() {
		for _, chart := range []bool{false, true} {
			base, _, err := outcome(k, bases[k.Name], chart)
			if err != nil {
				t.Fatalf("%s: %v", k.Name, err)
			}
			for _, o := range k.Options {
				path := strings.ReplaceAll(o.Name, "[]", "[0]")
				if _, given := bases[k.Name][path]; given {
					continue
				}
				noticed := false
				section := path[:max(strings.LastIndexByte(path, '.'), 0)] // what a mistake may speak of, too
				for i, v := range []any{canary, []any{canary}, map[string]any{canary: canary}, "true", "false", "12", "postgres", "https://canary.example.com/a"} {
					if noticed && i > 2 {
						break
					}
					values := maps.Clone(bases[k.Name])
					values[path] = v
					said, _, err := outcome(k, values, chart)
					text := said
					if err != nil {
						text = err.Error()
					}
					noticed = noticed || err != nil && (strings.Contains(text, path) || section != "" && strings.Contains(text, section)) || err == nil && said != base
					if o.Secret && strings.Contains(fmt.Sprint(v), canary) && strings.Contains(text, canary) {
						t.Errorf("%s: %s is a secret, and is shown:\n%s", k.Name, o.Name, text)
					}
				}
				if !noticed {
					t.Errorf("%s (chart %v): nothing is said of %s", k.Name, chart, o.Name)
				}
			}
		}
	}
}

// An option that keeps people out is translated or refused, and never only reported.
func TestRestrictionsAreNeverLost(t *testing.T) {
	for _, k := range Kinds() {
		for _, o := range k.Options {
			path := strings.ReplaceAll(o.Name, "[]", "[0]")
			if _, given := bases[k.Name][path]; !o.Restricts || given {
				continue
			}
			values := maps.Clone(bases[k.Name])
			values[path] = "engineers"
			said, lost, err := outcome(k, values, false)
			if err == nil && lost && !strings.Contains(said, closed) && !strings.Contains(said, "engineers") {
				t.Errorf("%s: %s is left out, and people come in:\n%s", k.Name, o.Name, said)
			}
		}
	}
}
