package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Whatever strangers send, to whatever endpoint, the audit log grows by so much
// a minute: what is more is counted. Nothing that a stranger says at the gateway
// stands in it.
func TestFloodOfTheAuditLog(t *testing.T) {
	t.Parallel()
	const each, atMost = 300, 130
	issuer := servertest.Issuer(servertest.Host)
	words := strings.Repeat("w", 900)
	form := func(t *testing.T, path, body string) *http.Request {
		return servertest.Request(t, http.MethodPost, issuer+path, body, "Content-Type", "application/x-www-form-urlencoded", "Origin", issuer)
	}
	for name, request := range map[string]func(t *testing.T, i int) *http.Request{
		"authenticate": func(t *testing.T, i int) *http.Request {
			return servertest.Request(t, "GET", issuer+"/authenticate", "", "X-Original-URL", servertest.Resource, "X-Original-Method", "POST", "Authorization", "Bearer x"+strconv.Itoa(i),
				"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", words+strconv.Itoa(i), "Mcp-Name", words)
		},
		"authenticate, unknown hosts": func(t *testing.T, i int) *http.Request {
			return servertest.Request(t, "GET", issuer+"/authenticate", "", "X-Original-URL", fmt.Sprintf("https://%d.%s.example/mcp", i, words[:50]), "X-Original-Method", "POST", "Mcp-Method", words, "Mcp-Name", words)
		},
		"authorize": func(t *testing.T, i int) *http.Request {
			return servertest.Request(t, "GET", issuer+"/authorize?response_type=code&client_id="+words+strconv.Itoa(i)+"&redirect_uri=https://"+words[:60]+".example/cb", "")
		},
		"token": func(t *testing.T, i int) *http.Request {
			return form(t, "/token", "grant_type=authorization_code&code="+words+"&client_id="+words+strconv.Itoa(i))
		},
		"register": func(t *testing.T, i int) *http.Request {
			return servertest.Request(t, "POST", issuer+"/register", `{"client_name":"`+words+strconv.Itoa(i)+`","redirect_uris":["x"]}`, "Content-Type", "application/json")
		},
		"revoke": func(t *testing.T, i int) *http.Request { return form(t, "/revoke", "token="+words+"&client_id="+words) },
		"introspect": func(t *testing.T, i int) *http.Request {
			return form(t, "/introspect", "token="+words+"&client_id="+words)
		},
		"consent": func(t *testing.T, i int) *http.Request {
			return form(t, "/consent", "request="+words+"&decision=allow")
		},
		"login": func(t *testing.T, i int) *http.Request { return form(t, "/login", "username="+words+"&password=x") },
		"callback": func(t *testing.T, i int) *http.Request {
			return servertest.Request(t, "GET", issuer+"/callback?code="+words+"&state="+words[:26], "")
		},
	} {
		t.Run("ATK-51 "+name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "audit.log")
			s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
				f.Audit.File, f.Introspection.Enabled = file, true
			}})
			for i := range each {
				s.Send(t, request(t, i))
			}
			s.Stop()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines, counted := 0, 0
			for line := range strings.Lines(string(text)) {
				var record struct{ Audit map[string]string }
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Fatal(err)
				}
				if record.Audit["event"] == "key.generated" {
					continue
				}
				lines++
				n, _ := strconv.Atoi(record.Audit["count"])
				counted += max(1, n)
			}
			if lines == 0 || lines > atMost || counted < each {
				t.Errorf("%d lines, %d bytes, stand for %d entries of %d requests", lines, len(text), counted, each)
			}
			t.Logf("%d lines, %d bytes", lines, len(text))
			if strings.HasPrefix(name, "authenticate") && strings.Contains(string(text), words[:50]) {
				t.Error("a stranger's words are in the log")
			}
		})
	}
}
