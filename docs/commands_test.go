package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/shell"
)

// run says which test runs a block of commands, or why none does. Whether the program
// takes its own commands in them is tested for all: TestDocumentsCallWhatThereIs.
type run struct{ test, why string }

// Reasons that several blocks have.
const (
	example  = "a call for names and secrets that are the reader's; the test named runs the same with its own"
	foreign  = "it needs a program of others, with an account or a screen, that no test here has"
	released = "it needs a release in a registry, and there is none yet"
)

// runs are the blocks of commands in the documents: page, then how the block begins.
var runs = map[string]map[string]run{
	"../README.md": {
		"git clone https://github.com/mcp-forward-auth/":       {test: "TestDemo", why: "the test runs in a checkout"},
		"go build ./cmd/mcp-forward-auth":                      {test: "TestFilesByCommands"},
		"docker build -t YOUR-REGISTRY/mcp-forward-auth:dev .": {test: "TestDocumentsHelmCommands", why: "the image is built by hack/image/test.sh; TestDocumentsKubectl makes the same Secret"},
	},
	"../CONTRIBUTING.md": {
		"go run ./cmd/mcp-forward-auth demo": {test: "TestDemo"},
	},
	"../charts/mcp-forward-auth/README.md": {
		"kubectl create namespace mcp-forward-auth": {test: "TestDocumentsKubectl"},
		"helm install mcp-forward-auth":             {test: "TestDocumentsHelmCommands"},
	},
	"account.md": {"mcp-forward-auth sessions list": {test: "TestSessions", why: example}},
	"clients.md": {"claude mcp add": {why: foreign}},
	"devices.md": {"curl -H 'Content-Type: application/json'": {test: "TestDeviceGrant", why: example}},
	"doctor.md": {
		"mcp-forward-auth doctor https://mcp.example.com/mcp": {test: "TestDoctor", why: example},
		"mcp-forward-auth doctor --all":                       {test: "TestGatesSeen", why: example},
		"kubectl -n mcp-forward-auth create job doctor-now":   {test: "TestDocumentsKubectl"},
	},
	"examples/README.md":        {"cd mcp-forward-auth": {test: "TestFilesByCommands"}},
	"gateways/envoy-gateway.md": {"kubectl get securitypolicy": {test: "TestControllerOpenings"}},
	"image.md":                  {"docker build --build-arg": {why: "hack/image/test.sh builds the same Dockerfile by buildah"}},
	"kind.md": {
		"kind create cluster":                    {why: "kind needs Docker; TestPods makes the cluster by other means and pastes the rest"},
		"helm install traefik":                   {why: "its chart is in a registry; TestPods runs Traefik itself"},
		"kubectl apply -f -":                     {test: "TestPods"},
		"helm install mcp-forward-auth ./charts": {test: "TestPods"},
		"curl -i -X POST":                        {test: "TestPods", why: "the client of the last line is another there"},
		"claude mcp remove":                      {why: foreign},
	},
	"kubernetes.md": {
		"kubectl create namespace mcp-forward-auth": {test: "TestDocumentsKubectl"},
		"helm install mcp-forward-auth":             {test: "TestDocumentsHelmCommands"},
		"curl -i https://mcp.example.com/mcp":       {test: "TestPods", why: example},
		"claude mcp add":                            {why: foreign},
		"kubectl -n mcp-forward-auth logs job/":     {test: "TestCheckBeforeInstall"},
	},
	"linux.md": {
		"CGO_ENABLED=0 go build":                              {test: "TestLinuxCommands", why: "it makes a user of the machine"},
		"install -d -m 0750":                                  {test: "TestFilesByCommands"},
		"mcp-forward-auth doctor https://mcp.example.com/mcp": {test: "TestDoctor", why: example},
	},
	"machines.md": {
		"curl -u nightly:$SECRET": {test: "TestClientCredentials", why: example},
		"curl -d grant_type=urn":  {test: "TestConformanceSuiteMachines", why: example},
	},
	"migration.md": {"mcp-forward-auth migrate --from obot": {test: "TestMigrate", why: example}},
	"operations.md": {
		"kubectl exec deploy/mcp-forward-auth":                                                            {test: "TestFunnel", why: "names of pods and flows are the reader's"},
		"kubectl logs -l app.kubernetes.io/name":                                                          {test: "TestExplain", why: "names of flows are the reader's"},
		"kubectl -n mcp-forward-auth create configmap mcp-deny-list --from-file=deny-list.yaml\n":         {test: "TestDocumentsKubectl"},
		"kubectl -n mcp-forward-auth create configmap mcp-deny-list --from-file=deny-list.yaml --dry-run": {test: "TestDocumentsKubectl"},
		"kubectl -n mcp-forward-auth get secret mcp-forward-auth-seed":                                    {test: "TestDocumentsKubectl"},
	},
	"policy.md": {"$ mcp-forward-auth check-config": {test: "TestTryPolicy", why: example}},
	"quickstart.md": {
		"kubectl create namespace mcp-forward-auth":   {test: "TestDocumentsKubectl"},
		"curl -i -X POST https://mcp.example.com/mcp": {test: "TestPods", why: example},
	},
	"releases.md": {
		"VERSION=1.2.3":      {why: released},
		"cosign verify-blob": {why: released},
	},
	"reload.md": {"$ mcp-forward-auth check-config": {test: "TestReloadUnderLoad", why: "the line would signal every such process of the machine"}},
	"stdio.md":  {"mcp-forward-auth bridge -- npx": {test: "TestServerSuiteThroughBridge"}},
	"token-exchange.md": {
		"curl -u notes-server:$SECRET https://notes.example.com/token":      {test: "TestTokenExchangeByTheGoSDK", why: example},
		"mcp-forward-auth check-config --config FILE --as":                  {test: "TestTryPolicy", why: example},
		"curl -u notes-server:$SECRET https://notes.example.com/dead-token": {test: "TestKeycloakProviderTokens", why: example},
	},
	"tool-policy.md": {"curl -i https://mcp.example.com/mcp": {test: "TestToolPolicy", why: example}},
}

// A new block of commands is run by a test, or has a reason here why it is not.
func TestEveryCommandRuns(t *testing.T) {
	pages, err := shell.Pages("..")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOfRepository(t)
	used := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(page, filepath.Join("..", "docs")+"/")
	blocks:
		for _, block := range shell.Blocks(string(text)) {
			for begins := range runs[name] {
				if strings.HasPrefix(block, begins) {
					used[name+begins] = true
					continue blocks
				}
			}
			first, _, _ := strings.Cut(block, "\n")
			t.Errorf("%s: %q is run by no test, and has no reason in commands_test.go", name, first)
		}
	}
	for name, blocks := range runs {
		for begins, r := range blocks {
			switch {
			case !used[name+begins]:
				t.Errorf("%s: %q is no block any more", name, begins)
			case r.test == "" && r.why == "":
				t.Errorf("%s: %q has neither a test nor a reason", name, begins)
			case r.test != "" && !tests[r.test]:
				t.Errorf("%s: %q: there is no %s", name, begins, r.test)
			}
		}
	}
}

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testsOfRepository are the names of all tests, those behind tags too.
func testsOfRepository(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
