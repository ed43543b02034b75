package kinds_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// overlay returns the arguments with which the go command sees one more kind of
// provider: a directory beside the others, and one entry in the list of kinds.
// source is the content of that directory.
func overlay(t *testing.T, source []byte) []string {
	t.Helper()
	list, err := os.ReadFile("kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	const path = "github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	with := strings.NewReplacer(
		"&static.Settings{},\n", "&static.Settings{},\n\t\t&acme.Settings{},\n",
		`"`+path+`"`, `"`+path+"\"\n\t\""+path+`/acme"`,
	).Replace(string(list))
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, "kinds.go"):        write("kinds.go", []byte(with)),
		filepath.Join(here, "../acme/acme.go"): write("acme.go", source),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-overlay", write("overlay.json", replace)}
}

func acme(t *testing.T) []byte {
	t.Helper()
	source, err := os.ReadFile("testdata/acme/acme.go")
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// A new kind of provider is a directory and a line: the configuration knows its
// keys, asks who may sign in, and the program can make and describe it.
func TestNewKind(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program")
	args := append(append([]string{"build", "-o", program}, overlay(t, acme(t))...), "../../../cmd/mcp-forward-auth")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const app = "name: acme, clientID: id, clientSecret: x, "
	for name, tt := range map[string]struct {
		provider string
		want     []string
	}{
		"accepted":               {app + "baseURL: 'https://acme.example', orbits: [a, b]", []string{"acme at https://acme.example", "accounts of orbit a, b"}},
		"everyone may sign in":   {app + "baseURL: 'https://acme.example'", []string{"provider.orbits: is required for Acme, where anyone can have an account"}},
		"a key of another kind":  {app + "baseURL: 'https://acme.example', orbits: [a], userinfoURL: 'https://acme.example'", []string{`provider.userinfoURL: has no meaning for provider "acme"; remove it`}},
		"a mistake in its key":   {app + "baseURL: 'http://acme.example', orbits: [a]", []string{"provider.baseURL: ", "must use https"}},
		"a mistake of every app": {"name: acme, clientSecret: x, baseURL: 'https://acme.example', orbits: [a]", []string{`provider.clientID: is required for "acme"`}},
		"another name":           {"name: acmee", []string{`"static", "acme"`}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			text := "provider: {" + tt.provider + "}\nproxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp:8080/mcp'}]}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program, "check-config", "--config", file).CombinedOutput()
			if accepted := err == nil; accepted != (name == "accepted") {
				t.Errorf("accepted: %v", accepted)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("got\n%s\nwant %s", out, want)
				}
			}
		})
	}
}

// A kind that does not say who may sign in does not compile.
func TestKindWithoutAudience(t *testing.T) {
	t.Parallel()
	without := strings.Replace(string(acme(t)), ") Audience()", ") people()", 1)
	args := append(append([]string{"build"}, overlay(t, []byte(without))...), ".")
	out, err := exec.Command("go", args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "missing method Audience") {
		t.Errorf("%v\n%s", err, out)
	}
}
