package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// with renders the minimal values and others.
func with(t *testing.T, values string, args ...string) map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	write(t, file, []byte(values))
	out, err := helm4.render(t, filepath.Join(chartDir, "ci", "minimal-values.yaml"), append([]string{"--values", file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for key, text := range objects(t, out) {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(key, " ")
		all[key] = o
		if _, several := all[kind]; !several {
			all[kind] = o
		}
	}
	return all
}

// at follows keys and indexes into an object.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for i, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				t.Fatalf("%v has no element %d", path[:i], step)
			}
			v = list[step]
		}
	}
	return v
}

// names are those of the entries of a list.
func names(v any) (out []string) {
	list, _ := v.([]any)
	for _, entry := range list {
		m, _ := entry.(map[string]any)
		out = append(out, fmt.Sprint(m["name"]))
	}
	return out
}

var podSpec = []any{"spec", "template", "spec"}

func inPod(path ...any) []any { return append(slices.Clone(podSpec), path...) }

// What the user sets, the chart does not set a second time: the API server
// refuses lists with the same key twice where they are applied (server-side
// apply, Helm 4, Argo CD).
func TestWhatTheUserSetsIsNotSetTwice(t *testing.T) {
	all := with(t, `
env: [{name: GOMEMLIMIT, value: 100MiB}, {name: TZ, value: UTC}]
volumes: [{name: config, secret: {secretName: mine}}]
volumeMounts: [{name: config, mountPath: /etc/mcp-forward-auth, readOnly: true}]
podAnnotations: {checksum/config: mine, example.com/a: "1"}
podLabels: {app.kubernetes.io/component: mine, app.kubernetes.io/name: mine}
commonLabels: {app.kubernetes.io/component: mine, app.kubernetes.io/managed-by: mine}
commonAnnotations: {example.com/a: "2"}
service: {labels: {app.kubernetes.io/name: mine, x: "1"}, annotations: {example.com/a: "3"}}
serviceMonitor: {enabled: true, labels: {app.kubernetes.io/name: mine, helm.sh/chart: mine}}
imagePullSecrets: [{name: one}, {name: two}]
global: {imagePullSecrets: [two, {name: three}]}
ingress: {enabled: true, hosts: [a.example.com, a.example.com]}
`)
	deployment := all["Deployment"]
	env := at(t, deployment, inPod("containers", 0, "env")...)
	if got := names(env); !slices.Equal(got, []string{"GOMEMLIMIT", "TZ"}) || at(t, env, 0, "value") != "100MiB" {
		t.Errorf("env is %v", env)
	}
	if got := at(t, deployment, inPod("volumes")...).([]any); len(got) != 1 || at(t, got, 0, "secret", "secretName") != "mine" {
		t.Errorf("volumes are %v", got)
	}
	if got := at(t, deployment, inPod("containers", 0, "volumeMounts")...).([]any); len(got) != 1 {
		t.Errorf("volumeMounts are %v", got)
	}
	if twice := keysTwice(deployment, ""); len(twice) > 0 {
		t.Error(twice)
	}
	if got := names(at(t, deployment, inPod("imagePullSecrets")...)); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("imagePullSecrets are %v", got)
	}
	if got, _ := at(t, all["Ingress"], "spec", "rules").([]any); len(got) != 1 {
		t.Errorf("the Ingress has %d rules for one host", len(got))
	}
	// The chart's selectors hold whatever labels the user sets.
	if got := at(t, deployment, "spec", "template", "metadata", "labels", "app.kubernetes.io/component"); got != "server" {
		t.Errorf("the pod's component is %v", got)
	}
}

// Two addresses that come to one name make two objects.
func TestNamesOfIngressesDiffer(t *testing.T) {
	all := with(t, `
protection: {ingress: {enabled: true}}
proxy:
  hosts:
    - {host: a.example.com, endpoint: 'http://one.mcp.svc:8080/b-c'}
    - {host: a.example.com, endpoint: 'http://two.mcp.svc:8080/b/c'}
    - {host: a-example.com, endpoint: 'http://three.mcp.svc:8080/b/c'}
    - {host: `+strings.Repeat("long.", 12)+`example.com, endpoint: 'http://four.mcp.svc:8080/b'}
    - {host: `+strings.Repeat("long.", 12)+`example.com, endpoint: 'http://five.mcp.svc:8080/c'}
`)
	n := 0
	for key := range all {
		if strings.HasPrefix(key, "Ingress ") {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d Ingresses for five MCP servers", n)
	}
}

// mergeKeys are the keys by which the API server tells entries of a list apart.
var mergeKeys = map[string][]string{
	"env": {"name"}, "containers": {"name"}, "initContainers": {"name"}, "volumes": {"name"}, "volumeMounts": {"mountPath"},
	"imagePullSecrets": {"name"}, "ports": {"name"}, "hostAliases": {"ip"}, "topologySpreadConstraints": {"topologyKey", "whenUnsatisfiable"},
	"parentRefs": {"group", "kind", "namespace", "name", "sectionName", "port"},
}

// No list of any golden file has a key twice, and no mapping a key twice.
func TestNoListHasAKeyTwice(t *testing.T) {
	for _, file := range valuesFiles(t) {
		text, err := os.ReadFile(filepath.Join(chartDir, "ci", "golden", caseName(file)+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for key, object := range objects(t, string(text)) { // which refuses mappings with a key twice
			var o any
			if err := json.Unmarshal([]byte(object), &o); err != nil {
				t.Fatal(err)
			}
			for _, twice := range keysTwice(o, "") {
				t.Errorf("%s: %s: %s", caseName(file), key, twice)
			}
		}
	}
	var bad any
	if err := yaml.Unmarshal([]byte("spec: {containers: [{env: [{name: A}, {name: A}], ports: [{name: a, containerPort: 1}, {name: b, containerPort: 1}]}]}"), &bad); err != nil || len(keysTwice(bad, "")) != 2 {
		t.Errorf("the check finds %v", keysTwice(bad, ""))
	}
}

func keysTwice(v any, path string) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			out = append(out, keysTwice(value, path+"."+key)...)
			list, _ := value.([]any)
			for _, fields := range append([][]string{mergeKeys[key]}, map[string][][]string{"ports": {{"containerPort", "protocol"}, {"port", "protocol"}}}[key]...) {
				out = append(out, sameEntries(list, fields, path+"."+key)...)
			}
		}
	case []any:
		for i, value := range v {
			out = append(out, keysTwice(value, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return out
}

// sameEntries are entries that agree in fields, the first of which they have.
func sameEntries(list []any, fields []string, path string) (out []string) {
	seen := map[string]bool{}
	for _, entry := range list {
		m, ok := entry.(map[string]any)
		if !ok || len(fields) == 0 || m[fields[len(fields)-1]] == nil && m[fields[0]] == nil {
			continue
		}
		if m[fields[0]] == nil && len(fields) < 3 {
			continue
		}
		var id []string
		for _, f := range fields {
			id = append(id, fmt.Sprint(m[f]))
		}
		key := strings.Join(id, "/")
		if seen[key] {
			out = append(out, fmt.Sprintf("%s has %v %s twice", path, fields, key))
		}
		seen[key] = true
	}
	return out
}

// global.imageRegistry takes the place of the registry in the image's name.
func TestGlobalImage(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"global: {imageRegistry: registry.example.com}", "registry.example.com/mcp-forward-auth/mcp-forward-auth:0.1.0"},
		{"global: {imageRegistry: 'registry.example.com:5000/mirror/'}", "registry.example.com:5000/mirror/mcp-forward-auth/mcp-forward-auth:0.1.0"},
		{"global: {imageRegistry: r.example.com}\nimage: {repository: team/app, tag: v1}", "r.example.com/team/app:v1"},
		{"global: {imageRegistry: r.example.com}\nimage: {repository: 'localhost:5000/app', tag: v1}", "r.example.com/app:v1"},
		{"global: {imageRegistry: r.example.com}\nimage: {repository: localhost/app, tag: v1}", "r.example.com/app:v1"},
		{"global: {imageRegistry: ''}\nimage: {repository: app, tag: v1}", "app:v1"},
		{"global: {imageRegistry: r.example.com}\nimage: {digest: 'sha256:" + strings.Repeat("0", 64) + "'}", "r.example.com/mcp-forward-auth/mcp-forward-auth@sha256:" + strings.Repeat("0", 64)},
		{"global: {storageClass: fast}", "ghcr.io/mcp-forward-auth/mcp-forward-auth:0.1.0"}, // what is for other charts is let through
	} {
		all := with(t, c.values)
		for _, place := range []struct {
			kind string
			path []any
		}{{"Deployment", inPod("containers", 0, "image")}, {"Pod", []any{"spec", "containers", 0, "image"}}} {
			if got := at(t, all[place.kind], place.path...); got != c.want {
				t.Errorf("%s: the image of the %s is %v, want %s", c.values, place.kind, got, c.want)
			}
		}
	}
	all := with(t, "global: {imagePullSecrets: [one, {name: two}]}")
	for _, got := range [][]string{names(at(t, all["Deployment"], inPod("imagePullSecrets")...)), names(at(t, all["Pod"], "spec", "imagePullSecrets"))} {
		if !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("the pull secrets are %v", got)
		}
	}
}

// On OpenShift no user or group id is asked for, because it gives them.
func TestOpenShift(t *testing.T) {
	ids := func(all map[string]any) (out []string) {
		for _, kind := range []string{"Deployment", "Pod"} {
			pod := at(t, all[kind], "spec")
			if kind == "Deployment" {
				pod = at(t, all[kind], podSpec...)
			}
			for _, context := range []any{at(t, pod, "securityContext"), at(t, pod, "containers", 0, "securityContext")} {
				for _, key := range []string{"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} {
					if v := at(t, context, key); v != nil {
						out = append(out, fmt.Sprintf("%s %s=%v", kind, key, v))
					}
				}
			}
			if at(t, pod, "securityContext", "runAsNonRoot") != true || at(t, pod, "securityContext", "seccompProfile", "type") != "RuntimeDefault" {
				t.Errorf("the %s is not restricted", kind)
			}
		}
		return out
	}
	if got := ids(with(t, "securityContext: {runAsUser: 1}", "--api-versions", "security.openshift.io/v1")); len(got) > 0 {
		t.Errorf("on OpenShift: %v", got)
	}
	if got := ids(with(t, "{}")); len(got) != 6 {
		t.Errorf("elsewhere: %v", got)
	}
	text, err := os.ReadFile(filepath.Join(chartDir, "ci", "openshift-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(with(t, string(text))); len(got) > 0 {
		t.Errorf("with ci/openshift-values.yaml: %v", got)
	}
}

// Authorities of the company come in beside those of the image, in the service and in the
// pods of `helm test` alike.
func TestCABundle(t *testing.T) {
	for _, values := range []string{"caBundle: {configMap: corp-ca}", "caBundle: {secret: corp-ca, key: ca-bundle.crt}"} {
		deployment := with(t, values)["Deployment"]
		if mounts := names(at(t, deployment, inPod("containers", 0, "volumeMounts")...)); !slices.Contains(mounts, "ca-bundle") {
			t.Errorf("%s: mounted are %v", values, mounts)
		}
		if env := names(at(t, deployment, inPod("containers", 0, "env")...)); !slices.Contains(env, "SSL_CERT_DIR") {
			t.Errorf("%s: the environment has %v", values, env)
		}
		source := fmt.Sprint(at(t, deployment, inPod("volumes", 1)...))
		if !strings.Contains(source, "corp-ca") {
			t.Errorf("%s: the volume is %s", values, source)
		}
	}
	own := with(t, "caBundle: {configMap: corp-ca}\nenv: [{name: SSL_CERT_DIR, value: /certs}]")["Deployment"]
	if env := names(at(t, own, inPod("containers", 0, "env")...)); slices.Index(env, "SSL_CERT_DIR") != len(env)-1 || strings.Count(fmt.Sprint(env), "SSL_CERT_DIR") != 1 {
		t.Errorf("a variable of the user's: %v", env)
	}
}

// The doctor's CronJob asks every MCP server, with the authorities of the service, and
// the program takes its arguments.
func TestDoctor(t *testing.T) {
	if with(t, "{}")["CronJob"] != nil {
		t.Error("there is a CronJob with the values as they are")
	}
	job := with(t, "doctor: {enabled: true, args: ['--skip=cors']}\ncaBundle: {configMap: corp-ca}\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://a.b.svc/mcp'}, {host: 'b.example.com:8443', path: /tools, endpoint: 'http://b.b.svc/mcp'}]}")["CronJob"]
	pod := func(path ...any) []any {
		return append([]any{"spec", "jobTemplate", "spec", "template", "spec"}, path...)
	}
	var asked []string
	for _, c := range at(t, job, pod("containers")...).([]any) {
		asked = append(asked, fmt.Sprint(at(t, c, "args")))
		if at(t, c, "volumeMounts", 0, "name") != "ca-bundle" || at(t, c, "env", 0, "name") != "SSL_CERT_DIR" || at(t, c, "securityContext", "readOnlyRootFilesystem") != true {
			t.Errorf("a container is %v", c)
		}
	}
	if want := []string{"[doctor --skip=cors https://a.example.com/mcp]", "[doctor --skip=cors https://b.example.com:8443/tools]"}; !slices.Equal(asked, want) {
		t.Errorf("the doctor is asked %q, want %q", asked, want)
	}
	if at(t, job, pod("volumes", 0, "name")...) != "ca-bundle" || at(t, job, pod("restartPolicy")...) != "Never" || fmt.Sprint(at(t, job, "spec", "jobTemplate", "spec", "backoffLimit")) != "0" {
		t.Errorf("the job is %v", at(t, job, "spec"))
	}
	long := with(t, "doctor: {enabled: true}\nfullnameOverride: "+strings.Repeat("n", 50))["CronJob"]
	if name := fmt.Sprint(at(t, long, "metadata", "name")); len(name) != 52 {
		t.Errorf("the longest name is %s, and a CronJob may have 52 characters", name)
	}
	own := with(t, "doctor: {enabled: true, urls: ['https://c.example.com/mcp']}")["CronJob"]
	if got := at(t, own, pod("containers", 0, "args")...); fmt.Sprint(got) != "[doctor https://c.example.com/mcp]" {
		t.Errorf("with URLs of its own it is asked %v", got)
	}
}

// Fields of the Service are those that Kubernetes has, and absent where they are not set.
func TestServiceFields(t *testing.T) {
	service := with(t, "service: {type: LoadBalancer, loadBalancerClass: a.example/b, loadBalancerSourceRanges: [192.0.2.0/24], externalTrafficPolicy: Local, trafficDistribution: PreferClose, ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4], nodePort: 30080}")["Service"]
	for key, want := range map[string]string{
		"type": "LoadBalancer", "loadBalancerClass": "a.example/b", "loadBalancerSourceRanges": "[192.0.2.0/24]", "externalTrafficPolicy": "Local",
		"trafficDistribution": "PreferClose", "ipFamilyPolicy": "PreferDualStack", "ipFamilies": "[IPv6 IPv4]",
	} {
		if got := fmt.Sprint(at(t, service, "spec", key)); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if got := fmt.Sprint(at(t, service, "spec", "ports", 0, "nodePort")); got != "30080" {
		t.Errorf("the port of the nodes is %s", got)
	}
	if spec := at(t, with(t, "{}")["Service"], "spec").(map[string]any); len(spec) != 3 {
		t.Errorf("with nothing set the Service has %v", spec)
	}
}

// Where no MCP server takes tokens of this service there is no provider to configure.
func TestNoProvider(t *testing.T) {
	deployment := with(t, "provider: {name: '', clientID: '', allowedEmailDomains: []}\nexistingSecrets: {clientSecret: {name: ''}}\nproxy: {hosts: [{host: a.example.com, endpoint: 'http://notes/mcp', ownTokens: false, authorizationServers: [{issuer: 'https://id.example.com', audiences: ['https://a.example.com/mcp']}]}]}")
	config := fmt.Sprint(at(t, deployment["Secret"], "stringData", "config.yaml"))
	if strings.Contains(config, "provider:") {
		t.Errorf("the configuration has a provider:\n%s", config)
	}
}
