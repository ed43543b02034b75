//go:build e2e

package e2e

import (
	"encoding/json"

	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
)

// openings are ways to open a gate without meaning to, at real gateways: what is
// changed in the page's configuration, and the state that must be seen. GATEWAY
// stands for the port of the gateway, SERVICE and SERVER for the addresses behind it.
var openings = []struct {
	gateway, name, want string
	edit                []string // old, new
	// away has the service stopped, as a fault between it and the gateway would.
	away bool
}{
	{gateway: "nginx", name: "the question removed", want: "open", edit: []string{"auth_request /_mcp_auth;", ""}},
	{gateway: "nginx", name: "a location beside that does not ask", want: "open", edit: []string{"location /mcp {", "location /mcp/ { auth_request off; rewrite ^ /mcp break; proxy_pass http://mcp; }\n    location /mcp {"}},
	{gateway: "nginx", name: "a path in another case", want: "open", edit: []string{"location /mcp {", "location /MCP { auth_request off; rewrite ^ /mcp break; proxy_pass http://mcp; }\n    location /mcp {"}},
	{gateway: "nginx", name: "a public path that is too wide", want: "open", edit: []string{"location ^~ /.well-known/openid-configuration", "location ~ /\\.well-known/oauth-authorization-server { auth_request off; rewrite ^ /mcp break; proxy_pass http://mcp; }\n    location ^~ /.well-known/openid-configuration"}},
	{gateway: "nginx", name: "the question answered by something else", want: "open", edit: []string{"proxy_pass http://auth/authenticate;", "proxy_pass http://mcp/mcp/probe/echo;"}},
	{gateway: "nginx", name: "another site takes every host", want: "open", edit: []string{"map $mcp_auth_status", "server { listen 127.0.0.1:GATEWAY default_server; location / { proxy_pass http://mcp; } }\nmap $mcp_auth_status"}},
	{gateway: "Caddy", name: "the question goes to a public path", want: "open", edit: []string{"uri /authenticate/forwarded?", "uri /.well-known/oauth-protected-resource?"}},
	{gateway: "Caddy", name: "a handle beside that does not ask", want: "open", edit: []string{"handle {\n", "handle /mcp/* {\n\trewrite * /mcp\n\treverse_proxy mcp:3000\n}\nhandle {\n"}},
	{gateway: "Envoy HTTP", name: "failure mode open and the service away", want: "open", edit: []string{"status_on_error: {code: ServiceUnavailable}", "failure_mode_allow: true"}, away: true},
	{gateway: "Envoy HTTP", name: "a route that disables the filter", want: "open", edit: []string{"{path: /mcp/.well-known/openid-configuration}, route: *service", "{path: /mcp}, route: {cluster: mcp}"}},
	{gateway: "Envoy gRPC", name: "failure mode open and the service away", want: "open", edit: []string{"status_on_error: {code: ServiceUnavailable}", "failure_mode_allow: true"}, away: true},
	{gateway: "Traefik", name: "the middleware forgotten on a router for other hosts", want: "open", edit: []string{"    mcp-service:\n", "    mcp-others:\n      rule: HostRegexp(`.+`)\n      priority: 1\n      service: mcp\n    mcp-service:\n"}},
	{gateway: "Traefik", name: "the question answered by something else", want: "open", edit: []string{"SERVICE/authenticate/forwarded", "SERVER/mcp/probe/echo"}},
}

// once is what doctor --all sees of the one gate.
func once(t *testing.T, st *stack) doctor.GateSeen {
	t.Helper()
	out, err := exec.Command(serviceBinary(t), "doctor", "--all", "--config", st.config, "--output", "json").Output()
	var report doctor.GatesReport
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || len(report.Gates) != 1 {
		t.Fatalf("doctor --all: %v %v\n%s", err, jsonErr, out)
	}
	if report.OK != (err == nil) {
		t.Errorf("doctor --all: ok is %v, and it ended with %v", report.OK, err)
	}
	return report.Gates[0]
}

// watching has the gates of one MCP server looked at, which stands behind kind.
func watching(kind *gateway) setup {
	return setup{provider: "static", gateway: kind, change: func(file map[string]any) {
		proxy := file["proxy"].(map[string]any)
		proxy["hosts"] = proxy["hosts"].([]any)[:1]
		file["gateWatch"] = map[string]any{"enabled": true, "interval": "10s"}
	}}
}

func kindOf(t *testing.T, name string) gateway {
	t.Helper()
	i := slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == name })
	if i < 0 {
		t.Fatalf("there is no gateway %s", name)
	}
	return gatewayKinds[i]
}

// TestGatesSeen has each gateway configured as its page says, which is a closed
// gate, and then with one mistake, which is not.
func TestGatesSeen(t *testing.T) {
	for _, kind := range gatewayKinds {
		t.Run(kind.name+" as its page has it", func(t *testing.T) {
			track(t)
			if seen := once(t, newStack(t, watching(&kind))); seen.State != "closed" {
				t.Errorf("%s: %s", seen.State, seen.Saw)
			}
		})
	}
	for _, o := range openings {
		t.Run(o.gateway+" with "+o.name, func(t *testing.T) {
			track(t)
			kind := kindOf(t, o.gateway)
			right := kind.start
			kind.start = func(t *testing.T, path string, site gatewaySite) *process {
				var edit []string
				for _, text := range o.edit {
					edit = append(edit, strings.NewReplacer("GATEWAY", site.Port, "SERVICE", site.Service, "SERVER", site.MCP).Replace(text))
				}
				site.edit = func(recipe string) string { return substitute(t, recipe, edit...) }
				return right(t, path, site)
			}
			st := newStack(t, watching(&kind))
			if o.away {
				st.service.stop(t)
			}
			if seen := once(t, st); string(seen.State) != o.want {
				t.Errorf("%s, want %s: %s", seen.State, o.want, seen.Saw)
			} else {
				t.Log(seen.Saw)
			}
		})
	}
}

// TestGateWatch has a running service see that the gate in front of it opens.
func TestGateWatch(t *testing.T) {
	kind := kindOf(t, "nginx")
	var first *process
	var site gatewaySite
	right := kind.start
	kind.start = func(t *testing.T, path string, s gatewaySite) *process {
		site, first = s, right(t, path, s)
		return first
	}
	st := newStack(t, watching(&kind))
	state := func(want string) time.Duration {
		t.Helper()
		began := time.Now()
		for ; time.Since(began) < time.Minute; time.Sleep(200 * time.Millisecond) {
			if _, text := do(t, "GET", "http://"+st.managementAddress+"/metrics", nil); strings.Contains(string(text), `state="`+want+`"} 1`) {
				return time.Since(began)
			}
		}
		t.Fatalf("the gate never is %s", want)
		return 0
	}
	state("closed")
	first.stop(t)
	site.edit = func(recipe string) string { return substitute(t, recipe, "auth_request /_mcp_auth;", "") }
	right(t, kind.path(t), site).waitTCP(t, site.public())
	t.Logf("open after %s with a look every 10 s", state("open").Round(time.Second))
	resp, text := do(t, "GET", "http://"+st.managementAddress+"/readyz", nil)
	mustEqual(t, "status of /readyz", resp.StatusCode, http.StatusOK)
	if !strings.Contains(string(text), "gate of "+st.statelessURL+" open") {
		t.Errorf("/readyz says %s", text)
	}
	if n := strings.Count(st.logs(), "the gate is OPEN"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}
