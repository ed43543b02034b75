package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// keysOf lists the keys below a section that hold a value, as the reference names them.
func keysOf(at string, section reflect.Type) (keys []string) {
	for _, field := range conf.Fields(section) {
		path := strings.TrimPrefix(at+"."+field.Tag.Get("json"), ".")
		_, below := typeName(field.Type)
		if below == nil {
			keys = append(keys, path)
			continue
		}
		if field.Type.Kind() == reflect.Slice {
			path += "[]"
		}
		keys = append(keys, keysOf(path, below)...)
	}
	return keys
}

func takesRestart(key string) bool {
	return slices.ContainsFunc(restartKeys, func(k restartKey) bool { return key == k.key || strings.HasPrefix(key, k.key+".") })
}

// Each key takes effect when the file is read again, and then stands in
// testdata/live.txt, or at the next start alone, and then stands in restartKeys.
func TestEveryKeyIsLiveOrNeedsARestart(t *testing.T) {
	text, err := os.ReadFile("testdata/live.txt")
	if err != nil {
		t.Fatal(err)
	}
	live := strings.Fields(string(text))
	all := keysOf("", reflect.TypeFor[File]())
	for _, key := range all {
		switch restart := takesRestart(key); {
		case restart && slices.Contains(live, key):
			t.Errorf("%s stands in restartKeys, and in testdata/live.txt too", key)
		case !restart && !slices.Contains(live, key):
			t.Errorf("%s is new. Does it take effect when the configuration is read again? Then add it to testdata/live.txt, in its place. If not, add it to restartKeys, with the reason", key)
		}
	}
	for _, key := range live {
		if !slices.Contains(all, key) {
			t.Errorf("testdata/live.txt has %s, which is no key", key)
		}
	}
	for _, k := range restartKeys {
		if k.reason == "" || !slices.ContainsFunc(all, func(key string) bool { return key == k.key || strings.HasPrefix(key, k.key+".") }) {
			t.Errorf("%s has no reason, or is no key", k.key)
		}
	}
	manual, err := os.ReadFile("../../docs/reload.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range restartKeys {
		if !strings.Contains(string(manual), "`"+k.key+"`") {
			t.Errorf("docs/reload.md does not name %s", k.key)
		}
	}
	for _, key := range pinnedKeys {
		if !slices.ContainsFunc(restartKeys, func(k restartKey) bool { return k.key == key || strings.HasPrefix(k.key, key+".") }) {
			t.Errorf("%s is pinned, and needs no restart", key)
		}
	}
}

// files writes a configuration and what it names.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.yaml")
}

const readAgain = `
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: me, clientSecretFile: secret}
proxy: {hosts: [{host: mcp.example.com, endpoint: "http://mcp:8080/mcp"}]}
keys: {source: seed, seedFiles: [seed]}
`

func newReader(t *testing.T, text string) (r *Reader, path string) {
	t.Helper()
	path = files(t, map[string]string{"config.yaml": text, "secret": "one", "seed": strings.Repeat("seed", 16), "deny.yaml": "subjects: []"})
	r = NewReader(path)
	if _, err := r.Load(); err != nil {
		t.Fatal(err)
	}
	return r, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A change counts once it stays, also one in a file that the configuration names,
// but for those that the service follows by itself.
func TestReaderSeesChanges(t *testing.T) {
	r, path := newReader(t, readAgain+"denyList: {file: deny.yaml}\n")
	looks := func(want ...bool) {
		t.Helper()
		for i, w := range want {
			if got := r.Changed(); got != w {
				t.Errorf("look %d: changed is %v", i, got)
			}
		}
	}
	looks(false, false)
	write(t, filepath.Join(filepath.Dir(path), "deny.yaml"), "subjects: [a]")
	looks(false, false)
	write(t, filepath.Join(filepath.Dir(path), "secret"), "two")
	looks(false, true, true)
	write(t, path, readAgain) // it was being written
	looks(false, true)
	if _, err := r.Load(); err != nil {
		t.Fatal(err)
	}
	looks(false, false)
	write(t, path, "nonsense: true")
	looks(false, true)
	if _, err := r.Load(); err == nil {
		t.Fatal("nonsense is accepted")
	}
	looks(false, false) // until it changes, it is nonsense
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	looks(false, true)
}

// Kubernetes replaces what it mounts by a symbolic link to another directory.
func TestReaderFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"..1": readAgain, "..2": readAgain + "limits: {requestsInFlight: 1000}\n"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "config.yaml"), text)
		write(t, filepath.Join(dir, name, "secret"), "one")
		write(t, filepath.Join(dir, name, "seed"), strings.Repeat("seed", 16))
	}
	link := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("..1")
	for _, name := range []string{"config.yaml", "secret", "seed"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(filepath.Join(dir, "config.yaml"))
	if _, err := r.Load(); err != nil {
		t.Fatal(err)
	}
	link("..2")
	r.Changed()
	if !r.Changed() {
		t.Fatal("the change is not seen")
	}
	if c, err := r.Load(); err != nil || c.Limits.RequestsInFlight != 1000 || len(c.Pending) > 0 {
		t.Errorf("%+v %v", c, err)
	}
}

// What needs a restart stays as it was at the start, by name, and the rest takes
// effect.
func TestReaderKeepsWhatNeedsARestart(t *testing.T) {
	r, path := newReader(t, readAgain)
	write(t, path, strings.Replace(readAgain, "seedFiles: [seed]", "seedFiles: [seed, secret2]", 1)+`
listen: {http: ":7000", grpc: ":7001", trustedProxies: ["10.0.0.0/8"]}
guard: {backend: redis, redis: {addresses: ["redis:6379"]}}
audit: {file: audit.log}
limits: {requestsInFlight: 1000}
`)
	write(t, filepath.Join(filepath.Dir(path), "secret2"), strings.Repeat("other", 16))
	c, err := r.Load()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"listen.http", "listen.grpc", "keys", "guard", "audit.file"}; !slices.Equal(c.Pending, want) {
		t.Errorf("pending are %v", c.Pending)
	}
	if c.Listen.HTTP != ":8080" || c.Listen.GRPC != "" || len(c.Keys.Seeds) != 1 || c.Guard.Backend != "memory" || c.AuditFile != "" {
		t.Errorf("what needs a restart took effect: %+v %+v", c.Listen, c.Guard)
	}
	if c.Limits.RequestsInFlight != 1000 || len(c.Listen.TrustedProxies) != 1 {
		t.Errorf("the rest did not: %+v %+v", c.Limits, c.Listen)
	}
	write(t, path, readAgain)
	if c, err = r.Load(); err != nil || len(c.Pending) > 0 {
		t.Errorf("back as it was: %v %v", c.Pending, err)
	}
}

// Other content of a file that a key names is another value of the key.
func TestReaderSeesAnotherSeed(t *testing.T) {
	r, path := newReader(t, readAgain)
	write(t, filepath.Join(filepath.Dir(path), "seed"), strings.Repeat("SEED", 16))
	if c, err := r.Load(); err != nil || !slices.Equal(c.Pending, []string{"keys"}) {
		t.Errorf("pending %v, %v", c, err)
	}
}

// What needs something that waits for a restart is refused as a whole: half of it in
// force would be worse than none.
func TestReaderRefusesWhatNeedsTheRestart(t *testing.T) {
	r, path := newReader(t, readAgain)
	write(t, path, strings.Replace(readAgain, `mcp"}]`, `mcp", envoyMCP: true}]`, 1)+"listen: {grpc: \":7001\"}\n")
	_, err := r.Load()
	if err == nil || !strings.Contains(err.Error(), "listen.grpc takes effect at the next start") || !strings.Contains(err.Error(), "proxy.hosts[0].envoyMCP: needs listen.grpc") {
		t.Errorf("got %v", err)
	}
}

// TLS itself is turned on at a start; certificates come and go at any time.
func TestReaderTLS(t *testing.T) {
	started, next := &Config{}, &Config{}
	next.TLS.Redirect = ":80"
	next.TLS.ACME.Enabled = true
	if got := started.needsRestart(next); !slices.Equal(got, []string{"tls.acme", "tls.redirect"}) {
		t.Errorf("ACME: %v", got)
	}
	*next = Config{}
	next.TLS.Files = append(next.TLS.Files, struct {
		CertFile string `json:"certFile"`
		KeyFile  string `json:"keyFile"`
	}{"a", "b"})
	if got := started.needsRestart(next); !slices.Equal(got, []string{tlsOn}) {
		t.Errorf("certificates: %v", got)
	}
	more := *next
	more.TLS.Files = append(slices.Clone(next.TLS.Files), next.TLS.Files[0])
	if got := next.needsRestart(&more); len(got) > 0 {
		t.Errorf("one more certificate: %v", got)
	}
}

// A file that changes all the time does not keep the changes of others from being read.
func TestReaderDoesNotWaitForEver(t *testing.T) {
	r, path := newReader(t, readAgain)
	secret := filepath.Join(filepath.Dir(path), "secret")
	seen := 0
	for n := range 3 * mostLooks {
		write(t, secret, fmt.Sprint("secret-", n))
		if !r.Changed() {
			continue
		}
		seen++
		if _, err := r.Load(); err != nil {
			t.Fatal(err)
		}
	}
	if seen != 3 {
		t.Errorf("it was read %d times in %d looks", seen, 3*mostLooks)
	}
}
