//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is the service.
type process struct {
	cmd              *exec.Cmd
	http, management string // where it listens, as it logs it
	done             chan struct{}
}

// start runs the service with its log at info until it says where it listens.
func start(ctx context.Context, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
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
	for p.http == "" {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			p.cmd.Wait()
			return nil, fmt.Errorf("the service did not start: %w", err)
		}
		var entry struct{ Protocol, Management string }
		if json.Unmarshal(line, &entry) == nil {
			p.http, p.management = entry.Protocol, entry.Management
		}
	}
	go func() {
		io.Copy(io.Discard, lines)
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	<-p.done
}

// waitCatalogue waits until challenges name scopes: before that it is not known
// which tool needs which.
func (p *process) waitCatalogue(ctx context.Context) error {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+"/authenticate", nil)
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

// resident is the memory that the process holds, in MiB.
func (p *process) resident() (float64, error) {
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

// goroutines is the service's own count of them.
func (p *process) goroutines(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.management+"/metrics", nil)
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
