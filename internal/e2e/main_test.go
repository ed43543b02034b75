//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	repository = filepath.Join("..", "..")
	drivers    = filepath.Join(repository, "hack", "e2e")
	// ledger is what the summary at the end is made of.
	ledger = &summary{}
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopShared()
	if dir := buildDir; dir != "" {
		os.RemoveAll(dir)
	}
	fmt.Print(ledger)
	os.Exit(code)
}

type result struct{ name, outcome string }

type summary struct {
	mu       sync.Mutex
	results  []result
	missing  []string
	versions map[string]string
	table    string // of the gateways
	chaos    string // what TestChaos counted
}

// track enters t, and how it ended, in the summary, unless its sub-tests have
// said the same already.
func track(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		outcome := "passed"
		switch {
		case t.Failed():
			outcome = "FAILED"
		case t.Skipped():
			outcome = "SKIPPED"
		}
		ledger.mu.Lock()
		defer ledger.mu.Unlock()
		if (t.Failed() || t.Skipped()) && slices.ContainsFunc(ledger.missing, func(n string) bool { return n == t.Name() }) {
			outcome = "NOT RUN"
		}
		known := func(r result) bool {
			same := r.name == t.Name() || strings.HasPrefix(r.name, t.Name()+"/")
			return same && (outcome == "passed" || r.outcome == outcome)
		}
		if slices.ContainsFunc(ledger.results, known) {
			return
		}
		ledger.results = append(ledger.results, result{t.Name(), outcome})
	})
}

// notRun fails a test that lacks a program: what did not run must not look passed.
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	track(t)
	ledger.mu.Lock()
	ledger.missing = append(ledger.missing, t.Name())
	ledger.mu.Unlock()
	t.Fatalf("not run: "+format, args...)
}

func (s *summary) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	counts := map[string]int{}
	if s.table != "" {
		fmt.Fprintf(&b, "\n== gateways ==\n%s", s.table)
	}
	if s.chaos != "" {
		fmt.Fprintf(&b, "\n== chaos ==\n%s", s.chaos)
	}
	b.WriteString("\n== end-to-end summary ==\n")
	for _, r := range s.results {
		counts[r.outcome]++
		fmt.Fprintf(&b, "  %-8s %s\n", r.outcome, r.name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.versions)) {
		fmt.Fprintf(&b, "  with %s: %s\n", name, s.versions[name])
	}
	fmt.Fprintf(&b, "  %d passed, %d failed, %d not run, %d skipped\n",
		counts["passed"], counts["FAILED"], counts["NOT RUN"], counts["SKIPPED"])
	return b.String()
}

// program finds an executable, or ends the test as not run.
func program(t *testing.T, name string, candidates ...string) string {
	t.Helper()
	for _, c := range append(candidates, name) {
		path, err := exec.LookPath(c)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err == nil {
			ledger.note(name, path)
			return path
		}
	}
	notRun(t, "%s is not installed (hack/e2e/install.sh)", name)
	return ""
}

// note puts the version of a program in the summary, once.
func (s *summary) note(name, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions[name] != "" {
		return
	}
	if s.versions == nil {
		s.versions = map[string]string{}
	}
	flag := map[string]string{"nginx": "-v", "haproxy": "-v", "caddy": "version", "traefik": "version", "contour": "version", "envoy-gateway": "version", "pilot-discovery": "version", "kubectl": "version"}[name]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, cmp.Or(flag, "--version")).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	line := lines[len(lines)-1]
	if name == "haproxy" || name == "traefik" {
		line = lines[0]
	}
	if info, err := buildinfo.ReadFile(path); err == nil && name == "caddy" {
		line = info.Main.Version // it does not know itself
	}
	s.versions[name] = cmp.Or(line, path)
}

// node is Node 22 from the drivers' own lock file, not what the machine has.
func node(t *testing.T) string {
	t.Helper()
	return program(t, "node (hack/e2e/node_modules)", filepath.Join(drivers, "node_modules", ".bin", "node"))
}

// serviceBinary builds the service once.
func serviceBinary(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		notRun(t, "the service does not build: %v", err)
	}
	return path
}

// buildDir is removed at the end.
var buildDir string

var makeBuildDir = sync.OnceValues(func() (string, error) {
	var err error
	buildDir, err = os.MkdirTemp("", "mcp-forward-auth-e2e-")
	return buildDir, err
})

var buildOnce = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("E2E_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	return build("mcp-forward-auth", "./cmd/mcp-forward-auth")
})

// libraryBinary builds the MCP server that has the service inside, once.
func libraryBinary(t *testing.T) string {
	t.Helper()
	path, err := buildLibrary()
	if err != nil {
		notRun(t, "the MCP server with the library does not build: %v", err)
	}
	return path
}

var buildLibrary = sync.OnceValues(func() (string, error) { return build("library", "./internal/e2e/library", "-tags", "e2e") })

// buildShortKeys builds a service whose signing keys may rotate every second.
var buildShortKeys = sync.OnceValues(func() (string, error) {
	return build("mcp-forward-auth-short-keys", "./cmd/mcp-forward-auth", "-tags", "shortkeys")
})

func build(name, of string, flags ...string) (string, error) {
	dir, err := makeBuildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	build := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, of)...)
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}
