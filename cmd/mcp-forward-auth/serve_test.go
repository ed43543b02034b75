package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is written by one goroutine and read by another.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// until waits for a line of the log.
func (o *output) until(t *testing.T, text string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for line := range strings.Lines(o.String()) {
			if strings.Contains(line, text) {
				return line
			}
		}
	}
	t.Fatalf("the log has no %q: %s", text, o)
	return ""
}

// serving is a running "serve" of the file at path.
func serving(t *testing.T, path string) (log *output, management string) {
	t.Helper()
	log = new(output)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--config", path}, streams{strings.NewReader(""), log, log})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	var line struct{ Management string }
	if err := json.Unmarshal([]byte(log.until(t, `"msg":"serving"`)), &line); err != nil {
		t.Fatal(err)
	}
	return log, "http://" + line.Management
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", url, resp.StatusCode, err)
	}
	return string(body)
}

const anyPort = "listen: {http: \"127.0.0.1:0\", management: \"127.0.0.1:0\"}\n"

// The file is read again when it changes, and on SIGHUP; a mistake changes nothing
// and is said in the log, by /readyz and by the metrics.
func TestServeReadsItsFileAgain(t *testing.T) {
	path := write(t, goodConfig+anyPort)
	log, management := serving(t, path)
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state := func(ready string, metrics ...string) {
		t.Helper()
		if body := get(t, management+"/readyz"); !strings.Contains(body, ready) {
			t.Errorf("/readyz lacks %q: %s", ready, body)
		}
		all := get(t, management+"/metrics")
		for _, m := range metrics {
			if !strings.Contains(all, "\nmcp_forward_auth_config_"+m+"\n") {
				t.Errorf("/metrics lacks %s", m)
			}
		}
	}
	state(`"ready"`, "last_reload_successful 1", "restart_pending 0")

	change(goodConfig + anyPort + "limits: {nonsense: 1}\n")
	log.until(t, `config.broken`)
	log.until(t, `limits.nonsense: unknown key`)
	state("the configuration has a mistake", "last_reload_successful 0")

	change(goodConfig + anyPort + "logging: {level: debug}\naudit: {file: audit.log}\n")
	log.until(t, `config.loaded`)
	log.until(t, `takes effect at the next start","key":"audit.file"`)
	state("takes effect at the next start: audit.file", "last_reload_successful 1", "restart_pending 1")
	if !strings.Contains(log.String(), `"level":"DEBUG"`) {
		log.until(t, `"level":"DEBUG"`)
	}

	read := strings.Count(log.String(), "was read again")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); strings.Count(log.String(), "was read again") == read; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("SIGHUP reads nothing")
		}
	}
}

// Hosts files come and go while the service runs; one with a mistake costs itself, and
// check-config, the log, /readyz and the metrics name it.
func TestHostsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := file("config.yaml", strings.TrimSuffix(strings.TrimSpace(goodConfig), "}")+`, hostsFiles: [{files: "team_*.yaml", hosts: ["*.{1}.example.com"], endpoints: ["*.{1}.svc"]}]}
`+anyPort)
	log, management := serving(t, path)
	file("team_a.yaml", `hosts: [{host: x.a.example.com, endpoint: "http://x.a.svc/mcp"}]`)
	bad := file("team_b.yaml", `hosts: [{host: x.a.example.com, endpoint: "http://x.b.svc/mcp"}]`)
	log.until(t, `"resources":2`)
	log.until(t, "no host name that this file may claim")
	if ready := get(t, management+"/readyz"); !strings.Contains(ready, "hosts file "+bad+" is left out: hosts[0].host") {
		t.Errorf("/readyz: %s", ready)
	}
	if all := get(t, management+"/metrics"); !strings.Contains(all, "\nmcp_forward_auth_hosts_files 1\n") || !strings.Contains(all, "\nmcp_forward_auth_hosts_files_broken 1\n") {
		t.Error("the metrics do not count the files")
	}
	for _, flags := range [][]string{nil, {"--output", "json"}, {"--allow-left-out"}, {"--allow-left-out", "--output", "json"}} {
		allowed := slices.Contains(flags, "--allow-left-out")
		out, problems, err := call(t, "", append([]string{"check-config", "--config", path}, flags...)...)
		if (err == nil) != allowed || err != nil && exitCode(err) != exitLeftOut || !strings.Contains(out+problems, bad) || !strings.Contains(out+problems, "no host name that this file may claim") {
			t.Errorf("check-config %v: %v %s %s", flags, err, out, problems)
		}
	}
	file("team_b.yaml", `hosts: [{host: x.b.example.com, endpoint: "http://x.b.svc/mcp"}]`)
	log.until(t, "a hosts file is good again")
	log.until(t, `"resources":3`)
}

// A file that is followed by itself, and that is broken, is named in the log and by
// /readyz until it is good again, wherever audit entries go.
func TestServeNamesBrokenFiles(t *testing.T) {
	path := write(t, goodConfig+anyPort+"denyList: {file: deny.yaml}\naudit: {file: audit.log}\n")
	deny := filepath.Join(filepath.Dir(path), "deny.yaml")
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(deny, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("subjects: []\n")
	log, management := serving(t, path)
	ready := func(want string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(get(t, management+"/readyz"), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("/readyz does not say %q: %s", want, get(t, management+"/readyz"))
			}
		}
	}
	ready(`"status":"ready"`)
	change("subjects: 7\n")
	log.until(t, `a file that changed cannot be used; what it held before stays in force","file":"`+deny+`"`)
	ready("the file " + deny + " cannot be used, and what it held before is in force: deny-list: ")
	change("subjects: [someone]\n")
	ready(`"status":"ready"`)
}
