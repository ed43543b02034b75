//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"
)

// goldenChart is what Helm renders of charts/mcp-forward-auth/ci/nginx-values.yaml:
// two hosts behind ingress-nginx.
var goldenChart = filepath.Join(repository, "charts", "mcp-forward-auth", "ci", "golden", "nginx.yaml")

// chartObject is as much of a Kubernetes object as the tests need.
type chartObject struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Annotations     map[string]string
	}
	StringData map[string]string
	Spec       struct {
		Rules []struct {
			Host string
			HTTP struct {
				Paths []struct {
					Path, PathType string
					Backend        struct {
						Service struct {
							Name string
							Port struct {
								Name   string
								Number int
							}
						}
					}
				}
			}
		}
	}
}

func chartObjects(t *testing.T) (objects []chartObject) {
	t.Helper()
	text, err := os.ReadFile(goldenChart)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var o chartObject
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	return objects
}

// ingressLocation is one path of an Ingress.
type ingressLocation struct {
	Path, PathType string
	Backend        string // address
	Auth           string // name of the internal location, "" for none
	AuthURL        string // with an address in place of the Service
	AuthHost       string // of auth-url, without port
	Headers        []string
	ReadTimeout    string
	BufferSize     string
}

// The names under which a location of this type is entered, as ingress-nginx does.
func (l ingressLocation) Matches() []string {
	if l.PathType == "Exact" {
		return []string{"= " + l.Path}
	}
	return []string{"= " + l.Path, strings.TrimSuffix(l.Path, "/") + "/"}
}

// ingressServers does what ingress-nginx does with Ingresses: it gathers their
// paths by host and reads the annotations. service maps name.namespace to an address.
func ingressServers(t *testing.T, objects []chartObject, service map[string]string) map[string][]ingressLocation {
	t.Helper()
	const prefix = "nginx.ingress.kubernetes.io/"
	understood := []string{"auth-url", "auth-response-headers", "proxy-buffer-size", "proxy-read-timeout", "proxy-send-timeout"}
	servers := map[string][]ingressLocation{}
	for _, o := range objects {
		if o.Kind != "Ingress" {
			continue
		}
		for key := range o.Metadata.Annotations {
			if name, ours := strings.CutPrefix(key, prefix); ours && !slices.Contains(understood, name) {
				t.Errorf("this test does not know the annotation %s", key)
			}
		}
		for _, rule := range o.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				l := ingressLocation{Path: p.Path, PathType: p.PathType, ReadTimeout: "60", BufferSize: "4k"}
				l.Backend = service[p.Backend.Service.Name+"."+o.Metadata.Namespace]
				if l.Backend == "" {
					t.Fatalf("%s routes %s to %s, which is not there", o.Metadata.Name, p.Path, p.Backend.Service.Name)
				}
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
					labels := strings.Split(u.Hostname(), ".")
					address := service[labels[0]+"."+labels[1]]
					if address == "" || u.Hostname() != labels[0]+"."+labels[1]+".svc.cluster.local" || u.Port() != "" {
						t.Fatalf("auth-url %s leads nowhere", raw)
					}
					l.Auth = "/_external-auth-" + base64.RawURLEncoding.EncodeToString([]byte(p.Path)) + "-" + p.PathType
					l.AuthURL, l.AuthHost = "http://"+address+u.RequestURI(), u.Hostname()
					l.Headers = strings.Split(o.Metadata.Annotations[prefix+"auth-response-headers"], ",")
				}
				servers[rule.Host] = append(servers[rule.Host], l)
			}
		}
	}
	return servers
}

// ingressConf is what ingress-nginx makes of Ingresses.
var ingressConf = template.Must(template.New("ingress-nginx.conf").Funcs(template.FuncMap{
	"variable": func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) },
}).ParseFiles(filepath.Join(drivers, "ingress-nginx.conf")))

// TestChartIngress signs in and calls a tool through an nginx that is configured
// by the Ingresses of the chart, with the configuration that the chart renders.
// Only addresses are replaced: those of Services, and the listeners' ports.
func TestChartIngress(t *testing.T) {
	track(t)
	binary, nginx := serviceBinary(t), program(t, "nginx", "/usr/sbin/nginx")
	objects, ports, dir := chartObjects(t), freePorts(t, 3), t.TempDir()
	stateless, stateful := startMCP(t, true), startMCP(t, false)
	services := map[string]string{
		"mcp-mcp-forward-auth.mcp": "127.0.0.1:" + ports[1],
		"notes.mcp":                stateless.address(),
		"sessions.mcp":             stateful.address(),
	}

	// The service.
	var file map[string]any
	for _, o := range objects {
		if text := o.StringData["config.yaml"]; text != "" {
			if err := yaml.Unmarshal([]byte(text), &file); err != nil {
				t.Fatal(err)
			}
		}
	}
	file["listen"] = map[string]any{"http": "127.0.0.1:" + ports[1], "management": "127.0.0.1:" + ports[2]}
	hosts := file["proxy"].(map[string]any)["hosts"].([]any)
	mustEqual(t, "number of hosts", len(hosts), 2)
	for _, h := range hosts {
		entry := h.(map[string]any)
		u, err := url.Parse(entry["endpoint"].(string))
		if err != nil {
			t.Fatal(err)
		}
		labels := strings.Split(u.Hostname(), ".")
		u.Host = services[labels[0]+"."+labels[1]]
		entry["endpoint"] = u.String()
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, "config.yaml"), text)
	mustWrite(t, filepath.Join(dir, "seeds", "seed"), []byte("0123456789abcdef0123456789abcdef"))
	service := start(t, "mcp-forward-auth", nil, binary, "serve", "--config", filepath.Join(dir, "config.yaml"))
	service.waitHTTP(t, "http://127.0.0.1:"+ports[2]+"/readyz", http.StatusOK)

	// The gateway.
	servers := ingressServers(t, objects, services)
	mustEqual(t, "hosts of the Ingresses", len(servers), 2)
	roots := selfSigned(t, dir, slices.Sorted(maps.Keys(servers)))
	conf, err := os.Create(filepath.Join(dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	err = ingressConf.Execute(conf, map[string]any{"Dir": dir, "Listen": "127.0.0.1:" + ports[0], "Root": os.Getuid() == 0, "Servers": servers})
	if err := conf.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	start(t, "nginx", nil, nginx, "-p", dir, "-c", conf.Name(), "-e", "stderr").waitTCP(t, "127.0.0.1:"+ports[0])
	everythingTo(t, "127.0.0.1:"+ports[0], roots)

	for _, c := range []struct {
		url, version string
		server       *mcpServer
	}{{"https://notes.example.com/mcp", modern, stateless}, {"https://sessions.example.com/mcp", legacy, stateful}} {
		t.Run(c.url, func(t *testing.T) {
			track(t)
			resp, _ := do(t, http.MethodPost, c.url, nil)
			mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
			resp, _ = do(t, http.MethodGet, origin(c.url)+"/authenticate", nil)
			mustEqual(t, "status of /authenticate from outside", resp.StatusCode, http.StatusNotFound)
			mustEqual(t, "requests that reached the MCP server", len(slices.DeleteFunc(c.server.requests(), func(r *http.Request) bool {
				return r.Header.Get("X-Real-IP") == "" // the service lists the tools by itself
			})), 0)

			nothingUnasked(t, "127.0.0.1:"+ports[0], c.url, roots, c.server)

			session := connectGoSDK(t, c.url, c.version, alice)
			wantAlice(t, whoami(t, session))

			// A token of one host is nothing at the other.
			g, _ := signIn(t, c.url, alice)
			for host := range servers {
				want := http.StatusUnauthorized
				if strings.Contains(c.url, host) {
					want = http.StatusOK
				}
				resp, _ := do(t, http.MethodPost, "https://"+host+"/mcp/probe/echo", strings.NewReader("hello"), "Authorization", "Bearer "+g.AccessToken)
				mustEqual(t, "status at "+host, resp.StatusCode, want)
			}
		})
	}
}

// nothingUnasked sends requests without a token by https: none may come to the MCP server.
func nothingUnasked(t *testing.T, address, target string, roots *x509.CertPool, server *mcpServer) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range unaskedTargets() {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: u.Host})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", path, u.Host)
		io.Copy(io.Discard, conn)
		conn.Close()
		for _, r := range server.requests() {
			if r.Header.Get("X-Real-IP") != "" { // the service lists the tools by itself
				t.Errorf("POST %s reached the MCP server as %s", path, r.RequestURI)
			}
		}
	}
}

func mustWrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// selfSigned writes tls.crt and tls.key for hosts to dir, and returns who trusts them.
func selfSigned(t *testing.T, dir string, hosts []string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	mustWrite(t, filepath.Join(dir, "tls.crt"), public)
	mustWrite(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(public) {
		t.Fatal("internal error: our own certificate is not one")
	}
	return roots
}

// everythingTo stands in for DNS: until the test ends, clients without a
// transport of their own reach every https host at address, and loopback as ever.
func everythingTo(t *testing.T, address string, roots *x509.CertPool) {
	t.Helper()
	before := http.DefaultTransport
	transport := before.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		switch host, port, _ := net.SplitHostPort(to); {
		case port == "443":
			to = address
		case host != "127.0.0.1" && host != "localhost":
			return nil, fmt.Errorf("nothing of this test is at %s", to)
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	// The Go SDK keeps a copy of DefaultTransport, but asks the client first.
	http.DefaultTransport, http.DefaultClient.Transport = transport, transport
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		http.DefaultTransport, http.DefaultClient.Transport = before, nil
	})
}
