package cluster

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var namespaceLine = regexp.MustCompile(`(?m)^  namespace: (\S+)$`)

// TestControlPlane has every ci/*-values.yaml installed, changed, taken back and
// removed. The API server checks each object against its schema and the rules in
// CEL, and the controllers make pods of them, which a namespace with the
// standard "restricted" lets in or not. No pod runs: there is no node yet.
func TestControlPlane(t *testing.T) {
	c := shared
	c.definitions(t)
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files of values, %v", len(files), err)
	}
	t.Run("what is wrong is refused", func(t *testing.T) { c.refuses(t) })
	helms(t, func(t *testing.T, major int) {
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) { c.lifecycle(t, major, file) })
		}
	})
}

// definitions installs the custom resources of others.
func (c *cluster) definitions(t *testing.T) {
	t.Helper()
	start := time.Now()
	c.must(t, "kubectl", "apply", "--server-side", "-f", filepath.Join(work, "crds"))
	c.must(t, "kubectl", "wait", "--for=condition=Established", "--timeout=180s", "crd", "--all")
	say("%d definitions of custom resources in %.1f s", len(strings.Fields(c.must(t, "kubectl", "get", "crd", "-o", "name"))), time.Since(start).Seconds())
}

// refuses shows that the checks of this test can fail.
func (c *cluster) refuses(t *testing.T) {
	c.restricted(t, "mcp")
	_, err := c.output(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any", "namespace": "mcp"},
		"spec": {"containers": [{"name": "any", "image": "localhost/any"}]}}`, "kubectl", "apply", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("a pod that is not restricted: %v", err)
	}
	values := filepath.Join(chartDir, "ci", "minimal-values.yaml")
	for what, set := range map[string]string{
		"metadata.labels": "service.labels.wrong=not valid!",
		"spec.ports":      "service.port=70000",
	} {
		_, err := c.output("", "helm4", "install", "refused", chartDir, "--namespace", "mcp", "--values", values, "--set", set)
		if err == nil {
			t.Errorf("%s is taken", set)
		} else if !strings.Contains(err.Error(), what) && !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s is refused, but not for %s: %v", set, what, err)
		}
		_, _ = c.output("", "helm4", "uninstall", "refused", "--namespace", "mcp")
	}
	c.nothingLeft(t)
}

// lifecycle takes one file of values from install to uninstall.
func (c *cluster) lifecycle(t *testing.T, major int, values string) {
	start := time.Now()
	chart := []string{chartDir, "--namespace", "mcp", "--values", values}
	rendered := c.helm(t, major, append([]string{"template", "mcp", "--kube-version=1.37.1", "--dry-run=server"}, chart...)...)
	c.restricted(t, namespacesOf(rendered)...)

	t.Cleanup(func() {
		if t.Failed() { // and must not be in the way of the next
			_, _ = c.output("", "helm4", "uninstall", "mcp", "--namespace", "mcp", "--wait", "--timeout=30s")
		}
	})
	c.helm(t, major, append([]string{"install", "mcp"}, chart...)...)
	installed := len(c.ours(t))
	if installed < 5 {
		t.Errorf("only %q are installed", c.ours(t))
	}
	// Some files choose the names.
	namespace, deployment, _ := strings.Cut(c.must(t, "kubectl", "get", "deployments", "--all-namespaces", "-l", "app.kubernetes.io/part-of=mcp-forward-auth",
		"-o", "jsonpath={.items[*].metadata.namespace} {.items[*].metadata.name}"), " ")
	seedName := deployment + "-seed"
	makesSeed := strings.Contains(rendered, "name: "+seedName)
	before := ""
	if makesSeed {
		before = c.seed(t, namespace, seedName)
	}
	if !strings.Contains(rendered, "runtimeClassName: gvisor") { // which this cluster has not
		eventually(t, "the pods are let in", 60*time.Second, func() (bool, string) {
			out := c.must(t, "kubectl", "-n", namespace, "get", "replicasets", "-o", "jsonpath={range .items[*]}{.spec.replicas}={.status.replicas} {.status.conditions[*].message}{end}")
			wanted, made, _ := strings.Cut(strings.TrimSpace(out), "=")
			return wanted != "" && wanted == made, out
		})
	}
	changed := func() string {
		return c.must(t, "kubectl", "-n", namespace, "get", "deployment", deployment, "-o", "jsonpath={.spec.template.metadata.annotations.changed}")
	}
	c.helm(t, major, append([]string{"upgrade", "mcp", "--set", "podAnnotations.changed=yes"}, chart...)...)
	mustEqual(t, "the changed value", changed(), "yes")
	c.helm(t, major, "rollback", "mcp", "1", "--namespace", "mcp")
	mustEqual(t, "the changed value after the rollback", changed(), "")
	if makesSeed {
		mustEqual(t, "the seed after upgrade and rollback is the same", c.seed(t, namespace, seedName) == before, true)
	}
	c.helm(t, major, "uninstall", "mcp", "--namespace", "mcp", "--wait")
	c.nothingLeft(t)
	say("helm %d, %s: %d objects installed, upgraded, rolled back, uninstalled in %.1f s", major, filepath.Base(values), installed, time.Since(start).Seconds())
}

// namespacesOf is the namespace of the release and those that its objects name.
func namespacesOf(rendered string) []string {
	namespaces := []string{"mcp"}
	for _, m := range namespaceLine.FindAllStringSubmatch(rendered, -1) {
		namespaces = append(namespaces, strings.Trim(m[1], `'"`))
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}
