package cluster

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	// bin has the programs and work what run.sh prepared.
	bin, work = os.Getenv("CLUSTER_BIN"), os.Getenv("CLUSTER_WORK")
	// noPods is why there can be no node.
	noPods = os.Getenv("CLUSTER_NO_PODS")
	began  = time.Now()
	// shared is the one cluster of all tests.
	shared *cluster
	// missing is what was not run.
	missing []string
)

const chartDir = "../../charts/mcp-forward-auth"

func TestMain(m *testing.M) {
	flag.Parse()
	if bin == "" || work == "" {
		fmt.Println("NOT RUN: cluster because its programs are not built; hack/cluster/run.sh builds them and runs this")
		os.Exit(2)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	c, err := startControlPlane(filepath.Join(work, "cluster"))
	if err != nil {
		fmt.Println("FAILED: the control plane:", err)
		return 1
	}
	defer c.stop()
	if file := os.Getenv("CLUSTER_SERVE"); file != "" {
		return serve(c, file)
	}
	shared = c
	code := m.Run()
	for _, what := range missing {
		fmt.Println("NOT RUN:", what)
	}
	if code == 0 && len(missing) > 0 {
		return 2
	}
	return code
}

// serve keeps the control plane for others until standard input ends. The file
// gets the name of its kubeconfig.
func serve(c *cluster, file string) int {
	if err := write(file, c.kubeconfig); err != nil {
		fmt.Println("FAILED:", err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// say is a line for the person who waits.
func say(format string, args ...any) {
	fmt.Printf("   %6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// step runs one of a row of sub-tests, each of which needs those before it.
func step(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	if t.Failed() {
		t.Logf("not run after a failure: %s", name)
		return
	}
	t.Run(name, f)
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually asks until ok says yes, and returns how long it took.
func eventually(t *testing.T, what string, limit time.Duration, ok func() (bool, string)) time.Duration {
	t.Helper()
	start, last := time.Now(), ""
	for time.Since(start) < limit {
		done, state := ok()
		if done {
			return time.Since(start)
		}
		last = state
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s: not within %s; last seen: %s", what, limit, strings.TrimSpace(last))
	return 0
}

func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}
