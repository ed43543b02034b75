//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The commands that docs/stdio.md gives to systemd, Compose and Kubernetes start a
// bridge, here before server-everything. Only those that say so take a request without
// an identity.
func TestStdioDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "stdio.md"))
	if err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(drivers, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
	for name, tt := range map[string]struct {
		command []string
		status  int // of a request without an identity
	}{
		"systemd":    {unitCommand(t, string(text)), http.StatusOK},
		"Compose":    {yamlCommand(t, string(text), "yml"), http.StatusOK},
		"Kubernetes": {yamlCommand(t, string(text), "yaml"), http.StatusForbidden},
		"the image":  {imageCommand(t, string(text)), http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			port := freePorts(t, 1)[0]
			flags, _, ok := strings.Cut(strings.Join(tt.command, "\n"), "\n--\n")
			args := strings.Split(flags, "\n")
			if !ok || args[0] != "bridge" {
				t.Fatalf("the command is %q", tt.command)
			}
			host := "127.0.0.1"
			for i, arg := range args {
				if strings.HasPrefix(arg, ":") { // all addresses of the container
					args[i], host = ":"+port, ""
				}
			}
			if host != "" { // the default, of which another test may have the port
				args = append(args, "--listen", host+":"+port)
			}
			bridge := start(t, "bridge", nil, serviceBinary(t), append(args, "--", node(t), server, "stdio")...)
			bridge.waitHTTP(t, "http://127.0.0.1:"+port+"/readyz", http.StatusOK)
			resp, answer := do(t, http.MethodPost, "http://127.0.0.1:"+port+"/mcp",
				strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`),
				"Content-Type", "application/json", "Accept", "application/json, text/event-stream")
			if resp.StatusCode != tt.status || tt.status == http.StatusOK && !strings.Contains(string(answer), "serverInfo") {
				t.Errorf("%s %s", resp.Status, answer)
			}
		})
	}
}

// afterProgram is a command without the path of this program.
func afterProgram(t *testing.T, command []string) []string {
	t.Helper()
	if len(command) < 2 || filepath.Base(command[0]) != "mcp-forward-auth" {
		t.Fatalf("the command is %q", command)
	}
	return command[1:]
}

func unitCommand(t *testing.T, text string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal("docs/stdio.md shows no unit")
	}
	return afterProgram(t, strings.Fields(m[1]))
}

var lineOfCommand = regexp.MustCompile(`(?m)^ +(command: \[mcp-forward-auth, .*\])$`)

// yamlCommand is the first command in a block of that language.
func yamlCommand(t *testing.T, text, language string) []string {
	t.Helper()
	for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		m := lineOfCommand.FindStringSubmatch(block[1])
		if m == nil {
			continue
		}
		var parsed struct{ Command []string }
		if err := yaml.Unmarshal([]byte(m[1]), &parsed); err != nil {
			t.Fatal(err)
		}
		return afterProgram(t, parsed.Command)
	}
	t.Fatalf("docs/stdio.md has no command in %s", language)
	return nil
}

func imageCommand(t *testing.T, text string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindStringSubmatch(text)
	var command []string
	if m == nil || yaml.Unmarshal([]byte(m[1]), &command) != nil {
		t.Fatal("docs/stdio.md shows no CMD")
	}
	return afterProgram(t, command)
}
