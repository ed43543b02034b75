//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// fastMCPVersion is known to hack/e2e/install.sh as well.
const fastMCPVersion = "4.2.3"

// python is that of FastMCP's environment, which has the Python SDK too.
func python(t *testing.T) string {
	t.Helper()
	return program(t, "python (FastMCP "+fastMCPVersion+")", cached("fastmcp-"+fastMCPVersion, "bin", "python"))
}

// The scopes of the real servers: the first opens echo, the second get-sum.
const (
	scopeEcho = "tools:echo"
	scopeSum  = "tools:sum"
)

// realServer is an MCP server that others have written, with the tools echo and get-sum.
type realServer struct {
	name, path string
	// revision is the newest that it speaks.
	revision string
	start    func(t *testing.T, port string) *process
}

var realServers = []realServer{
	{"server-everything", "/everything", legacy, func(t *testing.T, port string) *process {
		return start(t, "server-everything", []string{"PORT=" + port}, node(t),
			filepath.Join(drivers, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js"), "streamableHttp")
	}},
	{"FastMCP", "/fastmcp", modern, func(t *testing.T, port string) *process {
		return start(t, "FastMCP", nil, python(t), filepath.Join(drivers, "fastmcp-server.py"), port)
	}},
}

// realClient is a client as its users have it.
type realClient struct {
	name string
	// revision is the newest that it speaks.
	revision string
	run      func(t *testing.T, target string, p *person) servedReport
}

var realClients = []realClient{
	{"Go SDK", modern, goSDKAtServed},
	{"TypeScript SDK v2", modern, func(t *testing.T, target string, p *person) servedReport {
		return reported(t, p, node(t), filepath.Join(drivers, "sdk-client.mjs"), "v2", target)
	}},
	{"TypeScript SDK v1", legacy, func(t *testing.T, target string, p *person) servedReport {
		return reported(t, p, node(t), filepath.Join(drivers, "sdk-client.mjs"), "v1", target)
	}},
	{"Python SDK", modern, func(t *testing.T, target string, p *person) servedReport {
		return reported(t, p, python(t), filepath.Join(drivers, "sdk-client.py"), target)
	}},
	{"mcp-remote", legacy, mcpRemoteAtServed},
}

// servedReport is what a client saw: what is listed before and after the person
// agreed to more, what the two tools answered, and what the refusal became.
type servedReport struct {
	Revision string   `json:"revision"`
	Before   []string `json:"before"`
	Echo     string   `json:"echo"`
	Refused  string   `json:"refused"`
	Sum      string   `json:"sum"`
	After    []string `json:"after"`
	Error    string   `json:"error"`
}

// Real clients of every revision sign in through a served host, see the tools that
// they may use, call one, are refused another until the person has agreed to more,
// and then call it, before servers that others have written.
func TestRealClientsThroughServedHost(t *testing.T) {
	var urls []string
	var seen []*toolCallLog
	st := newStack(t, setup{provider: "static", gateway: servedKind(t), change: func(file map[string]any) {
		hosts := file["proxy"].(map[string]any)["hosts"].([]any)[:1]
		public := hosts[0].(map[string]any)["host"].(string)
		for i, server := range realServers {
			port := freePorts(t, 1)[0]
			server.start(t, port).waitTCP(t, "127.0.0.1:"+port)
			log := newToolCallLog(t, "http://127.0.0.1:"+port)
			seen = append(seen, log)
			urls = append(urls, "http://"+public+server.path)
			hosts = append(hosts, map[string]any{
				"host": public, "scheme": "http", "path": realServers[i].path, "endpoint": log.URL + "/mcp",
				"scopes": []any{
					map[string]any{"name": scopeEcho, "description": "Hear an echo", "tools": []string{"echo"}},
					map[string]any{"name": scopeSum, "description": "Add numbers", "tools": []string{"get-sum"}},
				},
				"hideGrantable": true, "refuseRefreshAfterStepUp": true, // else clients on TypeScript SDK v1 give up
			})
		}
		file["proxy"].(map[string]any)["hosts"] = hosts
	}})
	for i, server := range realServers {
		for _, client := range realClients {
			t.Run(client.name+" and "+server.name, func(t *testing.T) {
				track(t)
				seen[i].take()
				p := newPerson(t, scopeSum)
				got := client.run(t, urls[i], p)
				if got.Error != "" {
					t.Fatalf("%s; signed in %d times", got.Error, len(p.asked()))
				}
				revision := min(client.revision, server.revision)
				mustEqual(t, "revision", got.Revision, revision)
				mustEqual(t, "tools listed at first", strings.Join(got.Before, " "), "echo")
				mustEqual(t, "answer of echo", got.Echo, "Echo: hello")
				mustEqual(t, "answer of get-sum", got.Sum, "The sum of 2 and 3 is 5.")
				mustEqual(t, "tools listed at last", strings.Join(got.After, " "), "echo get-sum")
				asked := p.asked()
				mustEqual(t, "number of sign-ins", len(asked), 2)
				if more := strings.Fields(asked[len(asked)-1]); !slices.Contains(more, scopeSum) || !slices.Contains(more, scopeEcho) {
					t.Errorf("the second sign-in asked for %q", more)
				}
				mustEqual(t, "calls that reached the server", strings.Join(seen[i].take(), ", "), "echo of "+revision+", get-sum of "+revision)
			})
		}
	}
	if !strings.Contains(st.logs(), `"reason":"insufficient_scope"`) {
		t.Error("the audit log has no refusal")
	}
}

// person signs in wherever a client sends them. They agree to what is asked of them,
// but for the scope later the first time, and for the one that opens every other tool.
type person struct {
	*httptest.Server
	agrees bool // to all
	t      *testing.T
	later  string
	mu     sync.Mutex
	scopes []string
}

func newPerson(t *testing.T, later string) *person {
	p := &person{t: t, later: later}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, _ := io.ReadAll(r.Body)
		answer, _, err := p.signIn(string(start))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.WriteString(w, answer.Encode())
	}))
	t.Cleanup(p.Close)
	return p
}

// signIn opens an address, and returns what is sent to the client, and where to.
func (p *person) signIn(start string) (answer url.Values, redirect string, err error) {
	u, err := url.Parse(start)
	if err != nil {
		return nil, "", err
	}
	p.mu.Lock()
	visitor, first := alice, len(p.scopes) == 0
	p.scopes = append(p.scopes, u.Query().Get("scope"))
	p.mu.Unlock()
	visitor.keep = func(scope string) bool { return p.agrees || scope != "mcp" && !(first && scope == p.later) }
	redirect = u.Query().Get("redirect_uri")
	for tries := 1; ; tries++ {
		answer, err = visitor.walk(p.t, start, redirect)
		var busy *pageError // "Wait a moment and try again", as many people sign in at once here
		if tries == 30 || !errors.As(err, &busy) || busy.status != http.StatusServiceUnavailable {
			return answer, redirect, err
		}
		time.Sleep(time.Second)
	}
}

// asked returns the scopes of each sign-in.
func (p *person) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.scopes)
}

// reported runs a client that prints its report.
func reported(t *testing.T, p *person, program string, args ...string) servedReport {
	t.Helper()
	return reportedIn(t, p, nil, program, args...)
}

// reportedIn is reported with variables besides.
func reportedIn(t *testing.T, p *person, env []string, program string, args ...string) (got servedReport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), env...), "PERSON="+p.URL)
	var said output
	cmd.Stderr = &said
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil || err != nil {
		t.Errorf("%s: %v, printed %s%s", filepath.Base(args[0]), err, out, tail(said.String(), 4<<10))
	}
	return got
}

func goSDKAtServed(t *testing.T, target string, p *person) servedReport {
	t.Helper()
	session, err := dialGoSDK(t, target, modern, func(start string) (url.Values, error) {
		answer, _, err := p.signIn(start)
		return answer, err
	})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer session.Close()
	return usedBy(t, session)
}

// usedBy lists and calls as the other clients do.
func usedBy(t *testing.T, session *mcp.ClientSession) (got servedReport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	got.Revision = session.InitializeResult().ProtocolVersion
	list := func() (names []string) {
		tools, err := session.ListTools(ctx, nil)
		if err != nil {
			got.Error = err.Error()
			return nil
		}
		for _, tool := range tools.Tools {
			names = append(names, tool.Name)
		}
		slices.Sort(names)
		return names
	}
	call := func(name string, arguments any) string {
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil {
			got.Error = err.Error()
			return ""
		}
		if len(res.Content) == 0 || res.IsError {
			return fmt.Sprintf("error: %+v", res.Content)
		}
		return res.Content[0].(*mcp.TextContent).Text
	}
	got.Before = list()
	got.Echo = call("echo", map[string]any{"message": "hello"})
	got.Sum = call("get-sum", map[string]any{"a": 2, "b": 3})
	got.After = list()
	return got
}

// mcpRemoteAtServed has mcp-remote between a client that speaks stdio and the
// server. The person opens each address that it prints.
func mcpRemoteAtServed(t *testing.T, target string, p *person) servedReport {
	t.Helper()
	session, said, err := dialMCPRemote(t, target, t.TempDir(), p)
	if err != nil {
		t.Fatalf("connect: %v\n%s", err, said.out.String())
	}
	defer session.Close()
	got := usedBy(t, session)
	if got.Error != "" {
		t.Logf("mcp-remote: %s", tail(said.out.String(), 4<<10))
	}
	return got
}

// dialMCPRemote starts mcp-remote, which keeps what it has in dir.
func dialMCPRemote(t *testing.T, target, dir string, p *person) (*mcp.ClientSession, *opener, error) {
	t.Helper()
	cmd := exec.Command(node(t), filepath.Join(drivers, "node_modules", "mcp-remote", "dist", "proxy.js"), target, "--allow-http")
	cmd.Env = append(os.Environ(), "MCP_REMOTE_CONFIG_DIR="+dir, "PATH="+dir) // with no browser to open
	said := &opener{person: p}
	cmd.Stderr = said
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e-stdio", Version: "1.0.0"}, nil).Connect(ctx,
		&mcp.CommandTransport{Command: cmd}, &mcp.ClientSessionOptions{ProtocolVersion: legacy})
	return session, said, err
}

// opener opens each address for a sign-in that is written to it, as a person would.
type opener struct {
	person *person
	out    output
	mu     sync.Mutex
	opened map[string]bool
}

var addressForSignIn = regexp.MustCompile(`http://\S+/authorize\?\S+\n`)

// Write implements io.Writer.
func (o *opener) Write(p []byte) (int, error) {
	o.out.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, start := range addressForSignIn.FindAllString(o.out.String(), -1) {
		if start = strings.TrimSpace(start); o.opened[start] {
			continue
		}
		if o.opened == nil {
			o.opened = map[string]bool{}
		}
		o.opened[start] = true
		go o.open(start)
	}
	return len(p), nil
}

func (o *opener) open(start string) {
	answer, redirect, err := o.person.signIn(start)
	if err == nil {
		err = o.callBack(redirect + "?" + answer.Encode())
	}
	if err != nil {
		fmt.Fprintf(&o.out, "the person: %v\n", err)
	}
}

// callBack goes where the browser is sent. A person is slower than a test:
// mcp-remote listens there only after it has printed where to sign in.
func (o *opener) callBack(target string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := browser.Get(target)
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// toolCallLog is a relay before an MCP server that remembers the calls.
type toolCallLog struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
}

func newToolCallLog(t *testing.T, to string) *toolCallLog {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l := &toolCallLog{}
	relay := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var message struct {
			Method string
			Params struct{ Name string }
		}
		if json.Unmarshal(body, &message) == nil && message.Method == "tools/call" {
			l.mu.Lock()
			l.calls = append(l.calls, message.Params.Name+" of "+r.Header.Get("MCP-Protocol-Version"))
			l.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		relay.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		l.CloseClientConnections()
		l.Close()
	})
	return l
}

// take returns the calls since the last time.
func (l *toolCallLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}
