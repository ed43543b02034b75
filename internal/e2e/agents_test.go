//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// commandLine is a client that is run for each call. It keeps what it has in its home.
type commandLine struct {
	t    *testing.T
	argv []string
	home string
	env  []string
}

// newCommandLine has a home of its own, and a browser in which p signs in.
func newCommandLine(t *testing.T, p *person, argv ...string) *commandLine {
	t.Helper()
	script, err := filepath.Abs(filepath.Join(drivers, "opened.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	home, bin := t.TempDir(), browserPath(t, fmt.Sprintf("exec %q %q \"$1\"", node(t), script))
	return &commandLine{t: t, argv: argv, home: home, env: []string{
		"HOME=" + home, "PATH=" + bin + ":/usr/bin:/bin", "BROWSER=" + filepath.Join(bin, "xdg-open"), "PERSON=" + p.URL,
	}}
}

// browserPath makes a directory with the programs that open an address on desktops, each
// of which is the shell script.
func browserPath(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"xdg-open", "sensible-browser", "x-www-browser", "open"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// write makes a file in the home.
func (c *commandLine) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.home, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// run returns what it printed. An error says so too.
func (c *commandLine) run(args ...string) (string, error) {
	return c.start(c.argv, args...)
}

// inTerminal is run for a command that works at a terminal alone; script is one.
func (c *commandLine) inTerminal(args ...string) (string, error) {
	command := strings.Join(append(append([]string(nil), c.argv...), args...), " ")
	return c.start([]string{program(c.t, "script", "/usr/bin/script")}, "--quiet", "--return", "--command", command, "/dev/null")
}

func (c *commandLine) start(argv []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), stepTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(append([]string(nil), argv[1:]...), args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = c.home, c.env, time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, tail(string(out), 1<<10))
	}
	return string(out), err
}

// answers are what the tools of the sample say.
var answers = map[string]string{"read_notes": "buy milk", "write_note": "written"}

// answered is an error unless what a client printed has the tool's answer.
func answered(tool, printed string, err error) error {
	if err == nil && !strings.Contains(printed, answers[tool]) {
		err = fmt.Errorf("no answer of the tool: %s", tail(printed, 1<<10))
	}
	return err
}

// byHand is the result of a call that worked after a person had signed in again, by the
// client's own command.
type byHand struct{ first error }

// Error implements error.
func (b *byHand) Error() string { return "works after a sign-in by hand; before: " + b.first.Error() }

// withHand calls. After an error that says one of these texts a person signs in by hand,
// and the call is made again.
func withHand(call, signIn func() error, says ...string) error {
	first := call()
	if first == nil || !slices.ContainsFunc(says, func(text string) bool { return strings.Contains(first.Error(), text) }) {
		return first
	}
	err := signIn()
	if err == nil {
		err = call()
	}
	if err != nil {
		return errors.Join(first, err)
	}
	return &byHand{first}
}

// codingAgent calls a tool when its model says so, and signs people in by a command of its own.
type codingAgent struct {
	*commandLine
	model *standInModel
	// signIn is the command for the first sign-in, and again for each later one.
	signIn, again func() error
	// refused is what its model is told when a scope is missing.
	refused string
	// ask is the command that has the model work.
	ask []string
}

// noTool is what an agent has for its model when it has to sign in, and does not.
const noTool = "it offers no tool"

func (a codingAgent) steps() stepper {
	signedIn := false
	return func(tool string) error {
		if !signedIn {
			if err := a.signIn(); err != nil {
				return err
			}
			signedIn = true
		}
		return withHand(func() error { return a.call(tool) }, a.again, a.refused, noTool)
	}
}

func (a codingAgent) call(tool string) error {
	a.model.want(tool)
	printed, err := a.run(append(a.ask, "Call "+tool)...)
	if err != nil {
		return err
	}
	result, err := a.model.outcome()
	if err != nil {
		return fmt.Errorf("%w: %s", err, tail(printed, 1<<10))
	}
	return answered(tool, result, nil)
}

// claudeCodeSteps runs Claude Code, which is told where its model is.
func claudeCodeSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	a := codingAgent{commandLine: newCommandLine(t, p, program(t, "claude", claudeBinary())), model: newStandInModel(t)}
	a.env = append(a.env, claudeQuiet...)
	a.env = append(a.env, "ANTHROPIC_BASE_URL="+a.model.URL, "ANTHROPIC_API_KEY=of-the-stand-in",
		// Else it asks its model before it knows the tools, and offers a search for them.
		"MCP_CONNECTION_NONBLOCKING=false", "ENABLE_TOOL_SEARCH=false")
	if _, err := a.run("mcp", "add", "--transport", "http", "notes", target); err != nil {
		t.Fatal(err)
	}
	a.signIn = func() error {
		_, err := a.inTerminal("mcp", "login", "notes")
		return err
	}
	a.again, a.refused = a.signIn, `needs additional permissions (scope: \"notes:read notes:write\")`
	a.ask = []string{"--allowedTools=mcp__notes", "--print"}
	return a.steps()
}

// claudeQuiet has Claude Code leave the network alone.
var claudeQuiet = []string{"DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"}

// codexSteps runs Codex with a provider of models of its own.
func codexSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	a := codingAgent{commandLine: newCommandLine(t, p, program(t, "codex", codexBinary())), model: newStandInModel(t)}
	a.env = append(a.env, "MODEL_KEY=of-the-stand-in")
	a.write(".codex/config.toml", fmt.Sprintf(`
model = "stand-in"
model_provider = "local"
mcp_oauth_credentials_store = "file"

[model_providers.local]
name = "local"
base_url = %q
wire_api = "responses"
env_key = "MODEL_KEY"

[mcp_servers.notes]
url = %q
default_tools_approval_mode = "approve"
`, a.model.URL+"/v1", target))
	a.signIn = func() error {
		_, err := a.run("mcp", "login", "notes")
		return err
	}
	a.again, a.refused, a.ask = a.signIn, "Insufficient scope", []string{"exec", "--skip-git-repo-check"}
	return a.steps()
}

// openCodeSteps runs opencode with a provider of models of its own. What it would fetch
// for itself has no registry.
func openCodeSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	a := codingAgent{commandLine: newCommandLine(t, p, program(t, "opencode", openCodeBinary())), model: newStandInModel(t)}
	a.env = append(a.env, "OPENCODE_DISABLE_MODELS_FETCH=1", "OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_LSP_DOWNLOAD=1",
		"npm_config_registry=http://127.0.0.1:9", "npm_config_fetch_retries=0")
	a.write("opencode.json", fmt.Sprintf(`{
		"share": "disabled", "model": "local/stand-in", "small_model": "local/stand-in",
		"provider": {"local": {"npm": "@ai-sdk/openai-compatible", "name": "local", "options": {"baseURL": %q, "apiKey": "of-the-stand-in"}, "models": {"stand-in": {}}}},
		"mcp": {"notes": {"type": "remote", "url": %q, "oauth": {"callbackPort": %s}}}
	}`, a.model.URL+"/v1", target, freePorts(t, 1)[0]))
	a.signIn = func() error {
		_, err := a.run("mcp", "auth", "notes")
		return err
	}
	a.again = func() error { // it asks whether it should while it has tokens
		if _, err := a.run("mcp", "logout", "notes"); err != nil {
			return err
		}
		return a.signIn()
	}
	a.refused, a.ask = "403 after trying upscoping", []string{"run"}
	return a.steps()
}

// inspectorSteps runs the command line of MCP Inspector for each call.
func inspectorSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	c := newCommandLine(t, p, node(t), filepath.Join(inspectorPackage(), "clients", "launcher", "build", "index.js"),
		"--cli", "--server-url", target, "--transport", "http", "--format", "json", "--callback-url", "http://127.0.0.1:0/oauth/callback", "--method", "tools/call")
	c.env = append(c.env, "MCP_AUTO_OPEN_ENABLED=true", "MCP_INSPECTOR_SECRET_STORE=file")
	return func(tool string) error {
		call := func(more ...string) error {
			printed, err := c.run(append([]string{"--tool-name", tool}, more...)...)
			return answered(tool, printed, err)
		}
		return withHand(func() error { return call() }, func() error { return call("--relogin") }, "AUTHORIZED without authorization code")
	}
}

// mcporterSteps runs the command line of mcporter for each call.
func mcporterSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	cli, err := filepath.Abs(filepath.Join(drivers, "node_modules", "mcporter", "dist", "cli.js"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCommandLine(t, p, node(t), cli)
	c.write("config/mcporter.json", fmt.Sprintf(`{"mcpServers": {"notes": {"url": %q, "auth": "oauth"}}}`, target))
	return func(tool string) error {
		printed, err := c.run("call", "notes."+tool, "--output", "json")
		return answered(tool, printed, err)
	}
}

// Programs that install.sh fetches from npm.

// claudeBinary is the program in the npm package for this machine.
func claudeBinary() string {
	return found("claude-"+claudeVersion, "@anthropic-ai", "claude-code-linux-*", "claude")
}

func codexBinary() string {
	return found("codex-"+codexVersion, "@openai", "codex", "vendor", "*", "bin", "codex")
}

func openCodeBinary() string {
	return found("opencode-"+openCodeVersion, "opencode-linux-*", "bin", "opencode")
}

func inspectorPackage() string {
	return found("inspector-"+inspectorVersion, "@modelcontextprotocol", "inspector")
}

// found is a file of an npm package in a folder of install.sh, or "".
func found(dir string, pattern ...string) string {
	files, _ := filepath.Glob(cached(append([]string{dir, "node_modules"}, pattern...)...))
	if len(files) == 0 {
		return ""
	}
	return files[0]
}

var aVersion = regexp.MustCompile(`\d+(\.\d+)+`)

// saidVersion is the version that a program says it has.
func saidVersion(name string, binary func() string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		out, err := exec.Command(program(t, name, binary()), "--version").Output()
		if err != nil {
			t.Fatalf("%s --version: %v", name, err)
		}
		return aVersion.FindString(string(out))
	}
}
