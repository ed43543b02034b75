package apikey

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

const one, two = "https://mcp.example.com/mcp", "https://mcp.example.com/two"

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func where() Where {
	return Where{Resources: map[string]bool{one: true, two: false}, Addresses: true}
}

// zeros is a hash with that id.
func zeros(id string) string { return id + hashName + strings.Repeat("0", 64) }

func resolve(t *testing.T, yaml string, where Where) (Config, *conf.Check) {
	t.Helper()
	c := &conf.Check{ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }}
	var file struct {
		APIKeys File `json:"apiKeys"`
	}
	c.Decode([]byte(yaml), &file)
	return file.APIKeys.Resolve(conf.Section{Check: c, At: "apiKeys"}, where, now), c
}

func TestResolve(t *testing.T) {
	got, c := resolve(t, fmt.Sprintf(`
apiKeys:
  keys:
  - name: ci
    hashes: [%s, %s]
    subject: robots
    groups: [deployers]
    scopes: [read]
    resources: [%s]
    tools: [get_*]
    expires: 2027-01-31
    sources: [10.0.0.0/8]
  - name: forever
    hashes: [%s]
    scopes: [mcp]
    neverExpires: true
`, zeros("AAAAAAAA"), zeros("BBBBBBBB"), one, zeros("12345678")), where())
	if err := c.Err(); err != nil || len(c.Warnings) > 0 {
		t.Fatal(err, c.Warnings)
	}
	ci, forever := got.Keys[0], got.Keys[1]
	if ci.Subject != "robots" || len(ci.Hashes) != 2 || len(ci.Sources) != 1 || !ci.Expires.Equal(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", ci)
	}
	if forever.Subject != "forever" || !forever.Expires.IsZero() {
		t.Errorf("%+v", forever)
	}
}

// Every mistake is told at once, with its path and without the secret that may
// stand in the wrong place.
func TestMistakes(t *testing.T) {
	key, hash := NewKey()
	entry := func(lines ...string) string {
		e := map[string]string{"name": "k", "hashes": "[" + zeros("AAAAAAAA") + "]", "scopes": "[mcp]", "expires": "2027-01-31"}
		var b strings.Builder
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			e[name] = value
		}
		sign := "- "
		for _, name := range []string{"name", "hashes", "subject", "groups", "scopes", "resources", "tools", "expires", "neverExpires", "sources"} {
			if e[name] != "" {
				fmt.Fprintf(&b, "  %s%s: %s\n", sign, name, e[name])
				sign = "  "
			}
		}
		return b.String()
	}
	other := entry("name: other", "hashes: ["+zeros("BBBBBBBB")+"]")
	for _, tt := range []struct{ name, entries, path, problem string }{
		{"no name", entry("name: "), "keys[0].name", "is required"},
		{"a name that is no name", entry("name: a b"), "keys[0].name", "is not a name"},
		{"a key for a name", entry("name: " + key), "keys[0].name", "is a key"},
		{"name twice", entry() + entry("hashes: ["+hash+"]"), "keys[1].name", "is the name of apiKeys.keys[0] too"},
		{"id twice", entry() + entry("name: l"), "keys[1].hashes[0]", "is the id of a key of apiKeys.keys[0] already"},
		{"id twice in one", entry("hashes: [" + zeros("AAAAAAAA") + ", " + zeros("AAAAAAAA") + "]"), "keys[0].hashes[1]", "already"},
		{"no hash", entry("hashes: "), "keys[0].hashes", "is required"},
		{"the key itself", entry("hashes: [" + key + "]"), "keys[0].hashes[0]", "is a key and not its hash"},
		{"hash of something else", entry("hashes: [" + strings.Repeat("a", 64) + "]"), "keys[0].hashes[0]", "is not the hash of a key"},
		{"hash too short", entry("hashes: [" + zeros("AAAAAAAA")[:60] + "]"), "keys[0].hashes[0]", "another number of digits"},
		{"hash in capitals", entry("hashes: [AAAAAAAA:sha256:" + strings.Repeat("A", 64) + "]"), "keys[0].hashes[0]", "lower case"},
		{"hash of other letters", entry("hashes: [AAAAAAAA:sha256:" + strings.Repeat("g", 64) + "]"), "keys[0].hashes[0]", "lower case"},
		{"hash of a short id", entry("hashes: [" + zeros("AAAAAAA") + "]"), "keys[0].hashes[0]", "is not the hash of a key"},
		{"hash of an id that is none", entry("hashes: [" + zeros("AAAA-AAA") + "]"), "keys[0].hashes[0]", "is not the hash of a key"},
		{"too many hashes", entry("hashes: [a, b, c, d, e]"), "keys[0].hashes", "at most 4"},
		{"no scopes", entry("scopes: "), "keys[0].scopes", `"mcp"`},
		{"a scope with a space", entry("scopes: [a b]"), "keys[0].scopes[0]", "is not a scope"},
		{"a subject that is a person's", entry("subject: google:1234"), "keys[0].subject", "is not a name"},
		{"a group with a comma", entry(`groups: ["a,b"]`), "keys[0].groups[0]", "comma"},
		{"no such server", entry("resources: [https://mcp.example.com/three]"), "keys[0].resources[0]", "is not one of proxy.hosts"},
		{"a server without keys", entry("resources: [" + two + "]"), "keys[0].resources[0]", "takes no API keys"},
		{"a tool with an asterisk inside", entry(`tools: ["a*b"]`), "keys[0].tools[0]", "asterisk"},
		{"no end", entry("expires: "), "keys[0].expires", "is required"},
		{"an end and none", entry("neverExpires: true"), "keys[0].neverExpires", "excludes expires"},
		{"a day that is none", entry("expires: 2027-02-30"), "keys[0].expires", "is neither a date"},
		{"a network that is none", entry("sources: [10.0.0.1/8]"), "keys[0].sources[0]", "10.0.0.0/8"},
		{"two mistakes", entry("scopes: ") + other, "keys[0].scopes", "is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := resolve(t, "apiKeys:\n  keys:\n"+tt.entries, where())
			err := c.Err()
			if err == nil || !strings.Contains(err.Error(), "apiKeys."+tt.path+": ") || !strings.Contains(err.Error(), tt.problem) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), key[:20]) {
				t.Error("the mistake shows a key")
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	yaml := "apiKeys:\n  keys:\n  - {name: k, hashes: [" + zeros("AAAAAAAA") + "], scopes: [mcp], expires: 2026-11-29}\n"
	if _, c := resolve(t, yaml, where()); len(c.Warnings) != 1 || c.Warnings[0].Path != "apiKeys.keys[0].expires" || c.Err() != nil {
		t.Errorf("an expired key: %v, %v", c.Warnings, c.Err())
	}
	closed := where()
	closed.Resources = map[string]bool{one: false}
	if _, c := resolve(t, strings.Replace(yaml, "2026-11-29", "2026-11-30", 1), closed); len(c.Warnings) != 1 || c.Warnings[0].Path != "apiKeys" {
		t.Errorf("no server takes keys: %v", c.Warnings)
	}
	blind := where()
	blind.Addresses = false
	if _, c := resolve(t, strings.Replace(yaml, "scopes", "sources: [10.0.0.0/8], scopes", 1), blind); c.Err() == nil || !strings.Contains(c.Err().Error(), "trustedProxies") {
		t.Errorf("sources without trusted proxies: %v", c.Err())
	}
	if _, c := resolve(t, "apiKeys: {file: missing.yaml}", where()); c.Err() == nil || !strings.Contains(c.Err().Error(), "apiKeys.file: there is no such file") {
		t.Errorf("a file that is not there: %v", c.Err())
	}
}

func TestWebhookMistakes(t *testing.T) {
	for _, tt := range []struct{ section, path, problem string }{
		{`{prefixes: [ok1-]}`, "url", "is required"},
		{`{url: "ftp://x.example/auth", prefixes: [ok1-]}`, "url", "is not an http or https URL"},
		{`{url: "https://x.example/auth?key=1", prefixes: [ok1-]}`, "url", "must not have a query"},
		{`{url: "https://x.example/auth"}`, "prefixes", "is required"},
		{`{url: "https://x.example/auth", prefixes: [a]}`, "prefixes[0]", "3 to 64"},
		{`{url: "https://x.example/auth", prefixes: ["ok 1"]}`, "prefixes[0]", "3 to 64"},
		{`{url: "https://x.example/auth", prefixes: ["ok,1"]}`, "prefixes[0]", "3 to 64"},
		{`{url: "https://x.example/auth", prefixes: [` + strings.Repeat("a", 65) + `]}`, "prefixes[0]", "3 to 64"},
		{`{url: "https://x.example/auth", prefixes: [eyJhbGci]}`, "prefixes[0]", "every signed token"},
		{`{url: "https://x.example/auth", prefixes: [mfk_1]}`, "prefixes[0]", "keys of this service"},
		{`{url: "https://x.example/auth", prefixes: [mfk]}`, "prefixes[0]", "keys of this service"},
		{`{url: "https://x.example/auth", prefixes: [ok1-], timeout: 1m}`, "timeout", "is not between"},
	} {
		_, c := resolve(t, "apiKeys: {webhook: "+tt.section+"}", where())
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "apiKeys.webhook."+tt.path+": ") || !strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", tt.section, err)
		}
	}
	if _, c := resolve(t, `apiKeys: {webhook: {url: "http://keys.default.svc/auth", prefixes: [ok1-]}}`, where()); c.Err() != nil || len(c.Warnings) != 1 {
		t.Errorf("http inside a cluster: %v %v", c.Err(), c.Warnings)
	}
	if _, c := resolve(t, "apiKeys: {keys: [{name: webhook, hashes: ["+zeros("AAAAAAAA")+"], scopes: [mcp], neverExpires: true}]}", where()); c.Err() == nil {
		t.Error("a key has the name of those of the webhook")
	}
}
