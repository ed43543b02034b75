package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each case is the least change to working values that cannot work, and what
// Helm must say of it.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, values, want string }{
		{"no host", "proxy: {hosts: []}", "proxy.hosts is empty: name at least one MCP server"},
		{"unknown key", "replicaCuont: 3", "additional properties 'replicaCuont' not allowed"},
		{"unknown key of the configuration", "proxy: {allowedRedirectURL: []}", "additional properties 'allowedRedirectURL' not allowed"},
		{"unknown key of a host", "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a', nmae: a}]}", "additional properties 'nmae' not allowed"},
		{"unknown key far down", "protection: {traefik: {enabeld: true}}", "additional properties 'enabeld' not allowed"},
		{"host without endpoint", "proxy: {hosts: [{host: a.example.com}]}", "missing property 'endpoint'"},
		{"no provider", "provider: {name: ''}", "provider.name is empty: choose the identity provider"},
		{"no client id", "provider: {clientID: ''}", "provider.clientID is empty: give the client id of this service at google."},
		{"no client secret", "existingSecrets: {clientSecret: {name: ''}}", "There is no client secret: set existingSecrets.clientSecret.name"},
		{"one provider and several", "providers: [{id: a, name: google, clientID: x, allowAnyUser: true}]", "provider and providers exclude each other"},
		{"one secret for several providers", nothing + "providers: [{id: a, name: google}]\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}]}", "existingSecrets.clientSecret cannot tell whose it is among providers"},
		{"a provider without an id", nothing + "providers: [{name: google}]\nexistingSecrets: {clientSecret: {name: ''}}\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}]}", "at '/providers/0': missing property 'id'"},
		{"secret inline and existing", "provider: {clientSecret: x}", "The client secret is given twice: keep existingSecrets.clientSecret"},
		{"secret in a file and existing", "provider: {clientSecretFile: x}", "The client secret is given twice: keep existingSecrets.clientSecret"},
		{"secret inline and in a file", "provider: {clientSecret: x, clientSecretFile: file}\nexistingSecrets: {clientSecret: {name: ''}}", "The client secret is given twice: keep one of provider.clientSecret and provider.clientSecretFile."},
		{"two replicas with ephemeral keys", "replicaCount: 2\nkeys: {source: ephemeral}", "Several replicas cannot work with keys.source ephemeral"},
		{"autoscaling with ephemeral keys", "autoscaling: {enabled: true}\nkeys: {source: ephemeral}", "Several replicas cannot work with keys.source ephemeral"},
		{"seed that would not be used", "existingSecrets: {seed: {name: s}}\nkeys: {source: ephemeral}", "Seeds are given, but keys.source is ephemeral"},
		{"seeds twice", "existingSecrets: {seed: {name: s}}\nkeys: {source: seed, seedFiles: [a]}", "The seeds are given twice"},
		{"whole configuration twice", "existingSecrets: {config: {name: c}}", "existingSecrets.config names a Secret with the whole configuration, so provider and proxy must stay empty."},
		{"ingress without hosts", "ingress: {enabled: true}\nproxy: {hosts: [{host: '127.0.0.1:8443', endpoint: 'http://a'}]}", "ingress.enabled needs a host name"},
		{"ingress without hosts and a configuration elsewhere", nothing + "existingSecrets: {config: {name: c}, clientSecret: {name: ''}}\ningress: {enabled: true}", "ingress.enabled needs ingress.hosts"},
		{"route without hosts and a configuration elsewhere", nothing + "existingSecrets: {config: {name: c}, clientSecret: {name: ''}}\nhttpRoute: {enabled: true, parentRefs: [{name: g}]}", "httpRoute.enabled needs httpRoute.hostnames"},
		{"route without gateway", "httpRoute: {enabled: true}", "httpRoute.enabled needs httpRoute.parentRefs"},
		{"protection without gateway", "protection: {httpRoute: {enabled: true}}", "protection.httpRoute.enabled needs protection.httpRoute.parentRefs or httpRoute.parentRefs"},
		{"policy without targets", "protection: {envoyGateway: {enabled: true}}", "protection.envoyGateway.enabled needs protection.envoyGateway.targetRefs"},
		{"gRPC without a listener", "protection: {envoyGateway: {enabled: true, protocol: GRPC, targetRefs: [{group: a, kind: b, name: c}]}}", "protection.envoyGateway.protocol GRPC needs the gRPC listener"},
		{"mesh without gateway", "protection: {istio: {enabled: true}}", "protection.istio.enabled needs protection.istio.selector or protection.istio.targetRefs"},
		{"protection of a server elsewhere", "protection: {ingress: {enabled: true}}\nproxy: {hosts: [{host: a.example.com, endpoint: 'https://mcp.example.net/mcp'}]}", "protection.ingress.enabled needs Services of this cluster, but proxy.hosts[0].endpoint is \"https://mcp.example.net/mcp\""},
		{"protection with another path", "protection: {ingress: {enabled: true}}\nproxy: {hosts: [{host: a.example.com, path: /a, endpoint: 'http://a.b.svc/mcp'}]}", "protection.ingress.enabled cannot rewrite paths"},
		{"metrics twice", "podMonitor: {enabled: true}\nserviceMonitor: {enabled: true}", "podMonitor.enabled and serviceMonitor.enabled would count everything twice"},
		{"a container with the name of ours", "extraContainers: [{name: mcp-forward-auth, image: x}]", "may not have a container named \"mcp-forward-auth\""},
		{"one port twice", "listen: {grpc: ':9001'}\nservice: {port: 9001}", "service.port and listen.grpc are both 9001"},
		{"every host is an exception", "protection: {istio: {enabled: true, exceptHosts: ['*'], targetRefs: [{kind: Gateway, name: a}]}}", "at '/protection/istio/exceptHosts/0': '*' does not match pattern"},
		{"a host with a port is an exception", "protection: {istio: {enabled: true, exceptHosts: ['a.example.com:8443'], targetRefs: [{kind: Gateway, name: a}]}}", "at '/protection/istio/exceptHosts/0'"},
		{"killed while it sleeps", "terminationGracePeriodSeconds: 5", "lifecycle.preStop.sleep.seconds must be less than terminationGracePeriodSeconds"},
		{"less than the least", "autoscaling: {enabled: true, minReplicas: 9}", "autoscaling.minReplicas is greater than autoscaling.maxReplicas."},
		{"replicas as text", "replicaCount: two", "at '/replicaCount': got string, want integer"},
		{"an incomplete digest", "image: {digest: sha256:12}", "at '/image/digest': 'sha256:12' does not match pattern"},
		{"a port that is none", "service: {port: 70000}", "at '/service/port': maximum: got 70,000, want 65,535"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(c.values), 0o600); err != nil {
				t.Fatal(err)
			}
			base := filepath.Join(chartDir, "ci", "minimal-values.yaml")
			for _, helm := range []tool{helm4, helm3} {
				_, err := helm.render(t, base, "--values", file)
				if err == nil {
					t.Fatalf("%s: accepted", helm.path)
				}
				_, message, _ := strings.Cut(err.Error(), "Error: ")
				if !strings.Contains(message, c.want) {
					t.Errorf("%s: it says\n%s\nand not %q", helm.path, err, c.want)
				}
			}
		})
	}
}

// nothing takes out what the minimal values say.
const nothing = "provider: {name: '', clientID: ''}\nproxy: {hosts: []}\n"

// A chart with no values at all says what is missing, and does not install.
func TestNothingSet(t *testing.T) {
	helms(t, func(t *testing.T, helm tool) {
		_, err := helm.render(t, os.DevNull)
		if err == nil || !strings.Contains(err.Error(), "proxy.hosts is empty") {
			t.Errorf("it says %v", err)
		}
	})
}
