package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// maxWaiting is how many messages wait for a client that has no stream open.
	maxWaiting = 32
	// maxCalls is how many unanswered requests a process may have.
	maxCalls = 1000
)

// process is one run of the MCP server, with its pending messages in both directions.
type process struct {
	child *child
	log   *slog.Logger
	s     *Settings
	// own reports whether a single client uses it; then the server may send requests to
	// it.
	own bool
	// owner is the person whose process it is, "" if unknown.
	owner string
	// hello is the server's answer to the bridge's own initialize; nil where the
	// client's own was passed on.
	hello json.RawMessage
	tools toolHeaders

	mu        sync.Mutex
	next      int64
	calls     map[int64]*call
	asked     map[string]bool // requests of the server that the client has not answered
	listeners []*stream
	waiting   []item
	used      time.Time
	closed    bool
	failed    error // why it ended, for the log
}

// call is a request that the server has not answered yet.
type call struct {
	id    json.RawMessage // as the client wrote it
	token json.RawMessage // progress token of the client, nil for none
	to    *stream
	owner string
}

var (
	errEnded = errors.New("the MCP server's process has ended")
	errBusy  = errors.New("too many requests are under way")
	errTwice = errors.New("a request with this id is under way")
)

// startProcess starts the MCP server. ended is called when it is gone.
func startProcess(s *Settings, log *slog.Logger, ended func(*process)) (*process, error) {
	c, err := startChild(s, log)
	if err != nil {
		return nil, err
	}
	p := &process{child: c, s: s, calls: map[int64]*call{}, asked: map[string]bool{}, used: time.Now(), log: log.With("pid", c.cmd.Process.Pid)}
	p.tools.list = p.listTools
	go func() {
		err := c.lines(s.MaxLine, p.take)
		if err != nil {
			p.fail(err)
		}
		p.close()
		go c.end(s.Grace)
		status := c.wait()
		p.log.Info("a process of the MCP server has ended", "status", fmt.Sprint(status), "because", p.why())
		ended(p)
	}()
	return p, nil
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
}

func (p *process) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		return "it closed its output"
	}
	return p.failed.Error()
}

// stop ends the process, and returns when it is gone.
func (p *process) stop(why string) {
	p.fail(errors.New(why))
	p.close()
	p.child.end(p.s.Grace)
}

// close answers all pending requests, because the process no longer can.
func (p *process) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, c := range p.calls {
		p.finish(c, failure(c.id, codeInternal, errEnded.Error(), nil))
	}
	p.calls = map[int64]*call{}
	for _, l := range p.listeners {
		l.end()
	}
	p.listeners = nil
}

// finish delivers the last message of a call. p.mu is held. The stream has room, or its
// client is slow; the process must not wait for it here.
func (p *process) finish(c *call, m *message) {
	c.to.missing--
	if data, err := m.encode(); err == nil {
		select {
		case c.to.out <- item{data, c.to.missing == 0}:
		default:
			c.to.leave()
		}
	}
}

// over reports whether the process has ended, or is about to.
func (p *process) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// idle reports how long no request has been pending, 0 while one is.
func (p *process) idle(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) > 0 || len(p.listeners) > 0 {
		return 0
	}
	return now.Sub(p.used)
}

// ask passes on requests whose answers go to a stream: all of them, or none.
func (p *process) ask(to *stream, owner string, requests ...*message) error {
	lines, err := p.enter(to, owner, requests)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err := p.child.write(line); err != nil {
			p.fail(err)
			p.close()
			go p.child.end(p.s.Grace)
			return nil // the answers say it
		}
	}
	return nil
}

func (p *process) enter(to *stream, owner string, requests []*message) (lines [][]byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, errEnded
	case len(p.calls)+len(requests) > maxCalls:
		return nil, errBusy
	}
	for i, m := range requests {
		same := func(o *message) bool { return bytes.Equal(o.ID, m.ID) }
		if slices.ContainsFunc(requests[:i], same) || p.own && p.find(m.ID, owner, true) != 0 {
			return nil, errTwice
		}
	}
	for _, m := range requests {
		p.next++
		c := &call{id: m.ID, to: to, owner: owner}
		sent := &message{ID: number(p.next), Method: m.Method}
		sent.Params, c.token = edit(m.Params, func(json.RawMessage) json.RawMessage { return number(p.next) }, "_meta", "progressToken")
		line, err := sent.line()
		if err != nil {
			return nil, err
		}
		p.calls[p.next] = c
		lines = append(lines, line)
	}
	to.missing = len(requests)
	p.used = time.Now()
	return lines, nil
}

// find returns the number of the call with a client's id, 0 if there is none, or if
// there are several and any is false.
func (p *process) find(id json.RawMessage, owner string, anyWillDo bool) (found int64) {
	for n, c := range p.calls {
		if bytes.Equal(c.id, id) && c.owner == owner {
			if found != 0 && !anyWillDo {
				return 0
			}
			found = n
		}
	}
	return found
}

// tell passes on a message without an answer: a notification, or the client's answer to
// a request of the server.
func (p *process) tell(m *message, owner string) error {
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return errEnded
	case m.response():
		known := p.asked[string(m.ID)]
		delete(p.asked, string(m.ID))
		if !known {
			p.mu.Unlock()
			return nil // it was not asked
		}
	case m.Method == "notifications/cancelled":
		found := int64(0)
		changed, _ := edit(m.Params, func(id json.RawMessage) json.RawMessage {
			found = p.find(id, owner, false)
			return number(found)
		}, "requestId")
		if found == 0 {
			p.mu.Unlock()
			return nil // it has been answered
		}
		m = &message{Method: m.Method, Params: changed}
	case p.hello != nil:
		p.mu.Unlock()
		return nil // of one client among several: its own state does not apply to the others
	}
	p.used = time.Now()
	p.mu.Unlock()
	line, err := m.line()
	if err != nil {
		return err
	}
	return p.child.write(line)
}

// withdraw tells the server that the client of a stream has left.
func (p *process) withdraw(s *stream) {
	p.mu.Lock()
	var lines [][]byte
	for n, c := range p.calls {
		if c.to == s {
			delete(p.calls, n)
			line, _ := (&message{Method: "notifications/cancelled", Params: json.RawMessage(fmt.Sprintf(`{"requestId":%d,"reason":"the client has left"}`, n))}).line()
			lines = append(lines, line)
		}
	}
	closed := p.closed
	p.mu.Unlock()
	for _, line := range lines {
		if !closed {
			_ = p.child.write(line)
		}
	}
}

// listen opens a stream for what belongs to no request.
func (p *process) listen() (*stream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errEnded
	}
	s := newStream()
	if p.own { // one client has one; a new one replaces one that broke
		for _, l := range p.listeners {
			l.end()
		}
		p.listeners = nil
		for _, i := range p.waiting {
			select {
			case s.out <- i:
			default:
			}
		}
		p.waiting = nil
	}
	p.listeners = append(p.listeners, s)
	return s, nil
}

func (p *process) unlisten(s *stream) {
	s.leave()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = slices.DeleteFunc(p.listeners, func(l *stream) bool { return l == s })
	p.used = time.Now()
}

// take passes on one line of the server's output.
func (p *process) take(line []byte) {
	m, err := decode(line)
	if err != nil {
		if text := bytes.TrimSpace(line); len(text) > 0 {
			p.log.Warn("the MCP server writes something else than messages to its standard output", "text", string(text[:min(len(text), 200)]))
		}
		return
	}
	switch {
	case m.response():
		p.answered(m)
	case m.request():
		p.askedBack(m)
	default:
		p.told(m)
	}
}

func (p *process) answered(m *message) {
	p.mu.Lock()
	n, ok := numbered(m.ID)
	c := p.calls[n]
	if !ok || c == nil {
		p.mu.Unlock()
		return // it was withdrawn
	}
	delete(p.calls, n)
	p.used = time.Now()
	c.to.missing--
	final := c.to.missing == 0
	p.mu.Unlock()
	m.ID = c.id
	if data, err := m.encode(); err == nil {
		c.to.deliver(item{data, final})
	}
}

// askedBack is a request of the server to its client.
func (p *process) askedBack(m *message) {
	var refused *message
	switch {
	case m.Method == "ping" && !p.own:
		refused = &message{ID: m.ID, Result: json.RawMessage("{}")}
	case !p.own:
		refused = failure(m.ID, codeNoMethod, "several clients share this server, so none of them can be asked", nil)
	}
	if refused != nil {
		if line, err := refused.line(); err == nil {
			_ = p.child.write(line)
		}
		return
	}
	p.mu.Lock()
	if len(p.asked) >= maxCalls {
		p.asked = map[string]bool{}
	}
	p.asked[string(m.ID)] = true
	p.mu.Unlock()
	p.send(m, p.forClient(true))
}

// told is a notification of the server.
func (p *process) told(m *message) {
	p.mu.Lock()
	var one *stream
	find := func(put func(c *call) json.RawMessage) func(json.RawMessage) json.RawMessage {
		return func(old json.RawMessage) json.RawMessage {
			if n, ok := numbered(bytes.Trim(old, `"`)); ok && p.calls[n] != nil {
				one = p.calls[n].to
				return put(p.calls[n])
			}
			return old
		}
	}
	named := false
	if m.Method == "notifications/progress" {
		m.Params, _ = edit(m.Params, find(func(c *call) json.RawMessage { return c.token }), "progressToken")
		named = true
	} else if changed, old := edit(m.Params, find(func(c *call) json.RawMessage { return c.id }), "_meta", "io.modelcontextprotocol/subscriptionId"); old != nil {
		m.Params, named = changed, true
	}
	p.mu.Unlock()
	switch {
	case one != nil:
		p.send(m, []*stream{one})
	case !named:
		p.send(m, p.forClient(false))
	}
}

// forClient are the streams for messages that belong to no request. A server's request
// mostly concerns the one pending request, whose stream is then the right one.
func (p *process) forClient(question bool) []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	var only *stream
	if p.own && len(p.calls) == 1 {
		for _, c := range p.calls {
			only = c.to
		}
	}
	switch {
	case only != nil && (question || len(p.listeners) == 0):
		return []*stream{only}
	default:
		return slices.Clone(p.listeners)
	}
}

func (p *process) send(m *message, to []*stream) {
	data, err := m.encode()
	if err != nil {
		return
	}
	if len(to) == 0 && p.own {
		p.mu.Lock()
		if p.waiting = append(p.waiting, item{data: data}); len(p.waiting) > maxWaiting {
			p.waiting = p.waiting[1:]
		}
		p.mu.Unlock()
	}
	for _, s := range to {
		s.deliver(item{data: data})
	}
}

// exchange sends a request of the bridge itself.
func (p *process) exchange(ctx context.Context, method string, params any) (*message, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	to := newStream()
	defer to.leave()
	if err := p.ask(to, "", &message{ID: json.RawMessage(`"bridge"`), Method: method, Params: raw}); err != nil {
		return nil, err
	}
	for {
		select {
		case i := <-to.out:
			if m, err := decode(i.data); err == nil && m.response() {
				return m, nil
			}
		case <-ctx.Done():
			p.withdraw(to)
			return nil, fmt.Errorf("the MCP server does not answer %s: %w", method, ctx.Err())
		}
	}
}
