//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/shell"
)

// shellBlock is the block of a document that begins so.
func shellBlock(t *testing.T, page, begins string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range shell.Blocks(string(text)) {
		if strings.HasPrefix(block, begins) {
			return block
		}
	}
	t.Fatalf("docs/%s has no block that begins with %q", page, begins)
	return ""
}

// firstYAML is the first YAML block of a document: its configuration file.
func firstYAML(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "```yaml\n")
	config, _, found := strings.Cut(config, "```\n")
	if !found {
		t.Fatalf("docs/%s shows no configuration", page)
	}
	return config
}

// paste runs commands as a person would who has the program in the path. Files keep
// the group of the user who runs the test.
func paste(t *testing.T, dir, commands string) {
	t.Helper()
	bin := t.TempDir()
	program, err := filepath.Abs(serviceBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(bin, "mcp-forward-auth")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", "chgrp() { test \"$#\" -gt 1; }\n"+commands)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":/usr/bin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, commands, out)
	}
}

// TestFilesByCommands makes the files of a set-up by the commands of the documents, and
// the program takes the configuration with them.
func TestFilesByCommands(t *testing.T) {
	t.Run("README.md", func(t *testing.T) {
		track(t)
		dir := t.TempDir()
		block := substitute(t, shellBlock(t, "../README.md", "go build"), "YOUR-SECRET", "a-secret",
			"go build ./cmd/mcp-forward-auth", `ln -s "$(command -v mcp-forward-auth)" mcp-forward-auth`)
		files, _, found := strings.Cut(block, "./mcp-forward-auth serve")
		if !found {
			t.Fatal("the block does not end with serve")
		}
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(firstYAML(t, "../README.md")), 0o640); err != nil {
			t.Fatal(err)
		}
		paste(t, dir, files)
	})
	t.Run("linux.md", func(t *testing.T) {
		track(t)
		dir := filepath.Join(t.TempDir(), "etc")
		block := shellBlock(t, "linux.md", "install -d")
		block = substitute(t, block, " -o root -g mcp-forward-auth", "")
		files, check, found := strings.Cut(substitute(t, block, "/etc/mcp-forward-auth", dir), "mcp-forward-auth check-config")
		if !found {
			t.Fatal("the block does not end with check-config")
		}
		paste(t, ".", files)
		// What the person writes with an editor.
		for name, content := range map[string]string{"config.yaml": firstYAML(t, "linux.md"), "client-secret": "a-secret\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		paste(t, dir, "mcp-forward-auth check-config"+check)
		secret, err := os.Stat(filepath.Join(dir, "client-secret"))
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "the mode of client-secret", secret.Mode().Perm(), 0o640)
	})
	examples, err := filepath.Glob(filepath.Join(repository, "docs", "examples", "compose-*"))
	if err != nil || len(examples) < 3 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	for _, example := range examples {
		t.Run(filepath.Base(example), func(t *testing.T) {
			track(t)
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
				t.Fatal(err)
			}
			paste(t, dir, substitute(t, shellBlock(t, "examples/README.md", "cd mcp-forward-auth"), "YOUR-SECRET", "a-secret")+"mcp-forward-auth check-config --config config.yaml\n")
		})
	}
}
