package relay

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

var identity = []string{"X-Auth-Request-User", "X-Corp-Person"}

func TestStripped(t *testing.T) {
	s := stripping(&resource.Serving{RequestHeaders: []string{"X-Api-Key", "X-Corp-Person"}}, identity)
	for name, want := range map[string]bool{
		"Accept": true, "Content-Type": true, "Mcp-Method": true, "Mcp-Session-Id": true, "Last-Event-Id": true, "Traceparent": true, "X-Tenant": true, "X-Api-Key": true,
		"Authorization": false, "Cookie": false, "Dpop": false, "Forwarded": false, "X-Forwarded-User": false, "X-Forwarded-Access-Token": false, "X-Corp-Person": false,
		"X_Corp_Person": false, "x_corp-person": false, "X-Corp_Person": false, "X.Corp.Person": false, "Remote-User": false, "X-Auth-Request-Groups": false,
		"Proxy": false, "Origin": false, "X-Envoy-Original-Path": false, "Content_length": false, "X-Http-Method-Override": false, "": false, "Na\u00efve": false,
	} {
		if s.toServer(name) != want {
			t.Errorf("%q reaches the server: %v", name, !want)
		}
	}
}

// No header of the list reaches a server in any spelling that a server could take for it.
func FuzzStripped(f *testing.F) {
	for _, name := range append(append([]string{"X-Tenant"}, keptFromServer...), identity...) {
		f.Add(name, "X-Other")
	}
	s := stripping(&resource.Serving{}, identity)
	known := map[string]bool{}
	for name := range s.fromServer {
		known[flat(name)] = true
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		h := http.Header{}
		for _, name := range []string{a, b, strings.ReplaceAll(a, "-", "_"), strings.ToUpper(b)} {
			h[http.CanonicalHeaderKey(name)] = []string{"x"}
		}
		s.request(h)
		for name := range h {
			if known[flat(name)] {
				t.Errorf("%q reaches the server", name)
			}
			for _, prefix := range keptFromServerBelow {
				if strings.HasPrefix(flat(name), flat(prefix)) {
					t.Errorf("%q reaches the server", name)
				}
			}
		}
	})
}

// flat is what is left of a name where a server makes a variable of it.
func flat(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToLower(name))
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		file File
		want string // the mistakes
	}{
		{File{}, ""},
		{File{Enabled: true, IdleTimeout: "10m", RequestHeaders: []string{"x-api-key", "Cookie"}, Cookies: true}, ""},
		{File{Cookies: true, IdleTimeout: "1h"}, "at.idleTimeout: has no effect while at.enabled is false\nat.cookies: has no effect while at.enabled is false"},
		{File{Enabled: true, IdleTimeout: "1s"}, `at.idleTimeout: "1s" is not between 10s and 24h`},
		{File{Enabled: true, IdleTimeout: "soon"}, `at.idleTimeout: "soon" is not a duration such as "30m" or "1h"`},
		{File{Enabled: true, RequestHeaders: []string{"Authorization", "X-Tenant", "X_Api_Key", "", "Cookie", "cookie"}},
			"at.requestHeaders[0]: Authorization never reaches the MCP server\nat.requestHeaders[1]: X-Tenant reaches the MCP server already\n" +
				"at.requestHeaders[2]: \"X_Api_Key\" is not the name of a header: letters, digits and hyphens\nat.requestHeaders[3]: \"\" is not the name of a header: letters, digits and hyphens\n" +
				"at.requestHeaders[5]: Cookie is listed twice"},
	} {
		c := new(conf.Check)
		s := tt.file.Resolve(conf.Section{Check: c, At: "at"})
		got := ""
		if err := c.Err(); err != nil {
			got = err.Error()
		}
		if got != tt.want || (s != nil) != tt.file.Enabled {
			t.Errorf("%+v: %v\n%s\nwant\n%s", tt.file, s, got, tt.want)
		}
	}
}
