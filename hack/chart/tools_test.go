package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	chartDir = "../../charts/mcp-forward-auth"
	// release and namespace appear in the golden files.
	release, namespace = "mcp", "mcp"
	// kubeVersion is what templates see; Helm's own guess depends on how it was built.
	kubeVersion = "1.37.1"
)

// A tool is a command of a module in this folder or below.
type tool struct{ module, path string }

var (
	helm3           = tool{".", "helm.sh/helm/v3/cmd/helm"}
	helm4           = tool{".", "helm.sh/helm/v4/cmd/helm"}
	kubectlValidate = tool{"validate", "sigs.k8s.io/kubectl-validate"}
	kubeScore       = tool{"score", "github.com/zegl/kube-score/cmd/kube-score"}
	helmDocs        = tool{"score", "github.com/norwoodj/helm-docs/cmd/helm-docs"}
)

var built sync.Map // tool → func() (string, error)

// binary builds a tool with the Go command, which keeps it in its cache.
func (tl tool) binary(t *testing.T) string {
	t.Helper()
	build, _ := built.LoadOrStore(tl, sync.OnceValues(func() (string, error) {
		cmd := exec.Command("go", "tool", "-n", tl.path)
		cmd.Dir = tl.module
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, errOut.String())
		}
		return strings.TrimSpace(string(out)), nil
	}))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatalf("not run: %s cannot be built: %v", tl.path, err)
	}
	return path
}

// run returns what the tool prints on its two outputs.
func (tl tool) run(t *testing.T, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tl.binary(t), args...)
	home := t.TempDir()
	// No repositories, plugins or clusters of the user who runs the tests.
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home,
		"KUBECONFIG="+filepath.Join(home, "none"))
	cmd.Env = append(cmd.Env, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// renderedAtCluster are the arguments of `helm template` that let templates ask a cluster, as
// an installation does: the seed is made in the cluster alone.
func renderedAtCluster(t *testing.T) []string {
	t.Helper()
	return []string{"--kube-version", kubeVersion, "--kubeconfig", fakeCluster(t, "none", ""), "--dry-run=server", "--disable-openapi-validation"}
}

// render is `helm template` with a file of values and more arguments.
func (tl tool) render(t *testing.T, values string, args ...string) (string, error) {
	t.Helper()
	where := renderedAtCluster(t)
	if slices.Contains(args, "--api-versions") { // which a cluster would say itself
		where = []string{"--kube-version", kubeVersion}
	}
	args = slices.Concat([]string{"template", release, chartDir, "--namespace", namespace, "--values", values}, where, args)
	out, errOut, err := tl.run(t, nil, args...)
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, errOut)
	}
	return out, nil
}

// helms runs f with both majors.
func helms(t *testing.T, f func(t *testing.T, helm tool)) {
	t.Helper()
	t.Run("helm 4", func(t *testing.T) { f(t, helm4) })
	t.Run("helm 3", func(t *testing.T) { f(t, helm3) })
}

// valuesFiles are the chart's ci/*-values.yaml.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("ci/*-values.yaml: %d files, %v", len(files), err)
	}
	return files
}

func caseName(file string) string { return strings.TrimSuffix(filepath.Base(file), "-values.yaml") }

// moduleDir downloads a module, checked against the checksum database, and
// returns its folder.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir() // not of this module, whose go.sum does not know it
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &info); jsonErr != nil || err != nil || info.Error != "" {
		t.Fatalf("not run: %s cannot be had: %v %s", module, err, info.Error)
	}
	return info.Dir
}
