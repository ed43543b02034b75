package chart

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// releases of Kubernetes whose schemas the chart is held to: the oldest and the
// newest that it supports, and with CHART_KUBERNETES=all each minor between.
func releases() []string {
	switch versions := os.Getenv("CHART_KUBERNETES"); versions {
	case "":
		return []string{"1.30.14", "1.37.1"}
	case "all":
		return []string{"1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.4", "1.37.1"}
	default:
		return strings.Fields(versions)
	}
}

// customResources is a folder with the definitions that crds.txt names.
func customResources(t *testing.T) string {
	t.Helper()
	list, err := os.ReadFile("crds.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) != 2 {
			t.Fatalf("crds.txt: %q is not a module and a file", line)
		}
		data, err := os.ReadFile(filepath.Join(moduleDir(t, fields[0]), fields[1]))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(fields[1])), data)
	}
	return dir
}

// schemas copies the OpenAPI documents of a release, which are part of its
// source, into the layout that kubectl-validate wants: api/v1.json and
// apis/GROUP/VERSION.json.
func schemas(t *testing.T, release string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(moduleDir(t, "k8s.io/kubernetes@v"+release), "api", "openapi-spec", "v3", "*_openapi.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d schemas, %v", len(files), err)
	}
	for _, file := range files {
		parts := strings.Split(strings.TrimSuffix(filepath.Base(file), "_openapi.json"), "__")
		if !(len(parts) == 2 && parts[0] == "api" || len(parts) == 3 && parts[0] == "apis") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Join(parts...)+".json"), data)
	}
	return dir
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// examples are what comes of the values in docs/examples, in files.
func examples(t *testing.T) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "docs", "examples", "*", "values.yaml"))
	if err != nil || len(all) == 0 {
		t.Fatalf("docs/examples has no values: %v", err)
	}
	for _, values := range all {
		out, err := helm4.render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), filepath.Base(filepath.Dir(values))+".yaml")
		write(t, path, []byte(out))
		files = append(files, path)
	}
	return files
}

// The MCP server that the values for the bridge make is the one that they protect.
func TestBridgeBesideServer(t *testing.T) {
	values := filepath.Join("..", "..", "docs", "examples", "kubernetes-stdio", "values.yaml")
	text, err := os.ReadFile(values)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := regexp.MustCompile(`endpoint: http://([a-z]+):(\d+)/mcp`).FindStringSubmatch(string(text))
	if endpoint == nil {
		t.Fatal("the values have no endpoint")
	}
	out, err := helm4.render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, out)
	for kind, wants := range map[string][]string{
		"Service":    {`"port":` + endpoint[2] + `,"targetPort":"mcp"`, `"selector":{"app":"notes"}`},
		"Deployment": {`"containerPort":` + endpoint[2] + `,"name":"mcp"`, `":` + endpoint[2] + `"`, `"labels":{"app":"notes"}`, `"--issuer","https://mcp.example.com"`},
	} {
		object := all[kind+" /"+endpoint[1]]
		for _, want := range wants {
			if !strings.Contains(object, want) {
				t.Errorf("the %s lacks %s: %s", kind, want, object)
			}
		}
	}
}

// The golden files, which are what Helm renders, and the examples are valid for each release,
// with its rules in CEL and without unknown fields.
func TestKubernetesTakesIt(t *testing.T) {
	resources := customResources(t)
	for _, version := range releases() {
		t.Run(version, func(t *testing.T) {
			validate := func(t *testing.T, files ...string) (string, error) {
				t.Helper()
				// --version is what stands in for a kind that the local schemas lack; it must be one that the tool carries.
				out, errOut, err := kubectlValidate.run(t, nil, append([]string{"--version", "1.30",
					"--local-schemas", schemas(t, version), "--local-crds", resources}, files...)...)
				return out + errOut, err
			}
			files := []string{checkGolden}
			for _, file := range valuesFiles(t) {
				data, err := os.ReadFile(goldenOf(caseName(file) + ".yaml"))
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), caseName(file)+".yaml")
				write(t, path, data)
				files = append(files, path)
			}
			if out, err := validate(t, append(files, examples(t)...)...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			// The check can fail.
			data, _ := os.ReadFile(goldenOf("traefik.yaml"))
			for old, wrong := range map[string]string{"trustForwardHeader:": "trustForwardedHeader:", "terminationGracePeriodSeconds:": "terminationGracePeriod:"} {
				bad := filepath.Join(t.TempDir(), "bad.yaml")
				write(t, bad, []byte(strings.ReplaceAll(string(data), old, wrong)))
				if out, err := validate(t, bad); err == nil || !strings.Contains(out, strings.TrimSuffix(wrong, ":")) {
					t.Errorf("%s is taken: %v\n%s", wrong, err, out)
				}
			}
		})
	}
}

// accepted are findings of kube-score that the chart does not share.
var accepted = []string{
	"container-image-pull-policy", // images carry versions; Always would make a start depend on the registry
	"deployment-replicas",         // one, with keys in memory, is the default on purpose
	"ingress-targets-service",     // the Services of the MCP servers are not the chart's
	"pod-networkpolicy",           // only the pods of helm test and of the check have none, which live for a second
	// topologySpreadConstraints do it.
	"deployment-has-host-podantiaffinity",
}

func TestKubeScore(t *testing.T) {
	for _, file := range []string{goldenOf("minimal.yaml"), goldenOf("nginx.yaml"), goldenOf("gateway-api.yaml"), goldenOf("traefik.yaml"), checkGolden} {
		name, args := filepath.Base(file), []string{"score", file, "--output-format", "ci",
			"--ignore-container-cpu-limit", "--kubernetes-version", "v1.30"}
		for _, test := range accepted {
			args = append(args, "--ignore-test", test)
		}
		out, errOut, err := kubeScore.run(t, nil, args...)
		for line := range strings.Lines(out) {
			if regexp.MustCompile(`^\[(CRITICAL|WARNING)\]`).MatchString(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
		if out == "" {
			t.Errorf("%s: %v\n%s", name, err, errOut)
		}
	}
}

// The chart's README is generated from values.yaml.
func TestReadme(t *testing.T) {
	out, errOut, err := helmDocs.run(t, nil, "--chart-search-root", chartDir, "--dry-run", "--sort-values-order", "file", "--log-level", "warning")
	if err != nil {
		t.Fatalf("%v\n%s", err, errOut)
	}
	path := filepath.Join(chartDir, "README.md")
	got := strings.TrimRight(out, "\n") + "\n"
	if *update {
		write(t, path, []byte(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("README.md of the chart differs from values.yaml; run make chart-update (%s)", cmp.Or(errOut, "no message"))
	}
}
