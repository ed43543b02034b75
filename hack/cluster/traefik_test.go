package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	laptopPage    = "../../docs/kind.md"
	laptopRelease = "mcp-forward-auth" // and its namespace
)

var (
	shellBlock     = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	laptopURL      = regexp.MustCompile(`(?m)^claude mcp add .* (http://\S+)$`)
	traefikVersion = regexp.MustCompile(`(?m)^traefik_version=(\S+)$`)
)

// laptop does what docs/kind.md says from its third step on, by a shell and with
// the page's own words. What it changes is only the names of images; in place of
// Traefik's chart there is the program, as that chart starts it.
func (c *cluster) laptop(t *testing.T) {
	traefik, err := traefikProgram()
	if err != nil {
		missing = append(missing, t.Name()+" because "+err.Error())
		t.Skip("NOT RUN: " + err.Error())
	}
	page, err := os.ReadFile(laptopPage)
	if err != nil {
		t.Fatal(err)
	}
	found := laptopURL.FindSubmatch(page)
	if found == nil {
		t.Fatal("the page adds nothing to a client")
	}
	url := string(found[1])
	start := time.Now()
	c.apply(t, `{"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "traefik"}, "spec": {"controller": "traefik.io/ingress-controller"}}`)
	gate := c.traefik(t, traefik, url)

	// Between the steps the route is there, and what it is to ask is not.
	c.paste(t, page, "kubectl apply")
	c.must(t, "kubectl", "-n", "demo", "rollout", "status", "deployment/notes", "--timeout=180s")
	eventually(t, "Traefik says that the Middleware is missing", time.Minute, func() (bool, string) {
		return strings.Contains(gate.out.last(64<<10), "demo-mcp-forward-auth@kubernetescrd"), gate.out.last(2 << 10)
	})
	mustEqual(t, "without the Middleware", anonymous(t, url, "").StatusCode, http.StatusNotFound)

	if notes := c.paste(t, page, "helm install "+laptopRelease); strings.Contains(notes, "TLS") || !strings.Contains(notes, url) || !strings.Contains(notes, "the namespace demo;") {
		t.Errorf("the notes of Helm:\n%s", notes)
	}
	eventually(t, "Traefik asks", time.Minute, func() (bool, string) {
		resp := anonymous(t, url, "")
		return resp.StatusCode == http.StatusUnauthorized, resp.Status
	})
	origin := strings.TrimSuffix(url, "/mcp")
	if challenge := anonymous(t, url, "").Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `resource_metadata="`+origin+`/.well-known/oauth-protected-resource/mcp"`) {
		t.Errorf("the challenge is %q", challenge)
	}
	say("docs/kind.md, pasted: Traefik answers 401 with the challenge after %.1f s, and 404 before there was a Middleware", time.Since(start).Seconds())
	c.signsIn(t, url)
	c.doctor(t, url)
	c.testRelease(t, 4, laptopRelease, laptopRelease)
	c.neighbours(t, traefik, page, url, gate)
	c.uninstall(t, 4, laptopRelease, laptopRelease)
	c.must(t, "kubectl", "delete", "namespace", "demo", "guest", "--wait=false")
}

// neighbours are routes in another namespace than the Middleware. Traefik lets an
// IngressRoute name one of its own namespace only, unless it is told otherwise;
// what it does not let leads nowhere. An Ingress may name any.
func (c *cluster) neighbours(t *testing.T, program string, page []byte, url string, gate *process) {
	const own, cross, annotated = "own.example.com", "cross.example.com", "annotated.example.com"
	c.apply(t, fmt.Sprintf(neighbourRoutes, own, cross, annotated))
	wait := func(host string) {
		t.Helper()
		eventually(t, "Traefik asks about "+host, time.Minute, func() (bool, string) {
			resp := anonymous(t, url, host)
			return resp.StatusCode == http.StatusUnauthorized, resp.Status
		})
		if challenge := anonymous(t, url, host).Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `resource_metadata="https://`+host+`/.well-known/`) {
			t.Errorf("%s: the challenge is %q", host, challenge)
		}
	}
	nowhere := func(host string) {
		t.Helper()
		mustEqual(t, host, anonymous(t, url, host).StatusCode, http.StatusNotFound)
	}
	eventually(t, "Traefik has read the routes", time.Minute, func() (bool, string) {
		resp := anonymous(t, url, annotated) // the service does not know the host yet
		return resp.StatusCode == http.StatusForbidden, resp.Status
	})
	nowhere(own)
	nowhere(cross)

	hosts := "  hosts:\n"
	for _, host := range []string{own, cross, annotated} {
		hosts += fmt.Sprintf("    - {host: %s, endpoint: 'http://notes.demo.svc.cluster.local:8080/mcp'}\n", host)
	}
	c.paste(t, page, "helm install "+laptopRelease, "helm install", "helm upgrade --install", "  hosts:\n", hosts, "namespaces: [demo]", "namespaces: [demo, guest]")
	wait(own)
	wait(annotated)
	nowhere(cross)
	gate.stop()
	c.traefik(t, program, url, "--providers.kubernetescrd.allowcrossnamespace=true")
	wait(cross)
	wait(own)
	say("Traefik: the Middleware of its own namespace serves an IngressRoute; that of another leads to 404, with allowCrossNamespace to 401; an Ingress may name any")
}

const neighbourRoutes = `
apiVersion: v1
kind: Namespace
metadata: {name: guest}
---
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: guest}
spec: {ports: [{port: 8080}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: own, namespace: guest}
spec:
  routes:
    - match: Host("%[1]s") && PathPrefix("/mcp")
      kind: Rule
      middlewares: [{name: mcp-forward-auth}]
      services: [{name: notes, port: 8080}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: cross, namespace: guest}
spec:
  routes:
    - match: Host("%[2]s") && PathPrefix("/mcp")
      kind: Rule
      middlewares: [{name: mcp-forward-auth, namespace: demo}]
      services: [{name: notes, port: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: annotated
  namespace: guest
  annotations: {traefik.ingress.kubernetes.io/router.middlewares: demo-mcp-forward-auth@kubernetescrd}
spec:
  ingressClassName: traefik
  rules:
    - host: %[3]s
      http: {paths: [{path: /mcp, pathType: Prefix, backend: {service: {name: notes, port: {number: 8080}}}}]}
`

// traefikProgram is the one that hack/e2e/install.sh installs.
func traefikProgram() (string, error) {
	script, err := os.ReadFile("../e2e/install.sh")
	if err != nil {
		return "", err
	}
	version := traefikVersion.FindSubmatch(script)
	if version == nil {
		return "", errors.New("hack/e2e/install.sh names no version of Traefik")
	}
	cache := os.Getenv("E2E_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "mcp-forward-auth-e2e")
	}
	program := filepath.Join(cache, "traefik-"+string(version[1]), "bin", "traefik")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("there is no Traefik (hack/e2e/install.sh installs it): %w", err)
	}
	return program, nil
}

// traefik starts it at the port of url, with what its chart gives it.
func (c *cluster) traefik(t *testing.T, program, url string, more ...string) *process {
	t.Helper()
	_, address, _ := strings.Cut(strings.TrimSuffix(url, "/mcp"), "://")
	p, err := c.start(lookup("env"), append([]string{"KUBECONFIG=" + c.kubeconfig, program, "--entrypoints.web.address=" + address, "--log.level=INFO",
		"--global.checknewversion=false", "--providers.kubernetescrd", "--providers.kubernetescrd.allowemptyservices=true",
		"--providers.kubernetesingress", "--providers.kubernetesingress.allowemptyservices=true"}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("---- Traefik ----\n%s", p.out.last(16<<10))
		}
		p.stop()
	})
	eventually(t, "Traefik listens", 30*time.Second, func() (bool, string) {
		if err := p.ended(); err != nil {
			t.Fatal(err)
		}
		resp, err := impatient.Get("http://" + address + "/")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return true, ""
	})
	return p
}

// paste runs the one block of the page that has such a command, as a person would
// in a checkout, with the images of this cluster and the replacements given. It
// returns what that prints.
func (c *cluster) paste(t *testing.T, page []byte, command string, replacements ...string) string {
	t.Helper()
	text := ""
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(block[1], command) {
			text += block[1]
		}
	}
	if strings.Count(text, command) != 1 {
		t.Fatalf("the page has %q %d times", command, strings.Count(text, command))
	}
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the block has no %q", replacements[i])
		}
	}
	replacements = append(replacements, "image: mcpserver:dev", "image: localhost/mcpserver:test",
		"{repository: mcp-forward-auth, tag: dev}", "{repository: localhost/mcp-forward-auth, tag: test}")
	text = strings.NewReplacer(replacements...).Replace(text)
	out, err := c.output("", lookup("sh"), "-ec", "cd ../..\nhelm() { helm4 \"$@\"; }\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// anonymous is a POST without a token, for a host if one is given.
func anonymous(t *testing.T, url, host string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := impatient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// doctor has the program of the pod look at the gateway from outside.
func (c *cluster) doctor(t *testing.T, url string) {
	t.Helper()
	for _, exe := range globbed(t, "/proc/[0-9]*/exe") {
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(exe), "cmdline"))
		if !strings.HasPrefix(string(command), "/mcp-forward-auth\x00serve\x00") {
			continue
		}
		out, err := exec.CommandContext(t.Context(), exe, "doctor", url).CombinedOutput()
		if err != nil {
			t.Errorf("doctor: %v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	t.Error("there is no pod with the program")
}
