package cluster

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// Configurations of the node's programs, and what the tests install beside the chart.
//
//go:embed testdata
var testdata embed.FS

// clusterDNS are names that only this network has, beside the cluster's own.
var clusterDNS = []string{"id.example.com", "agents.example.com"}

// private prepares the namespaces that run.sh made: a network with nothing but
// this node, and places of our own for what programs write where they like.
func private(dir string) error {
	hosts := filepath.Join(dir, "hosts")
	if err := write(hosts, "127.0.0.1 localhost "+strings.Join(publicHosts, " ")+" "+hostOf(0, 0)+"\n"+nodeIP+" "+strings.Join(clusterDNS, " ")+"\n"); err != nil {
		return err
	}
	// What runs outside of pods asks the cluster's name service too.
	names := filepath.Join(dir, "resolv.conf")
	if err := write(names, "nameserver "+nodeIP+"\n"); err != nil {
		return err
	}
	resolver, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "node"), 0o755); err != nil {
		return err
	}
	commands := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "node0", "type", "bridge"},
		{"ip", "addr", "add", nodeIP + "/24", "dev", "node0"},
		{"ip", "link", "set", "node0", "up"},
		{"ip", "route", "add", "default", "dev", "node0"},
		{"mount", "--bind", hosts, "/etc/hosts"},
		// containerd lays file systems over one another, which not every one allows.
		{"mount", "-t", "tmpfs", "tmpfs", filepath.Join(dir, "node")},
	}
	for _, path := range []string{"/run", "/var/log", "/var/lib/cni"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		commands = append(commands, []string{"mount", "-t", "tmpfs", "tmpfs", path})
	}
	// It may be below /run, which is empty here.
	commands = append(commands, []string{"mkdir", "-p", filepath.Dir(resolver)}, []string{"touch", resolver}, []string{"mount", "--bind", names, resolver})
	c := &cluster{dir: dir}
	for _, command := range commands {
		if _, err := c.output("", lookup(command[0]), command[1:]...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// lookup finds a program of the system.
func lookup(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	return "/nonexistent/" + name
}

// node makes the cluster run pods, or ends the test as not run.
func (c *cluster) node(t *testing.T) {
	t.Helper()
	if noPods == "" && !c.hasNode {
		start := time.Now()
		err := c.startNode()
		if err == nil {
			err = c.runsPods(t)
		}
		if err != nil {
			noPods = "a node does not work on this machine: " + err.Error()
		} else {
			c.hasNode = true
			say("kubelet, containerd, runc, kube-proxy and CoreDNS run a pod after %.1f s", time.Since(start).Seconds())
		}
	}
	if noPods != "" {
		reason, _, _ := strings.Cut(noPods, "\n")
		missing = append(missing, t.Name()+" because "+reason)
		t.Skip("NOT RUN: " + noPods)
	}
}

// runsPods is the proof that the node works, before anything of the chart is on it. An
// earlier test may have made the namespace one for restricted pods alone.
func (c *cluster) runsPods(t *testing.T) error {
	c.apply(t, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "namespace": "default"}, "spec": {
		"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
		"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{"name": "mcp", "image": "localhost/mcpserver:test", "imagePullPolicy": "Never",
			"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
			"resources": {"limits": {"memory": "128Mi"}}, "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}]}}`)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		for _, p := range c.processes {
			if err := p.ended(); err != nil {
				return err
			}
		}
		out, _ := c.output("", "kubectl", "get", "pod", "first", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
		if out == "True" {
			_, err := c.output("", "kubectl", "delete", "pod", "first", "--wait=false")
			return err
		}
		if time.Now().After(deadline) {
			out, _ := c.output("", "kubectl", "get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name}: {.message}\n{end}")
			return fmt.Errorf("no pod gets ready\n%s", out[max(0, len(out)-2<<10):])
		}
	}
}

func (c *cluster) startNode() error {
	node := filepath.Join(c.dir, "node")
	values := map[string]any{"Bin": bin, "Dir": node, "IP": nodeIP, "Kubeconfig": c.kubeconfig, "Hosts": clusterDNS}
	for _, file := range []string{"containerd.toml", "cni/10-node.conflist", "kubelet.yaml", "Corefile"} {
		if err := render(filepath.Join(node, file), file, values); err != nil {
			return err
		}
	}
	socket := filepath.Join(node, "containerd.sock")
	if _, err := c.start("containerd", "--config", filepath.Join(node, "containerd.toml")); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(work, "images", "*.tar"))
	if err != nil || len(images) < 3 {
		return fmt.Errorf("%d images, %v", len(images), err)
	}
	ctr := []string{"--address", socket, "--namespace", "k8s.io"}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err = c.output("", "ctr", append(ctr, "version")...); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd: %w\n%s", err, c.processes[len(c.processes)-1].out.last(4<<10))
		}
	}
	for _, image := range images {
		if _, err := c.output("", "ctr", append(ctr, "images", "import", image)...); err != nil {
			return err
		}
	}
	for _, command := range [][]string{
		{"kubelet", "--config=" + filepath.Join(node, "kubelet.yaml"), "--kubeconfig=" + c.kubeconfig, "--node-ip=" + nodeIP, "--hostname-override=node-0",
			"--root-dir=" + filepath.Join(node, "kubelet"), "--cert-dir=" + filepath.Join(node, "pki")},
		{"kube-proxy", "--kubeconfig=" + c.kubeconfig, "--proxy-mode=iptables", "--hostname-override=node-0", "--cluster-cidr=10.99.1.0/24",
			"--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
			// The kernel's table of connections is not ours to size.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"},
		{"coredns", "-conf", filepath.Join(node, "Corefile")},
	} {
		if _, err := c.start(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// render writes a file of testdata with its values filled in.
func render(path, name string, values any) error {
	text, err := testdata.ReadFile("testdata/" + name)
	if err != nil {
		return err
	}
	tmpl, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, values); err != nil {
		return err
	}
	return write(path, b.String())
}
