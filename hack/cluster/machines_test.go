package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// workload is what a pod with its ServiceAccount's tokens prints.
type workload struct {
	Exchanged, Direct struct {
		User          string
		Groups        []string
		Authorization bool
		Error         string
	}
	Scope        string
	RefreshToken bool
}

const machinesNamespace = "auth-agents"

// machines has a pod call an MCP server through nginx with the tokens of its
// ServiceAccount alone, and another account try the same.
func (c *cluster) machines(t *testing.T) {
	const name, namespace = "agents", machinesNamespace
	c.restricted(t, namespace, "ci")
	ca, err := os.ReadFile(filepath.Join(c.dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(string(ca))
	c.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": "ci"}, "data": {"ca.crt": %s}}`, text))
	c.helm(t, 4, "install", name, chartDir, "--namespace", namespace, "--values", "testdata/machines-values.yaml", "--wait", "--timeout", "180s")
	c.gateway(t, nodeIP+":443", c.locations(t))

	start := time.Now()
	got := c.runs(t, "builder")
	const builder = "kubernetes.default.svc:system:serviceaccount:ci:builder"
	mustEqual(t, "error with the token of /token", got.Exchanged.Error, "")
	mustEqual(t, "user with the token of /token", got.Exchanged.User, builder)
	mustEqual(t, "groups with it", strings.Join(got.Exchanged.Groups, " "), "system:serviceaccounts system:serviceaccounts:ci")
	mustEqual(t, "scope", got.Scope, "notes:read")
	mustEqual(t, "a refresh token", got.RefreshToken, false)
	mustEqual(t, "error with the pod's own token", got.Direct.Error, "")
	mustEqual(t, "user with the pod's own token", got.Direct.User, "client@"+builder)
	mustEqual(t, "a token at the MCP server", got.Exchanged.Authorization || got.Direct.Authorization, false)
	mustEqual(t, "Secrets in the pod's namespace", c.must(t, "kubectl", "-n", "ci", "get", "secrets", "-o", "name"), "")
	say("a pod with its ServiceAccount alone called a tool through nginx, with a token of /token and with its own, in %.1f s", time.Since(start).Seconds())

	other := c.runs(t, "visitor")
	if !strings.Contains(other.Exchanged.Error, "invalid_grant") {
		t.Errorf("another account at /token: %+v", other.Exchanged)
	}
	if other.Direct.Error == "" || other.Direct.User != "" {
		t.Errorf("another account with its own token: %+v", other.Direct)
	}
	say("a pod of another account: %s; %s", other.Exchanged.Error, other.Direct.Error)
	c.uninstall(t, 4, name, namespace)
}

// runs is what the pod of an account prints.
func (c *cluster) runs(t *testing.T, account string) (report workload) {
	t.Helper()
	path := filepath.Join(c.dir, "workload-"+account+".yaml")
	if err := render(path, "workload.yaml", map[string]any{"Account": account}); err != nil {
		t.Fatal(err)
	}
	c.must(t, "kubectl", "apply", "-f", path)
	eventually(t, "the pod of "+account+" ends", 2*time.Minute, func() (bool, string) {
		phase := c.must(t, "kubectl", "-n", "ci", "get", "pod", account, "-o", "jsonpath={.status.phase}")
		return phase == "Succeeded" || phase == "Failed", phase
	})
	out := c.must(t, "kubectl", "-n", "ci", "logs", account)
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("the pod of %s printed %s: %v", account, out, err)
	}
	return report
}
