package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// helm runs one major of Helm.
func (c *cluster) helm(t *testing.T, major int, args ...string) string {
	t.Helper()
	return c.must(t, fmt.Sprintf("helm%d", major), args...)
}

// helms runs f with both majors: the one applies on the server, the other merges itself.
func helms(t *testing.T, f func(t *testing.T, major int)) {
	t.Helper()
	for _, major := range []int{4, 3} {
		step(t, fmt.Sprintf("helm %d", major), func(t *testing.T) { f(t, major) })
	}
}

// restricted is a namespace that lets no pod in which is not "restricted" by
// the Pod Security Standards.
func (c *cluster) restricted(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		c.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}`, name))
	}
}

// ours lists every object of any kind that carries the chart's labels, or is
// Helm's record of a release.
func (c *cluster) ours(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, selector := range []string{"app.kubernetes.io/part-of=mcp-forward-auth", "owner=helm"} {
		found = append(found, strings.Fields(c.must(t, "kubectl", "get", strings.Join(c.kinds(t), ","), "--all-namespaces", "-l", selector, "-o", "name"))...)
	}
	return found
}

// kinds are all that the API server knows, custom resources included.
func (c *cluster) kinds(t *testing.T) []string {
	t.Helper()
	if c.known != nil {
		return c.known
	}
	kinds := strings.Fields(c.must(t, "kubectl", "api-resources", "--verbs=list", "-o", "name"))
	// Events outlive what they tell of, and carry no labels.
	c.known = slices.DeleteFunc(kinds, func(k string) bool { return strings.HasPrefix(k, "events") || k == "componentstatuses" })
	if len(c.known) < 70 || !slices.Contains(c.known, "podmonitors.monitoring.coreos.com") {
		t.Fatalf("the API server knows only %q", c.known)
	}
	return c.known
}

// nothingLeft waits until what an uninstallation leaves to the garbage collector is gone.
func (c *cluster) nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is left", 90*time.Second, func() (bool, string) {
		left := c.ours(t)
		return len(left) == 0, strings.Join(left, " ")
	})
}

// seed is what the chart made for the key ring.
func (c *cluster) seed(t *testing.T, namespace, name string) string {
	t.Helper()
	seed := c.must(t, "kubectl", "-n", namespace, "get", "secret", name, "-o", "jsonpath={.data.seed}")
	if len(seed) < 40 {
		t.Fatalf("the seed has %d characters", len(seed))
	}
	return seed
}

// get reads objects.
func get[T any](t *testing.T, c *cluster, args ...string) (object T) {
	t.Helper()
	out := c.must(t, "kubectl", append([]string{"get", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		t.Fatal(err)
	}
	return object
}
