//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// relaySlice is how many requests of each line a round has.
const relaySlice = 1500

// serveProxy is a stock httputil.ReverseProxy in front of an address: what a
// program that only relays costs. With floor it has the service's settings and heap.
func serveProxy(ctx context.Context, to string, floor bool) error {
	target, err := url.Parse("http://" + to)
	if err != nil {
		return err
	}
	h := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, FlushInterval: -1}
	duplex := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // else some answers are cut off
		h.ServeHTTP(w, r)
	})
	srv := &http.Server{Handler: duplex}
	if floor {
		defer runtime.KeepAlive(server.HeapFloor())
		srv = server.HTTPServer(duplex, slog.New(slog.DiscardHandler))
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 128
		h.Transport = t
	}
	return announce(ctx, srv)
}

// serveUpstream is the MCP server: canned answers to requests with an identity, and
// the sample server for the service's own questions.
func serveUpstream(ctx context.Context) error {
	text := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("a", 900) + `"}]}}`
	var list strings.Builder
	list.WriteString(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`)
	for i := range 40 {
		fmt.Fprintf(&list, `%s{"name":"tool_%d","description":"%s","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}`,
			strings.Repeat(",", min(i, 1)), i, strings.Repeat("What it does. ", 14))
	}
	list.WriteString(`]}}`)
	others := http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true}))
	return announce(ctx, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Request-User") == "" {
			others.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		answer := text
		if strings.Contains(string(body), "tools/list") {
			answer = list.String()
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	})})
}

// announce serves, and says where in the way of the service.
func announce(ctx context.Context, srv *http.Server) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("{\"protocol\":%q}\n", l.Addr())
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// relaying measures a served host beside programs that only relay, and beside nginx
// that asks the service.
func relaying(ctx context.Context, b bench) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var all []*watched.Process
	defer func() {
		for _, p := range all {
			p.Stop()
		}
	}()
	start := func(program string, args ...string) (*watched.Process, error) {
		p, err := watched.Start(ctx, program, args...)
		if err == nil {
			all = append(all, p)
		}
		return p, err
	}
	upstream, err := start(self, "-upstream")
	if err != nil {
		return err
	}
	stock, err := start(self, "-proxy", upstream.HTTP)
	if err != nil {
		return err
	}
	floored, err := start(self, "-proxy", upstream.HTTP, "-floor")
	if err != nil {
		return err
	}
	config, err := b.service.servedConfig(upstream.HTTP)
	if err != nil {
		return err
	}
	served, err := start(b.service.program, "serve", "--config", config)
	if err != nil {
		return err
	}
	tokens, err := b.service.mint(1)
	if err != nil {
		return err
	}
	if err := waitTools(served.HTTP, tokens[0]); err != nil {
		return err
	}
	lines := []line{{"stock ReverseProxy", stock.HTTP, []*watched.Process{stock}}, {"ReverseProxy, settings and heap as here", floored.HTTP, []*watched.Process{floored}}, {"served host", served.HTTP, []*watched.Process{served}}}
	if program, err := exec.LookPath("nginx"); err == nil {
		gateway, address, err := startRelayingNGINX(ctx, program, upstream.HTTP, b.subject.HTTP)
		if err != nil {
			return err
		}
		all = append(all, gateway)
		lines = append(lines, line{"nginx and forward auth together", address, []*watched.Process{gateway, b.subject}})
	}
	if err := relayTable(b, tokens[0], lines); err != nil {
		return err
	}
	if err := openStreams(b, tokens[0], served); err != nil {
		return err
	}
	served.Stop()
	again, err := start(b.service.program, "serve", "--config", config) // whose memory is as small as at first
	if err != nil {
		return err
	}
	if err := waitTools(again.HTTP, tokens[0]); err != nil {
		return err
	}
	return openHTTP2Streams(ctx, b, tokens[0], again)
}

// streams is how many are opened at once. Each takes two files of the service.
const streams = 10_000

// enoughFiles lets this program, and those that it starts, have as many files open as
// the streams need. It returns how many streams there can be.
func enoughFiles() int {
	const others = 1000
	var limit syscall.Rlimit
	want := uint64(2*streams + others)
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	raised := syscall.Rlimit{Cur: want, Max: max(limit.Max, want)}
	if limit.Cur >= want || syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
		return streams
	}
	// What it has may be set again, which makes those that it starts have it too.
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return max(0, int(limit.Max)-others) / 2
}

// openStreams measures the memory of streams on which nothing happens: each on a
// connection of its own, and then many on each connection of HTTP/2.
func openStreams(b bench, token string, served *watched.Process) error {
	before, err := served.Resident()
	if err != nil {
		return err
	}
	var open []io.Closer
	closed := func() {
		for _, c := range open {
			c.Close()
		}
		open = nil
	}
	defer closed()
	for range b.streams {
		c, err := net.Dial("tcp", served.HTTP)
		if err != nil {
			return err
		}
		open = append(open, c)
		c.SetDeadline(time.Now().Add(5 * time.Minute))
		fmt.Fprintf(c, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", host, token)
		status := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, status); err != nil || string(status) != "HTTP/1.1 200" {
			return fmt.Errorf("a stream: %q %w", status, err)
		}
	}
	return perStream(b, "on a connection of its own", len(open), before, served)
}

// eachConnection is how many streams are opened on one connection of HTTP/2.
const eachConnection = 100

// openHTTP2Streams is openStreams over HTTP/2. With connections shared, files are no
// limit to the number.
func openHTTP2Streams(ctx context.Context, b bench, token string, served *watched.Process) error {
	before, err := served.Resident()
	if err != nil {
		return err
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	for range streams / eachConnection {
		conn, err := transport.NewClientConn(ctx, "http", served.HTTP)
		if err != nil {
			return err
		}
		defer conn.Close()
		for range eachConnection {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/mcp", nil)
			if err != nil {
				return err
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Accept", "text/event-stream")
			resp, err := conn.RoundTrip(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("a stream over HTTP/2: %s", resp.Status)
			}
		}
	}
	return perStream(b, "over HTTP/2", streams, before, served)
}

func perStream(b bench, how string, n int, before float64, served *watched.Process) error {
	after, err := served.Resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "memory of an open stream %s, of %d: %.1f KB\n", how, n, (after-before)*(1<<20)/1000/float64(n))
	return nil
}

// line is a way to the MCP server, and the processes that it takes.
type line struct {
	name, address string
	processes     []*watched.Process
}

func relayTable(b bench, token string, lines []line) error {
	kinds := []struct {
		name    string
		request []byte
	}{{"tools/call, 1 KB", relayRequest(token, "tools/call", strings.Repeat("a", 900))}, {"tools/list, 40 tools", relayRequest(token, "tools/list", "")}}
	costs := map[string][]float64{}
	for round := range b.rounds + 1 {
		for _, k := range kinds {
			for _, l := range lines {
				took, err := l.spent(k.request)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", l.name, k.name, err)
				}
				if round > 0 {
					costs[l.name+k.name] = append(costs[l.name+k.name], float64(took.Nanoseconds())/1000/relaySlice)
				}
			}
		}
	}
	fmt.Fprintf(b.out, "\nCPU time per relayed request\n%-42s %21s %21s\n", "", kinds[0].name, kinds[1].name)
	for _, l := range lines {
		fmt.Fprintf(b.out, "%-42s", l.name)
		for _, k := range kinds {
			own := costs[l.name+k.name]
			fmt.Fprintf(b.out, " %9.1f µs %8.2f", median(own), median(ratios(own, costs[lines[0].name+k.name])))
		}
		fmt.Fprintln(b.out)
	}
	list := ratios(costs["served host"+kinds[1].name], costs["ReverseProxy, settings and heap as here"+kinds[1].name])
	fmt.Fprintf(b.out, "the filtered list beside a relay of it with the same settings: %.2f\n", median(list))
	return nil
}

// spent is the CPU time of a slice, of all processes together.
func (l line) spent(request []byte) (time.Duration, error) {
	to, err := dial(l.address, connections)
	if err != nil {
		return 0, err
	}
	defer to.close()
	var sum time.Duration
	before := make([]time.Duration, len(l.processes))
	for i, p := range l.processes {
		if before[i], err = p.CPUTime(); err != nil {
			return 0, err
		}
	}
	if _, err := to.send([][]byte{request}, relaySlice, "200"); err != nil {
		return 0, err
	}
	for i, p := range l.processes {
		after, err := p.CPUTime()
		if err != nil {
			return 0, err
		}
		sum += after - before[i]
	}
	return sum, nil
}

// relayRequest is a message of an MCP client.
func relayRequest(bearer, method, text string) []byte {
	params := `{"name":"tool_1","arguments":{"text":"` + text + `"}}`
	name := "Mcp-Name: tool_1\r\n"
	if method == "tools/list" {
		params, name = "{}", ""
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	return fmt.Appendf(nil, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\nUser-Agent: mcp-client/1.0\r\n"+
		"X-Auth-Request-User: mallory\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: %s\r\n%sAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", host, method, name, bearer, len(body), body)
}

// servedConfig writes a configuration in which the service itself relays.
func (s *service) servedConfig(upstream string) (string, error) {
	name := filepath.Join(filepath.Dir(s.config), "served.yaml")
	return name, os.WriteFile(name, fmt.Appendf(nil, `
listen: {http: "127.0.0.1:0", management: "127.0.0.1:0", h2c: true}
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: bench, clientSecret: bench}
proxy: {hosts: [{host: %s, endpoint: "http://%s/mcp", serve: {enabled: true}, scopes: [{name: "notes:read", tools: ["tool_1*", "tool_2*", "tool_3*"]}]}]}
keys: {source: seed, seedFiles: [seed]}
`, host, upstream), 0o600)
}

// waitTools waits until a call passes: before that it is not known which tool needs which scope.
func waitTools(address, token string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		to, err := dial(address, 1)
		if err != nil {
			return err
		}
		_, err = to.send([][]byte{relayRequest(token, "tools/call", "")}, 1, "200")
		to.close()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

const relayingNGINX = `
daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  large_client_header_buffers 4 32k; keepalive_requests 1000000; proxy_buffer_size 16k; proxy_buffers 4 16k;
  upstream upstream { server %[2]s; keepalive 64; }
  upstream ours { server %[3]s; keepalive 64; }
  proxy_http_version 1.1;
%[4]s}
`

// startRelayingNGINX is one process of nginx, so that its CPU time is that of one.
func startRelayingNGINX(ctx context.Context, program, upstream, service string) (*watched.Process, string, error) {
	dir, err := os.MkdirTemp("", "mcp-forward-auth-bench-relay-")
	if err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, relayingNGINX, dir, upstream, service, fmt.Sprintf(nginxServer, port, "ours")), 0o600); err != nil {
		return nil, "", err
	}
	p, err := watched.StartSilent(ctx, program, "-p", dir, "-c", config)
	if err != nil {
		return nil, "", err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	return p, address, waitPort(address)
}
