package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
)

// call runs the program with args and standard input.
func call(t *testing.T, in string, args ...string) (out, problems string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = run(t.Context(), args, streams{strings.NewReader(in), &o, &e})
	return o.String(), e.String(), err
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const goodConfig = `
provider: {name: oidc, issuerURL: "https://login.example.com", clientID: x, clientSecret: do-not-print-me}
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://127.0.0.1:9/mcp"}]}
`

// What serve refuses at its start check-config refuses, in the same words.
func TestOneVerdict(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const private = `{"keys":[{"kty":"oct","k":"AAAA"}]}`
	for name, text := range map[string]string{
		"a redirect URI by http":           `clients: [{id: a, redirectURIs: ["http://agent.corp.example/cb"]}]`,
		"a redirect URI that is a script":  `clients: [{id: a, redirectURIs: ["javascript:alert(1)"]}]`,
		"a client id of another kind":      `clients: [{id: dcr1.abc, redirectURIs: ["https://a.example/cb"]}]`,
		"client keys that are private":     `clients: [{id: a, redirectURIs: ["https://a.example/cb"], jwksFile: ` + file("jwks", private) + `}]`,
		"a deny-list that is not one":      `denyList: {file: ` + file("deny", "subjects: 7\n") + `}`,
		"a deny-list that is no YAML":      `denyList: {file: ` + file("broken", "\t{") + `}`,
		"an audit log in no folder":        `audit: {file: ` + filepath.Join(dir, "none", "audit.log") + `}`,
		"an audit log that is a folder":    `audit: {file: ` + dir + `}`,
		"an audit log below a file":        `audit: {file: ` + file("plain", "") + `/audit.log}`,
		"a connection URL that is not one": `guard: {backend: postgres, postgres: {urlFile: ` + file("url", "mysql://x") + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, goodConfig+text+"\n"+"listen: {http: \"127.0.0.1:0\", management: \"127.0.0.1:0\"}\n")
			_, _, checked := call(t, "", "check-config", "--config", path)
			ctx, stop := context.WithCancel(t.Context())
			stop()
			var out bytes.Buffer
			served := run(ctx, []string{"serve", "--config", path}, streams{strings.NewReader(""), &out, &out})
			if checked == nil || served == nil || checked.Error() != served.Error() {
				t.Errorf("check-config: %v\nserve: %v", checked, served)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCommands(t *testing.T) {
	t.Run("check-config accepts and prints no secret", func(t *testing.T) {
		out, problems, err := call(t, "", "check-config", "--config", write(t, goodConfig))
		if err != nil || !strings.Contains(out, "mcp.example.com") || strings.Contains(out+problems, "do-not-print-me") {
			t.Errorf("%v\n%s%s", err, out, problems)
		}
	})
	t.Run("check-config reports every mistake", func(t *testing.T) {
		_, _, err := call(t, "", "check-config", "--config", write(t, strings.Replace(goodConfig, "oidc", "gogle", 1)+"nosuchkey: 1\n"))
		if err == nil || !strings.Contains(err.Error(), "provider.name") || !strings.Contains(err.Error(), "nosuchkey") || strings.Contains(err.Error(), "do-not-print-me") {
			t.Errorf("%v", err)
		}
	})
	t.Run("check-config names the file in each line", func(t *testing.T) {
		path := write(t, strings.Replace(goodConfig, "oidc", "gogle", 1)+"nosuchkey: 1\ntokens: {accessTokenLifetime: 3600}\n")
		_, _, err := call(t, "", "check-config", "--config", path)
		if err == nil {
			t.Fatal("accepted")
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, path+": ") {
				t.Errorf("%q", line)
			}
		}
	})
	t.Run("check-config warns, and so does serve", func(t *testing.T) {
		path := write(t, goodConfig+"listen: {http: \"127.0.0.1:0\", management: \"127.0.0.1:0\"}\n")
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		_, problems, err := call(t, "", "check-config", "--config", path)
		if err != nil || !strings.HasPrefix(problems, "warning: "+path+": every user of this machine may read this file") {
			t.Errorf("%v %q", err, problems)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out bytes.Buffer
		if err := run(ctx, []string{"serve", "--config", path}, streams{strings.NewReader(""), &out, &out}); err != nil || !strings.Contains(out.String(), `"level":"WARN","msg":"the configuration`) {
			t.Errorf("%v\n%s", err, out.String())
		}
	})
	t.Run("what is missing", func(t *testing.T) {
		for _, args := range [][]string{{"check-config"}, {"serve"}, {"check-config", "--config", "/no/such/file"}, {"check-config", "--nosuchflag"}, {"check-config", "--config", write(t, goodConfig), "extra"}, {"nosuchcommand"}, {}} {
			out, _, err := call(t, "", args...)
			if err == nil || out != "" {
				t.Errorf("%v: %v %q", args, err, out)
			}
			if want := map[bool]int{true: exitFailed, false: exitUsage}[len(args) == 3 && args[2] == "/no/such/file"]; exitCode(err) != want {
				t.Errorf("%v: exit code %d, want %d", args, exitCode(err), want)
			}
		}
	})
	t.Run("serve refuses a wrong file before it listens", func(t *testing.T) {
		if _, _, err := call(t, "", "serve", "--config", write(t, "provider: {}\n")); err == nil {
			t.Error("it served")
		}
	})
	t.Run("hash-password", func(t *testing.T) {
		for _, in := range []string{"a secret", "a secret\n", "a secret\r\n"} {
			out, _, err := call(t, in, "hash-password")
			if err != nil || bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(out)), []byte("a secret")) != nil {
				t.Errorf("%q: %v %q", in, err, out)
			}
		}
		for _, in := range []string{"", "\n", strings.Repeat("x", 73)} {
			if out, _, err := call(t, in, "hash-password"); err == nil || out != "" {
				t.Errorf("%.10q: %v %q", in, err, out)
			}
		}
		out, _, err := call(t, "a secret\n", "hash-password", "--argon2id")
		c, failed := static.New([]static.User{{Username: "jane", PasswordHash: conf.NewSecret(strings.TrimSpace(out))}})
		if err != nil || failed != nil {
			t.Fatalf("%v, %v, %q", err, failed, out)
		}
		if _, err := c.Authenticate(t.Context(), "jane", "a secret"); err != nil {
			t.Error(err)
		}
	})
	t.Run("version and help", func(t *testing.T) {
		if out, _, err := call(t, "", "version"); err != nil || !strings.HasPrefix(out, "mcp-forward-auth ") {
			t.Errorf("%v %q", err, out)
		}
		for _, name := range []string{"help", "-h", "--help"} {
			out, _, err := call(t, "", name)
			for _, c := range program().Commands() {
				if err != nil || !strings.Contains(out, c.Name()) {
					t.Errorf("%s: %v, without %s", name, err, c.Name())
				}
			}
		}
	})
	t.Run("serve ends cleanly when told to", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out bytes.Buffer
		config := write(t, goodConfig+"listen: {http: \"127.0.0.1:0\", management: \"127.0.0.1:0\"}\n")
		if err := run(ctx, []string{"serve", "--config", config}, streams{strings.NewReader(""), &out, &out}); err != nil || strings.Contains(out.String(), "do-not-print-me") {
			t.Errorf("%v\n%s", err, out.String())
		}
	})
}

// What is called wrongly is told in one line, which names what was probably meant,
// and ends with the exit code for it.
func TestMisused(t *testing.T) {
	for line, want := range map[string]string{
		"--nosuchflag":                           `unknown flag: --nosuchflag; "mcp-forward-auth --help" lists what there is`,
		"serve --confg x":                        "serve: unknown flag: --confg; did you mean --config?",
		"serve config.yaml":                      `serve: unexpected argument "config.yaml"; did you mean --config config.yaml?`,
		"check-config config.yaml":               "did you mean --config config.yaml?",
		"doctr":                                  `unknown command "doctr"; did you mean "doctor"?`,
		"help doctr":                             `unknown command "doctr"; did you mean "doctor"?`,
		"help nothing":                           `unknown command "nothing"`,
		"help sessions lst":                      `sessions: unknown command "lst"; did you mean "list"?`,
		"completion":                             "completion: say bash, fish, powershell or zsh",
		"completion fis":                         `completion: unknown command "fis"; did you mean "fish"?`,
		"sessions":                               "sessions: say list or end",
		"sessions lst":                           `sessions: unknown command "lst"; did you mean "list"?`,
		"sessions list --nope":                   "sessions list: unknown flag: --nope",
		"sessions list":                          "sessions list: --token-file is required",
		"sessions end --email a@example.com":     "sessions end: --token-file is required",
		"new-api-key ci --days many":             `--days "many" is not a whole number`,
		"doctor https://a.example --page":        "flag needs an argument",
		"doctor https://a.example --skip nosuch": `--skip "nosuch" is no check`,
		"doctor https://a.example --login-timeout soon": `--login-timeout "soon" is not a time, such as "90s"`,
		"probe nothing":            `"nothing" is no URL`,
		"probe ftp://a.example":    `"ftp://a.example" is no URL`,
		"demo --address localhost": "is not of the form ip:port",
		"demo --address 8.8.8.8:1": "on a loopback IP only",
	} {
		out, _, err := call(t, "", strings.Fields(line)...)
		if exitCode(err) != exitUsage || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "strconv") || out != "" {
			t.Errorf("%s: %v %q, want %s", line, err, out, want)
		}
	}
}

// With --output json standard output is JSON whatever happens.
func TestJSONWhateverHappens(t *testing.T) {
	bad := write(t, "nosuchkey: 1\n")
	good := write(t, goodConfig)
	for _, args := range [][]string{
		{"version", "--nope", "-o", "json"},
		{"version", "-ojson", "extra"},
		{"check-config", "-o", "json"},
		{"check-config", "--confg", good, "--output=json"},
		{"check-config", "--output", "json", "--config", "/no/such/file"},
		{"check-config", "--output", "json", "--config", bad},
		{"check-config", "--output", "json", "--config", bad, "--as", ""},
		{"check-config", "--output", "json", "--config", good, "--as", "nosuch=1"},
		{"check-config", "--output", "json", "--config", good, "--as-agent", "/no/such/file"},
		{"doctor", "-o", "json"},
		{"doctor", "-o", "json", "--all", "--config", bad},
		{"doctor", "-o", "json", "--gateway", "nosuch"},
		{"explain", "-o", "json", "nosuch"},
		{"explain", "-o", "json", "mzxw6ytboi2dqmrt", "--log", "/no/such/file"},
		{"sessions", "list", "-o", "json"},
	} {
		out, _, err := call(t, "", args...)
		var said map[string]any
		if decoded := json.Unmarshal([]byte(out), &said); err == nil || exitCode(err) == 0 || decoded != nil || said["error"] == nil && said["mistakes"] == nil {
			t.Errorf("%v: %v, %v %s", args, err, decoded, out)
		}
	}
}
