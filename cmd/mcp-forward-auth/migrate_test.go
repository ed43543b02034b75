package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const obotExample = `export OAUTH_CLIENT_ID="1234567890-gmail.apps.googleusercontent.com"
export OAUTH_CLIENT_SECRET="GOCSPX-3f9Qm1vXw8Kd0aRz"
export OAUTH_AUTHORIZE_URL="https://accounts.google.com"
export SCOPES_SUPPORTED="openid,email,profile,https://www.googleapis.com/auth/gmail.readonly"
export MCP_SERVER_URL="http://localhost:9000/mcp/gmail"
./mcp-oauth-proxy
`

// What migrate prints is what check-config and serve take, with the files that it wrote.
func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	old, secrets := filepath.Join(dir, "proxy.env"), filepath.Join(dir, "secrets")
	if err := os.WriteFile(old, []byte(obotExample), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"migrate", "--from", "obot", old, "--url", "https://mcp.example.com/mcp/gmail", "--email-domain", "example.com", "--secrets", secrets}
	out, said, err := call(t, "", args...)
	if err != nil {
		t.Fatal(err, said)
	}
	if strings.Contains(out+said, "GOCSPX") || !strings.Contains(said, filepath.Join(secrets, "client-secret")) {
		t.Errorf("the secret is shown, or its file not named:\n%s%s", out, said)
	}
	for _, name := range []string{"client-secret", "seed"} {
		info, err := os.Stat(filepath.Join(secrets, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(secrets, "client-secret")); err != nil || string(text) != "GOCSPX-3f9Qm1vXw8Kd0aRz" {
		t.Errorf("the secret's file holds %q, %v", text, err)
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said, err = call(t, "", "check-config", "--config", config); err != nil || !strings.Contains(out, "https://mcp.example.com/mcp/gmail") {
		t.Errorf("check-config: %v\n%s%s", err, out, said)
	}
	if _, _, err = call(t, "", args...); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("secrets that are there were written over: %v", err)
	}
}

func TestMigrateMisused(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "proxy.env")
	if err := os.WriteFile(old, []byte(strings.ReplaceAll(obotExample, "1234567890-gmail.apps.googleusercontent.com", "your-client-id")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--from", "obot"}, exitUsage, "name the files"},
		{[]string{"--from", "nginx", old}, exitUsage, "is not one of oauth2-proxy"},
		{[]string{old}, exitUsage, "is not one of oauth2-proxy"},
		{[]string{"--from", "obot", filepath.Join(dir, "none")}, exitFailed, "no such file"},
		{[]string{"--from", "obot", old}, exitFailed, "--url https://"},
		{[]string{"--from", "wso2", old}, exitFailed, "it is not a YAML mapping"},
		{[]string{"--from", "obot", old, "--url", "https://mcp.example.com/mcp"}, exitFailed, "the result: provider.clientID: is still a placeholder"},
	} {
		_, _, err := call(t, "", append([]string{"migrate"}, c.args...)...)
		if exitCode(err) != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, code %d", c.args, err, exitCode(err))
		}
	}
}

// The command that migrate tells for a server of stdio is one that bridge takes.
func TestMigratedBridge(t *testing.T) {
	_, said, err := call(t, "", "migrate", "--from", "wso2", filepath.Join("..", "..", "internal", "migrate", "testdata", "wso2", "stdio.yaml"))
	if err != nil || strings.Contains(said, "gitPAT") {
		t.Fatalf("%v\n%s", err, said)
	}
	_, line, _ := strings.Cut(said, "beside this service: mcp-forward-auth ")
	line, _, _ = strings.Cut(line, "\n")
	found, args, err := program().Find(strings.Fields(line))
	if err != nil || found.Name() != "bridge" {
		t.Fatalf("%q: %v", line, err)
	}
	if err := found.ParseFlags(args); err != nil || strings.Join(found.Flags().Args(), " ") != "npx -y @modelcontextprotocol/server-github" {
		t.Errorf("%q: %v, %q", line, err, found.Flags().Args())
	}
}
