package cluster

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented is the one block of a document that holds text. What is in pairs is replaced.
func documented(t *testing.T, page, text string, pairs ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$|((?:^    [^\n]*\n)+)").FindAllStringSubmatch(string(content), -1) {
		if block := m[1] + m[2]; strings.Contains(block, text) {
			if found != "" {
				t.Fatalf("%s has %q in two blocks", page, text)
			}
			found = block
		}
	}
	if found == "" {
		t.Fatalf("%s has no block with %q", page, text)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(found, pairs[i]) {
			t.Fatalf("%s: the block has no %q", page, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(found)
}

// TestDocumentsKubectl pastes what the documents say to do with kubectl and Helm into
// a shell, in the order in which a person would, at an API server without a node. The
// lines that need a pod are left out; TestPods has pods.
func TestDocumentsKubectl(t *testing.T) {
	c, dir := shared, t.TempDir()
	c.definitions(t)
	charts, err := filepath.Abs(filepath.Join("..", "..", "charts"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(charts, filepath.Join(dir, "charts")); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"deny-list.yaml": "subjects: []\n", "config.yaml": "{}\n", "client-secret": "a-secret\n",
		"values.yaml":      "provider: {name: google, clientID: a, allowedEmailDomains: ['example\\.com']}\nexistingSecrets: {clientSecret: {name: idp}}\nreplicaCount: 2\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes.mcp.svc:8080/mcp'}]}\ndoctor: {enabled: true}\n",
		"deny-values.yaml": "denyList: {file: /etc/mcp-deny/deny-list.yaml}\nvolumes: [{name: deny-list, configMap: {name: mcp-deny-list}}]\nvolumeMounts: [{name: deny-list, mountPath: /etc/mcp-deny, readOnly: true}]\n",
	} {
		if err := write(filepath.Join(dir, file), text); err != nil {
			t.Fatal(err)
		}
	}
	const own = "mcp-forward-auth"
	namespaces := []string{own, "by-hand", "by-readme"}
	t.Cleanup(func() {
		_, _ = c.output("", "helm4", "uninstall", own, "--namespace", own)
		_, _ = c.output("", "kubectl", append([]string{"delete", "namespace", "--ignore-not-found"}, namespaces...)...)
	})
	paste := func(commands string) string {
		t.Helper()
		out, err := c.output("", lookup("sh"), "-ec", "cd '"+dir+"'\nhelm() { helm4 \"$@\"; }\n"+commands)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	in := func(namespace string) []string {
		return []string{"namespace " + own, "namespace " + namespace, "-n " + own, "-n " + namespace}
	}
	paste(documented(t, "docs/kubernetes.md", "secret generic idp"))
	paste("helm install mcp-forward-auth ./charts/mcp-forward-auth --namespace mcp-forward-auth --values values.yaml")
	paste(documented(t, "charts/mcp-forward-auth/README.md", "secret generic google-client", in("by-readme")...))
	paste(documented(t, "docs/quickstart.md", "--from-file=config.yaml", in("by-hand")...))
	mustEqual(t, "keys of the Secret that quickstart.md makes", c.must(t, "kubectl", "-n", "by-hand", "get", "secret", own, "-o", "go-template={{range $key, $_ := .data}}{{$key}} {{end}}"), "client-secret config.yaml seed ")

	paste(documented(t, "docs/operations.md", "values deny-values.yaml"))
	if err := write(filepath.Join(dir, "deny-list.yaml"), "emails: [jane@example.com]\n"); err != nil {
		t.Fatal(err)
	}
	paste(documented(t, "docs/operations.md", "--dry-run=client"))
	if list := c.must(t, "kubectl", "-n", own, "get", "configmap", "mcp-deny-list", "-o", "jsonpath={.data}"); !strings.Contains(list, "jane@example.com") {
		t.Errorf("the deny-list is %s", list)
	}
	if mounted := c.must(t, "kubectl", "-n", own, "get", "deployment", own, "-o", "jsonpath={.spec.template.spec.volumes[*].name}"); !strings.Contains(mounted, "deny-list") {
		t.Errorf("the volumes are %s", mounted)
	}
	paste(documented(t, "docs/operations.md", "secret mcp-forward-auth-seed"))
	old, seed := c.must(t, "kubectl", "-n", own, "get", "secret", "seeds", "-o", "jsonpath={.data.old}"), c.seed(t, own, own+"-seed")
	mustEqual(t, "the old seed is the one in use", old == seed, true)

	job, logs, _ := strings.Cut(documented(t, "docs/doctor.md", "create job doctor-now"), "\n")
	paste(job)
	mustEqual(t, "the job's first argument", c.must(t, "kubectl", "-n", own, "get", "job", "doctor-now", "-o", "jsonpath={.spec.template.spec.containers[0].args[0]}"), "doctor")
	if !strings.Contains(logs, "job/doctor-now") {
		t.Errorf("the logs are those of %s", logs)
	}
	policies, _, _ := strings.Cut(documented(t, "docs/gateways/envoy-gateway.md", "get securitypolicy"), "\n") // behind it the doctor looks at a gateway
	paste(policies)
	say("the commands of kubernetes.md, quickstart.md, operations.md, doctor.md and the chart's README do what they say")
}
