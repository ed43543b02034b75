package chart

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	checkValues = "testdata/check-values.yaml"
	checkGolden = "testdata/check.yaml"
)

// checked are the objects of the check in what values render, by kind.
func checked(t *testing.T, helm tool, values string, args ...string) map[string]map[string]any {
	t.Helper()
	out, err := helm.render(t, values, args...)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]any{}
	for key, text := range objects(t, out) {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		kind, name, _ := strings.Cut(key, " ")
		if kind == "Deployment" {
			found[kind] = o
		}
		if strings.HasSuffix(name, "-check") {
			found["check "+kind] = o
		} else if kind == "Secret" && !strings.HasSuffix(name, "-seed") {
			found[kind] = o
		}
	}
	return found
}

// The check is there only where it is asked for, and both majors of Helm render the same.
func TestCheck(t *testing.T) {
	minimal := filepath.Join(chartDir, "ci", "minimal-values.yaml")
	if off := checked(t, helm4, minimal); off["check Job"] != nil || off["check Secret"] != nil {
		t.Error("there is a check with the values as they are")
	}
	got, err := helm4.render(t, checkValues, "--show-only", "templates/check.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, checkGolden, withoutSeed(got))
	three, err := helm3.render(t, checkValues, "--show-only", "templates/check.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := objects(t, withoutSeed(got)), objects(t, withoutSeed(three)); !reflect.DeepEqual(a, b) || len(a) != 2 {
		t.Errorf("Helm 4 renders\n%v\nand Helm 3\n%v", a, b)
	}
	helms(t, func(t *testing.T, helm tool) { // as those do who pipe it into kubectl
		if off := checked(t, helm, checkValues, "--no-hooks"); off["check Job"] != nil || off["check Secret"] != nil {
			t.Error("--no-hooks does not leave the check out")
		}
	})
	long := checked(t, helm4, minimal, "--set", "check.enabled=true,fullnameOverride="+strings.Repeat("n", 50))
	if name := fmt.Sprint(at(t, long["check Job"], "metadata", "name")); len(name) != 56 {
		t.Errorf("with the longest name the Job is %s", name)
	}
}

// What is checked is what will run: the pod has all that the service's has, but what would
// keep it from its end or is not there yet.
func TestCheckIsOfWhatRuns(t *testing.T) {
	all := checked(t, helm4, checkValues)
	job, deployment := all["check Job"], all["Deployment"]
	if got, want := at(t, all["check Secret"], "stringData", "config.yaml"), at(t, all["Secret"], "stringData", "config.yaml"); got != want || got == nil {
		t.Errorf("the configuration that is checked is\n%v\nand that of the service\n%v", got, want)
	}
	for _, key := range []string{"automountServiceAccountToken", "enableServiceLinks", "hostUsers", "imagePullSecrets", "securityContext", "priorityClassName",
		"runtimeClassName", "nodeSelector", "tolerations", "dnsConfig", "hostAliases"} {
		if got, want := at(t, job, inPod(key)...), at(t, deployment, inPod(key)...); !reflect.DeepEqual(got, want) || want == nil {
			t.Errorf("%s is %v, that of the service %v", key, got, want)
		}
	}
	for _, key := range []string{"name", "image", "imagePullPolicy", "env", "envFrom", "resources", "securityContext"} {
		if got, want := at(t, job, inPod("containers", 0, key)...), at(t, deployment, inPod("containers", 0, key)...); !reflect.DeepEqual(got, want) || want == nil {
			t.Errorf("%s of the container is %v, that of the service %v", key, got, want)
		}
	}
	for key, want := range map[string]string{
		"containers": "[mcp-forward-auth]", "initContainers": "[prepare]", "volumes": "[config ca-bundle deny prepared copy]",
	} {
		if got := fmt.Sprint(names(at(t, job, inPod(key)...))); got != want {
			t.Errorf("%s are %s, want %s", key, got, want)
		}
	}
	if got := fmt.Sprint(at(t, job, inPod("affinity")...)); !strings.Contains(got, "nodeAffinity") || strings.Contains(got, "podAntiAffinity") {
		t.Errorf("the affinity is %s", got)
	}
}

// The objects are there in the right order and go away by themselves, nothing waits for what
// is missing, and no object that is made later is needed.
func TestCheckNeedsNothingOfTheRelease(t *testing.T) {
	for _, values := range []string{checkValues, filepath.Join(chartDir, "ci", "existing-config-values.yaml")} {
		all := checked(t, helm4, values, "--set", "check.enabled=true")
		job := all["check Job"]
		for kind, weight := range map[string]string{"check Secret": "-10", "check Job": "-5"} {
			if kind == "check Secret" && values != checkValues { // the configuration is in a Secret of others
				if all[kind] != nil {
					t.Errorf("%s: there is a Secret with nothing in it", values)
				}
				continue
			}
			for key, want := range map[string]string{"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": weight, "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"} {
				if got := at(t, all[kind], "metadata", "annotations", key); got != want {
					t.Errorf("%s of the %s is %v, want %s", key, kind, got, want)
				}
			}
		}
		made := at(t, all["Deployment"], "metadata", "name")
		for _, v := range at(t, job, inPod("volumes")...).([]any) {
			sources, _ := at(t, v, "projected", "sources").([]any)
			for _, source := range append(sources, v) {
				for _, kind := range []string{"secret", "configMap"} {
					object, _ := at(t, source, kind).(map[string]any)
					if object != nil && (object["optional"] != true || object["name"] == made || object["secretName"] == made || object["name"] == fmt.Sprintf("%v-seed", made)) {
						t.Errorf("%s: a volume needs %v", values, object)
					}
				}
			}
		}
		if at(t, job, inPod("serviceAccountName")...) != "default" || at(t, job, inPod("restartPolicy")...) != "Never" || fmt.Sprint(at(t, job, "spec", "backoffLimit")) != "0" {
			t.Errorf("%s: the job is %v", values, at(t, job, "spec"))
		}
	}
	own := checked(t, helm4, checkValues, "--set", "serviceAccount.create=false,serviceAccount.name=mine")
	if got := at(t, own["check Job"], inPod("serviceAccountName")...); got != "mine" {
		t.Errorf("the ServiceAccount of others is not used, but %v", got)
	}
}

// The program takes the arguments of the Job, and says what no template can: here it reads
// the files of the check as a pod would.
func TestCheckByTheProgram(t *testing.T) {
	program := ownProgram(t)
	run := func(values string) (string, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "values.yaml")
		write(t, file, []byte("check: {enabled: true}\nreplicaCount: 2\nproxy: {hostsFiles: [{files: 'team_*.yaml', hosts: ['*.example.com'], endpoints: ['*.{1}.svc']}]}\n"+values))
		all := checked(t, helm4, filepath.Join(chartDir, "ci", "minimal-values.yaml"), "--values", file)
		dir := t.TempDir()
		seed, err := base64.StdEncoding.DecodeString(fmt.Sprint(at(t, all["check Secret"], "data", "seed")))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "config.yaml"), []byte(fmt.Sprint(at(t, all["check Secret"], "stringData", "config.yaml"))))
		write(t, filepath.Join(dir, "seeds", "seed"), seed)
		write(t, filepath.Join(dir, "client-secret"), []byte("s"))
		write(t, filepath.Join(dir, "team_a.yaml"), []byte("hosts: broken\n")) // which keeps nothing else from its start
		var args []string
		for _, arg := range at(t, all["check Job"], inPod("containers", 0, "args")...).([]any) {
			args = append(args, strings.Replace(fmt.Sprint(arg), "/etc/mcp-forward-auth/", dir+"/", 1))
		}
		out, err := exec.Command(program, args...).CombinedOutput()
		return string(out), err
	}
	if out, err := run(""); err != nil || !strings.Contains(out, "left out: ") {
		t.Errorf("good values: %v\n%s", err, out)
	}
	out, err := run("policy: {rules: [{name: everyone, effect: allow, anyone: true}, {name: nightly, effect: allow, clientKinds: [dynamic]}]}")
	if want := "policy.rules[1]: adds nothing, because policy.rules[0] (everyone) allows all of it already; remove it, or narrow the other"; err == nil || !strings.Contains(out, want) {
		t.Errorf("a rule without effect: %v, and not %q:\n%s", err, want, out)
	} else if page := documents(t)["../../docs/kubernetes.md"]; !strings.Contains(strings.ReplaceAll(page, `\"`, `"`), want) {
		t.Errorf("kubernetes.md shows another message than %q", want)
	}
}

// No Service sends it requests, and no policy, budget or monitor of the service counts it.
func TestCheckIsNoneOfTheService(t *testing.T) {
	all := with(t, "check: {enabled: true}\nreplicaCount: 2\npodMonitor: {enabled: true}")
	var labels map[string]any
	for key, o := range all {
		if strings.HasPrefix(key, "Job ") {
			labels = at(t, o, "spec", "template", "metadata", "labels").(map[string]any)
		}
	}
	selected := func(selector any) bool {
		for key, value := range selector.(map[string]any) {
			if labels[key] != value {
				return false
			}
		}
		return true
	}
	for kind, path := range map[string][]any{
		"Service": {"spec", "selector"}, "Deployment": {"spec", "selector", "matchLabels"}, "PodDisruptionBudget": {"spec", "selector", "matchLabels"},
		"NetworkPolicy": {"spec", "podSelector", "matchLabels"}, "PodMonitor": {"spec", "selector", "matchLabels"},
	} {
		if selector := at(t, all[kind], path...); selected(selector) {
			t.Errorf("the %s selects the pod of the check: %v", kind, selector)
		}
	}
	if name := map[string]any{"app.kubernetes.io/name": "mcp-forward-auth"}; !selected(name) {
		t.Errorf("the labels are %v", labels)
	}
}
