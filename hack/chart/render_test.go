package chart

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files and the chart's README")

func TestLint(t *testing.T) {
	helms(t, func(t *testing.T, helm tool) {
		args := []string{"lint", "--strict", chartDir, "--kube-version", kubeVersion}
		for _, file := range valuesFiles(t) {
			out, errOut, err := helm.run(t, nil, append(args, "--values", file)...)
			if err != nil {
				t.Errorf("%s: %v\n%s%s", file, err, out, errOut)
			}
		}
	})
}

var seedLine = regexp.MustCompile(`(?m)^  seed: (\S+)$`)

// withoutSeed puts a fixed value in place of the random one.
func withoutSeed(rendered string) string {
	return seedLine.ReplaceAllString(rendered, "  seed: "+base64.StdEncoding.EncodeToString(make([]byte, 32)))
}

func TestGolden(t *testing.T) {
	for _, file := range valuesFiles(t) {
		t.Run(caseName(file), func(t *testing.T) {
			got, err := helm4.render(t, file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, goldenOf(caseName(file)+".yaml"), withoutSeed(got))
			notes, errOut, err := helm4.run(t, nil, "install", release, chartDir, "--namespace", namespace, "--dry-run=server", "--disable-openapi-validation", "--kubeconfig", fakeCluster(t, "none", ""), "--values", file)
			if err != nil {
				t.Fatalf("%v\n%s", err, errOut)
			}
			_, notes, found := strings.Cut(notes, "\nNOTES:\n")
			if !found || strings.Contains(notes, "<no value>") || strings.Contains(notes, "<nil>") {
				t.Errorf("notes:\n%s", notes)
			}
			golden(t, goldenOf(caseName(file)+".notes.txt"), notes)
		})
	}
}

// goldenOf is where the chart keeps what comes of ci/*-values.yaml.
func goldenOf(name string) string { return filepath.Join(chartDir, "ci", "golden", name) }

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("%s differs from line %d on; if that is meant, run make chart-update\n got  %s\n want %s", path, i+1, gotLines[i], wantLines[i])
			return
		}
	}
	t.Errorf("%s has %d lines, want %d; if that is meant, run make chart-update", path, len(gotLines), len(wantLines))
}

// Golden files that belong to no values file are remains.
func TestNoRemains(t *testing.T) {
	var known []string
	for _, file := range valuesFiles(t) {
		known = append(known, caseName(file)+".yaml", caseName(file)+".notes.txt")
	}
	entries, err := os.ReadDir(filepath.Join(chartDir, "ci", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			t.Errorf("ci/golden/%s has no values file", e.Name())
		}
	}
}

// objects returns every object by kind, namespace and name, as canonical text.
func objects(t *testing.T, rendered string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, text := range regexp.MustCompile(`(?m)^---$`).Split(rendered, -1) {
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if o.Kind == "" {
			continue
		}
		canonical, err := yaml.YAMLToJSONStrict([]byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		key := fmt.Sprintf("%s %s/%s", o.Kind, o.Metadata.Namespace, o.Metadata.Name)
		if all[key] != "" {
			t.Errorf("%s is rendered twice", key)
		}
		all[key] = string(canonical)
	}
	return all
}

func TestBothHelmsAgree(t *testing.T) {
	for _, file := range valuesFiles(t) {
		four, err := helm4.render(t, file)
		if err != nil {
			t.Fatal(err)
		}
		three, err := helm3.render(t, file)
		if err != nil {
			t.Fatal(err)
		}
		a, b := objects(t, withoutSeed(four)), objects(t, withoutSeed(three))
		for key := range a {
			if a[key] != b[key] {
				t.Errorf("%s: %s is\n%s\nwith Helm 4, and\n%s\nwith Helm 3", file, key, a[key], b[key])
			}
		}
		if len(a) != len(b) || len(a) < 4 {
			t.Errorf("%s: %d objects with Helm 4, %d with Helm 3", file, len(a), len(b))
		}
	}
}

// Everything of the chart carries names that Kubernetes takes, however long the
// release's name is.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("long-", 10) + "one" // 53 is what Helm allows
	out, errOut, err := helm4.run(t, nil, append([]string{"template", long, chartDir, "--namespace", namespace,
		"--values", filepath.Join(chartDir, "ci", "nginx-values.yaml"), "--set", "serviceMonitor.enabled=true,dashboard.enabled=true"}, renderedAtCluster(t)...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	for key := range objects(t, out) {
		kind, _, _ := strings.Cut(key, " ")
		_, name, _ := strings.Cut(key, "/")
		limit := 253
		if kind == "Service" {
			limit = 63
		}
		if len(name) > limit || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) {
			t.Errorf("%s has a name that Kubernetes refuses", key)
		}
	}
}

func TestSeed(t *testing.T) {
	values := filepath.Join(chartDir, "ci", "nginx-values.yaml")
	seed := func(t *testing.T, args ...string) string {
		t.Helper()
		out, err := helm4.render(t, values, args...)
		if err != nil {
			t.Fatal(err)
		}
		m := seedLine.FindAllStringSubmatch(out, -1)
		if len(m) != 1 {
			t.Fatalf("%d seeds", len(m))
		}
		return m[0][1]
	}
	t.Run("random, of 32 bytes", func(t *testing.T) {
		one, other := seed(t), seed(t)
		raw, err := base64.StdEncoding.DecodeString(one)
		if err != nil || len(raw) != 32 || one == other {
			t.Errorf("seeds %d bytes, %v, equal: %v", len(raw), err, one == other)
		}
	})
	helms(t, func(t *testing.T, helm tool) {
		kept := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
		kubeconfig := fakeCluster(t, release+"-mcp-forward-auth-seed", kept)
		out, errOut, err := helm.run(t, nil, "template", release, chartDir, "--namespace", namespace, "--values", values,
			"--kube-version", kubeVersion, "--kubeconfig", kubeconfig, "--dry-run=server", "--disable-openapi-validation")
		if err != nil {
			t.Fatalf("%v\n%s", err, errOut)
		}
		if m := seedLine.FindStringSubmatch(out); m == nil || m[1] != kept {
			t.Errorf("an upgrade does not keep the seed of the cluster: %v", m)
		}
		_, errOut, err = helm.run(t, nil, "template", release, chartDir, "--namespace", namespace, "--values", values, "--kube-version", kubeVersion)
		if err == nil || !strings.Contains(errOut, "name it in existingSecrets.seed.name") {
			t.Errorf("without a cluster: %v, %s", err, errOut)
		}
		if _, errOut, err = helm.run(t, nil, "template", release, chartDir, "--namespace", namespace, "--values", values, "--kube-version", kubeVersion,
			"--set", "existingSecrets.seed.name=mine"); err != nil {
			t.Errorf("without a cluster and with a seed of one's own: %v, %s", err, errOut)
		}
	})
	t.Run("none for one replica", func(t *testing.T) {
		out, err := helm4.render(t, values, "--set", "replicaCount=1")
		if err != nil || strings.Contains(out, "-seed") || strings.Contains(out, "seedFiles") {
			t.Errorf("%v, or there is a seed", err)
		}
	})
}

// fakeCluster answers as an API server that has nothing but one Secret. It
// returns the path of a kubeconfig.
func fakeCluster(t *testing.T, name, seed string) string {
	t.Helper()
	answers := map[string]string{
		"/version": `{"major":"1","minor":"37","gitVersion":"v1.37.1"}`,
		"/api":     `{"kind":"APIVersions","versions":["v1"]}`,
		"/api/v1":  resources("v1", "Secret", "Service", "ServiceAccount", "Pod", "ConfigMap"),
		"/api/v1/namespaces/" + namespace + "/secrets/" + name: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name +
			`","namespace":"` + namespace +
			`","labels":{"app.kubernetes.io/managed-by":"Helm"},"annotations":{"meta.helm.sh/release-name":"` + release +
			`","meta.helm.sh/release-namespace":"` + namespace + `"}},"data":{"seed":"` + seed + `"}}`,
	}
	versions := map[string][]string{}
	for groupVersion, kinds := range kindsOfTheCluster {
		name, version, _ := strings.Cut(groupVersion, "/")
		versions[name] = append(versions[name], fmt.Sprintf(`{"groupVersion":%q,"version":%q}`, groupVersion, version))
		answers["/apis/"+groupVersion] = resources(groupVersion, kinds...)
	}
	var groups []string
	for name, served := range versions {
		groups = append(groups, fmt.Sprintf(`{"name":%q,"versions":[%s],"preferredVersion":%s}`, name, strings.Join(served, ","), served[0]))
	}
	answers["/apis"] = `{"kind":"APIGroupList","apiVersion":"v1","groups":[` + strings.Join(groups, ",") + `]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			answer, ok = `{"apiVersion":"v1","kind":"SecretList","items":[]}`, true
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n", server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kindsOfTheCluster are the kinds that the chart makes, by group and version.
var kindsOfTheCluster = map[string][]string{
	"apps/v1":                           {"Deployment"},
	"batch/v1":                          {"CronJob", "Job"},
	"autoscaling/v2":                    {"HorizontalPodAutoscaler"},
	"policy/v1":                         {"PodDisruptionBudget"},
	"networking.k8s.io/v1":              {"Ingress", "NetworkPolicy"},
	"rbac.authorization.k8s.io/v1":      {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"},
	"gateway.networking.k8s.io/v1":      {"HTTPRoute", "Gateway"},
	"gateway.networking.k8s.io/v1beta1": {"ReferenceGrant"},
	"gateway.envoyproxy.io/v1alpha1":    {"SecurityPolicy"},
	"security.istio.io/v1":              {"AuthorizationPolicy"},
	"traefik.io/v1alpha1":               {"Middleware", "IngressRoute"},
	"monitoring.coreos.com/v1":          {"PodMonitor", "ServiceMonitor", "PrometheusRule"},
}

func resources(groupVersion string, kinds ...string) string {
	var list []string
	for _, kind := range kinds {
		list = append(list, fmt.Sprintf(`{"name":%q,"namespaced":true,"kind":%q,"verbs":["get","list"]}`, strings.ToLower(kind)+"s", kind))
	}
	return fmt.Sprintf(`{"kind":"APIResourceList","groupVersion":%q,"resources":[%s]}`, groupVersion, strings.Join(list, ","))
}

// What the packaged chart holds.
func TestPackage(t *testing.T) {
	dir := t.TempDir()
	out, errOut, err := helm4.run(t, nil, "package", chartDir, "--destination", dir)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	packages, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(packages) != 1 {
		t.Fatalf("%d packages", len(packages))
	}
	if info, err := os.Stat(packages[0]); err != nil || info.Size() > 96<<10 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	// It works as it was packaged.
	if out, errOut, err := helm4.run(t, nil, append([]string{"template", release, packages[0],
		"--values", filepath.Join(chartDir, "ci", "traefik-values.yaml")}, renderedAtCluster(t)...)...); err != nil || !strings.Contains(out, `"title": "Forward-auth decisions"`) {
		t.Errorf("%v\n%s", err, errOut)
	}
}

var valuesBlock = regexp.MustCompile("(?ms)^(?:```yaml\n(# values\\.yaml.*?)^```|[^\n]* --values - <<'EOF'\n(.*?)^EOF)$")

// documents are the Markdown files that show how to use the chart.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md", filepath.Join(chartDir, "README.md"), "../../README.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out[file] = string(text)
		}
	}
	return out
}

// The values that migrate writes for the chart can be installed.
func TestMigratedValues(t *testing.T) {
	files, err := filepath.Glob("../../internal/migrate/testdata/*/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	rendered := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# values.yaml") {
			continue
		}
		rendered++
		if _, err := helm4.render(t, file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if rendered < 2 {
		t.Errorf("%d translations are values of the chart", rendered)
	}
}

// The values that documents show can be installed as they are pasted, from a file
// or into the command.
func TestDocuments(t *testing.T) {
	shown := 0
	for document, text := range documents(t) {
		for _, block := range valuesBlock.FindAllStringSubmatch(text, -1) {
			shown++
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(block[1]+block[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(block[1], "# values.yaml, the part") { // of other values
				if _, err := helm4.render(t, filepath.Join(chartDir, "ci", "minimal-values.yaml"), "--values", file); err != nil {
					t.Errorf("%s: %v\n%s", document, err, block[0])
				}
				continue
			}
			if _, err := helm4.render(t, file); err != nil {
				t.Errorf("%s: %v\n%s", document, err, block[0])
			}
		}
	}
	if shown < 10 {
		t.Errorf("documents show %d values files: the pattern finds none", shown)
	}
}
