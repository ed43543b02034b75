package migrate

import (
	"net/url"
	"strings"
)

// bridge is where the bridge listens that starts an MCP server of stdio.
const bridge = "http://127.0.0.1:3000/mcp"

// stdio is the URL of the bridge, which starts the command in the place of the proxy:
// the service that holds the keys starts no program.
func (t *translation) stdio(option, command, envOption string, env []string) *url.URL {
	t.step("Start the MCP server with a process of its own, beside this service: mcp-forward-auth bridge -- %s", command)
	if len(env) > 0 {
		at := t.file("bridge.env", "the value of "+envOption, strings.Join(env, "\n")+"\n", false)
		t.step("Give the bridge the variables of the MCP server, which are in %s", at)
	}
	address := bridge
	if t.request.Server != "" {
		option, address = "--server", t.request.Server
	}
	return t.upstream(option, address)
}
