package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	release, namespace = "mcp", "auth"
	fullname           = "mcp-mcp-forward-auth"
	mcpURL             = "https://notes.example.com/mcp"
	noSubjects         = "subjects: []\n" // a deny-list
)

// values are those of the chart's own example, as in the end-to-end tests.
var values = []string{chartDir, "--namespace", namespace, "--values", filepath.Join(chartDir, "ci", "nginx-values.yaml"), "--values", "testdata/values.yaml"}

// TestPods takes one release through its life, on a node that runs it.
func TestPods(t *testing.T) {
	c := shared
	c.node(t)
	c.definitions(t)
	c.restricted(t, namespace, "mcp")
	servers, err := testdata.ReadFile("testdata/mcpservers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, string(servers))
	c.must(t, "kubectl", "-n", "mcp", "rollout", "status", "deployment/notes", "deployment/sessions", "--timeout=180s")
	c.deny(t, noSubjects)
	c.certificate(t)

	r := &installed{cluster: c}
	t.Cleanup(func() {
		if t.Failed() {
			c.explain(t)
		}
	})
	step(t, "install", r.install)
	step(t, "restricted", r.restricted)
	step(t, "helm test", func(t *testing.T) { r.test(t, 4) })
	step(t, "sign-in through nginx", r.signIn)
	step(t, "upgrade", r.upgrade)
	step(t, "rollback", r.rollback)
	step(t, "rolling restart under load", r.restart)
	step(t, "deny-list without a restart", r.denyList)
	step(t, "rotation of the seed", r.rotate)
	step(t, "uninstall", func(t *testing.T) { c.uninstall(t, 4, release, namespace) })
	step(t, "helm 3 and an OpenID provider", c.openID)
	step(t, "a pod with its ServiceAccount", c.machines)
	step(t, "kind.md behind Traefik", c.laptop)
}

// installed is the release that the steps share.
type installed struct {
	*cluster
	service string // address in the cluster
	token   string
	kids    string
}

func (r *installed) install(t *testing.T) {
	start := time.Now()
	notes := r.helm(t, 4, append([]string{"install", release}, append(values, "--wait", "--timeout", "180s")...)...)
	say("helm 4 install --wait: %d objects, both replicas ready in %.1f s", len(r.ours(t)), time.Since(start).Seconds())
	if !strings.Contains(notes, "helm test "+release) {
		t.Errorf("the notes say nothing of helm test:\n%s", notes)
	}
	r.service = r.serviceAddress(t, namespace, portOf(fullname, "http"))
	r.kids = r.keys(t)
}

func portOf(service, port string) (b backend) {
	b.Name, b.Port.Name = service, port
	return b
}

var statusLine = regexp.MustCompile(`(?m)^(Uid|CapEff|NoNewPrivs|Seccomp):\s+(\S+)`)

// serviceProcesses returns the directories below /proc of the service's processes.
func serviceProcesses(t *testing.T) (dirs []string) {
	t.Helper()
	for _, dir := range globbed(t, "/proc/[0-9]*") {
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // one that has ended is none
		if strings.HasPrefix(string(command), "/mcp-forward-auth\x00serve\x00") {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// restricted looks at the processes as the kernel sees them, beside what the
// API server has admitted already.
func (r *installed) restricted(t *testing.T) {
	found := serviceProcesses(t)
	for _, dir := range found {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range statusLine.FindAllStringSubmatch(string(status), -1) {
			got = append(got, m[1]+"="+m[2])
		}
		mustEqual(t, "the process", strings.Join(got, " "), "Uid=65532 CapEff=0000000000000000 NoNewPrivs=1 Seccomp=2")
		mounts, err := os.ReadFile(filepath.Join(dir, "mounts"))
		if err != nil {
			t.Fatal(err)
		}
		root, _, _ := strings.Cut(string(mounts), "\n")
		if fields := strings.Fields(root); len(fields) < 4 || fields[1] != "/" || !strings.HasPrefix(fields[3], "ro,") {
			t.Errorf("its root is mounted as %s", root)
		}
		if strings.Contains(string(mounts), "kubernetes.io/serviceaccount") {
			t.Error("it has the token of a ServiceAccount")
		}
	}
	mustEqual(t, "processes", len(found), 2)
	say("2 processes, each of user 65532, no capabilities, seccomp, read-only root, no token of the API")
}

func (c *cluster) testRelease(t *testing.T, major int, name, namespace string) {
	t.Helper()
	start := time.Now()
	out := c.helm(t, major, "test", name, "--namespace", namespace, "--timeout", "120s")
	if !strings.Contains(out, "Succeeded") {
		t.Errorf("helm test printed:\n%s", out)
	}
	say("helm %d test: %.1f s", major, time.Since(start).Seconds())
}

func (r *installed) test(t *testing.T, major int) { r.testRelease(t, major, release, namespace) }

func (r *installed) signIn(t *testing.T) {
	r.gateway(t, "127.0.0.1:443", r.locations(t))
	r.signsIn(t, mcpURL)
	r.signsIn(t, "https://sessions.example.com/mcp")
	r.token = r.issue(t)
	mustEqual(t, "/authenticate with a token", r.authenticate(t, r.token), http.StatusOK)
	mustEqual(t, "/authenticate without one", r.authenticate(t, ""), http.StatusUnauthorized)
}

// issue is a whole sign-in, for its access token.
func (r *installed) issue(t *testing.T) string {
	t.Helper()
	token := drive[struct {
		AccessToken string `json:"access_token"`
	}](t, r.cluster, "token.mjs", nil, mcpURL).AccessToken
	if token == "" {
		t.Fatal("no token")
	}
	return token
}

// ask is one request of the gateway at the Service.
func (r *installed) ask(client *http.Client, token string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+r.service+"/authenticate", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Original-URL", mcpURL)
	req.Header.Set("X-Original-Method", http.MethodPost)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

var impatient = &http.Client{Timeout: 5 * time.Second}

func (r *installed) authenticate(t *testing.T, token string) int {
	t.Helper()
	status, err := r.ask(impatient, token)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// keys are the ids in the JWK set, in order.
func (r *installed) keys(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.service+"/openid/v1/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "notes.example.com"
	resp, err := impatient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%s: %d keys, %v", resp.Status, len(set.Keys), err)
	}
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	slices.Sort(kids)
	return strings.Join(kids, " ")
}

// pods are the names of the replicas that are to stay, and how often each was restarted.
func (r *installed) pods(t *testing.T) string {
	t.Helper()
	list := get[struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp string
			}
			Status struct{ ContainerStatuses []struct{ RestartCount int } }
		}
	}](t, r.cluster, "pods", "--namespace", namespace, "--selector", "app.kubernetes.io/component=server")
	var names []string
	for _, p := range list.Items {
		if p.Metadata.DeletionTimestamp == "" && len(p.Status.ContainerStatuses) == 1 {
			names = append(names, fmt.Sprintf("%s (%d restarts)", p.Metadata.Name, p.Status.ContainerStatuses[0].RestartCount))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (r *installed) level(t *testing.T) string {
	t.Helper()
	return r.must(t, "kubectl", "-n", namespace, "get", "secret", fullname, "-o", `go-template={{index .data "config.yaml" | base64decode}}`)
}

func (r *installed) upgrade(t *testing.T) {
	before, start := r.pods(t), time.Now()
	r.helm(t, 4, append([]string{"upgrade", release}, append(values, "--set", "logging.level=debug", "--wait", "--timeout", "180s")...)...)
	if config := r.level(t); !strings.Contains(config, "level: debug") {
		t.Errorf("the configuration is still\n%s", config)
	}
	if after := r.pods(t); after == before {
		t.Errorf("the configuration changed, and the pods are still %s", after)
	}
	mustEqual(t, "the JWK set after the upgrade", r.keys(t), r.kids)
	mustEqual(t, "the token of before, after the upgrade", r.authenticate(t, r.token), http.StatusOK)
	say("helm 4 upgrade --wait, with another log level: %.1f s, same %d keys, the token of before passes", time.Since(start).Seconds(), len(strings.Fields(r.kids)))
}

func (r *installed) rollback(t *testing.T) {
	start := time.Now()
	r.helm(t, 4, "rollback", release, "1", "--namespace", namespace, "--wait", "--timeout", "180s")
	if config := r.level(t); strings.Contains(config, "level: debug") {
		t.Errorf("the configuration is still\n%s", config)
	}
	mustEqual(t, "the JWK set after the rollback", r.keys(t), r.kids)
	mustEqual(t, "the token of before, after the rollback", r.authenticate(t, r.token), http.StatusOK)
	say("helm 4 rollback --wait: %.1f s, same keys, the token of before passes", time.Since(start).Seconds())
}

// deny writes the deny-list that the pods have mounted.
func (c *cluster) deny(t *testing.T, list string) {
	t.Helper()
	text, _ := json.Marshal(list)
	c.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "deny", "namespace": %q}, "data": {"denied.yaml": %s}}`, namespace, text))
}

func (r *installed) denyList(t *testing.T) {
	before := r.pods(t)
	// Each replica reads the file for itself: one answer is that of one of them.
	all := func(status int) time.Duration {
		return eventually(t, fmt.Sprintf("every replica answers %d", status), 90*time.Second, func() (bool, string) {
			for range 20 {
				if got, err := r.ask(&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, r.token); err != nil || got != status {
					return false, fmt.Sprint(got, err)
				}
			}
			return true, ""
		})
	}
	r.deny(t, "emails: [alice@example.com]\n")
	denied := all(http.StatusUnauthorized)
	r.deny(t, noSubjects)
	allowed := all(http.StatusOK)
	mustEqual(t, "the pods", r.pods(t), before)
	say("ConfigMap with the deny-list: denied after %.1f s, let in again after %.1f s, by the same pods", denied.Seconds(), allowed.Seconds())
}

// rotate replaces the seed that the chart made, in three upgrades: the new one is
// accepted everywhere before any replica issues with it, since a sign-in may
// begin at a new pod and go on at an old one. Seeds are read at the start, so
// each upgrade is a rolling restart; no one is signed out, and no sign-in fails.
func (r *installed) rotate(t *testing.T) {
	old := r.seed(t, namespace, fullname+"-seed")
	r.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "seeds", "namespace": %q}, "data": {"old": %q}, "stringData": {"new": "another seed, of 32 bytes or more."}}`, namespace, old))
	with := func(keys string) {
		r.helm(t, 4, append([]string{"upgrade", release}, append(values, "--set", "existingSecrets.seed.name=seeds,existingSecrets.seed.keys={"+keys+"}", "--wait", "--timeout", "180s")...)...)
	}
	last := r.token
	for _, keys := range []string{"old,new", "new,old"} {
		with(keys)
		mustEqual(t, "the first token, with the seeds "+keys, r.authenticate(t, r.token), http.StatusOK)
		mustEqual(t, "the last token, with the seeds "+keys, r.authenticate(t, last), http.StatusOK)
		last = r.issue(t)
		mustEqual(t, "a new token, with the seeds "+keys, r.authenticate(t, last), http.StatusOK)
	}
	for _, kid := range strings.Fields(r.kids) {
		if !strings.Contains(r.keys(t), kid) {
			t.Errorf("the key %s is no longer published: %s", kid, r.keys(t))
		}
	}
	with("new")
	eventually(t, "the token of the old seed is refused", 20*time.Second, func() (bool, string) {
		status := r.authenticate(t, r.token) // an old pod may still answer for a moment
		return status == http.StatusUnauthorized, fmt.Sprint(status)
	})
	mustEqual(t, "the token of the new seed", r.authenticate(t, last), http.StatusOK)
	say("seed rotated by three upgrades, with a sign-in after each: tokens of the old seed passed until it was gone")
}

// uninstall ends with nothing: the Secret with the seed goes with the release.
func (c *cluster) uninstall(t *testing.T, major int, name, namespace string) {
	start := time.Now()
	before := len(c.ours(t))
	c.helm(t, major, "uninstall", name, "--namespace", namespace, "--wait", "--timeout", "180s")
	c.nothingLeft(t)
	say("helm %d uninstall --wait: %d objects, nothing left after %.1f s", major, before, time.Since(start).Seconds())
}

// openID installs with the other Helm, and signs in at a certified OpenID
// provider that the pods reach by https through the cluster's name service.
func (c *cluster) openID(t *testing.T) {
	const name, namespace = "wiki", "auth-wiki"
	c.restricted(t, namespace)
	ca, err := os.ReadFile(filepath.Join(c.dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(string(ca))
	c.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "List", "items": [
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": %[1]q}, "data": {"ca.crt": %[2]s}},
		{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "idp", "namespace": %[1]q}, "stringData": {"client-secret": "e2e-secret"}}]}`, namespace, text))
	c.provider(t)
	start := time.Now()
	c.helm(t, 3, "install", name, chartDir, "--namespace", namespace, "--values", "testdata/oidc-values.yaml", "--wait", "--timeout", "180s")
	say("helm 3 install --wait: %.1f s", time.Since(start).Seconds())
	c.testRelease(t, 3, name, namespace)
	c.gateway(t, "127.0.0.1:443", c.locations(t))
	c.signsIn(t, "https://wiki.example.com/mcp")
	c.uninstall(t, 3, name, namespace)
}

// provider runs the OpenID provider of the end-to-end tests behind an nginx with TLS.
func (c *cluster) provider(t *testing.T) {
	t.Helper()
	node, err := filepath.Abs("../e2e/node_modules/.bin/node")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../e2e/idp.mjs")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISSUER", "https://id.example.com")
	idp, err := c.start(node, script, "18300", "https://wiki.example.com/callback")
	if err != nil {
		t.Fatal(err)
	}
	if err := idp.wait("http://127.0.0.1:18300/.well-known/openid-configuration"); err != nil {
		t.Fatal(err)
	}
	var paths []location
	for _, path := range []string{"/.well-known", "/auth", "/token", "/jwks", "/me", "/interaction"} {
		paths = append(paths, plain(path, "Prefix", "127.0.0.1:18300"))
	}
	c.gateway(t, nodeIP+":443", map[string][]location{"id.example.com": paths})
}

// explain prints what a person would ask for when a test has failed.
func (c *cluster) explain(t *testing.T) {
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{"-n", namespace, "logs", "-l", "app.kubernetes.io/component=server", "--tail=40"},
		{"-n", machinesNamespace, "logs", "-l", "app.kubernetes.io/component=server", "--tail=40"},
	} {
		out, err := c.output("", "kubectl", args...)
		t.Logf("---- kubectl %s ----\n%s%v", strings.Join(args, " "), out[max(0, len(out)-8<<10):], err)
	}
	for _, p := range c.processes {
		if p.name != "etcd" {
			t.Logf("---- %s ----\n%s", p.name, p.out.last(3<<10))
		}
	}
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
