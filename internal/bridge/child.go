package bridge

import (
	"bufio"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// writeTime is how long a process may leave its input unread.
const writeTime = 30 * time.Second

// maxLogLine bounds a line of standard error in the log, in bytes.
const maxLogLine = 4 << 10

// child is one run of the command.
type child struct {
	cmd  *exec.Cmd
	in   *os.File
	out  *os.File
	errs *os.File
	gone chan struct{} // closed when it has been waited for and its children have ended
	once sync.Once

	writing sync.Mutex
}

// startChild runs the command of s.
func startChild(s *Settings, log *slog.Logger) (*child, error) {
	var pipes [6]*os.File // in, out and err: ends to read and to write
	closeAll := func() {
		for _, f := range pipes {
			if f != nil {
				f.Close()
			}
		}
	}
	for i := 0; i < len(pipes); i += 2 {
		var err error
		if pipes[i], pipes[i+1], err = os.Pipe(); err != nil {
			closeAll()
			return nil, err
		}
	}
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Dir, cmd.Env = s.Dir, s.environment()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pipes[0], pipes[3], pipes[5]
	if err := ours.start(cmd, rand.Text()); err != nil {
		closeAll()
		return nil, err
	}
	limit(cmd.Process.Pid, s)
	for _, i := range []int{0, 3, 5} {
		pipes[i].Close() // the process has them
	}
	c := &child{cmd: cmd, in: pipes[1], out: pipes[2], errs: pipes[4], gone: make(chan struct{})}
	go c.report(log, s.LogRate)
	return c, nil
}

// write passes one line on. It fails if the process does not read.
func (c *child) write(line []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.in.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := c.in.Write(line)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("the process does not read its input")
	}
	return err
}

// wait waits for the process, and then ends the processes that it left. It is called
// once.
func (c *child) wait() error {
	err := c.cmd.Wait()
	ours.buried(c.cmd.Process.Pid)
	c.in.Close()
	c.out.Close()
	c.errs.Close()
	close(c.gone)
	return err
}

// end ends the process and its children: it closes their input, then sends SIGTERM,
// then SIGKILL, with the grace period between.
func (c *child) end(grace time.Duration) {
	c.once.Do(func() {
		c.in.Close()
		for _, next := range []func(){func() { terminate(c.cmd.Process.Pid) }, func() { _ = c.cmd.Process.Kill() }} {
			select {
			case <-c.gone:
				return
			case <-time.After(grace):
				next()
			}
		}
	})
	<-c.gone
}

// report writes standard error to the log.
func (c *child) report(log *slog.Logger, perSecond int) {
	limiter := rate.NewLimiter(rate.Limit(perSecond), 5*perSecond)
	left := 0
	for r := bufio.NewReaderSize(c.errs, maxLogLine); ; {
		line, err := r.ReadSlice('\n')
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			if limiter.Allow() {
				log.Info("the MCP server says", "text", text, "left_out", left)
				left = 0
			} else {
				left++
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// errLine: a line of the process is longer than the bound.
var errLine = errors.New("the process wrote a message that is longer than --max-message")

// lines calls take with each line of standard output, until its end.
func (c *child) lines(limit int, take func([]byte)) error {
	r := bufio.NewReaderSize(c.out, 64<<10)
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, part...); len(long) > limit {
				return errLine
			}
			continue
		}
		line := part
		if long != nil {
			line, long = append(long, part...), nil
		}
		if len(line) > limit {
			return errLine
		}
		if len(line) > 0 {
			take(line)
		}
		if err == io.EOF || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
