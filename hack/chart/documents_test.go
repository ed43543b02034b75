package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Names in documents that stand for objects of the chart: Services in URLs, in
// backends and in kubectl's arguments.
var (
	serviceURL     = regexp.MustCompile(`\b(https?)://(mcp-forward-auth)\.[a-z0-9-]+\.svc(?:\.cluster\.local)?\.?(?::(\d+))?`)
	serviceHost    = regexp.MustCompile(`service: (mcp-forward-auth)\.[a-z0-9-]+\.svc\.cluster\.local\n\s+port: (\d+)`)
	serviceBackend = regexp.MustCompile(`name: (mcp-forward-auth)(?:, namespace: [a-z0-9-]+)?, port: (?:\{number: )?(\d+)`)
	servicePorts   = regexp.MustCompile(`authServiceName: [a-z0-9-]+/(mcp-forward-auth)\n\s+authServicePorts: \[(\d+)\]`)
	kubectlObject  = regexp.MustCompile(`\b(deploy|deployment|secret|service|svc|middleware|securitypolicy)[/ ](mcp-forward-auth[a-z0-9-]*)`)
	ownService     = regexp.MustCompile(`(?s)kind: Service\nmetadata: \{name: mcp-forward-auth.*?port: (\d+)`)
)

// everything renders the chart as documents have it: under its own name, with
// all that can be switched on.
func everything(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	write(t, file, []byte("listen: {grpc: ':9001'}\nkeys: {source: seed}\nprotection: {traefik: {enabled: true}, envoyGateway: {enabled: true, targetRefs: [{group: a, kind: b, name: c}]}}\n"))
	out, errOut, err := helm4.run(t, nil, append([]string{"template", "mcp-forward-auth", chartDir, "--namespace", "auth",
		"--values", filepath.Join(chartDir, "ci", "minimal-values.yaml"), "--values", file}, renderedAtCluster(t)...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	return objects(t, out)
}

// A document that names a Service or an object of the chart names one that the
// chart makes, at a port that it has.
func TestDocumentsNameWhatTheChartMakes(t *testing.T) {
	rendered := everything(t)
	ports := regexp.MustCompile(`"port":(\d+)`)
	var chart []string
	for _, m := range ports.FindAllStringSubmatch(rendered["Service auth/mcp-forward-auth"], -1) {
		chart = append(chart, m[1])
	}
	if !slices.Contains(chart, "80") || !slices.Contains(chart, "9001") {
		t.Fatalf("the chart's Service has the ports %v", chart)
	}
	kinds := map[string]string{"deploy": "Deployment", "deployment": "Deployment", "secret": "Secret", "service": "Service", "svc": "Service",
		"middleware": "Middleware", "securitypolicy": "SecurityPolicy"}
	found := 0
	for document, text := range documents(t) {
		have := chart
		if m := ownService.FindStringSubmatch(text); m != nil { // made by hand on that page
			have = []string{m[1]}
		}
		check := func(what, port string) {
			found++
			if !slices.Contains(have, port) {
				t.Errorf("%s: %s: the Service has no port %s, only %v", document, what, port, have)
			}
		}
		for _, m := range serviceURL.FindAllStringSubmatch(text, -1) {
			port := m[3]
			if port == "" {
				port = map[string]string{"http": "80", "https": "443"}[m[1]]
			}
			check(m[0], port)
		}
		for _, pattern := range []*regexp.Regexp{serviceHost, serviceBackend, servicePorts} {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				check(m[0], m[2])
			}
		}
		for _, m := range kubectlObject.FindAllStringSubmatch(text, -1) {
			if len(have) == 1 || strings.Contains(m[0], "secret mcp-forward-auth\n") {
				continue
			}
			found++
			if rendered[fmt.Sprintf("%s auth/%s", kinds[m[1]], m[2])] == "" {
				t.Errorf("%s: %q: the chart makes no such object", document, m[0])
			}
		}
	}
	if found < 20 {
		t.Errorf("%d names: the patterns find none", found)
	}
}

var (
	shBlock     = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$|^((?:    [^\n]*\n)+)")
	helmCommand = regexp.MustCompile(`(?m)^\s*helm (?:install|upgrade|upgrade --install) (\S+) \S*charts/mcp-forward-auth((?:\\\n|[^\n])*)`)
)

// Each helm command of a document renders the chart, with the values that the
// document shows.
func TestDocumentsHelmCommands(t *testing.T) {
	ran := 0
	for document, text := range documents(t) {
		values := map[string]string{}
		for _, block := range valuesBlock.FindAllStringSubmatch(text, -1) {
			name := "values.yaml"
			if m := regexp.MustCompile(`^# values\.yaml, the part in (\S+)`).FindStringSubmatch(block[1]); m != nil {
				name = m[1]
			}
			if values[name] == "" {
				values[name] = block[1] + block[2]
			}
		}
		for _, block := range shBlock.FindAllStringSubmatch(text, -1) {
			for _, m := range helmCommand.FindAllStringSubmatch(block[1]+block[2], -1) {
				ran++
				if err := runHelmCommand(t, m[1], strings.Fields(strings.ReplaceAll(m[2], "\\\n", " ")), values); err != nil {
					t.Errorf("%s: %v\n%s", document, err, m[0])
				}
			}
		}
	}
	if ran < 4 {
		t.Errorf("%d commands: the pattern finds none", ran)
	}
}

// runHelmCommand renders what the command would install.
func runHelmCommand(t *testing.T, name string, words []string, values map[string]string) error {
	t.Helper()
	dir := t.TempDir()
	for file, text := range values {
		write(t, filepath.Join(dir, file), []byte(text))
	}
	args := append([]string{"template", name, chartDir}, renderedAtCluster(t)...)
	for i := 0; i < len(words); i++ {
		switch word := words[i]; word {
		case "--wait", "--create-namespace", "--install":
		case "--reuse-values": // of what is installed
			args = append(args, "--values", filepath.Join(chartDir, "ci", "minimal-values.yaml"))
		case "--values", "-f":
			i++
			file := words[i]
			if file == "-" {
				file = "values.yaml"
			}
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				return fmt.Errorf("the document shows no %s", file)
			}
			args = append(args, word, filepath.Join(dir, file))
		case "<<'EOF'":
		default:
			args = append(args, word)
		}
	}
	_, errOut, err := helm4.run(t, nil, args...)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, errOut)
	}
	return nil
}
