package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// revisions of MCP that have a session begun by initialize, newest first.
var revisions = []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

// modern is the first revision without sessions: each request says its own revision.
const modern = "2026-07-28"

const (
	firstBackOff = time.Second
	maxBackOff   = 30 * time.Second
)

// Bridge is the HTTP side of an MCP server that speaks stdio. New makes one.
type Bridge struct {
	s      Settings
	log    *slog.Logger
	who    *identities // nil where no identity is checked
	local  func() bool // whether the listener can be reached from this machine alone
	starts *rate.Limiter

	mu       sync.Mutex
	sessions map[string]*process
	groups   map[group]*starting
	started  map[*process]bool // those that have not ended, also before they belong to a session or a group
	running  int
	backOff  time.Duration
	notUntil time.Time
	ready    error
	closed   bool
	all      sync.WaitGroup // processes
}

// group is the clients that share a process: of one person or of everyone, with
// revisions of MCP that have sessions or that have none.
type group struct {
	owner  string
	modern bool
}

// starting is a process of a group, once done is closed.
type starting struct {
	done chan struct{}
	p    *process
	err  error
}

// unavailable: no process can be started right now.
type unavailable struct {
	text string
	wait time.Duration
}

func (u unavailable) Error() string { return u.text }

// New makes a bridge with settings that were checked. local reports whether only this
// machine reaches the listener.
func New(s Settings, log *slog.Logger, local func() bool) *Bridge {
	b := &Bridge{
		s: s, log: log, local: local, sessions: map[string]*process{}, groups: map[group]*starting{}, started: map[*process]bool{},
		starts: rate.NewLimiter(rate.Limit(s.StartRate), max(1, int(s.StartRate))), ready: errors.New("the MCP server has not been started yet"),
	}
	if s.Issuer != "" {
		b.who = newIdentities(&s, log)
	}
	return b
}

// Run tries the MCP server, so that Ready can say whether it works, and ends processes
// that are idle, until ctx ends. Then it ends them all.
func (b *Bridge) Run(ctx context.Context) {
	defer b.close()
	wait := firstBackOff
	for tried := false; ; {
		if !tried {
			err := b.try(ctx)
			b.mu.Lock()
			b.ready = err
			b.mu.Unlock()
			if tried = err == nil; tried {
				b.log.Info("the MCP server answers", "command", b.s.Command[0])
			} else if ctx.Err() == nil {
				b.log.Error("the MCP server does not work", "error", err)
			}
		}
		pause := min(b.s.IdleTimeout/4+time.Millisecond, 15*time.Second)
		if !tried {
			pause, wait = wait, min(2*wait, maxBackOff)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			b.tidy()
		}
	}
}

// Ready says why the MCP server cannot be used, nil if it can.
func (b *Bridge) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

// try starts the MCP server and waits for its answer to initialize. A process for all
// is kept.
func (b *Bridge) try(ctx context.Context) error {
	if b.s.Sharing == Shared {
		_, err := b.grouped(ctx, group{})
		return err
	}
	p, err := b.start(false)
	if err != nil {
		return err
	}
	defer p.stop("it was tried")
	return b.greet(ctx, p)
}

// tidy ends processes that are idle.
func (b *Bridge) tidy() {
	now := time.Now()
	b.mu.Lock()
	var idle []*process
	for _, p := range b.sessions {
		if p.idle(now) >= b.s.IdleTimeout {
			idle = append(idle, p)
		}
	}
	for g, s := range b.groups {
		if s.finished() && s.err == nil && s.p.idle(now) >= b.s.IdleTimeout && (g != group{} || b.s.Sharing != Shared) {
			idle = append(idle, s.p)
		}
	}
	b.mu.Unlock()
	for _, p := range idle {
		p.stop("it was idle")
	}
	ours.sweep()
}

func (s *starting) finished() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// close ends every process, and returns when they are gone.
func (b *Bridge) close() {
	b.mu.Lock()
	b.closed = true
	all := slices.Collect(maps.Keys(b.started))
	b.mu.Unlock()
	for _, p := range all {
		go p.stop("the bridge ends")
	}
	b.all.Wait()
	ours.sweep()
}

// start starts a process within the bounds.
func (b *Bridge) start(own bool) (*process, error) {
	if err := b.admit(); err != nil {
		return nil, err
	}
	p, err := startProcess(&b.s, b.log, b.gone)
	if err != nil {
		b.log.Error("the MCP server cannot be started", "error", err)
		b.gone(nil)
		b.penalize()
		return nil, unavailable{"the MCP server cannot be started", firstBackOff}
	}
	p.own = own
	if !b.keep(p) {
		go p.stop("the bridge ends")
		return nil, unavailable{"the bridge ends", firstBackOff}
	}
	return p, nil
}

// keep records a process for close to end. It reports whether the bridge is still
// running.
func (b *Bridge) keep(p *process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-p.child.gone:
	default:
		b.started[p] = true
	}
	return !b.closed
}

// admit counts a process that is about to start, or returns why none can start now.
func (b *Bridge) admit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wait := time.Until(b.notUntil); {
	case b.closed:
		return unavailable{"the bridge ends", firstBackOff}
	case wait > 0:
		return unavailable{"the MCP server ended at its start, and is not started again yet", wait}
	case b.running >= b.s.MaxProcesses:
		return unavailable{fmt.Sprintf("there are %d processes of the MCP server already", b.running), 5 * time.Second}
	case !b.starts.Allow():
		return unavailable{"too many processes of the MCP server are started at once", time.Second}
	}
	b.running++
	b.all.Add(1)
	return nil
}

// gone forgets a process that has ended; nil is one that did not start.
func (b *Bridge) gone(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	b.all.Done()
	delete(b.started, p)
	for id, q := range b.sessions {
		if q == p && p != nil {
			delete(b.sessions, id)
		}
	}
	for g, s := range b.groups {
		if s.finished() && s.p == p && p != nil {
			delete(b.groups, g)
		}
	}
}

// penalize delays the next start of a server that ends at its start.
func (b *Bridge) penalize() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backOff = min(max(2*b.backOff, firstBackOff), maxBackOff)
	b.notUntil = time.Now().Add(b.backOff)
}

func (b *Bridge) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backOff, b.notUntil = 0, time.Time{}
}

// grouped returns the process of a group, and starts it if there is none.
func (b *Bridge) grouped(ctx context.Context, g group) (*process, error) {
	b.mu.Lock()
	s := b.groups[g]
	if s == nil {
		s = &starting{done: make(chan struct{})}
		b.groups[g] = s
		go b.fill(g, s)
	}
	b.mu.Unlock()
	select {
	case <-s.done:
		return s.p, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill starts the process of a group.
func (b *Bridge) fill(g group, s *starting) {
	p, err := b.start(false)
	if err == nil {
		p.owner = g.owner
		if g.modern {
			err = b.discover(context.Background(), p)
		} else {
			err = b.greet(context.Background(), p)
		}
		if err != nil {
			p.stop(err.Error())
		}
	}
	b.mu.Lock()
	if s.p, s.err = p, err; err != nil {
		delete(b.groups, g)
	} else {
		select {
		case <-p.child.gone: // meanwhile
			delete(b.groups, g)
		default:
		}
	}
	close(s.done)
	b.mu.Unlock()
}

// greet sends the bridge's own initialize to a process. To the server, all clients that
// share the process are this one client.
func (b *Bridge) greet(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, b.s.StartTimeout)
	defer cancel()
	answer, err := p.exchange(ctx, "initialize", map[string]any{
		"protocolVersion": revisions[0], "capabilities": struct{}{}, "clientInfo": clientInfo,
	})
	if err == nil && answer.Error != nil {
		err = fmt.Errorf("the MCP server answers initialize with %s", short(answer.Error))
	}
	if err != nil {
		b.penalize()
		return err
	}
	b.forgive()
	p.hello = answer.Result
	line, err := (&message{Method: "notifications/initialized"}).line()
	if err == nil {
		err = p.child.write(line)
	}
	return err
}

// ownMeta describes the bridge in its own requests of the revision without sessions.
var ownMeta = map[string]any{
	protocolVersion: modern, "io.modelcontextprotocol/clientInfo": clientInfo, "io.modelcontextprotocol/clientCapabilities": struct{}{},
}

var clientInfo = map[string]string{"name": "mcp-forward-auth-bridge", "version": "1"}

// errOld: the MCP server speaks only revisions that begin with initialize.
var errOld = errors.New("the MCP server does not speak " + modern)

// discover finds out whether a process speaks the revision without sessions.
func (b *Bridge) discover(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, b.s.StartTimeout)
	defer cancel()
	answer, err := p.exchange(ctx, "server/discover", map[string]any{"_meta": ownMeta})
	switch {
	case err != nil:
		b.penalize()
		return err
	case answer.Error != nil:
		return errOld
	}
	var said struct{ SupportedVersions []string }
	if json.Unmarshal(answer.Result, &said) == nil && len(said.SupportedVersions) > 0 {
		for _, v := range said.SupportedVersions {
			if v >= modern {
				b.forgive()
				return nil
			}
		}
		return errOld
	}
	b.forgive()
	return nil
}

// session begins one with a process of its own.
func (b *Bridge) session(owner string) (id string, p *process, err error) {
	if p, err = b.start(true); err != nil {
		return "", nil, err
	}
	p.owner = owner
	id = rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-p.child.gone:
	default:
		b.sessions[id] = p
	}
	return id, p, nil
}

// of returns the process of a session, nil if there is none that this person began.
func (b *Bridge) of(id, owner string) *process {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.sessions[id]; p != nil && p.owner == owner {
		return p
	}
	return nil
}

func short(raw []byte) string {
	return strings.ToValidUTF8(string(raw[:min(len(raw), 300)]), "")
}
