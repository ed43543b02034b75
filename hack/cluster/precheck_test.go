package cluster

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckBeforeInstall has the program read the configuration before Helm changes
// anything: a mistake that no template sees ends the installation, and an upgrade, in
// the program's words.
func TestCheckBeforeInstall(t *testing.T) {
	c := shared
	c.node(t)
	c.definitions(t)
	c.restricted(t, namespace, "mcp")
	c.deny(t, noSubjects)
	t.Cleanup(func() {
		if t.Failed() {
			c.explain(t)
			_, _ = c.output("", "helm4", "uninstall", release, "--namespace", namespace, "--wait", "--timeout=60s")
		}
	})
	helms(t, c.checks)
}

// mistaken are values that each hold alone, and what the program says of them.
var mistaken = []struct{ values, says string }{
	{"policy: {rules: [{name: everyone, effect: allow, anyone: true}, {name: nightly, effect: allow, clientKinds: [dynamic]}]}\n", "policy.rules[1]: adds nothing, because policy.rules[0] (everyone) allows all of it already; remove it, or narrow the other"},
	{"apiKeys: {file: secrets/keys/keys.yaml}\nexistingSecrets: {files: [{name: keys, keys: [keys.yaml]}]}\n", "apiKeys.file: there is no such file"},
}

func (c *cluster) checks(t *testing.T, major int) {
	good := append(values, "--set", "check.enabled=true,check.ttlSecondsAfterFinished=40", "--timeout", "180s")
	bad := make([][]string, len(mistaken))
	for i, m := range mistaken {
		file := filepath.Join(t.TempDir(), "mistake.yaml")
		if err := write(file, m.values); err != nil {
			t.Fatal(err)
		}
		bad[i] = append(good[:len(good):len(good)], "--values", file)
	}
	refused := func(i int, command string) {
		t.Helper()
		start := time.Now()
		_, err := c.output("", fmt.Sprintf("helm%d", major), append([]string{command, release}, bad[i]...)...)
		// Helm 4 prints each line of the log as one of its own, with quotes escaped.
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), mistaken[i].says) {
			t.Fatalf("helm %s says nothing of %q: %v", command, mistaken[i].says, err)
		}
		say("helm %d %s ends after %.1f s with %q", major, command, time.Since(start).Seconds(), mistaken[i].says)
		if log := c.must(t, "kubectl", "-n", namespace, "logs", "job/"+fullname+"-check"); !strings.Contains(log, mistaken[i].says) {
			t.Errorf("the log of the Job is\n%s", log)
		}
		mustEqual(t, "the copies of the configuration that are left", c.leftOf(t, "secret"), "")
	}
	objects := func() string {
		return c.must(t, "kubectl", "-n", namespace, "get", "deployments,services,serviceaccounts,networkpolicies,secrets", "-l", "app.kubernetes.io/part-of=mcp-forward-auth", "-o", "name")
	}

	refused(0, "install")
	mustEqual(t, "what there is after it", objects(), "")

	c.helm(t, major, append([]string{"upgrade", "--install", release, "--wait"}, good...)...)
	mustEqual(t, "what is left of a check that succeeded", c.leftOf(t, "secret,job,pod"), "")
	r := &installed{cluster: c, service: c.serviceAddress(t, namespace, portOf(fullname, "http"))}
	eventually(t, "/authenticate answers 401", 30*time.Second, func() (bool, string) { // kube-proxy may be behind
		status, err := r.ask(impatient, "")
		return status == http.StatusUnauthorized, fmt.Sprint(status, err)
	})

	pods, config := r.pods(t), r.level(t)
	for i := range mistaken {
		refused(i, "upgrade")
		mustEqual(t, "the pods after a refused upgrade", r.pods(t), pods)
		mustEqual(t, "the configuration after a refused upgrade", r.level(t), config)
		mustEqual(t, "/authenticate after a refused upgrade", r.authenticate(t, ""), http.StatusUnauthorized)
	}
	c.uninstall(t, major, release, namespace)
}

// leftOf are the objects of the check, of these kinds.
func (c *cluster) leftOf(t *testing.T, kinds string) string {
	t.Helper()
	return c.must(t, "kubectl", "-n", namespace, "get", kinds, "-l", "app.kubernetes.io/component=check", "-o", "name")
}
