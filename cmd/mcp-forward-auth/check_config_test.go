package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/whatif"
)

const policyConfig = `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: do-not-print-me}
clients:
- {id: our-app, redirectURIs: ["https://app.example/cb"]}
- {id: reporter, redirectURIs: ["https://app.example/cb"], scopes: ["notes:read"], resources: ["https://mcp.example.com/mcp"]}
denyList: {file: deny.yaml}
proxy:
  hosts:
  - host: mcp.example.com
    endpoint: "http://127.0.0.1:9/mcp"
    scopes: [{name: "notes:admin", includes: ["notes:read", "notes:write"], tools: ["notes_purge"]}]
  - host: open.example.com
    endpoint: "http://127.0.0.1:9/mcp"
    policy: {rules: [{effect: allow, name: all, anyone: true}]}
policy:
  rules:
  - {effect: allow, name: members, groups: [mcp-users], scopes: ["notes:read", "notes:write"]}
  - {effect: allow, name: admins, groups: [mcp-admins]}
  - {effect: allow, name: sweepers, groups: ["ops|night, shift"], tools: ["notes_delete"]}
  - {effect: deny, name: contractors read, emailDomains: [partner.example], scopes: ["notes:write"]}
  - {effect: deny, name: no strangers, clientKinds: [dynamic], scopes: ["notes:write"]}
  - {effect: deny, name: blocked, clients: ["https://bad.example/client"]}
`

// Sample decisions with their explanation.
func TestTryPolicy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{"config.yaml": policyConfig, "deny.yaml": "subjects: ['login.example.com:gone']\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const notes, open = "https://mcp.example.com/mcp", "https://open.example.com/mcp"
	jane := "user=1,email=jane@example.com,groups=mcp-users|staff"
	for _, tt := range []struct {
		name, as, resource, scopes string
		code                       int
		says                       []string
	}{
		{"a member reads", jane + ",client=our-app", notes, "notes:read", 0, []string{"allowed  notes:read  by policy.rules[0] (members)", "user login.example.com:1", "client    our-app (static)"}},
		{"a member writes with a client that registered itself", jane, notes, "notes:write", exitRefused, []string{"refused  notes:write  by policy.rules[4] (no strangers)", "client    (dynamic)"}},
		{"both at once", jane, notes, "notes:read,notes:write", exitRefused, []string{"allowed  notes:read", "refused  notes:write"}},
		{"a contractor writes", "email=kim@partner.example,groups=mcp-users,client=our-app", notes, "notes:write", exitRefused, []string{"refused  notes:write  by policy.rules[3] (contractors read); the consent page offers it"}},
		{"a contractor reads", "email=kim@partner.example,groups=mcp-users,client=our-app", notes, "notes:read", 0, []string{"by policy.rules[0] (members)"}},
		{"a denial reaches what includes it", "email=kim@partner.example,groups=mcp-admins,client=our-app", notes, "notes:admin", exitRefused, []string{"refused  notes:admin  by policy.rules[3] (contractors read)"}},
		{"an administrator", "email=jane@example.com,groups=mcp-admins,client=our-app", notes, "", 0, []string{"allowed  notes:admin", "allowed  every other scope  by policy.rules[1] (admins)"}},
		{"without an address a denial by address holds", "groups=mcp-users,client=our-app", notes, "notes:write", exitRefused, []string{"by policy.rules[3] (contractors read)"}},
		{"nobody in particular", "", notes, "", exitRefused, []string{"no rule allows it", "refused  every other scope"}},
		{"a blocked client", jane + ",client=https://bad.example/client", notes, "notes:read", exitRefused, []string{"refused  notes:read  by policy.rules[5] (blocked)", "(document)"}},
		{"a group with separators", `email=o@example.com,groups=ops\|night\, shift,client=our-app`, notes, "notes:write", 0, []string{"by policy.rules[2] (sweepers), for these tools only: notes_delete", "before 2026-07-28"}},
		{"its parts", `email=o@example.com,groups=ops|night,client=our-app`, notes, "notes:write", exitRefused, []string{"no rule allows it"}},
		{"a client beyond its own scopes", jane + ",client=reporter", notes, "notes:write", exitRefused, []string{"refused  notes:write  by clients[1].scopes"}},
		{"a client beyond its own resources", jane + ",client=reporter", open, "notes:read", exitRefused, []string{"by clients[1].resources"}},
		{"a server with rules of its own", "email=x@example.org,client=our-app", open, "notes:write", 0, []string{"by proxy.hosts[1].policy.rules[0] (all)"}},
		{"what the default denies is denied there too", "email=kim@partner.example,client=our-app", open, "notes:write", exitRefused, []string{"by policy.rules[3] (contractors read)"}},
		{"the deny-list", "user=login.example.com:gone,groups=mcp-admins", notes, "notes:read", exitRefused, []string{"before any rule: denied_by_operator", "the person may not sign in"}},
		{"the same by the provider's name", "user=oidc:gone,groups=mcp-admins", notes, "notes:read", exitRefused, []string{"denied_by_operator"}},
		{"the older revisions", jane + ",client=our-app", notes, "", 0, []string{`note: toolPolicy is "enforce"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"check-config", "--config", file, "--as", tt.as, "--resource", tt.resource, "--scopes", tt.scopes}
			out, _, err := call(t, "", args...)
			code := 0
			if e, ok := errors.AsType[exitError](err); ok {
				code = e.code
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for _, want := range tt.says {
				if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
					t.Errorf("does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "do-not-print-me") {
				t.Error("a secret is printed")
			}
			out, _, _ = call(t, "", append(args, "--output", "json")...)
			var d whatif.Decision
			if err := json.Unmarshal([]byte(out), &d); err != nil || d.OK != (tt.code == 0) || d.Resource != tt.resource || len(d.Scopes) == 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	t.Run("mistakes", func(t *testing.T) {
		for want, args := range map[string][]string{
			"no MCP server of this":  {"--as", jane, "--resource", "https://other.example/mcp"},
			"--resource URL is":      {"--as", jane},
			"is not one of user":     {"--as", "mail=x", "--resource", notes},
			"groups comes twice":     {"--as", "groups=a,groups=b", "--resource", notes},
			"is neither the id":      {"--as", "client=other", "--resource", notes},
			"provider=… is required": {"--as", "provider=google", "--resource", notes},
			"go with --as":           {"--resource", notes},
			"scope has a character":  {"--as", jane, "--resource", notes, "--scopes", "nötes"},
			"--config FILE is":       nil,
		} {
			if args != nil {
				args = append([]string{"--config", file}, args...)
			}
			if out, _, err := call(t, "", append([]string{"check-config"}, args...)...); err == nil || out != "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v %q, want %q", args, err, out, want)
			}
		}
	})
	t.Run("no rules", func(t *testing.T) {
		out, _, err := call(t, "", "check-config", "--config", write(t, goodConfig), "--as", "")
		if err != nil || !strings.Contains(out, "allowed  every other scope  there are no rules") || !strings.Contains(out, "everyone who may sign in may ask for every scope") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// The person's own browser is asked about by pages.
func TestCheckConfigPages(t *testing.T) {
	t.Parallel()
	const host = "https://notes.example.com"
	file := write(t, `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: do-not-print-me, groupsClaim: groups}
policy:
  rules:
    - {name: admins, effect: allow, groups: [admins]}
    - {name: readers, effect: allow, anyone: true, scopes: ["notes:read"]}
    - {name: no-export, effect: deny, emails: [joe@example.com], clients: [browser], scopes: [export]}
proxy:
  hosts:
    - host: notes.example.com
      endpoint: http://notes.default.svc:8080/mcp
      pages:
        - {path: /ui}
        - {path: /ui/admin, scope: admin}
        - {path: /ui/read, scope: "notes:read"}
        - {path: /export, scope: export}
    - {host: other.example.com, endpoint: "http://other.default.svc:8080/mcp"}
`)
	for _, tt := range []struct {
		name, as, resource string
		code               int
		says               []string
	}{
		{"all pages", "email=kim@example.com,client=browser", host + "/mcp", 0, []string{
			"client browser (browser)", "allowed " + host + "/ui everyone who may sign in", "refused " + host + "/ui/admin scope admin, which no rule allows",
			"allowed " + host + "/ui/read scope notes:read, by policy.rules[1] (readers)",
		}},
		{"below a page", "email=kim@example.com,client=browser", host + "/ui/admin/users", exitRefused, []string{"refused " + host + "/ui/admin "}},
		{"a page with another inside", "email=kim@example.com,client=browser", host + "/ui/other", 0, []string{"allowed " + host + "/ui "}},
		{"by a group", "email=joe@example.com,groups=admins,client=browser", host + "/ui/admin", 0, []string{"by policy.rules[0] (admins)"}},
		{"denied to the browser alone", "email=joe@example.com,groups=admins,client=browser", host + "/export", exitRefused, []string{"refused " + host + "/export scope export, by policy.rules[2] (no-export)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{"check-config", "--config", file, "--as", tt.as, "--resource", tt.resource}
			out, _, err := call(t, "", args...)
			exit, _ := errors.AsType[exitError](err)
			if exit.code != tt.code {
				t.Errorf("exit %d, want %d: %v", exit.code, tt.code, err)
			}
			for _, want := range tt.says {
				if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
					t.Errorf("does not say %q:\n%s", want, out)
				}
			}
			out, _, _ = call(t, "", append(args, "--output", "json")...)
			var d whatif.Decision
			if err := json.Unmarshal([]byte(out), &d); err != nil || d.OK != (tt.code == 0) || len(d.Pages) == 0 || len(d.Scopes) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	for want, args := range map[string][]string{
		"a page has one scope":         {"--resource", host + "/ui", "--scopes", "admin"},
		"at no host":                   {"--resource", "https://elsewhere.example/ui"},
		"neither a page nor an MCP":    {"--resource", "https://other.example.com/mcp"},
		"--resource URL is required":   nil,
		"is neither a page nor an MCP": {"--resource", host + "/nothing"},
	} {
		args = append([]string{"check-config", "--config", file, "--as", "email=kim@example.com,client=browser"}, args...)
		if out, _, err := call(t, "", args...); err == nil || out != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v %q, want %q", args, err, out, want)
		}
	}
}

// What check-config prints for scripts holds what it prints for people.
func TestCheckConfigJSON(t *testing.T) {
	var said checked
	out, _, err := call(t, "", "check-config", "--output", "json", "--config", write(t, goodConfig))
	if jsonErr := json.Unmarshal([]byte(out), &said); err != nil || jsonErr != nil || !said.OK || len(said.Settings) < 20 || strings.Contains(out, "do-not-print-me") {
		t.Errorf("%v %v\n%s", err, jsonErr, out)
	}
	out, problems, err := call(t, "", "check-config", "--output", "json", "--config", write(t, strings.Replace(goodConfig, "oidc", "gogle", 1)+"nosuchkey: 1\n"))
	if jsonErr := json.Unmarshal([]byte(out), &said); exitCode(err) != exitFailed || jsonErr != nil || problems != "" || said.OK || len(said.Mistakes) != 2 || said.Mistakes[0].Path != "provider.name" {
		t.Errorf("%v %v %+v\n%s", err, jsonErr, said, out)
	}
	out, _, err = call(t, "", "check-config", "--output", "json", "--config", "/no/such/file")
	if jsonErr := json.Unmarshal([]byte(out), &said); exitCode(err) != exitFailed || jsonErr != nil || said.OK || len(said.Mistakes) != 1 {
		t.Errorf("%v %v\n%s", err, jsonErr, out)
	}
}

// A key is named alone, and its entry says the rest, also where that is in the file.
func TestTryKey(t *testing.T) {
	dir := t.TempDir()
	hash := func(id string) string { return id + ":sha256:" + strings.Repeat("0", 64) }
	for name, text := range map[string]string{
		"keys.yaml": "keys: [{name: bot, hashes: ['" + hash("AAAAAAAA") + "'], groups: [robots], scopes: ['notes:read', 'notes:write'], tools: [notes_create], neverExpires: true}]\n",
		"deny.yaml": "clients: ['apikey:gone']\n",
		"config.yaml": `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: do-not-print-me}
proxy:
  hosts:
  - {host: mcp.example.com, endpoint: "http://127.0.0.1:9/mcp", apiKeys: {enabled: true}}
  - {host: open.example.com, endpoint: "http://127.0.0.1:9/mcp"}
denyList: {file: deny.yaml}
apiKeys:
  file: keys.yaml
  keys:
  - {name: old, hashes: ["` + hash("BBBBBBBB") + `"], scopes: [mcp], expires: 2020-01-31}
  - {name: gone, hashes: ["` + hash("CCCCCCCC") + `"], scopes: [mcp], neverExpires: true}
policy:
  rules:
  - {effect: allow, name: robots, groups: [robots], scopes: ["notes:read"]}
  - {effect: allow, name: the bot, clients: ["apikey:bot"], clientKinds: [key], scopes: ["notes:purge"]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		as, resource, scopes string
		code                 int
		says                 []string
	}{
		{"client=apikey:bot", "https://mcp.example.com/mcp", "", 0, []string{"apikey:bot (key)", "allowed  notes:read   by policy.rules[0] (robots)", "refused  notes:write", `["notes_create"]`}},
		{"client=apikey:bot", "https://mcp.example.com/mcp", "notes:purge", exitRefused, []string{"refused  notes:purge  by the scopes of the API key bot"}},
		{"client=apikey:bot", "https://open.example.com/mcp", "", exitRefused, []string{"api_key_not_accepted"}},
		{"client=apikey:old", "https://mcp.example.com/mcp", "", exitRefused, []string{"api_key_expired"}},
		{"client=apikey:gone", "https://mcp.example.com/mcp", "", exitRefused, []string{"denied_by_operator"}},
		{"client=apikey:none", "https://mcp.example.com/mcp", "", exitFailed, []string{`no API key with the name "none"`}},
		{"client=apikey:bot,groups=admins", "https://mcp.example.com/mcp", "", exitFailed, []string{"name it alone"}},
	} {
		args := []string{"check-config", "--config", filepath.Join(dir, "config.yaml"), "--resource", tt.resource, "--as", tt.as}
		if tt.scopes != "" {
			args = append(args, "--scopes", tt.scopes)
		}
		answers(t, tt.as, tt.code, tt.says, args...)
	}
}

// A person of another authorization server is asked about by its issuer URL.
func TestTryExternal(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"deny.yaml": "subjects: ['sso.example.com:gone']\n",
		"config.yaml": `
proxy:
  hosts:
  - {host: mcp.example.com, endpoint: "http://127.0.0.1:9/mcp", ownTokens: false, authorizationServers: [{issuer: "https://sso.example.com", clients: [cli]}]}
denyList: {file: deny.yaml}
policy:
  rules:
  - {effect: allow, name: staff, groups: [staff], scopes: ["notes:read"], clientKinds: [external]}
  - {effect: allow, name: the job, users: ["client@sso.example.com:cli"]}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const server = ",provider=https://sso.example.com"
	for _, tt := range []struct {
		as   string
		code int
		says []string
	}{
		{"user=1234,groups=staff,client=cli" + server, 0, []string{"user sso.example.com:1234", "cli (external)", "allowed  notes:read", "refused  every other scope"}},
		{"user=sso.example.com:1234" + server, exitRefused, []string{"refused  notes:read"}},
		{"user=client@sso.example.com:cli" + server, 0, []string{"user client@sso.example.com:cli", "allowed  every other scope"}},
		{"user=gone,groups=staff" + server, exitRefused, []string{"denied_by_operator"}},
		{"user=1234,groups=staff,client=other" + server, exitRefused, []string{"client_not_accepted"}},
		{"user=1234,provider=https://other.example", exitFailed, []string{"takes no tokens of the issuer"}},
	} {
		answers(t, tt.as, tt.code, tt.says, "check-config", "--config", filepath.Join(dir, "config.yaml"), "--as", tt.as)
	}
}

// answers runs the program and wants this exit code, and says in what it prints or
// in its error.
func answers(t *testing.T, name string, code int, says []string, args ...string) {
	t.Helper()
	out, _, err := call(t, "", args...)
	got := 0
	if err != nil {
		got = exitCode(err)
		out += err.Error()
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			t.Errorf("%s: no %q in\n%s", name, text, out)
		}
	}
	if got != code {
		t.Errorf("%s: code %d, want %d\n%s", name, got, code, out)
	}
}

// --online asks what the file names; what cannot be used is an exit code of its own.
func TestCheckConfigOnline(t *testing.T) {
	path := write(t, "provider: {name: oidc, issuerURL: 'http://127.0.0.1:1', clientID: a, clientSecret: b}\nproxy: {hosts: [{host: '127.0.0.1:2', scheme: http, endpoint: 'http://127.0.0.1:1/mcp'}]}\n")
	answers(t, "text", exitContact, []string{"FAILED  provider\n", "FAILED  proxy.hosts[0].endpoint\n", "ok      proxy.hosts[0].host\n"}, "check-config", "--config", path, "--online")
	answers(t, "JSON", exitContact, []string{`"contacts"`, `"ok": false`}, "check-config", "--config", path, "--online", "--output", "json")
	answers(t, "two questions", exitUsage, nil, "check-config", "--config", path, "--online", "--as", "")
	answers(t, "a flag without use", exitUsage, nil, "check-config", "--config", path, "--allow-left-out", "--as", "")
}
