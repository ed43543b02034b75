package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

func TestIdentityHeaders(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                   "X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups",
		"{preset: forwarded}":  "X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Name",
		"{user: remote-user}":  "Remote-User X-Auth-Request-Email X-Auth-Request-Groups",
		"{jwt: {header: X-A}}": "X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups",
		"{preset: forwarded, name: X-Forwarded-Preferred-Username, client: X-Client, scope: X-Scope, jwt: {enabled: true}}": "X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Preferred-Username X-Client X-Scope X-Auth-Request-Identity",
		"{jwt: {enabled: true, header: x-identity, lifetime: 1m}}":                                                          "X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups X-Identity",
	} {
		c := mustParse(t, minimal+"identityHeaders: "+text+"\n")
		if got := c.IdentityHeaders.Names(); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q", text, got)
		}
		if on := c.IdentityHeaders.JWT != ""; on != (c.IdentityHeaders.Signed.Lifetime > 0) || c.IdentityHeaders.Signed.Lifetime > 5*time.Minute {
			t.Errorf("%s: %+v", text, c.IdentityHeaders)
		}
	}
}

func TestIdentityHeadersMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{preset: oauth2-proxy}":                        `identityHeaders.preset: "oauth2-proxy" is not one of "auth-request", "forwarded"`,
		"{preset: forwarded, scope: X-Forwarded-Email}": "identityHeaders.scope: is the header of identityHeaders.email too",
		"{jwt: {header: x-auth-request-user}}":          "identityHeaders.jwt.header: is the header of identityHeaders.user too",
		"{jwt: {enabled: true, header: X_Identity}}":    "identityHeaders.jwt.header: is not a header name",
		"{jwt: {lifetime: 6m}}":                         "identityHeaders.jwt.lifetime: is not between 30s and 5m",
		"{jwt: {lifetime: 1s}}":                         "identityHeaders.jwt.lifetime: is not between 30s and 5m",
		"{jwt: {enable: true}}":                         "identityHeaders.jwt.enable: unknown key",
		"{extra: {sub: X-Sub}}":                         "identityHeaders.extra: unknown key",
	} {
		t.Run(text, func(t *testing.T) { refusedWith(t, minimal+"identityHeaders: "+text+"\n", want) })
	}
	for _, name := range []string{
		"Connection", "Transfer-Encoding", "TE", "Upgrade", "Proxy-Authorization", "Authorization", "Cookie", "Set-Cookie", "Host", "Via",
		"Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Access-Control-Allow-Origin", "Origin", "Range", "If-Match", "Last-Event-ID",
		"Mcp-Session-Id", "MCP-Protocol-Version", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-Proto", "X-Original-URL",
		"X-Real-IP", "X-Accel-Redirect", "X-Sendfile", "X-Envoy-Auth-Headers-To-Remove", "X-HTTP-Method-Override", "X-Request-Id", "Traceparent",
		"Strict-Transport-Security", "Path", "Method", "DPoP", "WWW-Authenticate", "User-Agent",
	} {
		for _, key := range []string{"user", "name", "client", "scope"} {
			refusedWith(t, minimal+"identityHeaders: {"+key+": "+name+"}\n", "identityHeaders."+key+": has a meaning of its own")
		}
		refusedWith(t, minimal+"identityHeaders: {jwt: {enabled: true, header: "+name+"}}\n", "identityHeaders.jwt.header: has a meaning of its own")
	}
}

// refusedWith is refused for one mistake, whose value may be quoted first.
func refusedWith(t *testing.T, text, want string) {
	t.Helper()
	_, err := Parse([]byte(text), testFiles)
	path, problem, _ := strings.Cut(want, ": ")
	list, _ := err.(conf.Errors)
	if len(list) != 1 || list[0].Path != path || !strings.Contains(list[0].Problem, problem) {
		t.Errorf("got %v, want %q", err, want)
	}
}
