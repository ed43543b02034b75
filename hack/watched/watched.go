//go:build linux

// Package watched runs the service, or a server that logs its addresses as the
// service does, in a process of its own, and reads from outside what it costs.
package watched

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a server that runs.
type Process struct {
	// Where it listens, as it logs it; GRPC is empty if it does not.
	HTTP, Management, GRPC string
	// Done is closed when it has ended.
	Done chan struct{}

	cmd *exec.Cmd
}

// Start runs a server until it says where it listens.
func Start(ctx context.Context, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, program, args...), Done: make(chan struct{})}
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
	for p.HTTP == "" {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
			return nil, fmt.Errorf("%s did not start: %w", filepath.Base(program), err)
		}
		var entry struct{ Protocol, Management, GRPC string }
		if json.Unmarshal(line, &entry) == nil {
			p.HTTP, p.Management = entry.Protocol, entry.Management
			if entry.GRPC != "" {
				p.GRPC = entry.GRPC
			}
		}
	}
	go func() {
		io.Copy(io.Discard, lines)
		p.cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// StartSilent runs a program that does not say where it listens.
func StartSilent(ctx context.Context, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, program, args...), Done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Stop ends it at once.
func (p *Process) Stop() {
	p.cmd.Process.Kill()
	<-p.Done
}

// WaitCatalogue waits until challenges for host name scopes, as they do in real
// life: before that it is not known which tool needs which.
func (p *Process) WaitCatalogue(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP+"/authenticate", nil)
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

// CPUTime is how long the process has run, user and system, to the nanosecond:
// the sum of what the scheduler says of each thread. Threads of Go live long.
func (p *Process) CPUTime() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no schedstat of process %d: %w", p.cmd.Process.Pid, err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// Resident is the memory that the process holds, in MiB.
func (p *Process) Resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", p.cmd.Process.Pid)
}

// Goroutines is the service's own count of them.
func (p *Process) Goroutines(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Management+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(rest)
		}
	}
	return 0, fmt.Errorf("no go_goroutines: %w", lines.Err())
}
