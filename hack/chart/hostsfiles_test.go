package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const gathers = "hostsFiles: {sidecar: {enabled: true, namespaces: [billing, wiki], hosts: ['*.{1}.mcp.example.com']}}\n"

// The sidecar is there only where it is asked for, starts before the service, and alone has
// a token of the API, by which it may read ConfigMaps and nothing else.
func TestHostsFilesSidecar(t *testing.T) {
	if off := with(t, "{}"); at(t, off["Deployment"], inPod("initContainers")...) != nil || off["Role"] != nil || off["ClusterRole"] != nil {
		t.Error("there is a sidecar, or a right, with the values as they are")
	}
	all := with(t, gathers+"initContainers: [{name: wait, image: 'registry.example.com/wait:1'}]")
	deployment := all["Deployment"]
	if got := names(at(t, deployment, inPod("initContainers")...)); !slices.Equal(got, []string{"wait", "hosts-files"}) {
		t.Fatalf("the init containers are %v", got)
	}
	sidecar := at(t, deployment, inPod("initContainers", 1)...)
	if at(t, sidecar, "restartPolicy") != "Always" || at(t, sidecar, "startupProbe", "httpGet", "path") != "/healthz" {
		t.Error("it does not go on, or the service does not wait for it")
	}
	if at(t, deployment, inPod("automountServiceAccountToken")...) != false {
		t.Error("every container has a token of the API")
	}
	mounts := func(container any) (out []string) {
		for _, m := range at(t, container, "volumeMounts").([]any) {
			out = append(out, fmt.Sprintf("%v %v", at(t, m, "name"), at(t, m, "readOnly")))
		}
		return out
	}
	if got := mounts(at(t, deployment, inPod("containers", 0)...)); !slices.Equal(got, []string{"config true", "hosts-files true"}) {
		t.Errorf("the service has mounted %v", got)
	}
	if got := mounts(sidecar); !slices.Equal(got, []string{"hosts-files <nil>", "hosts-files-token true"}) {
		t.Errorf("the sidecar has mounted %v", got)
	}
	if got := fmt.Sprint(at(t, all["Role"], "rules")); got != "[map[apiGroups:[] resources:[configmaps] verbs:[get list watch]]]" {
		t.Errorf("the sidecar may %s", got)
	}
	config := fmt.Sprint(at(t, all["Secret"], "stringData", "config.yaml"))
	if !strings.Contains(config, "files: /etc/mcp-forward-auth-hosts/namespace_*.configmap_*.yaml") {
		t.Errorf("the configuration does not name the files:\n%s", config)
	}
}

// For all namespaces it is a right of the whole cluster, under a name that no other release has.
func TestHostsFilesOfAllNamespaces(t *testing.T) {
	all := with(t, "hostsFiles: {sidecar: {enabled: true, namespaces: [ALL], hosts: ['*.{1}.mcp.example.com'], env: [{name: LOG_LEVEL, value: DEBUG}]}}")
	if name := fmt.Sprint(at(t, all["ClusterRole"], "metadata", "name")); !strings.HasPrefix(name, namespace+"-") || all["Role"] != nil {
		t.Errorf("the right is %q, and there is %v", name, all["Role"])
	}
	if got := at(t, all["ClusterRoleBinding"], "subjects", 0, "namespace"); got != namespace {
		t.Errorf("it is given to an account of %v", got)
	}
	env := names(at(t, all["Deployment"], inPod("initContainers", 0, "env")...))
	slices.Sort(env)
	if len(slices.Compact(slices.Clone(env))) != len(env) {
		t.Errorf("a variable is set twice: %v", env)
	}
}

// An operator who writes the rules for the files of the sidecar gets no other.
func TestHostsFilesByOwnRules(t *testing.T) {
	all := with(t, "proxy: {hosts: [], hostsFiles: [{files: /etc/mcp-forward-auth-hosts/namespace_billing.configmap_*.yaml, hosts: [pay.example.com], endpoints: ['*.billing.svc']}]}\nhostsFiles: {sidecar: {enabled: true, namespaces: [billing]}}")
	config := fmt.Sprint(at(t, all["Secret"], "stringData", "config.yaml"))
	if strings.Count(config, "files: ") != 1 {
		t.Errorf("the configuration is\n%s", config)
	}
}
