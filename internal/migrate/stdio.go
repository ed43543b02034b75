package migrate

import (
	"net/url"
	"strings"
)

// bridge is where the bridge listens that starts an MCP server of stdio, and the
// URL of that.
const (
	bridge    = "127.0.0.1:3000"
	bridgeURL = "http://" + bridge + "/mcp"
)

// stdio is the URL of the bridge, which starts the command in place of the proxy:
// the service that holds the keys starts no program. Variables are named and not shown.
func (t *translation) stdio(option, command, dir, envOption string, env []string) *url.URL {
	line := "mcp-forward-auth bridge --listen " + bridge
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		line += " --env " + name
	}
	if dir != "" {
		line += " --dir " + dir
	}
	t.step("Start the MCP server with a process of its own, beside this service: %s -- %s", line, command)
	if len(env) > 0 {
		at := t.file("bridge.env", "the value of "+envOption, strings.Join(env, "\n")+"\n", false)
		t.step("Give the bridge the variables of the MCP server, which are in %s", at)
	}
	address := bridgeURL
	if t.request.Server != "" {
		option, address = "--server", t.request.Server
	}
	return t.upstream(option, address)
}
