//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program under the test's control. Its output is kept, and
// printed when the test fails.
type process struct {
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error
}

// output is a bytes.Buffer that may be read while the program writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a program until the test ends.
func start(t *testing.T, name string, env []string, path string, args ...string) *process {
	t.Helper()
	return startAs(t, nil, name, env, path, args...)
}

// startAs is start as another user, if there is one.
func startAs(t *testing.T, as *syscall.Credential, name string, env []string, path string, args ...string) *process {
	t.Helper()
	p := launch(t, as, name, env, path, args...)
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("---- %s ----\n%s", name, tail(p.out.String(), 16<<10))
		}
	})
	return p
}

// launch runs a program until it is stopped, or the tests end.
func launch(t *testing.T, as *syscall.Credential, name string, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = append(os.Environ(), env...)
	// Its own group, so that children (nginx workers) go with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// stop asks the program to end, then makes it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		t.Errorf("%s did not end within 15 s of SIGTERM", p.name)
	}
}

// waitHTTP waits until url answers with status, and fails early if p ends.
func (p *process) waitHTTP(t *testing.T, url string, status int) {
	t.Helper()
	p.waitHTTPFor(t, 30*time.Second, url, status)
}

func (p *process) waitHTTPFor(t *testing.T, d time.Duration, url string, status int) {
	t.Helper()
	deadline := time.Now().Add(d)
	last := "nothing"
	for ; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-p.done:
			t.Fatalf("%s ended at once (%v):\n%s", p.name, p.err, tail(p.out.String(), 4<<10))
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		resp, err := http.DefaultClient.Do(req)
		cancel()
		if err != nil {
			last = err.Error()
			continue
		}
		resp.Body.Close()
		if last = resp.Status; resp.StatusCode == status {
			return
		}
	}
	t.Fatalf("%s is not ready: %s never answered %d, last %s\n%s", p.name, url, status, last, tail(p.out.String(), 4<<10))
}

// waitTCP waits until address accepts connections.
func (p *process) waitTCP(t *testing.T, address string) {
	t.Helper()
	for range 400 {
		select {
		case <-p.done:
			t.Fatalf("%s ended at once (%v):\n%s", p.name, p.err, tail(p.out.String(), 4<<10))
		default:
		}
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s does not listen on %s", p.name, address)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// freePorts returns n loopback ports that are free now. They lie below the range
// that the kernel gives to outgoing connections, so that none is taken before
// the program that is meant to listen there has started.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range 1000 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		if _, taken := usedPorts.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free ports")
	return nil
}

// usedPorts are not given out twice in one run.
var usedPorts sync.Map

func dial(t *testing.T, address string) (net.Conn, error) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return conn, err
}
