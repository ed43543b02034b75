//go:build e2e && controllers

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
)

// kubeBin has the programs of hack/cluster and hack/controllers. KUBECONFIG
// names the control plane; hack/controllers/run.sh sets both.
var kubeBin = os.Getenv("CONTROLLERS_BIN")

// kubeAddress is this machine's own address: the API server takes no loopback
// address for an endpoint.
func kubeAddress() string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// kubeProgram is a program of kubeBin, or ends the test as not run.
func kubeProgram(name string) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if kubeBin == "" || os.Getenv("KUBECONFIG") == "" || kubeAddress() == "" {
			notRun(t, "there is no control plane; hack/controllers/run.sh starts one")
		}
		return program(t, name, filepath.Join(kubeBin, name))
	}
}

// kube runs a program of kubeBin to its end.
func kube(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(kubeBin, name), args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, tail(out.String(), 2<<10), tail(errs.String(), 4<<10))
	}
	return out.String()
}

// apply has objects made, in a namespace where they name none, until the test ends.
func apply(t *testing.T, namespace, objects string) {
	t.Helper()
	var in []string
	if namespace != "" {
		in = []string{"-n", namespace}
	}
	kube(t, objects, "kubectl", append([]string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, in...)...)
	t.Cleanup(func() {
		kube(t, objects, "kubectl", append([]string{"delete", "--ignore-not-found", "--wait=false", "-f", "-"}, in...)...)
	})
}

// namespaces are never deleted: nothing here does that but a controller manager.
func namespaces(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		kube(t, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q}}`, name), "kubectl", "apply", "--server-side", "-f", "-")
	}
}

// kubeService is a Service without pods, with the names of ports that the chart
// gives them. Its endpoint is this machine.
func kubeService(t *testing.T, namespace, name string, ports map[string]string) {
	t.Helper()
	var service, slice strings.Builder
	for _, p := range []struct{ number, name, more string }{{"80", "http", ""}, {"9001", "grpc", ", appProtocol: kubernetes.io/h2c"}, {"3000", "mcp", ""}} {
		_, port, ok := strings.Cut(ports[p.number], ":")
		if !ok {
			continue
		}
		fmt.Fprintf(&service, "    - {name: %s, port: %s, targetPort: %s%s}\n", p.name, p.number, port, p.more)
		fmt.Fprintf(&slice, "  - {name: %s, port: %s, protocol: TCP}\n", p.name, port)
	}
	apply(t, namespace, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  ports:
%s---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-here, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
endpoints: [{addresses: [%s], conditions: {ready: true, serving: true}}]
ports:
%s`, name, service.String(), name, name, kubeAddress(), slice.String()))
}

// forward passes what comes to a port of this machine on to a loopback address,
// and returns its address.
func forward(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", kubeAddress()+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	relay(l, func() (net.Conn, error) { return net.Dial("tcp", to) })
	return l.Addr().String()
}

// relay joins each connection to l with one that dial makes, until l is closed.
func relay(l net.Listener, dial func() (net.Conn, error)) {
	join := func(in net.Conn) {
		defer in.Close()
		out, err := dial()
		if err != nil {
			return
		}
		defer out.Close()
		go func() {
			io.Copy(out, in)
			if half, ok := out.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}()
		io.Copy(in, out)
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go join(in)
		}
	}()
}

// kubeSite has the services of a site in the cluster: the MCP server as
// mcp-server, and this service as mcp-forward-auth, in each of the namespaces.
func kubeSite(t *testing.T, site gatewaySite, spaces ...string) {
	t.Helper()
	namespaces(t, spaces...)
	server := forward(t, site.MCP)
	for _, space := range spaces {
		kubeService(t, space, "mcp-server", map[string]string{"3000": server})
		kubeService(t, space, "mcp-forward-auth", map[string]string{"80": site.Service, "9001": site.GRPC})
	}
}

// chart renders the chart's objects of some kinds for the one MCP server of a
// site, which it finds as mcp-server in the namespace mcp.
func chart(t *testing.T, site gatewaySite, kinds, values string) string {
	t.Helper()
	file := write(t, "values.yaml", values+`
fullnameOverride: mcp-forward-auth
providers: [{id: corp, name: static, users: [{username: a, passwordHash: '$2a$10$zMhjRG5dUfn2fasBODR5i.xuXvHtpddYA8HLk2W8v7S3tSMP5KcCG', email: a@example.com}]}]
proxy: {hosts: [{host: 'localhost:`+site.Port+`', scheme: http, endpoint: 'http://mcp-server.mcp.svc.cluster.local:3000/mcp'}]}
`)
	text := kube(t, "", "helm4", "template", "mcp", filepath.Join(repository, "charts", "mcp-forward-auth"), "--namespace", "auth", "--values", file)
	var out []string
	for _, object := range regexp.MustCompile(`(?m)^---\n`).Split(text, -1) {
		if regexp.MustCompile(`(?m)^kind: (` + kinds + `)$`).MatchString(object) {
			out = append(out, object)
		}
	}
	if len(out) == 0 {
		t.Fatalf("the chart renders no %s:\n%s", kinds, text)
	}
	return strings.Join(out, "---\n")
}

// pagePaths are the public paths as a page lists them: those with everything
// below them, and the others.
func pagePaths(t *testing.T, page string) (prefixes, exact []string) {
	t.Helper()
	text := gateways.Section(page, "Public paths")
	below, rest, ok := strings.Cut(text, "with everything below them")
	for i, part := range []string{below, rest} {
		for _, m := range regexp.MustCompile("`(/[^`]+)`").FindAllStringSubmatch(part, -1) {
			if i == 0 {
				prefixes = append(prefixes, m[1])
			} else {
				exact = append(exact, m[1])
			}
		}
	}
	if !ok || len(prefixes) != 4 || len(exact) < 7 {
		t.Fatalf("docs/gateways/%s.md lists %q and %q", page, prefixes, exact)
	}
	return prefixes, exact
}

// publicRoute is an HTTPRoute to the service for the public paths of a page.
func publicRoute(t *testing.T, page, gateway string) string {
	t.Helper()
	prefixes, exact := pagePaths(t, page)
	var matches strings.Builder
	for _, p := range prefixes {
		fmt.Fprintf(&matches, "        - {path: {type: PathPrefix, value: %s}}\n", p)
	}
	for _, p := range exact {
		fmt.Fprintf(&matches, "        - {path: {type: Exact, value: %s}}\n", p)
	}
	return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mcp-forward-auth}
spec:
  parentRefs: [` + gateway + `]
  hostnames: [localhost]
  rules:
    - matches:
` + matches.String() + `      backendRefs: [{name: mcp-forward-auth, port: 80}]
`
}

// kubeGet reads one object.
func kubeGet[T any](t *testing.T, args ...string) (object T, ok bool) {
	t.Helper()
	cmd := exec.Command(filepath.Join(kubeBin, "kubectl"), append([]string{"get", "-o", "json"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return object, false
	}
	if err := json.Unmarshal(out, &object); err != nil {
		t.Fatal(err)
	}
	return object, true
}

// within asks until ok says yes.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
