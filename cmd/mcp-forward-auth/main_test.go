package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
)

// call runs the program with args and standard input.
func call(t *testing.T, in string, args ...string) (out, problems string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = run(t.Context(), args, streams{strings.NewReader(in), &o, &e})
	return o.String(), e.String(), err
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const goodConfig = `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: do-not-print-me}
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://127.0.0.1:9/mcp"}]}
`

func TestCommands(t *testing.T) {
	t.Run("check-config accepts and prints no secret", func(t *testing.T) {
		out, problems, err := call(t, "", "check-config", "--config", write(t, goodConfig))
		if err != nil || !strings.Contains(out, "mcp.example.com") || strings.Contains(out+problems, "do-not-print-me") {
			t.Errorf("%v\n%s%s", err, out, problems)
		}
	})
	t.Run("check-config reports every mistake", func(t *testing.T) {
		_, _, err := call(t, "", "check-config", "--config", write(t, strings.Replace(goodConfig, "oidc", "gogle", 1)+"nosuchkey: 1\n"))
		if err == nil || !strings.Contains(err.Error(), "provider.name") || !strings.Contains(err.Error(), "nosuchkey") || strings.Contains(err.Error(), "do-not-print-me") {
			t.Errorf("%v", err)
		}
	})
	t.Run("what is missing", func(t *testing.T) {
		for _, args := range [][]string{{"check-config"}, {"serve"}, {"check-config", "--config", "/no/such/file"}, {"check-config", "--nosuchflag"}, {"check-config", "--config", write(t, goodConfig), "extra"}, {"nosuchcommand"}, {}} {
			if out, _, err := call(t, "", args...); err == nil || out != "" {
				t.Errorf("%v: %v %q", args, err, out)
			}
		}
	})
	t.Run("serve refuses a wrong file before it listens", func(t *testing.T) {
		if _, _, err := call(t, "", "serve", "--config", write(t, "provider: {}\n")); err == nil {
			t.Error("it served")
		}
	})
	t.Run("hash-password", func(t *testing.T) {
		for _, in := range []string{"a secret", "a secret\n", "a secret\r\n"} {
			out, _, err := call(t, in, "hash-password")
			if err != nil || bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(out)), []byte("a secret")) != nil {
				t.Errorf("%q: %v %q", in, err, out)
			}
		}
		for _, in := range []string{"", "\n", strings.Repeat("x", 73)} {
			if out, _, err := call(t, in, "hash-password"); err == nil || out != "" {
				t.Errorf("%.10q: %v %q", in, err, out)
			}
		}
		out, _, err := call(t, "a secret\n", "hash-password", "-argon2id")
		c, failed := static.New(config.Provider{Users: []config.User{{Username: "jane", PasswordHash: config.NewSecret(strings.TrimSpace(out))}}})
		if err != nil || failed != nil {
			t.Fatalf("%v, %v, %q", err, failed, out)
		}
		if _, err := c.Authenticate(t.Context(), "jane", "a secret"); err != nil {
			t.Error(err)
		}
	})
	t.Run("version and help", func(t *testing.T) {
		if out, _, err := call(t, "", "version"); err != nil || !strings.HasPrefix(out, "mcp-forward-auth ") {
			t.Errorf("%v %q", err, out)
		}
		for _, name := range []string{"help", "-h", "--help"} {
			out, _, err := call(t, "", name)
			for _, c := range commands {
				if err != nil || !strings.Contains(out, c.name) {
					t.Errorf("%s: %v, without %s", name, err, c.name)
				}
			}
		}
	})
	t.Run("serve ends cleanly when told to", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out bytes.Buffer
		config := write(t, goodConfig+"listen: {http: \"127.0.0.1:0\", management: \"127.0.0.1:0\"}\n")
		if err := run(ctx, []string{"serve", "--config", config}, streams{strings.NewReader(""), &out, &out}); err != nil || strings.Contains(out.String(), "do-not-print-me") {
			t.Errorf("%v\n%s", err, out.String())
		}
	})
}
