package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

const teams = `
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: me, clientSecretFile: secret}
proxy:
  hosts: [{host: mcp.example.com, endpoint: "http://mcp:8080/mcp"}]
  hostsFiles:
    - files: hosts.d/namespace_*.configmap_*.yaml
      hosts: ["*.{1}.mcp.example.com", "{1}.example.com"]
      endpoints: ["*.{1}.svc"]
    - files: hosts.d/operator_*.yaml
      hosts: ["*"]
      endpoints: ["*"]
      maySet: [serve]
`

// teamFile is the name of a file as the sidecar writes it.
func teamFile(namespace, name string) string {
	return "hosts.d/namespace_" + namespace + ".configmap_" + name + ".yaml"
}

func hostsOf(entries ...string) string {
	return "hosts:\n- " + strings.Join(entries, "\n- ") + "\n"
}

// teamReader reads a configuration with hosts files.
func teamReader(t *testing.T, text string, hosts map[string]string) (*Reader, string) {
	t.Helper()
	path := files(t, map[string]string{"config.yaml": text, "secret": "one"})
	if err := os.Mkdir(filepath.Join(filepath.Dir(path), "hosts.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range hosts {
		write(t, filepath.Join(filepath.Dir(path), name), content)
	}
	return NewReader(path), filepath.Dir(path)
}

func mustLoad(t *testing.T, r *Reader) *Config {
	t.Helper()
	c, err := r.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names are the hosts in force.
func names(c *Config) (all []string) {
	for _, h := range c.Hosts {
		all = append(all, h.Host)
	}
	return all
}

// A file with a mistake costs itself, and the problem says what is wrong in it.
func TestHostsFilesCostOnlyThemselves(t *testing.T) {
	const good = `{host: a.team.mcp.example.com, endpoint: "http://a.team.svc/mcp"}`
	for name, tt := range map[string]struct{ file, content, problem string }{
		"no YAML":                                {teamFile("team", "x"), "\t{", "not valid YAML"},
		"an unknown key":                         {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", displayname: x}`), "hosts[0].displayname: unknown key; did you mean displayName?"},
		"a mistake in a policy":                  {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", policy: {rules: [{effect: allow}]}}`), "hosts[0].policy.rules[0]"},
		"another team's host":                    {teamFile("team", "x"), hostsOf(`{host: a.other.mcp.example.com, endpoint: "http://b.team.svc/mcp"}`), `hosts[0].host: "a.other.mcp.example.com" is no host name that this file may claim`},
		"another team's endpoint":                {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://a.other.svc/mcp"}`), `hosts[0].endpoint: "a.other.svc" is no host that this file may name`},
		"the metadata server":                    {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://169.254.169.254/latest"}`), "hosts[0].endpoint"},
		"a namespace in a key":                   {teamFile("team", "x.configmap_y"), hostsOf(`{host: a.x.mcp.example.com, endpoint: "http://a.x.svc/mcp"}`), "hosts[0].host"},
		"an odd namespace":                       {"hosts.d/namespace_a.secret_b.configmap_c.yaml", hostsOf(`{host: a.a.mcp.example.com, endpoint: "http://a.a.svc/mcp"}`), "hosts[0].host"},
		"the operator's key":                     {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", serve: {enabled: true}}`), "hosts[0].serve: is for the operator alone: each open stream"},
		"a bomb of aliases":                      {teamFile("team", "x"), "a: &a " + strings.Repeat("x", 1000) + "\nhosts: [*a, *a, *a]\n", `line 2: an alias`},
		"an alias":                               {teamFile("team", "x"), "hosts:\n- &a {host: b.team.mcp.example.com, endpoint: \"http://b.team.svc/mcp\"}\n- {<<: *a, path: /b}\n", `line 3: an alias`},
		"a name without quotes":                  {teamFile("team", "x"), "hosts: [{host: *.team.mcp.example.com}]\n", `a value that begins with "*" needs quotes`},
		"an operator's key with a mistake in it": {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", serve: {enabled: maybe}}`), "hosts[0].serve: is for the operator alone"},
		"an operator's file":                     {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", caFile: secret}`), "hosts[0].caFile: is for the operator alone"},
		"the same twice":                         {teamFile("team", "x"), hostsOf(`{host: b.team.mcp.example.com, endpoint: "http://b.team.svc/mcp"}`, `{host: b.team.mcp.example.com, endpoint: "http://c.team.svc/mcp"}`), `with path "/mcp" is hosts[0] already`},
		"the operator's host":                    {"hosts.d/operator_x.yaml", hostsOf(`{host: mcp.example.com, endpoint: "http://b.team.svc/mcp", path: /other}`), `hosts[0].host: "mcp.example.com" is of the configuration file already`},
		"a host of another file":                 {"hosts.d/operator_x.yaml", hostsOf(`{host: a.team.mcp.example.com, endpoint: "http://b.team.svc/mcp", path: /b}`), `is of`},
		"the endpoint of another":                {"hosts.d/operator_x.yaml", hostsOf(`{host: localhost:8081, scheme: http, endpoint: "http://mcp:8080/mcp"}`), "hosts[0].scheme: is for the operator alone"},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := teamReader(t, teams, map[string]string{teamFile("team", "good"): hostsOf(good), tt.file: tt.content})
			c := mustLoad(t, r)
			if got := names(c); !slices.Equal(got, []string{"mcp.example.com", "a.team.mcp.example.com"}) {
				t.Errorf("in force are %v", got)
			}
			for _, f := range c.HostsFiles {
				broken := f.Path == filepath.Join(dir, tt.file)
				if broken != (len(f.Mistakes) > 0) || broken && (!strings.Contains(f.Mistakes.Error(), tt.problem) || len(f.Mistakes) > 2) {
					t.Errorf("%s: %v", f.Path, f.Mistakes)
				}
			}
		})
	}
}

// A file whose hosts are good, and that makes a mistake of something elsewhere, is
// found as well.
func TestHostsFileThatBreaksAnother(t *testing.T) {
	r, _ := teamReader(t, strings.Replace(teams, "http://mcp:8080/mcp", "https://inner.example.com/mcp", 1), map[string]string{
		"hosts.d/operator_a.yaml": hostsOf(`{host: inner.example.com, endpoint: "http://x.svc/mcp"}`),
		"hosts.d/operator_b.yaml": hostsOf(`{host: fine.example.com, endpoint: "http://x.svc/mcp", serve: {enabled: true}}`),
	})
	c := mustLoad(t, r)
	if got := names(c); !slices.Equal(got, []string{"mcp.example.com", "fine.example.com"}) || !strings.Contains(c.HostsFiles[0].Mistakes.Error(), "is a public address") {
		t.Errorf("%v %v", got, c.HostsFiles)
	}
}

// Those that make a mistake of something elsewhere are found among many good ones, by
// checking the whole a few times only.
func TestHostsFilesThatBreakAnotherAmongMany(t *testing.T) {
	hosts := map[string]string{}
	for n := range 200 {
		hosts[fmt.Sprintf("hosts.d/operator_%03d.yaml", n)] = hostsOf(fmt.Sprintf(`{host: h%d.example.com, endpoint: "http://x.svc/mcp"}`, n))
	}
	bad := []string{"hosts.d/operator_003a.yaml", "hosts.d/operator_150a.yaml"}
	hosts[bad[0]] = hostsOf(`{host: inner.example.com, endpoint: "http://x.svc/mcp"}`)
	hosts[bad[1]] = hostsOf(`{host: other.example.com, endpoint: "http://x.svc/mcp"}`)
	r, dir := teamReader(t, strings.Replace(teams, `{host: mcp.example.com, endpoint: "http://mcp:8080/mcp"}`,
		`{host: mcp.example.com, endpoint: "https://inner.example.com/mcp"}, {host: mcp2.example.com, endpoint: "https://other.example.com/mcp"}`, 1), hosts)
	c := mustLoad(t, r)
	if len(c.Hosts) != 202 {
		t.Errorf("%d hosts are in force", len(c.Hosts))
	}
	for _, f := range c.HostsFiles {
		if wrong := slices.ContainsFunc(bad, func(b string) bool { return f.Path == filepath.Join(dir, b) }); wrong != (len(f.Mistakes) > 0) {
			t.Errorf("%s: %v", f.Path, f.Mistakes)
		}
	}
}

// A file that the configuration names is read once for each time that the whole is
// loaded: hosts files would be left out for what changes meanwhile.
func TestFilesAreReadOnce(t *testing.T) {
	path := files(t, map[string]string{"config.yaml": "", "secret": "one"})
	l := loading{path: path, read: sums{}}
	if text, err := l.file("secret"); err != nil || string(text) != "one" {
		t.Fatalf("%s %v", text, err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(path), "secret")); err != nil {
		t.Fatal(err)
	}
	if text, err := l.file("secret"); err != nil || string(text) != "one" {
		t.Errorf("the second time: %q %v", text, err)
	}
}

// Who has a host keeps it, however the file of another is called.
func TestHostsStayWithTheirFile(t *testing.T) {
	entry := hostsOf(`{host: shared.example.com, endpoint: "http://one.svc/mcp"}`)
	r, dir := teamReader(t, teams, map[string]string{"hosts.d/operator_m.yaml": entry})
	mustLoad(t, r)
	write(t, filepath.Join(dir, "hosts.d/operator_a.yaml"), strings.Replace(entry, "one", "two", 1))
	r.Changed()
	if !r.Changed() {
		t.Error("a new file is not seen")
	}
	c := mustLoad(t, r)
	if len(c.Hosts) != 2 || c.Hosts[1].Endpoint.Host != "one.svc" || len(c.HostsFiles[0].Mistakes) == 0 {
		t.Errorf("%v", c.HostsFiles)
	}
	if err := os.Remove(filepath.Join(dir, "hosts.d/operator_m.yaml")); err != nil {
		t.Fatal(err)
	}
	if c = mustLoad(t, r); len(c.Hosts) != 2 || c.Hosts[1].Endpoint.Host != "two.svc" {
		t.Errorf("after its file is gone: %v", c.HostsFiles)
	}
}

// Many teams come and go; none may have what another has.
func TestManyTeams(t *testing.T) {
	hosts := map[string]string{}
	for n := range 20 {
		for m := range 10 {
			team := fmt.Sprintf("team%d", n)
			hosts[teamFile(team, fmt.Sprintf("m%d", m))] = hostsOf(fmt.Sprintf(`{host: s%d.%s.mcp.example.com, endpoint: "http://s%d.%s.svc/mcp"}`, m, team, m, team))
		}
	}
	r, _ := teamReader(t, strings.Replace(teams, `hosts: [{host: mcp.example.com, endpoint: "http://mcp:8080/mcp"}]`, "", 1), hosts)
	if c := mustLoad(t, r); len(c.Hosts) != 200 || len(c.HostsFiles) != 200 {
		t.Errorf("%d hosts of %d files", len(c.Hosts), len(c.HostsFiles))
	}
}

// Every key of an entry is either a team's or the operator's; a new one must choose.
func TestKeysOfTeams(t *testing.T) {
	manual, err := os.ReadFile("../../docs/teams.md")
	if err != nil {
		t.Fatal(err)
	}
	for key := range operatorKeys {
		if !strings.Contains(string(manual), "`"+key+"`") {
			t.Errorf("docs/teams.md does not name %s", key)
		}
	}
	for _, f := range conf.Fields(reflect.TypeFor[HostFile]()) {
		key := f.Tag.Get("json")
		if slices.Contains(teamKeys, key) == (operatorKeys[key] != "") {
			t.Errorf("%s stands in both or none of teamKeys and operatorKeys", key)
		}
	}
}

func TestHostsFilesRules(t *testing.T) {
	r, _ := teamReader(t, `
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: me, clientSecretFile: secret}
proxy:
  hostsFiles:
    - {files: "hosts.d/[ab].yaml", hosts: ["{1}.example.com"], endpoints: ["http://x"], maySet: [path]}
    - {}
`, nil)
	_, err := r.Load()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`proxy.hostsFiles[0].files: "hosts.d/[ab].yaml" has more than "*"`, `proxy.hostsFiles[0].hosts[0]: "{1}.example.com": files has no asterisk number 1`,
		`proxy.hostsFiles[0].endpoints[0]`, `proxy.hostsFiles[0].maySet[0]: "path" is no key`, "proxy.hostsFiles[1].files: is required", "proxy.hostsFiles[1].hosts: is required",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}
