package chart

import (
	"fmt"
	"slices"
	"testing"
)

// peers are the namespaces that a rule of the policy names, and whether it lets
// every pod of the cluster in or out. Ports says for which.
type peers struct {
	namespaces []string
	everything bool
	ports      []string
}

func rules(t *testing.T, policy any, direction, side string) (out []peers) {
	t.Helper()
	list, _ := at(t, policy, "spec", direction).([]any)
	for _, rule := range list {
		p := peers{}
		ports, _ := at(t, rule, "ports").([]any)
		for _, port := range ports {
			p.ports = append(p.ports, fmt.Sprint(at(t, port, "port")))
		}
		sides, ok := at(t, rule, side).([]any)
		p.everything = !ok
		for _, s := range sides {
			selector, is := at(t, s, "namespaceSelector").(map[string]any)
			if !is {
				continue
			}
			p.everything = p.everything || len(selector) == 0
			if name := at(t, selector, "matchLabels", "kubernetes.io/metadata.name"); name != nil {
				p.namespaces = append(p.namespaces, fmt.Sprint(name))
			}
			expressions, _ := selector["matchExpressions"].([]any)
			for _, e := range expressions {
				values, _ := at(t, e, "values").([]any)
				for _, v := range values {
					p.namespaces = append(p.namespaces, fmt.Sprint(v))
				}
			}
		}
		out = append(out, p)
	}
	return out
}

// The listeners are open to gateways, and the management port to Prometheus: no
// value makes the chart let in every pod by itself.
func TestNoPolicyLetsEveryPodIn(t *testing.T) {
	for _, values := range []string{
		"{}",
		"listen: {grpc: ':9001'}",
		"networkPolicy: {ingress: {namespaces: []}}",
		"podMonitor: {enabled: true}",
		"serviceMonitor: {enabled: true}",
		"podMonitor: {enabled: true}\nnetworkPolicy: {metrics: {namespaces: []}}",
	} {
		for _, p := range rules(t, with(t, values)["NetworkPolicy"], "ingress", "from") {
			if p.everything {
				t.Errorf("%s: every pod reaches the ports %v", values, p.ports)
			}
			if slices.Contains(p.namespaces, "default") {
				t.Errorf("%s: pods of the namespace default reach the ports %v", values, p.ports)
			}
		}
	}
	gateways := rules(t, with(t, "httpRoute: {enabled: true, parentRefs: [{name: gw, namespace: edge}]}\nprotection: {httpRoute: {parentRefs: [{name: gw, namespace: inner}]}}\nnetworkPolicy: {ingress: {namespaces: [mine]}}")["NetworkPolicy"], "ingress", "from")[0]
	if !slices.Equal(gateways.namespaces, []string{namespace, "mine", "edge", "inner"}) {
		t.Errorf("the gateways' namespaces are %v", gateways.namespaces)
	}
}

// A policy sees the port of a pod, not that of its Service: what is in the
// cluster is opened by namespace, whichever key names it.
func TestPolicyReachesWhatIsInTheCluster(t *testing.T) {
	for _, c := range []struct {
		values string
		want   []string // namespaces
		ports  []string // to everywhere
	}{
		{"provider: {name: oidc, issuerURL: 'https://keycloak.iam.svc.cluster.local/realms/x', clientID: a}", []string{"default", "iam"}, []string{"443"}},
		{"provider: {name: oidc, issuerURL: 'https://keycloak.iam.svc:8443/realms/x', clientID: a}", []string{"default", "iam"}, []string{"443"}},
		{"provider: {name: oidc, issuerURL: 'https://keycloak.iam.svc.corp.example:8443/realms/x', clientID: a}", []string{"default", "iam"}, []string{"443"}},
		{"provider: {name: oidc, issuerURL: 'https://id.example.com:8443/realms/x', clientID: a}", []string{"default"}, []string{"443", "8443"}},
		{"provider: {name: oauth2, authorizeURL: 'https://id.example.com/a', tokenURL: 'https://dex.dex.svc:5556/token', userinfoURL: 'https://dex.dex.svc:5556/u', clientID: a, allowAnyUser: true, allowedEmailDomains: []}", []string{"default", "dex"}, []string{"443"}},
		{"provider: {name: github, baseURL: 'https://ghe.git.svc', clientID: a}", []string{"default", "git"}, []string{"443"}},
		{"provider: {name: '', clientID: ''}\nproviders: [{id: a, name: oidc, issuerURL: 'https://a.ns-a.svc/', clientID: a, clientSecretFile: secrets/s/f}, {id: b, name: oidc, issuerURL: 'https://b.ns-b.svc.cluster.local./', clientID: a, clientSecretFile: secrets/s/f}]\nexistingSecrets: {clientSecret: {name: ''}, files: [{name: s, keys: [f]}]}", []string{"default", "ns-a", "ns-b"}, []string{"443"}},
		{"proxy: {hosts: [{host: a.example.com, endpoint: 'http://notes:8080/mcp'}, {host: b.example.com, endpoint: 'http://notes.two:8080/mcp'}, {host: c.example.com, endpoint: 'https://mcp.example.com:9443/mcp'}]}", []string{namespace, "two"}, []string{"443", "9443"}},
		{"egress: {proxy: 'http://proxy.example.com:3128'}", []string{"default"}, []string{"443", "3128"}},
		{"egress: {proxy: 'http://squid.proxies.svc:3128'}", []string{"default", "proxies"}, []string{"443"}},
		{"registration: {metadataDocuments: {allowedDomains: [docs.agents.svc.cluster.local, 'example.com']}}", []string{"default", "agents"}, []string{"443"}},
		{"registration: {metadataDocuments: {allowedPorts: ['8443'], allowedDomains: ['apps.corp.example:9443', 'claude.ai', '*.example.com']}}", []string{"default"}, []string{"443", "8443", "9443"}},
		{"clients: [{id: a, redirectURIs: ['https://a.example/cb'], jwksURI: 'https://keys.corp.example:10443/jwks'}]", []string{"default"}, []string{"443", "10443"}},
		{"env: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:3128'}, {name: http_proxy, value: 'squid.edge.svc:3128'}, {name: OTHER, value: 'http://x.example.com:1'}]", []string{"default", "edge"}, []string{"443", "3128"}},
		{"egress: {proxy: 'http://proxy.example.com:3129'}", []string{"default"}, []string{"443", "3129"}},
		{"provider: {name: oidc, issuerURL: 'https://id.example.com/realms/x', backchannelURL: 'http://keycloak.iam.svc:8080/realms/x', clientID: a}", []string{"default", "iam"}, []string{"443"}},
		{"clients: [{id: a, redirectURIs: ['https://a.example.com/cb'], authMethod: private_key_jwt, jwksURI: 'https://a.example.com:8443/jwks'}]", []string{"default"}, []string{"443", "8443"}},
		{"registration: {metadataDocuments: {allowedPorts: ['8444']}}", []string{"default"}, []string{"443", "8444"}},
		{"guard: {backend: redis, redis: {addresses: ['valkey.stores:6379']}}", []string{"default", "stores"}, []string{"443"}},
		{"guard: {backend: redis, redis: {addresses: ['valkey-0.example.com:6379', 'valkey-1.example.com:6380']}}", []string{"default"}, []string{"443", "6379", "6380"}},
		{"guard: {backend: postgres, postgres: {address: 'db.data.svc:5432', database: a, username: a}}", []string{"data", "default"}, []string{"443"}},
		{"guard: {backend: postgres, postgres: {urlFile: secrets/db/url}}\nexistingSecrets: {files: [{name: db, keys: [url]}]}", []string{"default"}, []string{"443", "5432"}},
		{"proxy: {hosts: [{host: a.example.com, endpoint: 'http://notes/mcp', authorizationServers: [{issuer: 'https://keycloak.iam.svc:8443/realms/x', introspection: {endpoint: 'https://id.example.com:9000/introspect', clientID: a, clientSecretFile: secrets/a/b}}]}]}\nexistingSecrets: {files: [{name: a, keys: [b]}]}", []string{"iam", namespace}, []string{"443", "9000"}},
		{"apiKeys: {webhook: {url: 'http://keys.teams.svc:8080/check', prefixes: [ok1-]}}", []string{"default", "teams"}, []string{"443"}},
		{"branding: {supportURL: 'https://help.example.com:8443/'}\nproxy: {allowedRedirectURLs: ['https://app\\.example\\.com:9443/cb']}\nclients: [{id: a, redirectURIs: ['https://a.example.com:7443/cb']}]", []string{"default"}, []string{"443"}},
		{"trustedIssuers: [{kind: kubernetes, issuer: 'https://kubernetes.default.svc', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]}]", []string{"default"}, []string{"443", "6443"}},
		{gathers, []string{"billing", "default", "wiki"}, []string{"443", "6443"}},
		{"tracing: {otlp: {endpoint: 'http://otel.monitoring:4318'}}", []string{"default", "monitoring"}, []string{"443"}},
		{"proxy: {hosts: [{host: a.example.com, endpoint: 'http://192.0.2.1:8080/mcp'}, {host: b.example.com, endpoint: 'http://[2001:db8::1]:8081/mcp'}]}", nil, []string{"443", "8080", "8081"}},
	} {
		var namespaces, ports []string
		for _, p := range rules(t, with(t, c.values)["NetworkPolicy"], "egress", "to") {
			if p.everything && !slices.Contains(p.ports, "53") {
				ports = append(ports, p.ports...)
			}
			namespaces = append(namespaces, p.namespaces...)
		}
		slices.Sort(c.want)
		if !slices.Equal(namespaces, c.want) || !slices.Equal(ports, c.ports) {
			t.Errorf("%s: the namespaces %v and the ports %v, want %v and %v", c.values, namespaces, ports, c.want, c.ports)
		}
	}
}
