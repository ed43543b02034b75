package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs beside the tests. Its output is kept.
type process struct {
	name string
	cmd  *exec.Cmd
	out  tailBuffer
	done chan struct{}
	err  error
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu  sync.Mutex
	buf []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	if over := len(b.buf) - 256<<10; over > 0 {
		b.buf = b.buf[over:]
	}
	return len(p), nil
}

func (b *tailBuffer) last(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf[max(0, len(b.buf)-n):])
}

// start runs a program of bin, or one by its path, until the cluster stops.
func (c *cluster) start(name string, args ...string) (*process, error) {
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join(bin, name)
	}
	p := &process{name: filepath.Base(name), cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Dir = c.dir
	p.cmd.Env = append(os.Environ(), "PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	c.processes = append(c.processes, p)
	return p, nil
}

// ended says so if the program is no more.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended (%v):\n%s", p.name, p.err, p.out.last(4<<10))
	default:
		return nil
	}
}

// wait returns when url answers 200.
func (p *process) wait(url string) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is only asked whether it is there
	}}
	last := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := p.ended(); err != nil {
			return err
		}
		resp, err := client.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		resp.Body.Close()
		if last = resp.Status; resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s never got ready: %s\n%s", p.name, last, p.out.last(4<<10))
}

// stop ends every program, the last first.
func (c *cluster) stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].stop()
	}
}

// stop asks the program and its children to end, then makes them.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// output runs a program to its end.
func (c *cluster) output(input string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join(bin, name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	home := filepath.Join(c.dir, "home")
	// No repositories, plugins or clusters of the user who runs the tests.
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+c.kubeconfig,
		"PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Stdin = bytes.NewBufferString(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w\n%s%s", name, args, err, out.String(), errOut.String())
	}
	return out.String(), nil
}

// must is output that a test cannot do without.
func (c *cluster) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.output("", name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply is kubectl apply.
func (c *cluster) apply(t *testing.T, objects string) {
	t.Helper()
	if _, err := c.output(objects, "kubectl", "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}
