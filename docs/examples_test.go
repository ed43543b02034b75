package docs

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

var update = flag.Bool("update", false, "write docs/examples")

// examples are whole set-ups, made of what the documents show and the end-to-end tests run:
// the gateways' recipes, the Compose file and the unit of linux.md, README's configurations.
func examples(t *testing.T) map[string]string {
	t.Helper()
	compose, service := plain(t, "linux.md", "yml"), composed(t)
	stepUp := replaced(t, service, "endpoint: 'http://mcp:3000/mcp'}", `endpoint: 'http://mcp:3000/mcp', stepUp: "403"}`)
	traefik := gateways.Blocks("traefik", gateways.Whole)
	alone := block(t, "../README.md", "agreeToTerms")
	return map[string]string{
		"compose-caddy/compose.yaml":                 compose,
		"compose-caddy/Caddyfile":                    gateways.Blocks("caddy", gateways.Whole)[0].Text,
		"compose-caddy/mcp-forward-auth/config.yaml": service,

		"compose-nginx/compose.yaml": gateway(t, compose, "docker.io/library/nginx:1.30", `ports: ["443:443"]`,
			"./nginx.conf:/etc/nginx/conf.d/default.conf:ro", "./tls:/etc/nginx/tls:ro   # mcp.example.com.crt and .key"),
		"compose-nginx/nginx.conf":                   gateways.Blocks("nginx", gateways.Whole)[0].Text,
		"compose-nginx/mcp-forward-auth/config.yaml": stepUp,

		"compose-traefik/compose.yaml": gateway(t, compose, "docker.io/library/traefik:v3.7", `ports: ["443:443"]`,
			"./traefik.yml:/etc/traefik/traefik.yml:ro", "./mcp.yml:/etc/traefik/mcp.yml:ro", "acme:/acme"),
		"compose-traefik/mcp.yml": replaced(t, traefik[0].Text, "tls: {}", "tls: {certResolver: letsencrypt}"),
		"compose-traefik/traefik.yml": traefik[1].Text + `certificatesResolvers:
  letsencrypt:
    acme: {email: you@example.com, storage: /acme/acme.json, tlsChallenge: {}}
`,
		"compose-traefik/mcp-forward-auth/config.yaml": service,

		"one-machine/config.yaml": alone,
		"one-machine/mcp-forward-auth.service": replaced(t, plain(t, "linux.md", "ini"),
			"# It reads its configuration and speaks TCP, and needs nothing else.\nCapabilityBoundingSet=\n",
			"# Certificates of Let's Encrypt, in /var/lib/mcp-forward-auth.\nStateDirectory=mcp-forward-auth\nStateDirectoryMode=0700\n\n"+
				"# Ports 80 and 443, and nothing else.\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"),

		"compose-stdio/compose.yaml":                 replaced(t, compose, "  mcp:\n    image: example.com/your-mcp-server:1\n    networks: [inside]\n    restart: unless-stopped\n", plain(t, "stdio.md", "yml")),
		"compose-stdio/Caddyfile":                    gateways.Blocks("caddy", gateways.Whole)[0].Text,
		"compose-stdio/mcp-forward-auth/config.yaml": service,

		"kubernetes-stdio/values.yaml":       block(t, "stdio.md", "# values.yaml for an MCP server that speaks stdio"),
		"kubernetes-gateway-api/values.yaml": block(t, "kubernetes.md", "# values.yaml for Envoy Gateway"),
	}
}

// composed is the configuration of linux.md as its section on Compose says to change it.
func composed(t *testing.T) string {
	text := block(t, "linux.md", "listen:")
	text = regexp.MustCompile(`(?m)^listen:\n(  .*\n)+`).ReplaceAllString(text, "")
	return replaced(t, text, "http://127.0.0.1:3000/mcp", "http://mcp:3000/mcp")
}

// gateway puts another gateway into the Compose file.
func gateway(t *testing.T, compose, image, ports string, volumes ...string) string {
	t.Helper()
	text := replaced(t, compose, "docker.io/library/caddy:2.11", image)
	text = replaced(t, text, `ports: ["80:80", "443:443"]`, ports)
	text = replaced(t, text, "      - ./Caddyfile:/etc/caddy/Caddyfile:ro\n      - caddy:/data\n", "      - "+strings.Join(volumes, "\n      - ")+"\n")
	if slices.Contains(volumes, "acme:/acme") {
		return replaced(t, text, "  caddy: {}", "  acme: {}")
	}
	return replaced(t, text, "volumes:\n  caddy: {}\n", "")
}

// block is the YAML block of a document that holds a text.
func block(t *testing.T, file, holds string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], holds) {
			return m[1]
		}
	}
	t.Fatalf("%s has no block with %q", file, holds)
	return ""
}

func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q in\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, with)
}

func TestExamples(t *testing.T) {
	want := examples(t)
	for name, text := range want {
		path := filepath.Join("examples", filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte(text)) {
			t.Errorf("%s differs from the documents (%v); run\n\tgo test ./docs -run Examples -update", path, err)
		}
	}
	index, err := os.ReadFile(filepath.Join("examples", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("examples", func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(filepath.ToSlash(path), "examples/")
		if err != nil || d.IsDir() || name == "README.md" {
			return err
		}
		if _, ok := want[name]; !ok {
			t.Errorf("%s is made by nothing", path)
		}
		if folder, _, _ := strings.Cut(name, "/"); !strings.Contains(string(index), "("+folder+")") {
			t.Errorf("examples/README.md does not lead to %s", folder)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Each configuration is one that the program takes.
func TestExampleConfigurations(t *testing.T) {
	checked := 0
	for name, text := range examples(t) {
		if filepath.Base(name) != "config.yaml" {
			continue
		}
		checked++
		if _, err := config.Parse([]byte(text), func(file string) ([]byte, error) {
			switch filepath.Base(file) {
			case "deny-list.yaml":
				return []byte("subjects: []\n"), nil
			case "seed":
				return []byte("0123456789-abcdefghij-ABCDEFGHIJ-seed"), nil
			}
			return []byte("client-secret"), nil
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if checked != 5 {
		t.Errorf("%d configurations", checked)
	}
}

// In each Compose file the gateway alone is open, what it mounts is in the folder, and its
// recipe names the services of the file.
func TestExampleCompose(t *testing.T) {
	all := examples(t)
	for name, text := range all {
		if filepath.Base(name) != "compose.yaml" {
			continue
		}
		folder := filepath.ToSlash(filepath.Dir(name)) + "/"
		var file struct {
			Services map[string]struct{ Ports, Networks, Volumes []string }
			Volumes  map[string]any
		}
		if err := yaml.Unmarshal([]byte(text), &file); err != nil {
			t.Fatal(err)
		}
		recipe := all[folder+"Caddyfile"] + all[folder+"nginx.conf"] + all[folder+"mcp.yml"]
		for service, s := range file.Services {
			if service != "gateway" && (len(s.Ports) > 0 || !strings.Contains(recipe, service+":")) {
				t.Errorf("%s: %s has the ports %v, or the gateway does not name it", name, service, s.Ports)
			}
			for _, v := range s.Volumes {
				source, _, _ := strings.Cut(v, ":")
				_, isFile := all[folder+strings.TrimPrefix(source, "./")]
				_, isVolume := file.Volumes[source]
				if !isFile && !isVolume && source != "./mcp-forward-auth" && source != "./tls" {
					t.Errorf("%s: %s mounts %s, which is nowhere", name, service, source)
				}
			}
		}
		if !slices.Equal(file.Services["mcp"].Networks, []string{"inside"}) {
			t.Errorf("%s: the MCP server is in the networks %v", name, file.Services["mcp"].Networks)
		}
	}
}

// The pages that troubleshooting.md names by their titles have these titles, and the reasons of
// the audit log are reasons.
func TestTroubleshooting(t *testing.T) {
	text, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := os.ReadFile("../internal/page/messages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	titles := regexp.MustCompile(`the page "([^"]+)"(?: or "([^"]+)")?`).FindAllStringSubmatch(string(text), -1)
	for _, m := range titles {
		for _, title := range m[1:] {
			if title != "" && !strings.Contains(string(pages), `"`+title+`"`) {
				t.Errorf("no page has the title %q", title)
			}
		}
	}
	named := 0
	for _, m := range regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`").FindAllStringSubmatch(string(text), -1) {
		if m[1] == "refresh_token" || m[1] == "client_max_body_size" {
			continue
		}
		named++
		if !slices.Contains(reasons.All(), reasons.Reason(m[1])) {
			t.Errorf("%s is no reason", m[1])
		}
	}
	if len(titles) < 2 || named < 2 {
		t.Errorf("%d pages and %d reasons are named", len(titles), named)
	}
}
