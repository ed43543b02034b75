package apikey_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	. "github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// made is a key and its entry.
func made(name string, edit ...func(*apikey.KeyFile)) (key string, entry apikey.KeyFile) {
	key, hash := apikey.NewKey()
	entry = apikey.KeyFile{Name: name, Hashes: []string{hash}, Scopes: []string{"notes:read"}, NeverExpires: true}
	for _, e := range edit {
		e(&entry)
	}
	return key, entry
}

// taking is a service whose default server takes these keys.
func taking(t *testing.T, edit func(*config.File), entries ...apikey.KeyFile) *Service {
	t.Helper()
	s := Start(t, Options{Edit: func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Enabled = true
		f.APIKeys.Keys = entries
		if edit != nil {
			edit(f)
		}
	}})
	WaitForTools(t, s)
	return s
}

// refused expects a denial in words about keys that sends no client to a sign-in.
func refused(t *testing.T, s *Service, a *Answer, reason string) {
	t.Helper()
	challenge := a.Header.Get("WWW-Authenticate")
	if a.Status != http.StatusUnauthorized || strings.Contains(challenge, "resource_metadata") || !strings.Contains(challenge, `error_description="the API key`) {
		t.Errorf("%s: %d %q", reason, a.Status, challenge)
	}
	if got := s.Log.Last(audit.AccessDenied)["reason"]; got != reason {
		t.Errorf("reason %q, want %q", got, reason)
	}
}

func TestKeyPasses(t *testing.T) {
	key, entry := made("ci", func(k *apikey.KeyFile) { k.Subject, k.Groups = "robots", []string{"deployers", "night shift"} })
	s := taking(t, nil, entry)
	for range 2 { // first seen, and remembered
		a := s.MustPass(t, Resource, key)
		for name, want := range map[string]string{
			"X-Auth-Request-User": "apikey:robots", "X-Auth-Request-Email": "-", "X-Auth-Request-Groups": "deployers,night shift",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	first := s.Log.Last(audit.FirstUse)
	if first["subject"] != "apikey:robots" || first["client"] != "apikey:ci" || first["scope"] != "notes:read" || first["token_id"] == "" {
		t.Errorf("audit: %v", first)
	}
	if strings.Contains(s.Log.String(), strings.Split(key, "_")[2]) {
		t.Error("the log holds a key")
	}
}

// What a key does not open a key does not get by asking: there is nothing to sign in to.
func TestKeyIsBound(t *testing.T) {
	reads, entry := made("reads")
	oneTool, other := made("one-tool", func(k *apikey.KeyFile) {
		k.Scopes, k.Tools = []string{"notes:read", "notes:write"}, []string{"notes_c*"}
	})
	s := taking(t, nil, entry, other)
	for _, tt := range []struct {
		key, tool string
		passes    bool
	}{
		{reads, "notes_list", true}, {reads, "notes_create", false},
		{oneTool, "notes_create", true}, {oneTool, "notes_list", false}, {oneTool, "notes_delete", false},
	} {
		a := CallTool(t, s, tt.key, tt.tool)
		if tt.passes != (a.Status == http.StatusOK) {
			t.Errorf("%s: %d %s", tt.tool, a.Status, a.Body)
		}
		if tt.passes {
			continue
		}
		denied := s.Log.Last(audit.AccessDenied)
		if a.Status != http.StatusForbidden || a.Header.Get("WWW-Authenticate") != "" || !strings.Contains(a.Body, "the API key") || denied["reason"] != "api_key_not_enough" || denied["mcp_tool"] != tt.tool {
			t.Errorf("%s: %d %s %v", tt.tool, a.Status, a.Body, denied)
		}
	}
	// Where the tool is not known, a bound on tools closes all.
	if a := s.Ask(t, Resource, oneTool); a.Status != http.StatusForbidden {
		t.Errorf("a request without a tool: %d", a.Status)
	}
}

func TestKeyIsRefused(t *testing.T) {
	key, entry := made("ci", func(k *apikey.KeyFile) { k.Resources = []string{"https://two.example/mcp"} })
	short, ends := made("ends", func(k *apikey.KeyFile) {
		k.NeverExpires, k.Expires = false, time.Now().Add(time.Hour).Format(time.RFC3339)
	})
	unknown, _ := apikey.NewKey()
	s := taking(t, func(f *config.File) {
		second, third := f.Proxy.Hosts[0], f.Proxy.Hosts[0]
		second.Host, third.Host, third.APIKeys.Enabled = "two.example", "three.example", false
		f.Proxy.Hosts = append(f.Proxy.Hosts, second, third)
	}, entry, ends)

	refused(t, s, s.Ask(t, Resource, unknown), "api_key_unknown")
	refused(t, s, s.Ask(t, Resource, key[:len(key)-1]), "api_key_malformed")
	other := "x"
	if key[20:21] == other {
		other = "y"
	}
	refused(t, s, s.Ask(t, Resource, key[:20]+other+key[21:]), "api_key_malformed")
	refused(t, s, s.Ask(t, "https://three.example/mcp", short), "api_key_not_accepted")

	refused(t, s, s.Ask(t, Resource, key), "api_key_not_accepted")
	if who := s.Log.Last(audit.AccessDenied)["client"]; who != "apikey:ci" {
		t.Errorf("the audit log calls the key %q", who)
	}
	s.MustPass(t, "https://two.example/mcp", key)

	s.MustPass(t, Resource, short)
	s.Clock.Advance(2 * time.Hour)
	refused(t, s, s.Ask(t, Resource, short), "api_key_expired")                  // remembered
	refused(t, s, s.Ask(t, "https://two.example/mcp", short), "api_key_expired") // never seen there
	if who := s.Log.Last(audit.AccessDenied)["client"]; who != "apikey:ends" {
		t.Errorf("the audit log calls the key %q", who)
	}
}

// A key comes in one header, once, and never in the query.
func TestWhereKeysCome(t *testing.T) {
	key, entry := made("ci")
	s := taking(t, func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Header = "X-Api-key"
		second := f.Proxy.Hosts[0]
		second.Host, second.APIKeys.Header = "two.example", ""
		f.Proxy.Hosts = append(f.Proxy.Hosts, second)
	}, entry)
	token := s.NewClient(t, Host, nil).AccessToken(t, s.NewBrowser())

	if a := s.Ask(t, Resource, "", "X-API-Key", key); a.Status != http.StatusOK {
		t.Errorf("in its own header: %d %s", a.Status, a.Body)
	}
	for name, a := range map[string]*Answer{
		"in both":                        s.Ask(t, Resource, key, "X-API-Key", key),
		"beside a token":                 s.Ask(t, Resource, token, "X-API-Key", key),
		"beside another scheme":          s.Ask(t, Resource, "", "X-API-Key", key, "Authorization", "Basic eDp5"),
		"twice":                          s.Ask(t, Resource, "", "X-API-Key", key, "X-API-Key", key),
		"two in one line":                s.Ask(t, Resource, "", "X-API-Key", key+", "+key),
		"empty":                          s.Ask(t, Resource, "", "X-API-Key", ""),
		"a token in the header for keys": s.Ask(t, Resource, "", "X-API-Key", token),
		"in a header of another name":    s.Ask(t, Resource, "", "Api-Key", key),
		"where no header is configured":  s.Ask(t, "https://two.example/mcp", "", "X-API-Key", key),
		"in the query":                   s.Ask(t, Resource+"?api_key="+key+"&access_token="+key, ""),
		"as a user name":                 s.Ask(t, Resource, "", "Authorization", "Basic "+key),
	} {
		if a.Status == http.StatusOK {
			t.Errorf("a key %s passed", name)
		}
	}
	s.MustPass(t, Resource, token)
}

// A key that may come from some networks only is refused where the gateway does
// not say where a request came from.
func TestKeySources(t *testing.T) {
	key, entry := made("ci", func(k *apikey.KeyFile) {
		k.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	})
	inside, other := made("inside", func(k *apikey.KeyFile) { k.Sources = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s := taking(t, func(f *config.File) {
		for _, p := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8"} {
			f.Listen.TrustedProxies = append(f.Listen.TrustedProxies, netip.MustParsePrefix(p))
		}
	}, entry, other)
	ask := func(forwarded ...string) *Answer {
		var header []string
		for _, line := range forwarded {
			header = append(header, "X-Forwarded-For", line)
		}
		return s.Ask(t, Resource, key, header...)
	}
	for range 2 { // first seen, and remembered
		for _, good := range [][]string{{"192.0.2.7"}, {"198.51.100.1, 192.0.2.7"}, {"192.0.2.7, 10.1.1.1"}, {"198.51.100.1", "192.0.2.7"}, {"2001:db8::1"}} {
			if a := ask(good...); a.Status != http.StatusOK {
				t.Errorf("%v: %d %s", good, a.Status, a.Body)
			}
		}
		for _, bad := range [][]string{{}, {""}, {"198.51.100.1"}, {"192.0.2.7, 198.51.100.1"}, {"192.0.2.7", "198.51.100.1"}, {"192.0.2.7, unknown"}, {"192.0.2.7.1"}} {
			refused(t, s, ask(bad...), "api_key_wrong_source")
		}
	}
	// The gateway itself is not the client, though it asks from a network of the key.
	for _, untold := range [][]string{{}, {"X-Forwarded-For", ""}, {"X-Forwarded-For", "unknown"}} {
		refused(t, s, s.Ask(t, Resource, inside, untold...), "api_key_wrong_source")
	}
	if a := s.Ask(t, Resource, inside, "X-Forwarded-For", "127.0.0.9"); a.Status != http.StatusOK {
		t.Errorf("a client inside: %d", a.Status)
	}
}

// A server that takes keys alone sends no client to a sign-in, neither by its
// challenge nor by documents.
func TestKeysOnly(t *testing.T) {
	key, entry := made("ci", func(k *apikey.KeyFile) { k.Scopes = []string{"notes:read"} })
	s := Start(t, Options{Edit: Edits(WithoutOwnTokens, func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Enabled, f.APIKeys.Keys = true, []apikey.KeyFile{entry}
	})})
	s.MustPass(t, Resource, key)
	a := s.Ask(t, Resource, "")
	if challenge := a.Header.Get("WWW-Authenticate"); a.Status != http.StatusUnauthorized || challenge != "Bearer" || !strings.Contains(a.Body, "an API key is required") {
		t.Errorf("without a key: %d %q %s", a.Status, challenge, a.Body)
	}
	s.MustNotPass(t, Resource, "eyJhbGciOiJub25lIn0.e30.x", "invalid_token")
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/.well-known/oauth-protected-resource/mcp", "/authorize"} {
		if a := s.Get(t, "https://"+Host+path); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
	for _, path := range []string{"/token", "/register"} {
		if a := s.Send(t, Request(t, http.MethodPost, "https://"+Host+path, "")); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}

// The policy and the deny-list know keys by their names.
func TestPolicyOfKeys(t *testing.T) {
	key, entry := made("ci", func(k *apikey.KeyFile) {
		k.Scopes, k.Groups, k.Subject = []string{"notes:read", "notes:write"}, []string{"robots"}, "bot"
	})
	for name, tt := range map[string]struct {
		rule         rule.Rule
		reads, write bool
	}{
		"for everyone":     {rule.Rule{Effect: "allow", Anyone: true, Scopes: []string{"notes:read"}}, true, false},
		"its subject":      {rule.Rule{Effect: "allow", Users: []string{"apikey:bot"}}, true, true},
		"another subject":  {rule.Rule{Effect: "allow", Users: []string{"apikey:ci"}}, false, false},
		"a person's name":  {rule.Rule{Effect: "allow", Users: []string{"bot"}}, false, false},
		"its group":        {rule.Rule{Effect: "allow", Groups: []string{"robots"}, Tools: []string{"notes_create"}}, false, true},
		"the kind of key":  {rule.Rule{Effect: "allow", ClientKinds: []string{"key"}}, true, true},
		"other clients":    {rule.Rule{Effect: "allow", ClientKinds: []string{"dynamic"}}, false, false},
		"people of a mail": {rule.Rule{Effect: "allow", EmailDomains: []string{"example.com"}}, false, false},
		"of the provider":  {rule.Rule{Effect: "allow", Providers: []string{"static"}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := taking(t, func(f *config.File) { f.Policy.Rules = []rule.Rule{tt.rule} }, entry)
			for tool, want := range map[string]bool{"notes_list": tt.reads, "notes_create": tt.write} {
				if got := CallTool(t, s, key, tool).Status == http.StatusOK; got != want {
					t.Errorf("%s passes: %v", tool, got)
				}
			}
		})
	}
}

// follow is a service with a file of keys, and what writes another content and
// waits until it is in force or refused.
func follow(t *testing.T, content string) (s *Service, write func(content string, event audit.Event)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	put := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(content)
	s = Start(t, Options{Files: map[string]string{path: ""}, Edit: func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Enabled = true
		f.APIKeys.File = path
	}})
	return s, func(content string, event audit.Event) {
		t.Helper()
		before := len(s.Log.Entries())
		put(content)
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			for _, e := range s.Log.Entries()[before:] {
				if e["event"] == string(event) {
					return
				}
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("no %s", event)
			}
		}
	}
}

func TestKeyFileIsFollowed(t *testing.T) {
	line := func(name, hashes string) string {
		return fmt.Sprintf("- {name: %s, hashes: [%s], scopes: [notes:read], expires: 2099-12-31}\n", name, hashes)
	}
	old, oldHash := apikey.NewKey()
	next, nextHash := apikey.NewKey()
	s, write := follow(t, "keys:\n"+line("ci", oldHash))
	s.MustPass(t, Resource, old)
	refused(t, s, s.Ask(t, Resource, next), "api_key_unknown")

	write("keys:\n"+line("ci", oldHash+", "+nextHash), audit.APIKeysLoaded)
	s.MustPass(t, Resource, old)
	s.MustPass(t, Resource, next)

	write("keys:\n"+line("ci", "not a hash"), audit.APIKeysBroken)
	s.MustPass(t, Resource, old)
	s.MustPass(t, Resource, next)
	if _, metrics := s.Management(t, "/metrics"); !strings.Contains(metrics, "mcp_forward_auth_api_keys_file_broken 1") || !strings.Contains(metrics, "mcp_forward_auth_api_keys 2") {
		t.Error("the metrics do not tell of a broken file")
	}

	write("keys:\n"+line("ci", nextHash), audit.APIKeysLoaded)
	refused(t, s, s.Ask(t, Resource, old), "api_key_unknown") // though it was remembered
	s.MustPass(t, Resource, next)

	write("keys: []\n", audit.APIKeysLoaded)
	refused(t, s, s.Ask(t, Resource, next), "api_key_unknown")
}
