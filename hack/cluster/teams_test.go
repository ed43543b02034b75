package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Teams have a namespace each, with two ConfigMaps, which all of them give the
// same names and keys.
const (
	teams, hostsOfTeam  = 20, 10
	teamsNamespace      = "auth-teams"
	labelOfHosts        = "mcp-forward-auth/hosts"
	operatorURL         = "https://notes.example.com/mcp"
	stayingURL          = "https://s0.team-00.mcp.example.com/mcp" // of a team, and never removed
	toolsOfServer       = `{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}`
	unknownHost         = http.StatusForbidden // of /authenticate
	closedHost          = http.StatusUnauthorized
	sidecarImageMissing = "kiwigrid/k8s-sidecar itself because its image cannot be had here (CLUSTER_SIDECAR); a stand-in gathered the files"
)

func team(n int) string { return fmt.Sprintf("team-%02d", n) }

// teamDomains are what certificates and name services have of them.
func teamDomains() (names []string) {
	for n := range teams {
		names = append(names, "*."+team(n)+".mcp.example.com")
	}
	return names
}

// hostOf is host k of a team. Those from 5 on are in the second ConfigMap.
func hostOf(n, k int) string { return fmt.Sprintf("s%d.%s.mcp.example.com", k, team(n)) }

// TestTeams has the chart gather the hosts of 200 MCP servers in 20 namespaces,
// adds and removes them while clients call, and counts the calls that fail.
func TestTeams(t *testing.T) {
	c := shared
	c.node(t)
	c.definitions(t)
	names := []string{teamsNamespace, "mcp"}
	for n := range teams {
		names = append(names, team(n))
	}
	c.restricted(t, names...)
	servers, err := testdata.ReadFile("testdata/mcpservers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, string(servers))
	c.must(t, "kubectl", "-n", "mcp", "rollout", "status", "deployment/notes", "--timeout=180s")
	c.services(t)
	c.certificate(t)
	t.Cleanup(func() {
		if t.Failed() {
			c.explainTeams(t)
		}
	})
	r := &gathered{installed: &installed{cluster: c}}
	step(t, "a first start has the hosts", r.install)
	step(t, "what the sidecar may do", r.rights)
	step(t, "hosts come and go under load", r.change)
	step(t, "a mistake costs its file alone", r.mistakes)
	step(t, "uninstall", func(t *testing.T) { c.uninstall(t, 4, "teams", teamsNamespace) })
}

// gathered is a release with the sidecar.
type gathered struct {
	*installed
	roots *x509.CertPool
}

// services gives each team a Service by which the tools of its hosts are read.
func (c *cluster) services(t *testing.T) {
	t.Helper()
	var objects []string
	for n := range teams {
		objects = append(objects, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "notes", "namespace": %q}, "spec": {"type": "ExternalName", "externalName": "notes.mcp.svc.cluster.local"}}`, team(n)))
	}
	c.apply(t, `{"apiVersion": "v1", "kind": "List", "items": [`+strings.Join(objects, ",")+`]}`)
}

// hosts applies a ConfigMap of each team with those of its hosts.
func (c *cluster) hosts(t *testing.T, name string, numbers ...int) {
	t.Helper()
	var objects []string
	for n := range teams {
		text := "hosts:\n"
		for _, k := range numbers {
			text += fmt.Sprintf("  - {host: %s, endpoint: 'http://notes.%s.svc:8080/mcp'}\n", hostOf(n, k), team(n))
		}
		objects = append(objects, configMap(team(n), name, text))
	}
	c.apply(t, `{"apiVersion": "v1", "kind": "List", "items": [`+strings.Join(objects, ",")+`]}`)
}

func configMap(namespace, name, text string) string {
	o, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]string{"hosts.yaml": text},
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]string{labelOfHosts: "yes"}},
	})
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return string(o)
}

func (r *gathered) install(t *testing.T) {
	r.hosts(t, "first", 0, 1, 2, 3, 4)
	args := []string{"install", "teams", chartDir, "--namespace", teamsNamespace, "--values", "testdata/teams-values.yaml",
		"--set", "ingress.hosts={notes.example.com," + strings.Join(teamDomains(), ",") + "}", "--wait", "--timeout", "180s"}
	if os.Getenv("CLUSTER_SIDECAR_REAL") == "" {
		missing = append(missing, sidecarImageMissing)
		args = append(args, "--set", "hostsFiles.sidecar.image.repository=localhost/collector,hostsFiles.sidecar.image.tag=test")
	}
	start := time.Now()
	r.helm(t, 4, args...)
	r.service = r.serviceAddress(t, teamsNamespace, portOf("teams-mcp-forward-auth", "http"))
	// Nothing is waited for: what there was before the pods were ready is in force.
	for n := range teams {
		if status := r.status(t, hostOf(n, 4)); status != closedHost {
			t.Errorf("%s answers %d when the pods are ready", hostOf(n, 4), status)
		}
	}
	say("helm install --wait with 100 hosts of 20 namespaces: %.1f s, all in force at the first start", time.Since(start).Seconds())
	r.route(t)
	pem, err := os.ReadFile(filepath.Join(r.dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	r.roots = x509.NewCertPool()
	r.roots.AppendCertsFromPEM(pem)
}

// route leads the hosts of teams to their server, with the annotations that the
// chart gave to the operator's.
func (r *gathered) route(t *testing.T) {
	var annotations map[string]string
	for _, o := range get[ingresses](t, r.cluster, "ingresses", "--namespace", "mcp").Items {
		annotations = o.Metadata.Annotations
	}
	var rules []any
	for _, domain := range teamDomains() {
		rules = append(rules, map[string]any{"host": domain, "http": map[string]any{"paths": []any{map[string]any{
			"path": "/mcp", "pathType": "Prefix", "backend": map[string]any{"service": map[string]any{"name": "notes", "port": map[string]any{"number": 8080}}},
		}}}})
	}
	ingress, err := json.Marshal(map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": map[string]any{"rules": rules},
		"metadata": map[string]any{"name": "teams", "namespace": "mcp", "annotations": annotations},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.apply(t, string(ingress))
	t.Cleanup(func() { _, _ = r.output("", "kubectl", "-n", "mcp", "delete", "ingress", "teams") })
	r.gateway(t, "127.0.0.1:443", r.locations(t))
}

// status is what one replica answers to a gateway that asks about a host without a token.
func (r *gathered) status(t *testing.T, host string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.service+"/authenticate", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Original-URL", "https://"+host+"/mcp")
	req.Header.Set("X-Original-Method", http.MethodPost)
	req.Close = true
	resp, err := impatient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// every waits until all replicas answer so for a host of each team.
func (r *gathered) every(t *testing.T, status int, numbers ...int) time.Duration {
	t.Helper()
	return eventually(t, fmt.Sprintf("hosts %d answer %d", numbers, status), 2*time.Minute, func() (bool, string) {
		for n := range teams {
			for _, k := range numbers {
				for range 6 { // one answer is that of one replica
					if got := r.status(t, hostOf(n, k)); got != status {
						return false, fmt.Sprintf("%s: %d", hostOf(n, k), got)
					}
				}
			}
		}
		return true, ""
	})
}

// rights asks the API server what the pods' ServiceAccount may do, and looks at
// the processes of the service, which have no token.
func (r *gathered) rights(t *testing.T) {
	as := "--as=system:serviceaccount:" + teamsNamespace + ":teams-mcp-forward-auth"
	for _, c := range []struct {
		verb, resource, want string
	}{
		{"list", "configmaps", "yes"}, {"watch", "configmaps", "yes"},
		{"list", "secrets", "no"}, {"update", "configmaps", "no"}, {"create", "configmaps", "no"}, {"list", "pods", "no"}, {"create", "serviceaccounts/token", "no"},
	} {
		out, _ := r.output("", "kubectl", "auth", "can-i", c.verb, c.resource, "--namespace", team(0), as)
		mustEqual(t, "may it "+c.verb+" "+c.resource, strings.TrimSpace(out), c.want)
	}
	found := serviceProcesses(t)
	for _, dir := range found {
		mounts, err := os.ReadFile(filepath.Join(dir, "mounts"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(mounts), "kubernetes.io/serviceaccount") {
			t.Error("the service has the token of a ServiceAccount")
		}
	}
	mustEqual(t, "processes", len(found), 2)
}

// change adds and removes hosts while clients of two that stay call all the time.
func (r *gathered) change(t *testing.T) {
	before := r.restarts(t)
	l := r.clients(t)
	start := time.Now()
	r.hosts(t, "second", 5, 6, 7, 8, 9)
	added := r.every(t, closedHost, 4, 5, 9)
	r.hosts(t, "first", 0, 1, 2)
	changed := r.every(t, unknownHost, 3, 4)
	for n := range teams {
		r.must(t, "kubectl", "-n", team(n), "delete", "configmap", "second", "--wait=false")
	}
	removed := r.every(t, unknownHost, 5, 9)
	// One by one, as teams do.
	for n := range teams {
		r.apply(t, configMap(team(n), "second", fmt.Sprintf("hosts:\n  - {host: %s, endpoint: 'http://notes.%s.svc:8080/mcp'}\n", hostOf(n, 5), team(n))))
	}
	r.every(t, closedHost, 0, 5)
	took := time.Since(start)
	asked, failed, problems := l.end()
	if failed > 0 || asked < 200 {
		t.Errorf("%d of %d calls failed: %v", failed, asked, problems)
	}
	mustEqual(t, "the containers", r.restarts(t), before)
	say("100 hosts added in %.1f s, 40 taken out of their files in %.1f s, 100 removed in %.1f s, 20 added one by one: %d of %d calls through nginx failed in %.0f s",
		added.Seconds(), changed.Seconds(), removed.Seconds(), failed, asked, took.Seconds())
}

// restarts are the pods' containers, with how often each began.
func (r *gathered) restarts(t *testing.T) string {
	t.Helper()
	out := strings.Fields(r.must(t, "kubectl", "-n", teamsNamespace, "get", "pods", "-l", "app.kubernetes.io/component=server", "-o",
		"jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[*].restartCount},{.status.initContainerStatuses[*].restartCount}{'\\n'}{end}"))
	slices.Sort(out)
	return strings.Join(out, " ")
}

// clients call through nginx without a pause: the operator's server and a team's,
// with tokens of a sign-in there, and one that has none and is to be refused.
func (r *gathered) clients(t *testing.T) *load {
	t.Helper()
	l := &load{problems: map[string]int{}, stop: make(chan struct{})}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:443")
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	for _, url := range []string{operatorURL, stayingURL} {
		token := drive[struct {
			AccessToken string `json:"access_token"`
		}](t, r.cluster, "token.mjs", nil, url).AccessToken
		for _, bearer := range []string{token, token, ""} {
			l.workers.Go(func() { l.call(client, url, bearer) })
		}
	}
	return l
}

func (l *load) call(client *http.Client, url, token string) {
	want := http.StatusOK
	if token == "" {
		want = closedHost
	}
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(toolsOfServer))
		if err != nil {
			panic("internal error: " + err.Error())
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("MCP-Protocol-Version", "2025-11-25")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			l.record(false, err.Error())
			continue
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		ok := resp.StatusCode == want && (token == "" || strings.Contains(string(body), `"notes_list"`))
		l.record(ok, fmt.Sprintf("%s: %d instead of %d, %.80s", url, resp.StatusCode, want, body))
	}
}

// mistakes has a team claim what is another's, write to another directory and have
// a URL fetched. All of it comes to nothing, and to no one else's harm.
func (r *gathered) mistakes(t *testing.T) {
	r.apply(t, configMap(team(7), "thief", "hosts:\n  - {host: s8.team-08.mcp.example.com, endpoint: 'http://notes.team-07.svc:8080/mcp'}\n"))
	r.apply(t, configMap(team(6), "reach", "hosts:\n  - {host: s9.team-06.mcp.example.com, endpoint: 'http://notes.team-05.svc:8080/mcp'}\n"))
	eventually(t, "both files are broken in every replica", time.Minute, func() (bool, string) {
		out := r.must(t, "kubectl", "-n", teamsNamespace, "logs", "-l", "app.kubernetes.io/component=server", "-c", "mcp-forward-auth", "--tail=-1")
		thief, reach := strings.Count(out, "namespace_team-07.configmap_thief.hosts.yaml"), strings.Count(out, "namespace_team-06.configmap_reach.hosts.yaml")
		return thief >= 2 && reach >= 2, out[max(0, len(out)-1000):]
	})
	for _, host := range []string{"s8.team-08.mcp.example.com", "s9.team-06.mcp.example.com"} {
		mustEqual(t, host, r.status(t, host), unknownHost)
	}
	r.every(t, closedHost, 0, 5)

	// The annotation by which the sidecar writes elsewhere is another one here, and a key
	// that names a URL is not fetched: what the server there would have said is not in force.
	asked := make(chan string, 100)
	bait := &http.Server{Addr: nodeIP + ":18400", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })}
	go bait.ListenAndServe()
	t.Cleanup(func() { bait.Close() })
	r.apply(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "away", "namespace": %q, "labels": {%q: "yes"}, "annotations": {"k8s-sidecar-target-directory": "/tmp"}},
		"data": {"hosts.yaml": "hosts: [{host: s6.team-05.mcp.example.com, endpoint: 'http://notes.team-05.svc:8080/mcp'}]", "more.yaml.url": "http://%s/hosts"}}`, team(5), labelOfHosts, bait.Addr))
	eventually(t, "the ConfigMap with an annotation is in force", time.Minute, func() (bool, string) {
		status := r.status(t, "s6.team-05.mcp.example.com")
		return status == closedHost, fmt.Sprint(status)
	})
	if len(asked) > 0 {
		t.Errorf("the sidecar has fetched %s", <-asked)
	}
}

func (c *cluster) explainTeams(t *testing.T) {
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"-n", teamsNamespace, "describe", "pods"},
		{"-n", teamsNamespace, "logs", "-l", "app.kubernetes.io/component=server", "--all-containers", "--prefix", "--tail=30"},
	} {
		out, err := c.output("", "kubectl", args...)
		t.Logf("---- kubectl %s ----\n%s%v", strings.Join(args, " "), out[max(0, len(out)-12<<10):], err)
	}
}
