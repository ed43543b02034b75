package gatewatch

import (
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// hello is the first thing that a client sends. Every MCP server understands it,
// so its answer shows that one was reached.
const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcp-forward-auth-gate-watch","version":"1"}}}`

// A question says what it is, so that the audit log need not fill with refusals
// that the service itself asks for. A client that copies it gains nothing: it is refused.
const (
	// Mark stands in the header Mcp-Name of every question.
	Mark = "mcp-forward-auth-gate-watch"
	// WrongToken has the form of no token, so it is refused without a look at a key.
	WrongToken = "not-a-token-but-a-question-of-the-gate-watch"
)

// Stranger is a host that exists nowhere (RFC 2606, section 2).
const Stranger = "gate-watch.invalid"

// place says how near a question is to the address of the MCP server, and so
// what an answer to it means.
type place int

const (
	// at is the address itself: nothing but the gate may answer there.
	at place = iota
	// below is a path below it, which belongs to the MCP server as well.
	below
	// beside is another spelling. Another site may answer there; only the answer
	// of an MCP server shows that a way leads past the gate.
	beside
)

// question is one request without a good token.
type question struct {
	method, path, host string
	wrongToken         bool
	place              place
}

func (q question) String() string {
	credential := "without a token"
	if q.wrongToken {
		credential = "with a wrong token"
	}
	return fmt.Sprintf("%s %s at host %s %s", q.method, q.path, q.host, credential)
}

// questions are what is asked about r, the most telling first.
func questions(r *resource.Resource) []question {
	path, host := r.Path, r.Host.Name
	if path == "" {
		path = "/"
	}
	list := []question{
		{http.MethodPost, path, host, false, at},
		{http.MethodPost, path, host, true, at},
		{http.MethodGet, path, host, false, at},
		{http.MethodDelete, path, host, false, at},
	}
	for _, p := range []string{"/", "/x", "/token"} {
		if r.Path == "" && p != "/x" { // asked already, and an endpoint of this service
			continue
		}
		list = append(list, question{http.MethodPost, r.Path + p, host, false, below})
	}
	for _, p := range Spellings(r.Path) {
		list = append(list, question{http.MethodPost, p, host, false, beside})
	}
	for _, h := range Hosts(host) {
		list = append(list, question{http.MethodPost, path, h, false, beside})
	}
	return list
}

// Spellings are paths that a careless gateway leaves open and a careless MCP server
// takes for path; "" is the path of a server that has the whole host.
func Spellings(path string) []string {
	path = strings.TrimSuffix(path, "/")
	public := resource.WellKnown
	// A pattern that is not anchored finds the names of public paths anywhere.
	out := []string{path + "/.well-known/oauth-authorization-server", path + "?" + public + "/authorize/callback/token/register/openid/v1/jwks"}
	if path == "" {
		return append(out[:1], "//", "/?"+public)
	}
	out = append(out, path+"/", path+"x", path+".", path+";x", path+"%20", path+"%2f", path+"%3fx", "/"+path, "/."+path, "/x/.."+path,
		fmt.Sprintf("/%%%02x%s", path[1], path[2:]), public+"/../.."+path)
	if upper := strings.ToUpper(path); upper != path && !strings.Contains(path, "%") {
		out = append(out, upper)
	}
	return out
}

// Hosts are spellings of host (with or without a port) and names beside it, at
// which no way may lead to its MCP server but through the gate.
func Hosts(host string) []string {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
	}
	out := []string{name, name + ".", name + ":1", strings.ToUpper(name), Stranger}
	if _, parent, ok := strings.Cut(name, "."); ok && strings.Contains(parent, ".") && net.ParseIP(strings.Trim(name, "[]")) == nil {
		out = append(out, "gate-watch."+parent)
	}
	kept := out[:0]
	for _, h := range out {
		if h != host && !strings.HasSuffix(h, "].") {
			kept = append(kept, h)
		}
	}
	return kept
}
