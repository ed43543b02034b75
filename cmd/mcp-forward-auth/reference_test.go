package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/reference/commands.md")

// reference is the page about all commands.
func reference() string {
	var b strings.Builder
	b.WriteString("# Commands\n\nWhat `mcp-forward-auth COMMAND --help` says, written by `go test ./cmd/mcp-forward-auth -run Reference -update`. Releases hold the same as man pages.\n\n" +
		"A command that is called wrongly says so in one line on standard error. With `--output json` standard output is JSON also then, and wherever else a command fails: an object with `error`.\n")
	var all []*cobra.Command
	for _, c := range program().Commands() {
		all = append(append(all, c), c.Commands()...)
	}
	for _, c := range all {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		long := c.Long
		if long == "" {
			long = c.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```text\n%s\n```\n", strings.TrimSuffix(label(c), ": "), strings.TrimSpace(long), c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(&b, "\nExamples:\n\n```text\n%s\n```\n", dedent(c.Example))
		}
		var flags strings.Builder
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			value, about := pflag.UnquoteUsage(f)
			name := "--" + f.Name
			if value != "" {
				name += " " + value
			}
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
				about += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(&flags, "| `%s` | %s |\n", name, strings.ReplaceAll(about, "|", `\|`))
		})
		if flags.Len() > 0 {
			b.WriteString("\n| Flag | |\n|---|---|\n" + flags.String())
		}
	}
	return b.String()
}

func dedent(s string) string {
	return strings.TrimPrefix(strings.ReplaceAll(s, "\n  ", "\n"), "  ")
}

func TestReference(t *testing.T) {
	const page = "../../docs/reference/commands.md"
	want := reference()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the commands say (%v); run this test with -update", page, err)
	}
}

// Each command says what it does, shows an example, and names its exit codes.
func TestHelpIsWhole(t *testing.T) {
	for _, c := range program().Commands() {
		if c.Name() == "version" { // nothing can go wrong with it
			continue
		}
		if c.Short == "" || !strings.Contains(c.Long, "Exit codes: 0 ") || !strings.Contains(c.Example, "mcp-forward-auth "+c.Name()) {
			t.Errorf("%s lacks a description, exit codes or an example", c.Name())
		}
		for line := range strings.SplitSeq(c.Long, "\n") {
			if len([]rune(line)) > 80 {
				t.Errorf("%s: longer than a terminal is wide: %q", c.Name(), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s says nothing", c.Name(), f.Name)
			}
		})
	}
}

// The examples are commands that exist, with flags that exist.
func TestExamplesParse(t *testing.T) {
	for _, c := range program().Commands() {
		for line := range strings.SplitSeq(c.Example, "\n") {
			_, line, _ = strings.Cut(line, "mcp-forward-auth ")
			root := program()
			found, args, err := root.Find(strings.Fields(strings.ReplaceAll(line, "'", "")))
			if err != nil || found.Name() != c.Name() && found.Parent().Name() != c.Name() {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if err := found.ParseFlags(args); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, _, err := call(t, "", "completion", shell)
		if err != nil || !strings.Contains(out, "mcp-forward-auth") {
			t.Errorf("%s: %v", shell, err)
		}
		if path, missing := exec.LookPath(shell); missing == nil && shell != "powershell" {
			check := exec.Command(path, "-n")
			check.Stdin = strings.NewReader(out)
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s does not take it: %v %s", shell, err, said)
			}
		}
	}
	for args, want := range map[string]string{
		"d":                           "doctor",
		"doctor --gateway ":           "ingress-nginx",
		"check-config --output ":      "json",
		"serve --config ":             "yaml",
		"check-config --config x --r": "--resource",
	} {
		out, _, err := call(t, "", append([]string{cobra.ShellCompRequestCmd}, strings.Split(args, " ")...)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v, %q without %q", args, err, out, want)
		}
	}
}

func TestVersion(t *testing.T) {
	defer func(v, c string) { version, commit = v, c }(version, commit)
	version, commit = "1.2.3", "abcdef"
	out, _, err := call(t, "", "version")
	if err != nil || !strings.HasPrefix(out, "mcp-forward-auth 1.2.3 (commit abcdef") || !strings.Contains(out, " go1.") {
		t.Errorf("%v %q", err, out)
	}
	if out, _, err = call(t, "", "version", "-o", "json"); err != nil || !strings.Contains(out, `"commit": "abcdef"`) {
		t.Errorf("%v %q", err, out)
	}
	if out, _, err = call(t, "", "--version"); err != nil || !strings.Contains(out, "1.2.3") {
		t.Errorf("%v %q", err, out)
	}
	if _, _, err = call(t, "", "version", "-o", "yaml"); exitCode(err) != exitUsage {
		t.Errorf("yaml: %v", err)
	}
}

func TestPasswordPrompt(t *testing.T) {
	for _, c := range []struct {
		typed []string
		want  string
	}{
		{[]string{"a", "a"}, "a"},
		{[]string{"a", "b", "c", "c"}, "c"},
		{[]string{"", "a", "a"}, "a"},
		{[]string{"a", "b", "a", "b", "a", "b", "a", "a"}, ""}, // after three it gives up
	} {
		var shown bytes.Buffer
		got, err := promptTwice(&shown, func() ([]byte, error) {
			next := c.typed[0]
			c.typed = c.typed[1:]
			return []byte(next), nil
		})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v: %q, %v", c.typed, got, err)
		}
	}
}
