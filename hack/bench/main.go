//go:build linux

// Command bench measures what a forward-auth decision costs: CPU time of the
// service per request, which is the figure that survives a busy machine. The
// service is the real program in a process of its own, asked over loopback as
// nginx asks it; beside it, in the same run, stand a bare net/http handler and
// the verification of one RS256 signature. It takes less than a minute.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// One run: each round starts both processes afresh, so that cold tokens are cold.
const (
	rounds      = 3
	warm        = 30_000 // requests of one measurement
	cold        = 3_000  // tokens, each sent once
	connections = 4      // as a gateway's keep-alive pool
	limit       = time.Minute
	host        = "mcp.example.com"
	issuer      = "https://" + host
)

func main() {
	bare := flag.Bool("bare", false, "be the bare handler (used by the benchmark itself)")
	flag.Parse()
	run := benchmark
	if *bare {
		run = serveBare
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table: a cost for each round, and the row that it is
// to be read beside.
type row struct {
	name   string
	beside int
	costs  []time.Duration
}

func benchmark(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mcp-forward-auth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "mcp-forward-auth")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/mcp-forward-auth").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	ctx, stop := context.WithTimeout(ctx, limit) // for the measurements; a cold build may take longer
	defer stop()
	tools := httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true})))
	defer tools.Close()
	config, seed, err := writeConfig(dir, tools.URL+"/mcp")
	if err != nil {
		return err
	}
	tokens, err := mint(seed, cold)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}

	rows := []row{
		{name: "bare net/http, 200"}, {name: "no token, 401"}, {name: "cached token, 200"}, {name: "cold token, 200"},
		{name: "bare gRPC, OK", beside: 4}, {name: "cached token, gRPC", beside: 4},
		{name: "one RS256 verification"},
	}
	for range rounds {
		costs, err := round(ctx, self, program, config, tokens)
		if err != nil {
			return err
		}
		for i, c := range costs {
			rows[i].costs = append(rows[i].costs, c)
		}
	}
	print(os.Stdout, rows)
	return nil
}

// round takes every measurement once, in the order of the table.
func round(ctx context.Context, self, program, config string, tokens []string) ([]time.Duration, error) {
	reference, err := start(ctx, self, "-bare")
	if err != nil {
		return nil, err
	}
	defer reference.stop()
	service, err := start(ctx, program, "serve", "--config", config)
	if err != nil {
		return nil, err
	}
	defer service.stop()
	if err := service.waitCatalogue(ctx); err != nil {
		return nil, err
	}
	anonymous := [][]byte{request("")}
	known := [][]byte{request(tokens[0])}
	var unknown [][]byte
	for _, t := range tokens[1:] {
		unknown = append(unknown, request(t))
	}
	var costs []time.Duration
	for _, m := range []struct {
		process  *process
		requests [][]byte
		count    int
		status   string
	}{
		{reference, known, warm, "200"}, {service, anonymous, warm, "401"}, {service, known, warm, "200"}, {service, unknown, len(unknown), "200"},
	} {
		if m.count == warm { // connections, pools and the cache come first
			if _, err := m.process.measure(m.requests, warm/10, m.status); err != nil {
				return nil, err
			}
		}
		cost, err := m.process.measure(m.requests, m.count, m.status)
		if err != nil {
			return nil, err
		}
		costs = append(costs, cost)
	}
	for _, p := range []*process{reference, service} {
		for _, count := range []int{warm / 10, warm / 2} { // the first warms up
			cost, err := p.measureGRPC(ctx, check(tokens[0]), count)
			if err != nil {
				return nil, err
			}
			if count == warm/2 {
				costs = append(costs, cost)
			}
		}
	}
	verification, err := verify(5_000)
	return append(costs, verification), err
}

func print(w io.Writer, rows []row) {
	best := func(r row) float64 { return float64(slices.Min(r.costs).Nanoseconds()) / 1000 }
	rs256 := best(rows[len(rows)-1])
	fmt.Fprintf(w, "CPU time of the server per request; best of %d rounds (and worst); %s, %d processors\n\n", rounds, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(w, "%-24s %12s %12s %10s %10s\n", "", "µs/request", "worst", "× bare", "× RS256")
	for _, r := range rows {
		fmt.Fprintf(w, "%-24s %12.1f %12.1f %10.2f %10.2f\n", r.name, best(r), float64(slices.Max(r.costs).Nanoseconds())/1000, best(r)/best(rows[r.beside]), best(r)/rs256)
	}
}

// writeConfig makes a configuration whose seed is known here too.
func writeConfig(dir, endpoint string) (path string, seed []byte, err error) {
	seed = make([]byte, 32)
	rand.Read(seed)
	path = filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
listen: {http: "127.0.0.1:0", management: "127.0.0.1:0", grpc: "127.0.0.1:0"}
provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: bench, clientSecret: bench}
proxy: {hosts: [{host: %s, endpoint: %q}]}
keys: {source: seed, seedFiles: [seed]}
`, host, endpoint)
	return path, seed, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "seed"), seed, 0o600))
}

// mint makes the tokens that the service with this seed would make.
func mint(seed []byte, n int) ([]string, error) {
	sealing, err := seal.NewKeyring(time.Now, seed)
	if err != nil {
		return nil, err
	}
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: seed, Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	tokens := make([]string, n)
	failed := make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for worker := range failed {
		wg.Go(func() {
			i := &token.Issuer{Keys: keys, Persons: token.NewPersons(sealing), Lifetime: time.Hour, Now: time.Now}
			for at := worker; at < n && failed[worker] == nil; at += len(failed) {
				tokens[at], _, failed[worker] = i.Mint(
					token.Claims{Issuer: issuer, Audience: issuer + "/mcp", Subject: "idp.example.com:user", ClientID: strings.Repeat("c", 300), Scope: "notes:read notes:write"},
					token.Person{Email: "user@example.com", Name: "A User", Groups: []string{"engineering", "admins"}})
			}
		})
	}
	wg.Wait()
	return tokens, errors.Join(failed...)
}

// request is what nginx sends to forward-auth: the client's headers and its own.
func request(bearer string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /authenticate HTTP/1.1\r\nHost: %s\r\nX-Original-URL: %s/mcp\r\nX-Original-Method: POST\r\n", host, issuer)
	b.WriteString("X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"User-Agent: mcp-client/1.0\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n")
	if bearer != "" {
		b.WriteString("Authorization: Bearer " + bearer + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// process is a server under measurement.
type process struct {
	cmd         *exec.Cmd
	address     string
	grpcAddress string
}

// start runs a server that logs its address as the service does.
func start(ctx context.Context, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	for p.address == "" {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			p.stop()
			return nil, fmt.Errorf("%s did not start: %w", filepath.Base(program), err)
		}
		var entry struct{ Protocol, GRPC string }
		if json.Unmarshal(line, &entry) == nil {
			p.address = entry.Protocol
			if entry.GRPC != "" {
				p.grpcAddress = entry.GRPC
			}
		}
	}
	go io.Copy(io.Discard, lines)
	return p, nil
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// waitCatalogue waits until challenges name scopes, as they do in real life.
func (p *process) waitCatalogue(ctx context.Context) error {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/authenticate", nil)
		if err != nil {
			return err
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if strings.Contains(resp.Header.Get("WWW-Authenticate"), "scope=") {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return ctx.Err()
}

// measure sends count requests, in turn, over a few connections, and returns
// the CPU time that the process spent on each. Every answer must have status.
func (p *process) measure(requests [][]byte, count int, status string) (time.Duration, error) {
	before, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	failed := make([]error, connections)
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() { failed[c] = p.send(requests, c, count, status) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return 0, err
	}
	after, err := cpuTime(p.cmd.Process.Pid)
	return (after - before) / time.Duration(count), err
}

// send sends every connections-th of the requests, from the first-th on.
func (p *process) send(requests [][]byte, first, count int, status string) error {
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	answers := bufio.NewReader(conn)
	for i := first; i < count; i += connections {
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			return err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if !strings.HasPrefix(resp.Status, status) {
			return fmt.Errorf("answered %s, want %s", resp.Status, status)
		}
	}
	return nil
}

// cpuTime reads user and system time of a process; see proc_pid_stat(5).
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The program's name, in parentheses, may hold spaces; field 3 follows it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ of every Linux that Go runs on
	return time.Duration(ticks) * time.Second / perSecond, nil
}

// verify returns the CPU time of one RS256 verification.
func verify(n int) (time.Duration, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return 0, err
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, err := threadTime()
	if err != nil {
		return 0, err
	}
	for range n {
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
			return 0, err
		}
	}
	ended, err := threadTime()
	return (ended - began) / time.Duration(n), err
}

func threadTime() (time.Duration, error) {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	err := syscall.Getrusage(thread, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// serveBare answers 200 to everything, and OK over gRPC.
func serveBare(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g, err := serveBareGRPC(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("{\"protocol\":%q,\"grpc\":%q}\n", l.Addr(), g)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
