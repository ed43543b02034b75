package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

// publicHosts are served by the gateway; this network's name service knows them.
var publicHosts = []string{"notes.example.com", "sessions.example.com", "wiki.example.com"}

type ingresses struct {
	Items []struct {
		Metadata struct {
			Name, Namespace string
			Annotations     map[string]string
		}
		Spec struct {
			Rules []struct {
				Host string
				HTTP struct {
					Paths []struct {
						Path, PathType string
						Backend        struct{ Service backend }
					}
				}
			}
		}
	}
}

type backend struct {
	Name string
	Port struct {
		Name   string
		Number int
	}
}

// location is one path of an Ingress, as hack/e2e/ingress-nginx.conf wants it.
type location struct {
	Path, PathType string
	Backend        string // address
	Auth           string // name of the internal location, "" for none
	AuthURL        string
	AuthHost       string // of auth-url, without port
	Headers        []string
	ReadTimeout    string
	BufferSize     string
}

// plain is a location without annotations, with the defaults of ingress-nginx.
func plain(path, pathType, backend string) location {
	return location{Path: path, PathType: pathType, Backend: backend, ReadTimeout: "60", BufferSize: "4k"}
}

// Matches are the names under which ingress-nginx enters a path.
func (l location) Matches() []string {
	if l.PathType == "Exact" {
		return []string{"= " + l.Path}
	}
	return []string{"= " + l.Path, strings.TrimSuffix(l.Path, "/") + "/"}
}

// locations does what ingress-nginx does: it gathers the paths of all Ingresses
// of the cluster by host, and reads their annotations.
func (c *cluster) locations(t *testing.T) map[string][]location {
	t.Helper()
	const prefix = "nginx.ingress.kubernetes.io/"
	understood := []string{"auth-url", "auth-response-headers", "proxy-buffer-size", "proxy-read-timeout", "proxy-send-timeout"}
	servers := map[string][]location{}
	for _, o := range get[ingresses](t, c, "ingresses", "--all-namespaces").Items {
		for key := range o.Metadata.Annotations {
			if name, nginx := strings.CutPrefix(key, prefix); nginx && !slices.Contains(understood, name) {
				t.Errorf("this test does not know the annotation %s", key)
			}
		}
		for _, rule := range o.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				l := plain(p.Path, p.PathType, c.serviceAddress(t, o.Metadata.Namespace, p.Backend.Service))
				if v := o.Metadata.Annotations[prefix+"proxy-read-timeout"]; v != "" {
					l.ReadTimeout = v
				}
				if v := o.Metadata.Annotations[prefix+"proxy-buffer-size"]; v != "" {
					l.BufferSize = v
				}
				if raw := o.Metadata.Annotations[prefix+"auth-url"]; raw != "" {
					u, err := url.Parse(raw)
					if err != nil {
						t.Fatal(err)
					}
					l.Auth = "/_external-auth-" + base64.RawURLEncoding.EncodeToString([]byte(p.Path)) + "-" + p.PathType
					l.AuthURL, l.AuthHost = raw, u.Hostname() // nginx asks the cluster's DNS for it
					l.Headers = strings.Split(o.Metadata.Annotations[prefix+"auth-response-headers"], ",")
				}
				servers[rule.Host] = append(servers[rule.Host], l)
			}
		}
	}
	return servers
}

// serviceAddress is the address inside the cluster of a port of a Service.
func (c *cluster) serviceAddress(t *testing.T, namespace string, b backend) string {
	t.Helper()
	service := get[struct {
		Spec struct {
			ClusterIP string
			Ports     []struct {
				Name string
				Port int
			}
		}
	}](t, c, "service", b.Name, "--namespace", namespace)
	for _, p := range service.Spec.Ports {
		if b.Port.Number == p.Port || b.Port.Name != "" && b.Port.Name == p.Name {
			return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(p.Port))
		}
	}
	t.Fatalf("%s/%s has no port %+v", namespace, b.Name, b.Port)
	return ""
}

// gateway is an nginx that replaces the one at the address.
func (c *cluster) gateway(t *testing.T, address string, servers map[string][]location) {
	t.Helper()
	if before := c.gateways[address]; before != nil {
		before.stop()
	}
	dir := filepath.Join(c.dir, "nginx-"+strings.ReplaceAll(address, ":", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tmpl, err := template.New("ingress-nginx.conf").Funcs(template.FuncMap{
		"variable": func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) },
	}).ParseFiles("../e2e/ingress-nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tls.crt", "tls.key"} {
		data, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := write(filepath.Join(dir, name), string(data)); err != nil {
			t.Fatal(err)
		}
	}
	var conf strings.Builder
	if err := tmpl.Execute(&conf, map[string]any{"Dir": dir, "Listen": address, "Root": true, "Servers": servers, "Resolver": nodeIP}); err != nil {
		t.Fatal(err)
	}
	if err := write(filepath.Join(dir, "nginx.conf"), conf.String()); err != nil {
		t.Fatal(err)
	}
	nginx, err := c.start(lookup("nginx"), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	if err != nil {
		t.Fatal(err)
	}
	c.gateways[address] = nginx
	eventually(t, "nginx listens", 10*time.Second, func() (bool, string) {
		if err := nginx.ended(); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil, fmt.Sprint(err)
	})
}

// certificate makes one for every host of this network, as tls.crt and tls.key.
func (c *cluster) certificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: slices.Concat(publicHosts, clusterDNS, teamDomains()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := write(filepath.Join(c.dir, name), string(pem.EncodeToMemory(block))); err != nil {
			t.Fatal(err)
		}
	}
}

// drive runs a JavaScript client and reads the JSON line that it prints.
func drive[T any](t *testing.T, c *cluster, script string, env []string, args ...string) (report T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../e2e/node_modules/.bin/node", append([]string{script}, args...)...)
	cmd.Env = append(append(os.Environ(), "NODE_EXTRA_CA_CERTS="+filepath.Join(c.dir, "tls.crt")), env...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", script, err, out, errOut.String())
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%s printed %s: %v", script, out, err)
	}
	return report
}

// clientReport is as much as these tests read of what ts-client.mjs prints.
type clientReport struct {
	ProtocolVersion string
	Iss             string
	Whoami          struct {
		Result struct {
			User, Email string
			Groups      []string
		}
		IsError bool
		Error   string
	}
	Refresh struct{ NewAccessToken bool }
}

// signsIn has the official MCP client discover, register, sign in, call a tool
// and refresh, at a URL behind the gateway.
func (c *cluster) signsIn(t *testing.T, url string) clientReport {
	t.Helper()
	start := time.Now()
	got := drive[clientReport](t, c, "../e2e/ts-client.mjs", []string{"REFRESH=1"}, url)
	who := got.Whoami.Result
	if got.Whoami.Error != "" || got.Whoami.IsError || who.User == "" {
		t.Errorf("whoami: %+v", got.Whoami)
	}
	mustEqual(t, "e-mail that the MCP server is told", who.Email, "alice@example.com")
	mustEqual(t, "groups that the MCP server is told", strings.Join(who.Groups, " "), "engineering admins")
	mustEqual(t, "iss", got.Iss, strings.TrimSuffix(url, "/mcp"))
	mustEqual(t, "a new access token", got.Refresh.NewAccessToken, true)
	say("%s: MCP client signed in, called a tool as %s, refreshed (MCP %s) in %.1f s", url, who.Email, got.ProtocolVersion, time.Since(start).Seconds())
	return got
}
