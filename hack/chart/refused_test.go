package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
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
		{"ID-JAGs at several replicas", "replicaCount: 2\ntrustedIssuers: [{kind: kubernetes, issuer: 'https://k', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]}, {kind: id-jag, issuer: 'https://idp.example.com', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]}]", "would each accept an assertion of trustedIssuers[1] once"},
		{"workloads at several replicas", "autoscaling: {enabled: true}\ntrustedIssuers: [{kind: workload, issuer: 'https://agents.example.com', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]}]\nguard: {backend: memory}", "would each accept an assertion of trustedIssuers[0] once"},
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
		{"autoscaling without a request", "autoscaling: {enabled: true}\nresources: {requests: {cpu: null}}", "autoscaling.enabled needs resources.requests.cpu"},
		{"memory for nothing", "resources: {limits: {memory: 24Mi}}", "resources.limits.memory is 24Mi, which is too little for the program alone: give it 32Mi"},
		{"memory in bytes for nothing", "resources: {limits: {memory: 33554431}}", "resources.limits.memory is 33554431, which is too little"},
		{"a name that is none", "fullnameOverride: X_Y", "at '/fullnameOverride': 'X_Y' does not match pattern"},
		{"less than the least", "autoscaling: {enabled: true, minReplicas: 9}", "autoscaling.minReplicas is greater than autoscaling.maxReplicas."},
		{"replicas as text", "replicaCount: two", "at '/replicaCount': got string, want integer"},
		{"an incomplete digest", "image: {digest: sha256:12}", "at '/image/digest': 'sha256:12' does not match pattern"},
		{"a host that is not in punycode", "proxy: {hosts: [{host: bücher.example.com, endpoint: 'http://a/mcp'}]}", "proxy.hosts[0].host: \"bücher.example.com\" must be written in punycode"},
		{"bits beyond a network", "listen: {trustedProxies: [10.1.0.0/8, 10.1.2.0/16, 10.1.2.3/24]}", "listen.trustedProxies[0]: \"10.1.0.0/8\" has bits beyond its length\nlisten.trustedProxies[1]: \"10.1.2.0/16\" has bits beyond its length\nlisten.trustedProxies[2]: \"10.1.2.3/24\" has"},
		{"bits beyond networks of all sizes", "listen: {trustedProxies: ['10.16.0.0/11', '2001:db8::1/32', 'fe90::/10', 'FD00:1::/8', '::/129']}", "listen.trustedProxies[0]: \"10.16.0.0/11\" has bits beyond its length\nlisten.trustedProxies[1]: \"2001:db8::1/32\" has bits beyond its length\nlisten.trustedProxies[2]: \"fe90::/10\" has bits beyond its length\nlisten.trustedProxies[3]: \"FD00:1::/8\" has bits beyond its length\nlisten.trustedProxies[4]: \"::/129\" is not"},
		{"names of other charts inside of sections", "ingress: {ingressClassName: nginx}\nimage: {version: '1'}\nservice: {nodePorts: {http: 30000}}\nautoscaling: {minReplicaCount: 2}\nserviceMonitor: {additionalLabels: {a: b}}", "autoscaling.minReplicaCount: unknown; did you mean autoscaling.minReplicas?\nimage.version: unknown; did you mean image.tag?\ningress.ingressClassName: unknown; did you mean ingress.className?\nservice.nodePorts: unknown; did you mean service.nodePort?\nserviceMonitor.additionalLabels: unknown; did you mean serviceMonitor.labels?"},
		{"names of other charts", "extraEnv: []\nreplicas: 3", "extraEnv: unknown; did you mean env?\nreplicas: unknown; did you mean replicaCount?"},
		{"a secret file that is not mounted", "provider: {clientSecretFile: secrets/other/secret}\nexistingSecrets: {clientSecret: {name: ''}, files: [{name: mine, keys: [secret]}]}", "provider.clientSecretFile: there is no such file; mount the Secret"},
		{"a seed file that is not mounted", "keys: {source: seed, seedFiles: [/run/seed]}", "keys.seedFiles[0]: there is no such file"},
		{"a key file of a client that is not mounted", "clients: [{id: a, authMethod: private_key_jwt, jwksFile: /jwks.json}]", "clients[0].jwksFile: there is no such file"},
		{"files of no namespace", "hostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com']}}", "hostsFiles.sidecar.namespaces is empty"},
		{"files of all namespaces and one", "hostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com'], namespaces: [ALL, a]}}", "hostsFiles.sidecar.namespaces has ALL and others"},
		{"files that may claim nothing", "hostsFiles: {sidecar: {enabled: true, namespaces: [ALL]}}", "hostsFiles.sidecar.hosts is empty"},
		{"files at the default account", "serviceAccount: {create: false}\nhostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com'], namespaces: [ALL]}}", "hostsFiles.sidecar needs a ServiceAccount of its own"},
		{"a port of two containers", "listen: {grpc: ':9180'}\nhostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com'], namespaces: [ALL]}}", "hostsFiles.sidecar.healthPort and listen.grpc are both 9180"},
		{"files beside a configuration elsewhere", nothing + "existingSecrets: {config: {name: c}, clientSecret: {name: ''}}\nhostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com'], namespaces: [ALL]}}", "hostsFiles.sidecar needs proxy.hostsFiles"},
		{"files without a provider", nothing + "existingSecrets: {clientSecret: {name: ''}}\nhostsFiles: {sidecar: {enabled: true, hosts: ['*.{1}.example.com'], namespaces: [ALL]}}", "provider.name is empty"},
		{"a doctor without a patient", nothing + "existingSecrets: {config: {name: c}, clientSecret: {name: ''}}\ndoctor: {enabled: true}", "doctor.enabled needs doctor.urls"},
		{"a doctor of something else", "doctor: {enabled: true, urls: [mcp.example.com]}", "at '/doctor/urls/0'"},
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

// What the case before would refuse is taken where nothing has to be remembered in common.
func TestAssertionsAtSeveralReplicas(t *testing.T) {
	const rules = "rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]"
	for name, values := range map[string]string{
		"one replica":      "trustedIssuers: [{kind: id-jag, issuer: 'https://idp.example.com', " + rules + "}]",
		"a shared guard":   "replicaCount: 2\nguard: {backend: redis, redis: {addresses: ['redis:6379']}}\ntrustedIssuers: [{kind: id-jag, issuer: 'https://idp.example.com', " + rules + "}]",
		"shown many times": "replicaCount: 2\ntrustedIssuers: [{kind: workload, issuer: 'https://a.example.com', reusable: true, " + rules + "}, {kind: kubernetes, issuer: 'https://k', " + rules + "}]",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		write(t, file, []byte(values))
		for _, helm := range []tool{helm4, helm3} {
			if _, err := helm.render(t, filepath.Join(chartDir, "ci", "minimal-values.yaml"), "--values", file); err != nil {
				t.Errorf("%s, %s: %v", name, helm.path, err)
			}
		}
	}
}

// What the cases below would refuse is taken where a key is there and says nothing, and at
// the edges of what is good.
func TestNothingGoodIsRefused(t *testing.T) {
	for name, values := range map[string]string{
		"sections that say nothing": "guard: {backend: memory, redis: {addresses: [], cluster: false, tls: {enabled: false}}, postgres: {tls: {}}}\ndpop: {nonces: false}\ntls: {acme: {enabled: false, agreeToTerms: false}}\npushedRequests: {required: false}\nlimits: {addressRequests: 0}\n" +
			"proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes/mcp', dpop: off, extMCP: false, serve: {enabled: false, cookies: false}, providerToken: {scopes: []}, serverCredential: {}, personalKeys: {enabled: false}}]}",
		"memory":          "resources: {limits: {memory: 32Mi}}",
		"memory in bytes": "resources: {limits: {memory: 33554432}}",
		"no limit":        "resources: {limits: null}",
		"other forms":     "resources: {limits: {memory: '0.5Gi'}}",
		"durations":       "keys: {rotation: 24h}\nbrowserSessions: {idleLifetime: 12h}\ntokens: {accessTokenLifetime: 60m, refreshTokenLifetime: 1.5h, refreshTokenIdleLifetime: 90m}\ntrustedIssuers: [{kind: kubernetes, issuer: 'https://k.example.com', leeway: '0', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.com/mcp']}]}]",
		"hosts and paths": "listen: {trustedProxies: [10.0.0.0/8, 192.168.1.0/24, 172.16.0.0/12, '2001:db8::/32', 'fe80::/10', 'fc00::/7', '2a00:1450:4000::/37', '::ffff:10.0.0.0/104']}\nproxy: {hosts: [{host: xn--bcher-kva.example.com, endpoint: 'http://notes:8080/tokens', path: /}, {host: '127.0.0.1:8443', endpoint: 'https://notes.default.svc/mcp', path: /mcp/}, {host: '[::1]:8443', endpoint: 'http://[fd00::1]/a'}]}",
		"rules":           "policy: {rules: [{effect: allow, anyone: true}, {effect: deny, users: [a], tools: [b]}]}",
		"names": "clients: [{id: nightly, redirectURIs: ['https://a.example.com/callback'], resources: ['https://mcp.example.com/mcp']}]\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes/mcp', pages: [{path: /ui}], apiKeys: {enabled: true}}]}\n" +
			"policy: {rules: [{effect: allow, clients: [nightly, browser, 'apikey:ci', 'https://app.example.com/client.json']}]}",
		"hosts of teams": "proxy: {hostsFiles: [{files: /x/*.yaml, hosts: ['*.example.org'], endpoints: ['*']}]}\ntrustedIssuers: [{kind: kubernetes, issuer: 'https://k.example.com', rules: [{anyone: true, scopes: [read], resources: ['https://a.example.org/mcp']}]}]",
		"ends of others": "clients: [{id: a, redirectURIs: ['com.example.app:/callback', 'http://127.0.0.1/callback', 'https://a.example.com/?b=c']}]\nbranding: {name: Bücher, accentColor: '#0a7d55', supportURL: 'mailto:help@example.com'}\ntls: {redirect: ':80', certificates: [{certFile: /etc/ssl/a.crt, keyFile: /etc/ssl/a.key}]}",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			write(t, file, []byte(values))
			for _, helm := range []tool{helm4, helm3} {
				if _, err := helm.render(t, filepath.Join(chartDir, "ci", "minimal-values.yaml"), "--values", file); err != nil {
					t.Errorf("%s: %v", helm.path, err)
				}
			}
		})
	}
}

// ownProgram is the program of this repository, built.
func ownProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "mcp-forward-auth")
	build := exec.Command("go", "build", "-o", program, "./cmd/mcp-forward-auth")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// What the program would refuse at its start Helm refuses before, in the program's words and
// all at once: each case is a configuration that holds alone.
func TestRefusedInTheWordsOfTheProgram(t *testing.T) {
	program := ownProgram(t)
	const host, google = "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes/mcp'}]}", "\nprovider: {name: google, clientID: a, clientSecret: s, allowedEmailDomains: ['example\\.com']}"
	provider := func(keys string) string {
		return "provider: {clientID: a, clientSecret: s, " + keys + "}" + host
	}
	for _, c := range []struct {
		name, config string
		mistakes     int
	}{
		{"unknown provider", provider("name: gogle"), 1},
		{"google open to the world", provider("name: google"), 1},
		{"github open to the world", provider("name: github"), 1},
		{"microsoft open to the world", provider("name: microsoft"), 1},
		{"oidc without issuer", provider("name: oidc"), 1},
		{"oauth2 without anything", provider("name: oauth2"), 4},
		{"static without accounts", "provider: {name: static}" + host, 1},
		{"two of several providers", "providers: [{id: a, name: google, clientID: a, clientSecret: s}, {id: b, name: oidc, clientID: b, clientSecret: s}]" + host, 2},
		{"a URL as host", google + "\nproxy: {hosts: [{host: 'https://mcp.example.com/mcp', endpoint: 'http://notes/mcp'}]}", 1},
		{"a path in the host", google + "\nproxy: {hosts: [{host: 'mcp.example.com/mcp', endpoint: 'http://notes/mcp'}]}", 1},
		{"a wildcard", google + "\nproxy: {hosts: [{host: '*.example.com', endpoint: 'http://notes/mcp'}]}", 1},
		{"an endpoint without scheme", google + "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'notes:8080/mcp'}]}", 1},
		{"access tokens of a day", google + host + "\ntokens: {accessTokenLifetime: 24h}", 1},
		{"lifetimes that are none", google + host + "\ntokens: {accessTokenLifetime: 1 hour, refreshTokenLifetime: 1y}", 2},
		{"too short at three places", google + host + "\ntokens: {accessTokenLifetime: 59s999ms, refreshTokenLifetime: 0.5h}\nidentityHeaders: {jwt: {enabled: true, lifetime: 1s}}", 3},
		{"values that are none", google + host + "\nlogging: {level: trace}\nidentityHeaders: {preset: oauth2-proxy}", 2},
		{"hosts that are none", google + "\nproxy: {hosts: [{host: MCP.example.com, endpoint: 'http://a/mcp'}, {host: mcp.example.com., endpoint: 'http://b/mcp'}, {host: m_cp.example.com, endpoint: 'http://c/mcp'}, {host: '', endpoint: 'http://d/mcp'}, {host: 'mcp.example.com:99999', endpoint: 'http://e/mcp'}]}", 5},
		{"a host twice", google + "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://a/mcp'}, {host: mcp.example.com, endpoint: 'http://b/other', path: /mcp}]}", 1},
		{"a password in an endpoint", google + "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://u:p@a/mcp'}]}", 1},
		{"paths that are none", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', path: mcp}, {host: b.example.com, endpoint: 'http://b/mcp', path: /a/../b}]}", 2},
		{"a scope with a space", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', defaultScopes: [a b]}]}", 1},
		{"an MCP filter without gRPC", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', envoyMCP: true}]}", 1},
		{"a URL as the host of callbacks", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp'}], callbackHost: 'https://auth.example.com'}", 1},
		{"an issuer without a scheme", provider("name: oidc, issuerURL: id.example.com"), 1},
		{"an issuer without TLS", provider("name: oidc, issuerURL: 'http://id.example.com'"), 1},
		{"a discovery document as issuer", provider("name: oidc, issuerURL: 'https://id.example.com/.well-known/openid-configuration'"), 1},
		{"a key of another kind of provider", provider("name: oidc, issuerURL: 'https://id.example.com', hostedDomains: [example.com]"), 1},
		{"a client id with a space", "provider: {name: google, clientID: 'a ', clientSecret: s, hostedDomains: [example.com]}" + host, 1},
		{"patterns for file names", "provider: {name: google, clientID: a, clientSecret: s, allowedEmailDomains: ['*.example.com', '*']}" + host, 2},
		{"a variable", "provider: {name: google, clientID: '${CLIENT_ID}', clientSecret: s, hostedDomains: [example.com]}" + host, 1},
		{"addresses and networks that are none", google + host + "\nlisten: {http: '8080', grpc: localhost, trustedProxies: [10.0.0.1, 10.0.0.0/33]}", 4},
		{"numbers out of bounds", google + host + "\nlimits: {requestsInFlight: 999999999, registrations: -1}", 2},
		{"Redis without an address", google + host + "\nguard: {backend: redis}", 1},
		{"an address of Redis without a port", google + host + "\nguard: {backend: redis, redis: {addresses: [redis]}}", 1},
		{"PostgreSQL without an address", google + host + "\nguard: {backend: postgres}", 1},
		{"a colour that is none", google + host + "\nbranding: {accentColor: red}", 1},
		{"a proxy without a scheme", google + host + "\negress: {proxy: 'proxy:3128'}", 1},
		{"lists too long or empty or with something twice", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', defaultScopes: [" + strings.Repeat("a, ", 100) + "a]}]}\nlisten: {trustedProxies: [10.0.0.0/8, 10.0.0.0/8]}\npolicy: {rules: []}", 3},
		{"durations that no tag bounds", google + host + "\nkeys: {rotation: 5m}", 1},
		{"a duration that is none", google + host + "\nkeys: {rotation: hourly}", 1},
		{"texts that are none", google + host + "\nbranding: {name: \"a\\u202eb\"}\nguard: {backend: postgres, postgres: {address: db:5432, username: ' a', database: b}}", 2},
		{"a long text that is none", google + host + "\ntokens: {accessTokenLifetime: " + strings.Repeat("long", 40) + "}", 1},
		{"servers and issuers that are none", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'ftp://a/mcp', path: /a, authorizationServers: [{issuer: 'http://b.example.com'}]}]}\ngateWatch: {enabled: true, connect: gateway}\ntls: {acme: {enabled: true, agreeToTerms: true, cacheDir: /tmp, directoryURL: 'https://ca.example.com/?a=b'}}", 4},
		{"endpoints of OAuth that are none", provider("name: oauth2, allowAnyUser: true, subjectClaim: id, authorizeURL: 'https://a/?b=c', tokenURL: a.example.com, userinfoURL: 'http://a.example.com'"), 3},
		{"paths of the service itself", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', path: /token/a}, {host: b.example.com, endpoint: 'http://b/mcp', path: /a/.well-known}, {host: c.example.com, endpoint: 'http://c/mcp', path: '/a%20b'}]}", 3},
		{"more hosts that are none", google + "\nproxy: {hosts: [{host: -a.example.com, endpoint: 'http://a/mcp'}, {host: a.example.1, endpoint: 'http://b/mcp'}], callbackHost: '*.example.com'}", 3},
		{"redirect URIs that are none", google + host + "\nclients: [{id: a, redirectURIs: ['javascript:alert(1)', 'https://a.example.com/#b', app.example.com/callback]}]", 3},
		{"a client without a redirect URI", google + host + "\nclients: [{id: a}]", 1},
		{"API keys that are none", google + host + "\napiKeys: {keys: [{name: a b, hashes: [secret], expires: tomorrow, scopes: [a]}, {name: c}]}", 6},
		{"headers and links and origins that are none", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', cors: {allowedOrigins: [app.example.com]}}]}\nidentityHeaders: {user: a b}\nbranding: {privacyURL: help.example.com}", 3},
		{"issuers without rules", google + host + "\ntrustedIssuers: [{kind: workload, issuer: 'https://a.example.com'}]", 1},
		{"streams that receive nothing", google + host + "\nsecurityEvents: {streams: [{id: a, issuer: 'https://a.example.com', audience: b}]}", 1},
		{"keys that need others", google + "\nproxy: {disableConsentScreen: true, hosts: [{host: a.example.com, endpoint: 'http://a/mcp', extMCP: true, serve: {cookies: true}, personalKeys: {enabled: true}}, {host: b.example.com, endpoint: 'http://b/mcp', providerToken: {header: X-A}}]}\npushedRequests: {required: true}\ndpop: {nonces: true}\nlimits: {addressRequests: 10}", 8},
		{"sections without use", google + host + "\nguard: {redis: {addresses: ['redis:6379']}}\ntls: {redirect: ':80', acme: {cacheDir: /tmp}}", 3},
		{"a path of the service itself in an endpoint", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/token/'}]}", 1},
		{"rules about no one or too many", google + "\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp', policy: {rules: [{effect: allow}, {effect: allow, anyone: true, emails: [a@example.com]}]}}]}\npolicy: {rules: [{effect: deny, anyone: true, scopes: [a], tools: [b]}, {effect: allow, anyone: true}]}", 3},
		{"rules of issuers about no one", google + host + "\ntrustedIssuers: [{kind: kubernetes, issuer: 'https://k.example.com', rules: [{scopes: [a], resources: ['https://mcp.example.com/mcp']}, {serviceAccounts: [a], scopes: [a], resources: ['https://mcp.example.com/mcp']}]}]", 2},
		{"keys that exclude others", "provider: {name: google, clientID: a, clientSecret: s, hostedDomains: [example.com], allowAnyUser: true}" + host + "\nguard: {backend: redis, redis: {addresses: ['a:1'], cluster: true, sentinelMaster: b}}", 2},
		{"listeners at one address", google + host + "\nlisten: {management: ':8080', grpc: ':9001'}", 1},
		{"expressions with dots that stand for anything", "provider: {name: google, clientID: a, clientSecret: s, allowedEmailDomains: [example.com]}\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a/mcp'}], allowedRedirectURLs: ['https://app.example.com/callback']}", 2},
		{"lifetimes that are less than others", google + host + "\ntokens: {refreshTokenLifetime: 90m, refreshTokenIdleLifetime: 100m}\nbrowserSessions: {lifetime: 5m30s}", 2},
		{"more lifetimes that are less than others", google + host + "\nbrowserSessions: {idleLifetime: 8h1m, lifetime: 8h}", 1},
		{"names of entries that are not there", google + "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes/mcp', policy: {rules: [{effect: allow, clients: [nightly, hourly]}]}}]}\nclients: [{id: hourly, redirectURIs: ['https://a.example.com/callback'], resources: ['https://mcp.example.org/mcp']}]\n" +
			"policy: {rules: [{effect: allow, clients: [weekly]}]}\ntrustedIssuers: [{kind: kubernetes, issuer: 'https://k.example.com', rules: [{anyone: true, scopes: [read], resources: ['https://mcp.example.net/mcp', 'https://mcp.example.com/mcp']}]}]", 4},
		{"half of ACME", google + host + "\ntls: {acme: {enabled: true}}", 2},
		{"a value of a host that is none", google + "\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://notes/mcp', toolPolicy: off-please}]}", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			write(t, file, []byte(c.config))
			out, err := exec.Command(program, "check-config", "--config", file).CombinedOutput()
			if err == nil {
				t.Fatalf("the program takes it:\n%s", out)
			}
			var want []string
			for line := range strings.Lines(string(out)) {
				if _, mistake, ok := strings.Cut(line, file+": "); ok {
					want = append(want, strings.TrimSpace(mistake))
				}
			}
			if len(want) != c.mistakes {
				t.Errorf("the program says %d things, want %d:\n%s", len(want), c.mistakes, out)
			}
			for _, helm := range []tool{helm4, helm3} {
				_, err := helm.render(t, file)
				if err == nil {
					t.Fatalf("%s: accepted", helm.path)
				}
				_, said, _ := strings.Cut(err.Error(), "the configuration has mistakes:\n")
				for _, mistake := range want {
					if !strings.Contains(said, mistake+"\n") {
						t.Errorf("%s does not say %q but\n%v", helm.path, mistake, err)
					}
				}
				if got := strings.Count(strings.TrimSpace(strings.SplitN(said, "\n\n", 2)[0]), "\n") + 1; got != len(want) {
					t.Errorf("%s says %d things, want %d:\n%v", helm.path, got, len(want), err)
				}
			}
		})
	}
}

// Every name of another chart passes the schema, or nothing would say the right one, and the
// schema lets nothing else through.
func TestOtherNames(t *testing.T) {
	helpers, err := os.ReadFile(filepath.Join(chartDir, "templates", "_helpers.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(helpers), `{{- define "mcp-forward-auth.otherNames" -}}`)
	text, _, found := strings.Cut(rest, "{{- end }}")
	var names map[string]string
	if err := yaml.Unmarshal([]byte(text), &names); err != nil || !found {
		t.Fatalf("%v: %s", err, text)
	}
	type section struct {
		Comment    string `json:"$comment"`
		Properties map[string]section
	}
	var schema section
	content, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	let := map[string]bool{}
	const refused = "Refused by templates/validate.yaml"
	for key, value := range schema.Properties {
		if strings.HasPrefix(value.Comment, refused) {
			let[key] = true
		}
		for inner, value := range value.Properties {
			if strings.HasPrefix(value.Comment, refused) {
				let[key+"."+inner] = true
			}
		}
	}
	for name, own := range names {
		if !let[name] {
			t.Errorf("values.schema.json does not let %s through", name)
		}
		delete(let, name)
		path := strings.Split(own, ".")
		if value := schema.Properties[path[0]]; len(path) == 2 && !strings.ContainsAny(own, " [") && len(value.Properties) > 0 {
			if _, known := value.Properties[path[1]]; !known {
				t.Errorf("%s: there is no %s", name, own)
			}
		}
	}
	if len(let) > 0 {
		t.Errorf("values.schema.json lets through what no name explains: %v", let)
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
