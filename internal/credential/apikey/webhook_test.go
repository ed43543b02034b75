package apikey_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	. "github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// hook is an operator's endpoint that says what the test says of every key.
type hook struct {
	*httptest.Server
	answer atomic.Value // of a func(w http.ResponseWriter, key string)
	asked  atomic.Int32
	last   atomic.Pointer[http.Request]
	body   atomic.Value
}

func newHook(t *testing.T) *hook {
	h := new(hook)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		h.body.Store(string(body))
		h.last.Store(r)
		h.answer.Load().(func(http.ResponseWriter, string))(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) says(status int, body string) {
	h.answer.Store(func(w http.ResponseWriter, _ string) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

const allowed = `{"allowed": true, "sub": "7", "name": "Build robot", "email": "bot@example.com", "groups": ["robots"], "scopes": ["notes:read"]}`

// hooked is a service that asks h about keys that begin with ok1-.
func hooked(t *testing.T, h *hook, edit func(*config.File)) *Service {
	t.Helper()
	s := Start(t, Options{Files: map[string]string{"token": "let-me-ask"}, Edit: func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Enabled = true
		f.APIKeys.Webhook.URL, f.APIKeys.Webhook.Prefixes = h.URL+"/auth", []string{"ok1-"}
		if edit != nil {
			edit(f)
		}
	}})
	WaitForTools(t, s)
	return s
}

func TestWebhook(t *testing.T) {
	h := newHook(t)
	h.says(200, allowed)
	s := hooked(t, h, func(f *config.File) {
		f.Proxy.Hosts[0].APIKeys.Header = "X-API-Key"
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Groups: []string{"robots"}}}
	})
	a := s.MustPass(t, Resource, "ok1-secret-one")
	if a.Header.Get("X-Auth-Request-User") != "apikey:webhook:7" || a.Header.Get("X-Auth-Request-Email") != "bot@example.com" || a.Header.Get("X-Auth-Request-Groups") != "robots" {
		t.Errorf("identity %v", a.Header)
	}
	if r := h.last.Load(); r.Method != http.MethodPost || r.URL.String() != "/auth" || r.Header.Get("Authorization") != "Bearer ok1-secret-one" || h.body.Load() != `{"mcpId":"`+Resource+`"}` {
		t.Errorf("the webhook was asked %s %s %v", r.Method, r.URL, h.body.Load())
	}
	if s.Ask(t, Resource, "", "X-API-Key", "ok1-secret-one").Status != http.StatusOK {
		t.Error("in the header for keys it does not pass")
	}
	if CallTool(t, s, "ok1-secret-one", "notes_list").Status != http.StatusOK || CallTool(t, s, "ok1-secret-one", "notes_create").Status != http.StatusForbidden {
		t.Error("its scopes are not those of the answer")
	}
	if first := s.Log.Last(audit.FirstUse); first["subject"] != "apikey:webhook:7" || first["client"] != "apikey:webhook" {
		t.Errorf("audit: %v", first)
	}
	if strings.Contains(s.Log.String(), "secret-one") {
		t.Error("the log holds a key")
	}
	before := h.asked.Load()
	for _, other := range []string{"ok2-secret", "eyJhbGciOiJub25lIn0.e30.", "nothing"} {
		s.MustNotPass(t, Resource, other, "invalid_token")
	}
	if h.asked.Load() != before {
		t.Error("what is no key of the webhook was sent there")
	}
}

// A thousand requests with one key are one question, and what the webhook says
// later counts within its time.
func TestWebhookIsAskedOnce(t *testing.T) {
	h := newHook(t)
	h.says(200, allowed)
	// The clock goes on while a busy machine works: the times are far apart.
	s := hooked(t, h, func(f *config.File) {
		f.APIKeys.Webhook.Cache, f.APIKeys.Webhook.Negative = 10*time.Minute, time.Minute
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 50 {
				if a := s.Ask(t, Resource, "ok1-key"); a.Status != http.StatusOK {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	all.Wait()
	if n := h.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
	h.says(403, `{"allowed": false, "reason": "revoked"}`)
	s.Clock.Advance(5 * time.Minute)
	s.MustPass(t, Resource, "ok1-key")
	s.Clock.Advance(6 * time.Minute)
	for range 3 {
		refused(t, s, s.Ask(t, Resource, "ok1-key"), "api_key_refused")
	}
	if n := h.asked.Load(); n != 2 {
		t.Errorf("%d questions", n)
	}
	h.says(200, allowed)
	s.Clock.Advance(2 * time.Minute)
	s.MustPass(t, Resource, "ok1-key")
}

// What is no answer lets no key in, is not remembered, and sends no client away.
func TestWebhookFaults(t *testing.T) {
	h := newHook(t)
	s := hooked(t, h, func(f *config.File) { f.APIKeys.Webhook.Timeout = 200 * time.Millisecond })
	member := func(text string) string {
		return strings.Replace(allowed, `"allowed": true`, `"allowed": true, `+text, 1)
	}
	i := 0
	for name, answer := range map[string]func(w http.ResponseWriter, key string){
		"500": func(w http.ResponseWriter, _ string) { w.WriteHeader(500); fmt.Fprint(w, allowed) },
		"404": func(w http.ResponseWriter, _ string) { w.WriteHeader(404) },
		"redirects": func(w http.ResponseWriter, _ string) {
			w.Header().Set("Location", h.URL+"/elsewhere")
			w.WriteHeader(307)
		},
		"hangs": func(w http.ResponseWriter, _ string) { time.Sleep(400 * time.Millisecond); fmt.Fprint(w, allowed) },
		"a megabyte": func(w http.ResponseWriter, _ string) {
			fmt.Fprint(w, strings.Replace(allowed, "Build robot", strings.Repeat("x", 1<<20), 1))
		},
		"no JSON":               func(w http.ResponseWriter, _ string) { fmt.Fprint(w, "yes") },
		"a list":                func(w http.ResponseWriter, _ string) { fmt.Fprint(w, "["+allowed+"]") },
		"allowed twice":         func(w http.ResponseWriter, _ string) { fmt.Fprint(w, member(`"allowed": true`)) },
		"allowed is text":       func(w http.ResponseWriter, _ string) { fmt.Fprint(w, strings.Replace(allowed, "true", `"true"`, 1)) },
		"allowed with 403":      func(w http.ResponseWriter, _ string) { w.WriteHeader(403); fmt.Fprint(w, allowed) },
		"no allowed":            func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"sub": "7"}`) },
		"no subject":            func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"allowed": true}`) },
		"a scope of two words":  func(w http.ResponseWriter, _ string) { fmt.Fprint(w, strings.Replace(allowed, "notes:read", "a b", 1)) },
		"an end that is a word": func(w http.ResponseWriter, _ string) { fmt.Fprint(w, member(`"exp": "tomorrow"`)) },
	} {
		i++
		key := fmt.Sprint("ok1-", i)
		h.answer.Store(answer)
		for range 2 {
			before := h.asked.Load()
			a := s.Ask(t, Resource, key)
			if a.Status != http.StatusServiceUnavailable || a.Header.Get("WWW-Authenticate") != "" || s.Log.Last(audit.AccessDenied)["reason"] != "verifier_unavailable" {
				t.Errorf("%s: %d %v %v", name, a.Status, a.Header["Www-Authenticate"], s.Log.Last(audit.AccessDenied))
			}
			if h.asked.Load() == before {
				t.Errorf("%s: it is remembered", name)
			}
		}
		h.says(200, allowed)
		s.MustPass(t, Resource, key)
	}
}

func TestWebhookAnswers(t *testing.T) {
	h := newHook(t)
	h.answer.Store(func(w http.ResponseWriter, key string) {
		answer := map[string]any{"allowed": true, "sub": "7"}
		switch key {
		case "ok1-tools":
			answer["scopes"], answer["tools"] = "notes:read notes:write", []string{"notes_create"}
		case "ok1-ends":
			answer["exp"] = time.Now().Add(10 * time.Second).Unix()
		case "ok1-ended":
			answer["exp"] = time.Now().Add(-10 * time.Second).Unix()
		case "ok1-none":
			answer["scopes"] = []string{}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	s := hooked(t, h, func(f *config.File) {
		f.APIKeys.Webhook.Scopes = []string{"notes:read"}
		second := f.Proxy.Hosts[0]
		second.Host, second.APIKeys.Enabled = "two.example", false
		f.Proxy.Hosts = append(f.Proxy.Hosts, second)
	})
	for _, tt := range []struct {
		key, tool string
		passes    bool
	}{
		{"ok1-plain", "notes_list", true}, {"ok1-plain", "notes_create", false}, {"ok1-none", "notes_list", false},
		{"ok1-tools", "notes_create", true}, {"ok1-tools", "notes_list", false}, {"ok1-ends", "notes_list", true},
	} {
		if got := CallTool(t, s, tt.key, tt.tool).Status == http.StatusOK; got != tt.passes {
			t.Errorf("%s, %s: %v", tt.key, tt.tool, got)
		}
	}
	refused(t, s, s.Ask(t, Resource, "ok1-ended"), "api_key_expired")
	before := h.asked.Load()
	refused(t, s, s.Ask(t, "https://two.example/mcp", "ok1-plain"), "api_key_not_accepted")
	if h.asked.Load() != before {
		t.Error("the webhook was asked about a key at a server that takes none")
	}
	s.Clock.Advance(11 * time.Second)
	before = h.asked.Load()
	s.Ask(t, Resource, "ok1-ends")
	if h.asked.Load() == before {
		t.Error("an answer counts beyond the end of its key")
	}
}

// What the webhook says of a key at one server is not what it says at another.
func TestWebhookAnswersForOneServer(t *testing.T) {
	h := newHook(t)
	h.answer.Store(func(w http.ResponseWriter, _ string) {
		fmt.Fprint(w, map[bool]string{true: allowed, false: `{"allowed": false}`}[h.body.Load() == `{"mcpId":"`+Resource+`"}`])
	})
	s := hooked(t, h, func(f *config.File) {
		second := f.Proxy.Hosts[0]
		second.Host = "two.example"
		f.Proxy.Hosts = append(f.Proxy.Hosts, second)
	})
	for range 2 {
		s.MustPass(t, Resource, "ok1-key")
		refused(t, s, s.Ask(t, "https://two.example/mcp", "ok1-key"), "api_key_refused")
	}
	if n := h.asked.Load(); n != 2 {
		t.Errorf("%d questions about two servers", n)
	}
}
