// Package docs checks the documents: what they show must work, and what they
// point to must exist.
package docs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// documents are all Markdown files of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			text, err := os.ReadFile(path)
			out[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// The fragments of policy.md are policies that a configuration may have.
func TestPolicyExamples(t *testing.T) {
	const around = `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: none}
clients: [{id: our-app, redirectURIs: ["https://app.example.com/cb"]}]
proxy: {hosts: [{host: notes.example.com, endpoint: "http://notes/mcp"}]}
`
	text, err := os.ReadFile("policy.md")
	if err != nil {
		t.Fatal(err)
	}
	fragments := regexp.MustCompile(`(?m)^    policy:\n(    .*\n)+`).FindAllString(string(text), -1)
	if len(fragments) < 7 {
		t.Fatalf("only %d fragments", len(fragments))
	}
	for _, f := range fragments {
		c, err := config.Parse([]byte(strings.ReplaceAll(around+"\n"+f, "\n    ", "\n")), nil)
		if err != nil || len(c.Hosts[0].Policy) == 0 {
			t.Errorf("%v\n%s", err, f)
		}
	}
}

// The fragment of machines.md is a policy of a service that hears of agents.
func TestPolicyOfAgents(t *testing.T) {
	const around = `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: none}
proxy: {hosts: [{host: notes.example.com, endpoint: "http://notes/mcp"}]}
trustedIssuers: [{kind: id-jag, issuer: "https://login.example.com", rules: [{anyone: true, scopes: ["notes:read"], resources: ["https://notes.example.com/mcp"]}]}]
`
	text, err := os.ReadFile("machines.md")
	if err != nil {
		t.Fatal(err)
	}
	fragment := regexp.MustCompile(`(?m)^    policy:\n(    .*\n)+`).FindString(string(text))
	c, err := config.Parse([]byte(strings.ReplaceAll(around+"\n"+fragment, "\n    ", "\n")), nil)
	if err != nil || len(c.Hosts[0].Policy) != 3 {
		t.Errorf("%v\n%s", err, fragment)
	}
}

// Every YAML block is a Kubernetes object, a whole configuration file, or values
// of the chart, which begin with a comment that says so; those are rendered by
// the tests in hack/chart.
func TestYAML(t *testing.T) {
	secrets := mounted
	configurations := map[string]int{}
	for path, text := range documents(t) {
		for i, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(block[1], "# values.yaml") {
				continue
			}
			t.Run(fmt.Sprintf("%s block %d", filepath.Base(path), i+1), func(t *testing.T) {
				if strings.HasPrefix(block[1], "apiVersion:") {
					for _, object := range strings.Split(block[1], "\n---\n") {
						var v struct{ APIVersion, Kind string }
						if err := yaml.Unmarshal([]byte(object), &v); err != nil || v.APIVersion == "" || v.Kind == "" {
							t.Errorf("not a Kubernetes object: %v\n%s", err, object)
						}
					}
					return
				}
				configurations[path]++
				if _, err := config.Parse([]byte(block[1]), secrets); err != nil {
					t.Errorf("%v\n%s", err, block[1])
				}
			})
		}
	}
	if configurations[filepath.Join("..", "README.md")] < 4 {
		t.Errorf("README shows %d configurations, not one for each provider", configurations[filepath.Join("..", "README.md")])
	}
}

// clientKey is a private key, for the pages that name one.
var clientKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// mounted stands for the files that a page names.
func mounted(name string) ([]byte, error) {
	switch filepath.Base(name) {
	case "client-key.pem":
		return clientKey(), nil
	case "tls.crt", "tls.key":
		return tlsPair()[filepath.Base(name)], nil
	case "ca.crt":
		return tlsPair()["tls.crt"], nil
	case "workspace-key.json":
		return json.Marshal(map[string]string{"type": "service_account", "client_email": "a@b.example", "private_key_id": "1", "private_key": string(clientKey())})
	case "users.yaml": // as docs/providers/static.md shows it
		page, err := os.ReadFile(filepath.Join("providers", "static.md"))
		block := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindSubmatch(page)
		if err != nil || block == nil {
			return nil, fmt.Errorf("no users file: %w", err)
		}
		return block[1], nil
	}
	return fmt.Appendf(nil, "%x", sha256.Sum256([]byte(name))), nil
}

// tlsPair is a certificate and its key, by the names of their files.
var tlsPair = sync.OnceValue(func() map[string][]byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
})

// Each kind of provider has a page with a configuration of that kind.
func TestProviders(t *testing.T) {
	pages := map[string][]string{}
	for path, text := range documents(t) {
		if filepath.Dir(path) != filepath.Join("..", "docs", "providers") {
			continue
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(text, -1) {
			c, err := config.Parse([]byte(block[1]), mounted)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			pages[c.Providers[0].Name] = append(pages[c.Providers[0].Name], filepath.Base(path))
		}
	}
	for _, kind := range []string{"google", "github", "microsoft", "oidc", "oauth2", "static"} {
		if len(pages[kind]) == 0 {
			t.Errorf("no page shows a configuration for %q", kind)
		}
	}
	for _, page := range []string{"oidc-keycloak.md", "okta.md", "auth0.md", "dex.md", "authentik.md", "asgardeo.md", "zitadel.md", "cognito.md"} {
		if !slices.Contains(pages["oidc"], page) {
			t.Errorf("%s shows no configuration", page)
		}
	}
}

// plain returns a block that is neither an object nor a configuration.
func plain(t *testing.T, document, language string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s shows no %s", document, language)
	}
	return string(m[1])
}

// README shows the configuration of nginx's page as it is there, which the
// end-to-end tests run.
func TestReadmeShowsTheRecipe(t *testing.T) {
	if plain(t, "../README.md", "nginx") != gateways.Blocks("nginx", gateways.Whole)[0].Text {
		t.Error("the nginx block of README.md is not the whole configuration of docs/gateways/nginx.md")
	}
}

func TestDenyList(t *testing.T) {
	denied, err := revocation.ParseDenied([]byte(plain(t, "operations.md", "yml")))
	if err != nil || denied.Len() != 4 {
		t.Errorf("the example denies %d: %v", denied.Len(), err)
	}
}

// The commands of linux.md work in their order: what a command uses, one before
// it has made.
func TestLinuxCommands(t *testing.T) {
	text, err := os.ReadFile("linux.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		commands.WriteString(m[1])
	}
	at := -1
	for _, step := range []string{"go build -trimpath", "install -m 0755 mcp-forward-auth /usr/local/bin/mcp-forward-auth", "useradd --system",
		"install -d -m 0750 -o root -g mcp-forward-auth /etc/mcp-forward-auth", "> seed", "chgrp mcp-forward-auth", "mcp-forward-auth check-config"} {
		i := strings.Index(commands.String(), step)
		if i <= at {
			t.Errorf("%q is missing, or comes before what it needs", step)
		}
		at = i
	}
}

// In the Compose file only the gateway reaches the MCP server, and what is named
// is there.
func TestCompose(t *testing.T) {
	type service struct {
		Command     []string
		Networks    []string
		Ports       []string
		Volumes     []string
		Healthcheck struct{ Test []string }
	}
	var file struct {
		Services map[string]service
		Networks map[string]struct{ Internal bool }
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal([]byte(plain(t, "linux.md", "yml")), &file); err != nil {
		t.Fatal(err)
	}
	caddy, err := os.ReadFile("gateways/caddy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"auth:8080", "mcp:3000"} {
		host, _, _ := strings.Cut(name, ":")
		if _, ok := file.Services[host]; !ok || !strings.Contains(string(caddy), name) {
			t.Errorf("there is no service %q, or gateways/caddy.md does not name %s", host, name)
		}
	}
	for name, s := range file.Services {
		for _, n := range s.Networks {
			if _, ok := file.Networks[n]; !ok {
				t.Errorf("%s: no network %q", name, n)
			}
		}
		if name != "gateway" && len(s.Ports) > 0 {
			t.Errorf("%s is open to the world", name)
		}
	}
	if n := file.Services["mcp"].Networks; !slices.Equal(n, []string{"inside"}) || !file.Networks["inside"].Internal {
		t.Errorf("the MCP server is in the networks %v", n)
	}
	auth := file.Services["auth"]
	if len(auth.Command) != 3 || auth.Command[0] != "serve" || !strings.HasPrefix(auth.Command[2], strings.Split(auth.Volumes[0], ":")[1]+"/") {
		t.Errorf("the service runs %q with the volumes %q", auth.Command, auth.Volumes)
	}
	if !slices.Equal(auth.Healthcheck.Test, []string{"CMD", "/mcp-forward-auth", "probe", "http://127.0.0.1:9090/readyz"}) {
		t.Errorf("the health check is %q", auth.Healthcheck.Test)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinks(t *testing.T) {
	followed := 0
	for path, text := range documents(t) {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(l[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			followed++
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			info, err := os.Stat(file)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if anchor == "" || info.IsDir() {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !hasAnchor(string(content), anchor) {
				t.Errorf("%s: %s has no heading for #%s", path, file, anchor)
			}
		}
	}
	if followed < 10 {
		t.Errorf("followed %d links: the pattern finds none", followed)
	}
}

// hasAnchor knows GitHub's rule for headings of plain words.
func hasAnchor(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(line, "#"); ok {
			words := strings.Fields(strings.ToLower(strings.Trim(heading, "#")))
			if strings.Map(keep, strings.Join(words, "-")) == anchor {
				return true
			}
		}
	}
	return false
}

func keep(r rune) rune {
	if r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return -1
}

var (
	namedFile = regexp.MustCompile("`(internal/[\\w./*-]+)`(?: \\(`((?:Test|Fuzz)\\w+)`)?")
	namedIn   = regexp.MustCompile("`(\\w+)` in `(internal/[\\w./-]+\\.go)`")
)

// Files of the code that documents name are there, and so is what is said to be in them.
func TestNamesInTheCode(t *testing.T) {
	named := 0
	for path, text := range documents(t) {
		for _, m := range namedFile.FindAllStringSubmatch(text, -1) {
			named++
			files, err := filepath.Glob(filepath.Join("..", m[1]))
			if err != nil || len(files) == 0 {
				t.Errorf("%s: %s is not there", path, m[1])
				continue
			}
			if m[2] != "" {
				mustContain(t, path, files[0], m[2])
			}
		}
		for _, m := range namedIn.FindAllStringSubmatch(text, -1) {
			mustContain(t, path, filepath.Join("..", m[2]), m[1])
		}
	}
	if named < 20 {
		t.Errorf("found %d names: the pattern finds none", named)
	}
}

// mustContain looks for a function, method or type.
func mustContain(t *testing.T, document, file, name string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil || !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type )`+name+`\b`).Match(content) {
		t.Errorf("%s: %s has no %s (%v)", document, file, name, err)
	}
}

// A reader looks up where a thing is decided: each file that the index names is
// there, and declares the name.
func TestWhereIsItDecided(t *testing.T) {
	text, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, index, found := strings.Cut(string(text), "\n## Where is it decided?\n")
	index, _, _ = strings.Cut(index, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| .+\\? \\| `(.+)` \\| `(\\w+)` \\|$").FindAllStringSubmatch(index, -1)
	if !found || len(rows) < 25 {
		t.Fatalf("an index of %d questions, want 25", len(rows))
	}
	if lines := strings.Count(index, "\n| ") - 1; lines != len(rows) {
		t.Errorf("%d of %d rows can be read", len(rows), lines)
	}
	for _, row := range rows {
		source, err := os.ReadFile(filepath.Join("..", row[1]))
		if err != nil {
			t.Error(err)
			continue
		}
		declared := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const )` + row[2] + `\b`)
		if !declared.Match(source) {
			t.Errorf("%s does not declare %s", row[1], row[2])
		}
	}
}
