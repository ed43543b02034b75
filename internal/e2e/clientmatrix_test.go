//go:build e2e

package e2e

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sync/errgroup"
)

// stepper calls a tool as one client does, which signs in, refreshes and asks for more
// as it sees fit. After an error it begins with a new connection.
type stepper func(tool string) error

// matrixClient is a row of docs/reference/clients.md.
type matrixClient struct {
	name    string
	version func(t *testing.T) string
	// start returns nil for a client that is left out, and has said why.
	start func(t *testing.T, target string, p *person) stepper
	// fails is what does not end as it should, by the name of a stage.
	fails map[string]difference
}

const (
	again = "signs in again"
	// hand is the cell of byHand.
	hand         = "by hand"
	withoutTools = "Client: it goes on without the tools of the server. The person has to sign in again, with the same command as the first time."
	anotherPort  = "Client: each process registers again, for another loopback port, and presents the refresh token of its earlier registration, which belongs to another client."
)

var matrixClients = []matrixClient{
	{"Go SDK", goModule("github.com/modelcontextprotocol/go-sdk"), goSDKSteps, nil},
	{"TypeScript SDK v2 (`@modelcontextprotocol/client`)", npmPackage("@modelcontextprotocol/client"), nodeSteps("v2"), nil},
	{"TypeScript SDK v1 (`@modelcontextprotocol/sdk`)", npmPackage("@modelcontextprotocol/sdk"), nodeSteps("v1"), map[string]difference{"step-up": {"no", "Client: it refreshes its token, gets the same scopes, and gives up. With `refuseRefreshAfterStepUp` in the host entry it asks the person."}}},
	{"Vercel AI SDK (`@ai-sdk/mcp`)", npmPackage("@ai-sdk/mcp"), nodeSteps("ai"), map[string]difference{"step-up": {"no", "Client: it reports the 403 as an error and does not ask for the scope. The application has to call `auth` with the scope of the challenge."}}},
	{"Python SDK (`mcp`)", pythonPackage("mcp"), pythonSteps("sdk"), nil},
	{"FastMCP", pythonPackage("fastmcp"), pythonSteps("fastmcp"), nil},
	{"Rust SDK (`rmcp`)", rustPackage("rmcp"), rmcpSteps, nil},
	{"mcp-remote", npmPackage("mcp-remote"), mcpRemoteSteps, nil},
	{"mcporter", npmPackage("mcporter"), mcporterSteps, map[string]difference{"refresh": {again, anotherPort}, "restart": {again, anotherPort}}},
	{"Claude Code", saidVersion("claude", claudeBinary), claudeCodeSteps, map[string]difference{
		"step-up":           {hand, "Client: it says which scope is missing. The person has to sign in again: `claude mcp login notes`."},
		"dead registration": {hand, withoutTools},
	}},
	{"Codex CLI", saidVersion("codex", codexBinary), codexSteps, map[string]difference{
		"step-up":           {hand, "Client: it says \"Insufficient scope\". The person has to sign in again: `codex mcp login notes`."},
		"dead registration": {hand, withoutTools},
	}},
	{"opencode", saidVersion("opencode", openCodeBinary), openCodeSteps, map[string]difference{
		"step-up":           {hand, "Client: it refreshes its token, gets the same scopes, and gives up. The person has to run `opencode mcp logout notes` and `opencode mcp auth notes`."},
		"dead registration": {hand, withoutTools},
	}},
	{"MCP Inspector, its command line", packageAt(inspectorPackage), inspectorSteps, map[string]difference{
		"step-up": {hand, "Client: it refreshes its token, gets the same scopes, and reports an internal error. The person has to run it with `--relogin`."},
	}},
}

// stage is a column: what happens, and how often a person may be asked in it.
type stage struct {
	name, means string
	tool        string
	before      func(t *testing.T, st *stack, seed string)
	least, most int // sign-ins
}

var stages = []stage{
	{"sign-in", "the client finds the authorization server, registers, a person signs in, and a tool answers", "read_notes", nil, 1, 1},
	{"refresh", "the access token has expired; the next call works without a sign-in", "read_notes", expire, 0, 0},
	{"restart", "the service restarts with the same seed; the next call works without a sign-in", "read_notes", restartWith(""), 0, 0},
	{"step-up", "a tool needs the scope that the person withheld; the client asks for it, and the person agrees", "write_note", nil, 1, 1},
	{"dead registration", "the service restarts with another seed, so it knows neither tokens nor registrations; the client registers and the person signs in again", "read_notes", restartWith("another seed for tests! "), 1, 1},
}

// expire waits until a token that is younger than those of all clients is refused, and
// clients know so too: they count whole seconds from when the answer came.
func expire(t *testing.T, st *stack, _ string) {
	g, _ := signIn(t, st.statelessURL, alice)
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		resp, _ := callTool(t, st.statelessURL, "read_notes", g)
		if resp.StatusCode == http.StatusUnauthorized {
			time.Sleep(3 * time.Second)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a token of a minute is good after four")
		}
	}
}

// restartWith starts the service again, with a seed of its own unless text is "".
func restartWith(text string) func(t *testing.T, st *stack, seed string) {
	return func(t *testing.T, st *stack, seed string) {
		st.service.stop(t)
		if text != "" {
			if err := os.WriteFile(seed, []byte(strings.Repeat(text, 4)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		st.startService(t, serviceBinary(t))
		known := fmt.Sprintf(`mcp_forward_auth_catalogue_known{resource=%q} 1`, st.statelessURL)
		for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if _, all := do(t, http.MethodGet, "http://"+st.managementAddress+"/metrics", nil); strings.Contains(string(all), known) {
				return
			}
			if time.Since(start) > 30*time.Second {
				t.Fatal("the service does not know the tools of its MCP server")
			}
		}
	}
}

// TestClientMatrix takes real clients through the life of a sign-in, at a host that the
// service serves with its default configuration, and compares what they do with
// docs/reference/clients.md.
func TestClientMatrix(t *testing.T) {
	track(t)
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(strings.Repeat("only for tests! ", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	st := newStack(t, setup{provider: "static", gateway: servedKind(t), change: func(file map[string]any) {
		file["keys"] = map[string]any{"source": "seed", "seedFiles": []string{seed}}
		file["tokens"] = map[string]any{"accessTokenLifetime": "1m"}
		file["registration"] = map[string]any{"metadataDocuments": map[string]any{"enabled": false}}
	}})
	people, call := make([]*person, len(matrixClients)), make([]stepper, len(matrixClients))
	versions := make([]string, len(matrixClients))
	for i, c := range matrixClients {
		people[i] = newPerson(t, scopeWrite)
		versions[i], call[i] = c.version(t), c.start(t, st.statelessURL, people[i])
		if *update && call[i] == nil {
			t.Fatalf("docs/reference/clients.md stays as it is: %s did not run", c.name)
		}
	}
	results := make([]map[string]string, len(matrixClients))
	for _, s := range stages {
		if s.before != nil {
			s.before(t, st, seed)
		}
		var all errgroup.Group
		all.SetLimit(atOnce)
		for i, c := range matrixClients {
			if results[i] == nil {
				results[i] = map[string]string{}
			}
			if call[i] == nil {
				results[i][s.name] = cmp.Or(c.fails[s.name].got, "yes") // as the page has it
				continue
			}
			all.Go(func() error {
				asked := len(people[i].asked())
				err := call[i](s.tool)
				asked = len(people[i].asked()) - asked
				cell := s.cell(err, asked)
				results[i][s.name] = cell
				if want := cmp.Or(c.fails[s.name].got, "yes"); cell != want {
					t.Errorf("%s, %s: %s (%d sign-ins, %v), want %q", c.name, s.name, cell, asked, err, want)
				}
				return nil
			})
		}
		_ = all.Wait()
	}
	compareClients(t, versions, results)
}

// cell is the result of a stage, in the words of the table.
func (s stage) cell(err error, asked int) string {
	var person *byHand
	switch {
	case errors.As(err, &person) && asked == 1:
		return hand
	case err != nil:
		return "no"
	case asked >= s.least && asked <= s.most:
		return "yes"
	case s.most == 0:
		return again
	}
	return fmt.Sprintf("after %d sign-ins", asked)
}

// compareClients compares the page with what was found, but for its date, or writes it.
func compareClients(t *testing.T, versions []string, results []map[string]string) {
	t.Helper()
	file := filepath.Join(repository, "docs", "reference", "clients.md")
	if *update {
		if err := os.WriteFile(file, []byte(clientsPage(time.Now().Format(time.DateOnly), versions, results)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	date := regexp.MustCompile(`\d{4}-\d\d-\d\d`).FindString(string(got))
	if string(got) != clientsPage(date, versions, results) {
		t.Errorf("docs/reference/clients.md is not what this run found; go test -tags e2e ./internal/e2e -run TestClientMatrix -update writes it")
	}
}

const clientsHead = `# What each client does

<!-- Generated by ` + "`go test -tags e2e ./internal/e2e -run TestClientMatrix -update`" + ` from what real clients did. -->

The end-to-end tests run each of these clients, in the version shown, against a [served host](../served-hosts.md) with the default configuration. Only client metadata documents are off: those of Claude Code and Codex are at addresses that no test can reach, so every client registers. The table was last written on %s.
The person who signs in withholds one scope at first. For Claude Code, Codex and opencode the test also plays the model, and has it call the tool.
A number points to a note below, which explains what the client does differently. Any other difference fails the test. How clients register, and what other clients do, was checked by hand: [clients.md](../clients.md#what-real-clients-do).

`

func clientsPage(date string, versions []string, results []map[string]string) string {
	var b, notes strings.Builder
	fmt.Fprintf(&b, clientsHead, date)
	b.WriteString("| Client | Version |")
	for _, s := range stages {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(stages)) + "\n")
	var known []string
	for i, c := range matrixClients {
		fmt.Fprintf(&b, "| %s | %s |", c.name, versions[i])
		for _, s := range stages {
			cell := results[i][s.name]
			if why := c.fails[s.name].why; why != "" {
				at := slices.Index(known, why)
				if at < 0 {
					at, known = len(known), append(known, why)
					fmt.Fprintf(&notes, "%d. %s\n", len(known), why)
				}
				cell += fmt.Sprintf(" (%d)", at+1)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, s := range stages {
		fmt.Fprintf(&b, "- **%s**: %s.\n", s.name, s.means)
	}
	b.WriteString("\n\"By hand\" means that the call fails, the person signs in with a command of the client, and the next call works.\n")
	if notes.Len() > 0 {
		b.WriteString("\n" + notes.String())
	}
	return b.String()
}

func goModule(path string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", path).Output()
		if err != nil {
			t.Fatalf("go list -m %s: %v", path, err)
		}
		return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	}
}

func npmPackage(name string) func(t *testing.T) string {
	return packageAt(func() string { return filepath.Join(drivers, "node_modules", filepath.FromSlash(name)) })
}

// packageAt is the version of the npm package in a folder.
func packageAt(dir func() string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir(), "package.json"))
		var p struct{ Version string }
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err != nil {
			notRun(t, "an npm package is not there (hack/e2e/install.sh): %v", err)
		}
		return p.Version
	}
}

func pythonPackage(name string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		out, err := exec.Command(python(t), "-c", "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))", name).Output()
		if err != nil {
			notRun(t, "there is no %s (hack/e2e/install.sh): %v", name, err)
		}
		return strings.TrimSpace(string(out))
	}
}

// rustPackage is the version that the client of hack/e2e/rmcp-client is built with.
func rustPackage(name string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		lock, err := os.ReadFile(filepath.Join(drivers, "rmcp-client", "Cargo.lock"))
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(lock), fmt.Sprintf("name = %q\nversion = \"", name))
		version, _, _ := strings.Cut(after, `"`)
		if !found {
			t.Fatalf("Cargo.lock has no %s", name)
		}
		return version
	}
}

// stepTime bounds one call with what it takes.
const stepTime = 2 * time.Minute

// atOnce is how many clients run at the same time: agents have bounds of their own for
// how long a server may take, which a busy machine meets.
const atOnce = 4

// bySession calls through sessions of the Go SDK, of which dial makes the next after an error.
func bySession(t *testing.T, dial func() (*mcp.ClientSession, error)) stepper {
	var session *mcp.ClientSession
	t.Cleanup(func() {
		if session != nil {
			session.Close()
		}
	})
	return func(tool string) (err error) {
		if session == nil {
			if session, err = dial(); err != nil {
				session = nil
				return err
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), stepTime)
		defer cancel()
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool})
		if err == nil && res.IsError {
			err = fmt.Errorf("the tool failed: %+v", res.Content)
		}
		if err != nil {
			session.Close()
			session = nil
		}
		return err
	}
}

func goSDKSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	handler, err := goSDKHandler(func(start string) (url.Values, error) {
		answer, _, err := p.signIn(start)
		return answer, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bySession(t, func() (*mcp.ClientSession, error) { return connectBy(t, target, modern, handler) })
}

func mcpRemoteSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	dir := t.TempDir()
	return bySession(t, func() (*mcp.ClientSession, error) {
		session, said, err := dialMCPRemote(t, target, dir, p)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, tail(said.out.String(), 1<<10))
		}
		return session, err
	})
}

func nodeSteps(version string) func(t *testing.T, target string, p *person) stepper {
	return func(t *testing.T, target string, p *person) stepper {
		t.Helper()
		return byLines(t, p, "1", node(t), filepath.Join(drivers, "sdk-client.mjs"), version, target)
	}
}

func pythonSteps(kind string) func(t *testing.T, target string, p *person) stepper {
	return func(t *testing.T, target string, p *person) stepper {
		t.Helper()
		return byLines(t, p, kind, python(t), filepath.Join(drivers, "sdk-client.py"), target)
	}
}

// rmcpSteps runs the program that install.sh builds, in a folder named for its sources.
func rmcpSteps(t *testing.T, target string, p *person) stepper {
	t.Helper()
	sources := sha256.New()
	for _, name := range []string{"Cargo.lock", "src/main.rs"} {
		text, err := os.ReadFile(filepath.Join(drivers, "rmcp-client", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(text)
	}
	binary := cached(fmt.Sprintf("rmcp-client-%x", sources.Sum(nil)[:6]), "rmcp-client")
	if _, err := os.Stat(binary); err != nil {
		t.Run("rmcp", func(t *testing.T) {
			optional(t, false, "client on rmcp: hack/e2e/install.sh builds it where there is Rust")
		})
		return nil
	}
	return byLines(t, p, "1", binary, target)
}

// byLines runs a driver that calls the tool of each line that it gets.
func byLines(t *testing.T, p *person, steps, program string, args ...string) stepper {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PERSON="+p.URL, "STEPS="+steps, "PYTHONUNBUFFERED=1")
	var said output
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return func(tool string) error {
		if _, err := io.WriteString(in, tool+"\n"); err != nil {
			return fmt.Errorf("%w: %s", err, tail(said.String(), 1<<10))
		}
		select {
		case line, ok := <-lines:
			var answer struct{ Text, Error string }
			if err := json.Unmarshal([]byte(line), &answer); !ok || err != nil {
				return fmt.Errorf("it printed %q: %s", line, tail(said.String(), 1<<10))
			}
			if answer.Error != "" || strings.HasPrefix(answer.Text, "error: ") {
				return errors.New(answer.Error + answer.Text)
			}
			return nil
		case <-time.After(stepTime):
			return fmt.Errorf("no answer in %s: %s", stepTime, tail(said.String(), 1<<10))
		}
	}
}
