package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUpgradeFromRelease installs the chart of the last release with each of its
// ci/*-values.yaml, and upgrades it to the chart of today with the values as they
// are: what one version takes, the next takes as well, and the seed stays.
// UPGRADE_FROM names another commit to begin with.
func TestUpgradeFromRelease(t *testing.T) {
	c := shared
	from := c.releaseBefore(t)
	if from == "" {
		say("there is no release before this commit")
		return
	}
	old := c.chartAt(t, from)
	c.definitions(t)
	files, err := filepath.Glob(filepath.Join(old, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of values, %v", len(files), err)
	}
	helms(t, func(t *testing.T, major int) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) { c.upgrade(t, major, from, old, file) })
		}
	})
}

// releaseBefore is the commit to upgrade from, "" if nothing was released before.
func (c *cluster) releaseBefore(t *testing.T) string {
	t.Helper()
	if from := os.Getenv("UPGRADE_FROM"); from != "" {
		return from
	}
	if out, err := c.git("rev-parse", "--is-shallow-repository"); err != nil || out != "false" {
		const why = "the releases before this commit are not in this clone"
		missing = append(missing, t.Name()+" because "+why)
		t.Skip("NOT RUN: " + why)
	}
	tag, _ := c.git("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
	return tag
}

func (c *cluster) git(args ...string) (string, error) {
	out, err := c.output("", "/usr/bin/git", append([]string{"-C", filepath.Join(chartDir, "..", "..")}, args...)...)
	return strings.TrimSpace(out), err
}

// chartAt is a directory with the chart as it was at a commit.
func (c *cluster) chartAt(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "chart.tar")
	if _, err := c.git("archive", "--output", archive, commit+":charts/mcp-forward-auth"); err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join(dir, "mcp-forward-auth")
	if err := os.Mkdir(chart, 0o755); err != nil {
		t.Fatal(err)
	}
	c.must(t, "/bin/tar", "-xf", archive, "-C", chart)
	return chart
}

func (c *cluster) upgrade(t *testing.T, major int, from, old, values string) {
	start := time.Now()
	arguments := []string{"--namespace", "mcp", "--values", values}
	rendered := c.helm(t, major, append([]string{"template", "mcp", old, "--kube-version=1.37.1", "--dry-run=server"}, arguments...)...)
	c.restricted(t, namespacesOf(rendered)...)
	t.Cleanup(func() {
		if t.Failed() {
			_, _ = c.output("", "helm4", "uninstall", "mcp", "--namespace", "mcp", "--wait", "--timeout=30s")
		}
	})
	c.helm(t, major, append([]string{"install", "mcp", old}, arguments...)...)
	namespace, deployment, _ := strings.Cut(c.must(t, "kubectl", "get", "deployments", "--all-namespaces", "-l", "app.kubernetes.io/part-of=mcp-forward-auth",
		"-o", "jsonpath={.items[*].metadata.namespace} {.items[*].metadata.name}"), " ")
	before, seed := "", deployment+"-seed"
	if strings.Contains(rendered, "name: "+seed) {
		before = c.seed(t, namespace, seed)
	}
	c.helm(t, major, append([]string{"upgrade", "mcp", chartDir}, arguments...)...)
	if before != "" {
		mustEqual(t, "the seed is the same after the upgrade", c.seed(t, namespace, seed) == before, true)
	}
	c.helm(t, major, "rollback", "mcp", "1", "--namespace", "mcp")
	c.helm(t, major, "uninstall", "mcp", "--namespace", "mcp", "--wait")
	c.nothingLeft(t)
	say("helm %d, %s: from %s to today's chart and back in %.1f s", major, filepath.Base(values), from, time.Since(start).Seconds())
}
