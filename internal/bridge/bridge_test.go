package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serverKind is the variable that makes the test program an MCP server.
const serverKind = "BRIDGE_TEST_SERVER"

// mark is how long what a server starts would sleep, by which a run of the tests knows its own.
const mark = "BRIDGE_TEST_MARK"

var sleep = fmt.Sprintf("777%d", os.Getpid())

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverKind); kind != "" {
		serve(kind)
		return
	}
	os.Exit(m.Run())
}

// serve is an MCP server that speaks stdio, in one of several ways.
func serve(kind string) {
	switch kind {
	case "good":
	case "exits":
		os.Exit(3)
	case "silent":
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case "deaf":
		select {}
	case "floods":
		for {
			_, _ = os.Stdout.WriteString(strings.Repeat("x", 64<<10))
		}
	case "talks":
		fmt.Println("Server is ready.")
		fmt.Println(`{"jsonrpc":"1.0"}`)
		for i := range 10_000 {
			fmt.Fprintln(os.Stderr, "a line of standard error", i)
		}
	case "stays":
		signal.Ignore(syscall.SIGTERM)
	}
	if kind == "forks" || kind == "stays" {
		long := os.Getenv(mark)
		for _, args := range [][]string{{"sleep", long}, {"setsid", "sleep", long}, {"sh", "-c", "(setsid sleep " + long + " &) &"}} {
			_ = exec.Command(args[0], args[1:]...).Start()
		}
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	type in struct {
		Text string `json:"text"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(ctx context.Context, r *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
		if token := r.Params.GetProgressToken(); token != nil {
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: a.Text})
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	s.AddTool(&mcp.Tool{Name: "deploy", InputSchema: json.RawMessage(deploySchema)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "deployed"}}}, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "environ"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: strings.Join(os.Environ(), "\n")}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "pid"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: strconv.Itoa(os.Getpid())}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "die"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		os.Exit(1)
		return nil, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "which?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: answer.Action}}}, nil, nil
	})
	_ = s.Run(context.Background(), &mcp.StdioTransport{})
	if kind == "stays" {
		select {}
	}
}

// tested is a bridge that serves.
type tested struct {
	*Bridge
	url  string
	log  *buffer
	stop func()
}

type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func startBridge(t testing.TB, kind string, edit func(*Settings)) *tested {
	t.Helper()
	s := Settings{Command: []string{os.Args[0]}, Env: []string{serverKind + "=" + kind, mark + "=" + sleep}, StartRate: 1000, Grace: 300 * time.Millisecond, MaxProcesses: 300}
	if edit != nil {
		edit(&s)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	log := new(buffer)
	b := New(s, slog.New(slog.NewJSONHandler(log, nil)), func() bool { return true })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	server := httptest.NewServer(b)
	x := &tested{b, server.URL + s.Path, log, sync.OnceFunc(func() {
		cancel()
		<-done
		server.CloseClientConnections()
		server.Close()
	})}
	t.Cleanup(x.stop)
	return x
}

// connect connects the official SDK.
func (x *tested) connect(t testing.TB, h http.RoundTripper, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	if o == nil {
		o = &mcp.ClientOptions{}
	}
	o.ElicitationHandler = func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		return &mcp.ElicitResult{Action: "decline"}, nil
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, o)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: x.url, HTTPClient: &http.Client{Transport: h}, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatalf("connect: %v\n%s", err, x.log)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func callTool(t testing.TB, s *mcp.ClientSession, tool, text string) (string, error) {
	t.Helper()
	params := &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}}
	if text != "" {
		params.Arguments = map[string]any{"text": text}
		params.SetProgressToken("token of " + text)
	}
	r, err := s.CallTool(t.Context(), params)
	if err != nil {
		return "", err
	}
	got := r.Content[0].(*mcp.TextContent).Text
	if r.IsError {
		return got, fmt.Errorf("the tool failed: %s", got)
	}
	return got, nil
}

func mustCall(t testing.TB, s *mcp.ClientSession, tool, text string) string {
	t.Helper()
	got, err := callTool(t, s, tool, text)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSessions(t *testing.T) {
	x := startBridge(t, "good", nil)
	var mu sync.Mutex
	var progress []string
	first := x.connect(t, nil, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
		mu.Lock()
		defer mu.Unlock()
		progress = append(progress, fmt.Sprint(r.Params.ProgressToken, ": ", r.Params.Message))
	}})
	second := x.connect(t, nil, nil)
	if got := mustCall(t, first, "echo", "hello\n\u2028"); got != "hello\n\u2028" {
		t.Errorf("echo says %q", got)
	}
	eventually(t, "the progress of the call", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(progress, []string{"token of hello\n\u2028: hello\n\u2028"})
	})
	if got := mustCall(t, first, "ask", ""); got != "decline" {
		t.Errorf("the server asked and got %q", got)
	}
	one, other := mustCall(t, first, "pid", ""), mustCall(t, second, "pid", "")
	if one == other {
		t.Error("two sessions have one process")
	}
	first.Close()
	eventually(t, "the process of a session that was deleted", func() bool { return !running(one) && running(other) })
	eventually(t, "the bridge", func() bool { return x.Ready() == nil })
}

// What the server started ends with it, whatever it did to stay.
func TestNothingIsLeft(t *testing.T) {
	for _, kind := range []string{"forks", "stays"} {
		x := startBridge(t, kind, nil)
		s := x.connect(t, nil, nil)
		pid := mustCall(t, s, "pid", "")
		eventually(t, kind+": what is left to end", func() bool { return sleepers(t) >= 3 })
		s.Close()
		eventually(t, kind+": the process", func() bool { return !running(pid) })
		x.stop()
		if n := sleepers(t); n != 0 {
			t.Errorf("%s: %d processes are left", kind, n)
		}
	}
}

func TestBadServers(t *testing.T) {
	for kind, want := range map[string]string{
		"exits":  "ended",
		"silent": "does not answer initialize",
		"floods": "longer than --max-message",
	} {
		x := startBridge(t, kind, func(s *Settings) { s.StartTimeout, s.MaxLine = time.Second, 1<<20 })
		eventually(t, kind+" is named", func() bool { return x.Ready() != nil && strings.Contains(x.log.String(), want) })
		if a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`); kind != "silent" && a.StatusCode == http.StatusOK && !strings.Contains(a.body, "error") {
			t.Errorf("%s: %d %s", kind, a.StatusCode, a.body)
		}
		if a := get(t, strings.TrimSuffix(x.url, "/mcp")+"/readyz"); a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: ready: %d", kind, a.StatusCode)
		}
		x.stop()
	}
	t.Run("a server that ends at its start is not started all the time", func(t *testing.T) {
		x := startBridge(t, "exits", nil)
		eventually(t, "a pause", func() bool {
			a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
			return a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != ""
		})
	})
	t.Run("what is no message is left out", func(t *testing.T) {
		x := startBridge(t, "talks", nil)
		if got := mustCall(t, x.connect(t, nil, nil), "echo", "still"); got != "still" {
			t.Error(got)
		}
		if n := strings.Count(x.log.String(), "a line of standard error"); n == 0 || n > 1000 {
			t.Errorf("%d lines of standard error are in the log", n)
		}
	})
	t.Run("a process that dies", func(t *testing.T) {
		x := startBridge(t, "good", nil)
		s := x.connect(t, nil, nil)
		if _, err := callTool(t, s, "die", ""); err == nil {
			t.Error("a call of a process that died is answered")
		}
		if got := mustCall(t, x.connect(t, nil, nil), "echo", "again"); got != "again" {
			t.Error(got)
		}
	})
}

// A process gets the variables of the list, those that are named, and the mark.
func TestEnvironment(t *testing.T) {
	t.Setenv("MFA_SECRET", "hunter2")
	t.Setenv("MFA_PASSED", "yes")
	x := startBridge(t, "good", func(s *Settings) { s.Env = append(s.Env, "MFA_PASSED", "MFA_SET=a=b") })
	seen := mustCall(t, x.connect(t, nil, nil), "environ", "")
	for line := range strings.SplitSeq(seen, "\n") {
		name, _, _ := strings.Cut(line, "=")
		if !slices.Contains(append([]string{serverKind, mark, "MFA_PASSED", "MFA_SET", "MCP_BRIDGE_PROCESS"}, Basic...), name) {
			t.Errorf("the process has %s", name)
		}
	}
	if !strings.Contains(seen, "MFA_PASSED=yes\n") && !strings.HasSuffix(seen, "MFA_PASSED=yes") || !strings.Contains(seen, "MFA_SET=a=b") {
		t.Errorf("the process lacks what was named: %s", seen)
	}
}

// Many clients of one process get the answers and the progress of their own requests.
func TestSharedNeverCrosses(t *testing.T) {
	x := startBridge(t, "good", func(s *Settings) { s.Sharing = Shared })
	var group sync.WaitGroup
	pids := sync.Map{}
	for client := range 12 {
		group.Go(func() {
			var wrong sync.Map
			s := x.connect(t, nil, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
				if fmt.Sprint(r.Params.ProgressToken) != "token of "+r.Params.Message || !strings.HasPrefix(r.Params.Message, fmt.Sprint("c", client, " ")) {
					wrong.Store(r.Params.Message, true)
				}
			}})
			pids.Store(mustCall(t, s, "pid", ""), true)
			for i := range 25 {
				text := fmt.Sprint("c", client, " ", i)
				if got, err := callTool(t, s, "echo", text); err != nil || got != text {
					t.Errorf("%q, %v for %q", got, err, text)
				}
			}
			wrong.Range(func(k, _ any) bool { t.Errorf("client %d got the progress of %v", client, k); return true })
		})
	}
	group.Wait()
	n := 0
	pids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d processes", n)
	}
	a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{}}}`, versionHeader, "2025-06-18")
	if !strings.Contains(a.body, "does not support elicitation") { // the bridge says that it can be asked nothing
		t.Errorf("the server asked one of several clients: %s", a.body)
	}
}

// Clients that vanish leave no process behind.
func TestClientsThatVanish(t *testing.T) {
	n := 60
	if testing.Short() {
		n = 10
	}
	x := startBridge(t, "good", func(s *Settings) { s.IdleTimeout = 500 * time.Millisecond })
	var pids []string
	for range n {
		a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`)
		if a.StatusCode != http.StatusOK || a.Header.Get(sessionHeader) == "" {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	x.mu.Lock()
	for _, p := range x.sessions {
		pids = append(pids, strconv.Itoa(p.child.cmd.Process.Pid))
	}
	x.mu.Unlock()
	eventually(t, "the processes", func() bool { return !slices.ContainsFunc(pids, running) })
}

// A process that has not answered initialize yet ends with the bridge too.
func TestEndWhileStarting(t *testing.T) {
	x := startBridge(t, "silent", func(s *Settings) { s.Sharing, s.StartTimeout = Shared, time.Hour })
	eventually(t, "a process", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.started) == 1
	})
	done := make(chan struct{})
	go func() { defer close(done); x.stop() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// Crashes and new sessions leave no file open and no process behind.
func TestCrashes(t *testing.T) {
	n := 30
	if s := os.Getenv("BRIDGE_CRASHES"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	x := startBridge(t, "good", nil)
	eventually(t, "the bridge", func() bool { return x.Ready() == nil })
	before := openFiles(t)
	for range n {
		a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`)
		session := a.Header.Get(sessionHeader)
		a = post(t, x.url, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"die","arguments":{}}}`, sessionHeader, session)
		if !strings.Contains(a.body, errEnded.Error()) {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	eventually(t, "open files", func() bool { return openFiles(t) <= before+2 })
	eventually(t, "sessions and processes", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.sessions) == 0 && x.running == 0
	})
}

func TestRequests(t *testing.T) {
	x := startBridge(t, "good", func(s *Settings) { s.MaxProcesses, s.MaxLine = 2, 10<<10 })
	eventually(t, "the bridge", func() bool { return x.Ready() == nil })
	const initialize = `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`
	session := post(t, x.url, initialize).Header.Get(sessionHeader)
	post(t, x.url, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, sessionHeader, session)
	ping := `{"jsonrpc":"2.0","id":7,"method":"ping"}`
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`
	const list = `{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{` + meta + `}}`
	const named = `{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"dö",` + meta + `}}`
	for name, tt := range map[string]struct {
		body    string
		headers []string
		status  int
		says    string
	}{
		"a request":                    {ping, []string{sessionHeader, session}, 200, `{"jsonrpc":"2.0","id":7,"result":{}}`},
		"a notification":               {`{"jsonrpc":"2.0","method":"notifications/x"}`, []string{sessionHeader, session}, 202, ""},
		"a batch":                      {"[" + ping + "," + strings.Replace(ping, "7", `"b"`, 1) + "]", []string{sessionHeader, session}, 200, `"id":"b"`},
		"a batch of a later revision":  {"[" + ping + "," + ping + "]", []string{sessionHeader, session, versionHeader, "2025-06-18"}, 400, "no batches"},
		"a batch of the newest":        {"[" + list + "," + list + "]", []string{versionHeader, modern, "Mcp-Method", "tools/list"}, 400, "no batches"},
		"a session begins in a batch":  {"[" + initialize + "," + ping + "]", nil, 400, "not part of a batch"},
		"a session begins untold":      {`{"jsonrpc":"2.0","method":"initialize"}`, nil, 400, "begins with initialize"},
		"one id twice":                 {"[" + ping + "," + ping + "]", []string{sessionHeader, session}, 400, "under way"},
		"no session":                   {ping, nil, 400, "begins with initialize"},
		"an unknown session":           {ping, []string{sessionHeader, "x"}, 404, "no such session"},
		"no JSON":                      {"{", nil, 400, `"code":-32700`},
		"a method twice":               {`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, nil, 400, "every parser"},
		"a method in two cases":        {`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/list"}`, nil, 400, "every parser"},
		"a name in two cases":          {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","NAME":"die"}}`, nil, 400, "every parser"},
		"a token in two cases":         {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"ProgressToken":7}}}`, nil, 400, "every parser"},
		"a prototype":                  {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"die"}}}`, nil, 400, "every parser"},
		"no UTF-8":                     {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xff\"}}", nil, 400, "every parser"},
		"a number for a method":        {`{"jsonrpc":"2.0","id":1,"method":7}`, nil, 400, "not a message"},
		"an empty batch":               {`[]`, nil, 400, "1 to 100"},
		"no object":                    {`"ping"`, nil, 400, "not a message"},
		"a call and an answer in one":  {`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, nil, 400, "not a message"},
		"no message":                   {`{"jsonrpc":"2.0"}`, nil, 400, "not a message"},
		"an id that is no id":          {`{"jsonrpc":"2.0","id":{},"method":"ping"}`, nil, 400, "not a message"},
		"too long":                     {`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"` + strings.Repeat("x", 11<<10) + `"}}`, nil, 413, "--max-message"},
		"another media type":           {ping, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		"nothing acceptable":           {ping, []string{"Accept", "text/html"}, 406, "Accept"},
		"a web page":                   {ping, []string{"Origin", "https://evil.example"}, 403, "--allow-origin"},
		"a web page of this machine":   {ping, []string{sessionHeader, session, "Origin", "http://localhost:3000"}, 200, `"result":{}`},
		"another host":                 {ping, []string{"Host", "evil.example"}, 403, "--allow-host"},
		"the revision without session": {list, []string{versionHeader, "2026-07-28", "Mcp-Method", "tools/list"}, 400, `"supported":["2025-11-25"`},
		"a method that is gone":        {strings.Replace(list, "tools/list", "ping", 1), []string{versionHeader, "2026-07-28", "Mcp-Method", "ping"}, 404, "-32601"},
		"another method":               {list, []string{versionHeader, "2026-07-28", "Mcp-Method", "tools/call"}, 400, "-32020"},
		"no method in the headers":     {list, []string{versionHeader, "2026-07-28"}, 400, "-32020"},
		"another name":                 {named, []string{versionHeader, "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "harmless"}, 400, "-32020"},
		"a name in Base64":             {named, []string{versionHeader, "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?ZMO2?="}, 400, `"supported"`},
		"another revision":             {list, []string{versionHeader, "2026-08-01", "Mcp-Method", "tools/list"}, 400, "-32020"},
		"no revision in the headers":   {list, nil, 400, "-32020"},
		"no revision in the body":      {strings.Replace(list, "protocolVersion", "x", 1), []string{versionHeader, "2026-07-28", "Mcp-Method", "tools/list"}, 400, "-32602"},
	} {
		if a := post(t, x.url, tt.body, tt.headers...); a.StatusCode != tt.status || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	for range 2 {
		post(t, x.url, initialize)
	}
	if a := post(t, x.url, initialize); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "already") {
		t.Errorf("beyond the bound: %d %s", a.StatusCode, a.body)
	}
	if a := get(t, x.url); a.StatusCode != 404 {
		t.Errorf("a stream without a session: %d", a.StatusCode)
	}
}

// A server that asks though it was told that there is no one to ask gets an answer.
func TestServerThatAsksOneOfSeveral(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{child: &child{in: write}, calls: map[int64]*call{}, asked: map[string]bool{}, hello: json.RawMessage("{}")}
	for question, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`: `"code":-32601`,
		`{"jsonrpc":"2.0","id":2,"method":"ping"}`:                               `"result":{}`,
	} {
		p.take([]byte(question))
		buf := make([]byte, 1<<10)
		n, err := read.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), want) {
			t.Errorf("%s: %s, %v", question, buf[:n], err)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*Settings)
		says string
	}{
		"no command":            {func(s *Settings) { s.Command = nil }, "after --"},
		"a command that is not": {func(s *Settings) { s.Command = []string{"no-such-program"} }, "no-such-program"},
		"a way of sharing":      {func(s *Settings) { s.Sharing = "all" }, `"shared"`},
		"per user, unchecked":   {func(s *Settings) { s.Sharing = PerUser }, "--issuer"},
		"an issuer alone":       {func(s *Settings) { s.Issuer = "https://a.example" }, "go together"},
		"an issuer with a path": {func(s *Settings) { s.Issuer, s.Resource = "https://a.example/x", "y" }, "not an origin"},
		"a variable":            {func(s *Settings) { s.Env = []string{"NO_SUCH_VARIABLE"} }, "NO_SUCH_VARIABLE=VALUE"},
		"a directory":           {func(s *Settings) { s.Dir = "/no/such" }, "no directory"},
		"a path":                {func(s *Settings) { s.Path = "mcp" }, "begin with /"},
	} {
		s := Settings{Command: []string{"true"}}
		if tt.edit(&s); s.Check() == nil || !strings.Contains(s.Check().Error(), tt.says) {
			t.Errorf("%s: %v", name, s.Check())
		}
	}
}

type answer struct {
	*http.Response
	body string
}

func post(t testing.TB, url, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	return send(t, r)
}

func get(t testing.TB, url string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, r)
}

func send(t testing.TB, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("%s: not within 30 seconds", what)
}

func running(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// sleepers counts what the test server started.
func sleepers(t testing.TB) (n int) {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if line, err := os.ReadFile("/proc/" + d.Name() + "/cmdline"); err == nil && string(line) == "sleep\x00"+sleep+"\x00" {
			n++
		}
	}
	return n
}
