package bridge

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cookieName marks the children of a process. They are recognised by it even after they
// left its process group and lost their parent. It is the only variable that the bridge
// adds.
const cookieName = "MCP_BRIDGE_PROCESS"

// family tracks the started processes, and ends the children that they leave. The
// bridge is their subreaper: a process that loses its parent becomes its child.
type family struct {
	once    sync.Once
	starts  chan func()
	mu      sync.Mutex // held while a process is started, so that sweep knows all
	alive   map[int]string
	cookies map[string]bool // of processes that are alive
}

var ours = &family{alive: map[int]string{}, cookies: map[string]bool{}}

// start starts cmd with a session and process group of its own, no new privileges,
// and dies with the bridge. One thread starts all of them: the death signal is bound
// to the thread, which must not end, and so is no_new_privs.
func (f *family) start(cmd *exec.Cmd, cookie string) error {
	f.once.Do(func() {
		f.starts = make(chan func())
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		go func() {
			runtime.LockOSThread()
			_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			for next := range f.starts {
				next()
			}
		}()
	})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(cmd.Env, cookieName+"="+cookie)
	done := make(chan error, 1)
	f.starts <- func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		err := cmd.Start()
		if err == nil {
			f.alive[cmd.Process.Pid], f.cookies[cookie] = cookie, true
		}
		done <- err
	}
	return <-done
}

// limit bounds a process that was started.
func limit(pid int, s *Settings) {
	for _, l := range []struct {
		resource int
		value    uint64
	}{{unix.RLIMIT_NOFILE, s.MaxFiles}, {unix.RLIMIT_AS, s.MaxMemory}} {
		if l.value > 0 {
			_ = unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.value, Max: l.value}, nil)
		}
	}
}

// signalGroup sends a signal to the process group of pid.
func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) }

func terminate(pid int) { signalGroup(pid, syscall.SIGTERM) }

// buried forgets a process that has been waited for, and ends the children that it
// left.
func (f *family) buried(pid int) {
	signalGroup(pid, syscall.SIGKILL)
	f.mu.Lock()
	delete(f.cookies, f.alive[pid])
	delete(f.alive, pid)
	f.mu.Unlock()
	// A killed process may have started others, and orphans appear with a delay.
	for range 5 {
		if f.sweep() == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sweep ends the children of processes that have ended, and reaps dead ones. It returns
// how many it ended.
func (f *family) sweep() (ended int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.orphans() {
		if p.zombie {
			_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
			continue
		}
		if cookie := cookieOf(p.pid); cookie != "" && f.cookies[cookie] || cookie == "" && len(f.alive) > 0 {
			continue // its process is alive, or unknown
		}
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		ended++
	}
	return ended
}

type orphan struct {
	pid    int
	zombie bool
}

// orphans are our children that we did not start.
func (f *family) orphans() (all []orphan) {
	me := os.Getpid()
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || f.alive[pid] != "" {
			continue
		}
		if stat := readStat(pid); len(stat) > 1 && stat[1] == strconv.Itoa(me) {
			all = append(all, orphan{pid, stat[0] == "Z"})
		}
	}
	return all
}

// readStat returns the fields of /proc/PID/stat after the name: state, parent, group, session.
func readStat(pid int) []string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
}

func cookieOf(pid int) string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	vars := strings.Split(string(data), "\x00")
	if i := slices.IndexFunc(vars, func(v string) bool { return strings.HasPrefix(v, cookieName+"=") }); i >= 0 {
		return strings.TrimPrefix(vars[i], cookieName+"=")
	}
	return ""
}
