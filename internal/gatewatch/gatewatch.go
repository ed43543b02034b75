// Package gatewatch looks at the gates of the MCP servers from outside, as a
// stranger would, and says which of them lets a request pass that did not meet
// this service: another policy won, a route was added, an annotation is gone.
//
// Its invariants: it sends nothing secret; it follows no redirect; it asks one
// thing at a time at each host, within bounds of time and size; a network failure never
// counts as an open gate; and nothing that it sees stops this service from serving.
package gatewatch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	// hostsAtOnce bounds how many hosts are looked at in the same moment.
	hostsAtOnce = 8
	// A state holds once it was seen so often in a row. A gateway may be away for
	// longer than for two looks when it restarts.
	looksToBelieve, looksToMiss = 2, 3
	// maxSaid bounds how many gates a text names.
	maxSaid = 10
)

// Options are what a Watch needs besides its configuration.
type Options struct {
	Table   *resource.Table
	Logger  *slog.Logger
	Version string
	// Asked is told of each question; may be nil.
	Asked func()
	// Transport replaces the network, for tests; nil is the network.
	Transport http.RoundTripper
}

// Watch is the watch over all gates. A nil Watch watches none.
type Watch struct {
	config Config
	log    *slog.Logger
	looker *Looker
	hosts  map[*resource.Host][]*gate
	turns  chan struct{}

	mu    sync.Mutex
	gates []*gate // in the order of the configuration
}

// gate is what is known of one gate. Watch.mu guards all but the resource.
type gate struct {
	resource *resource.Resource
	sight    Sight
	since    time.Time
	// next is the state that the last looks showed, if it is another; seen counts them.
	next Sight
	seen int
}

// New returns a Watch, nil if the configuration wants none.
func New(c Config, opt Options) *Watch {
	if !c.Enabled {
		return nil
	}
	w := &Watch{config: c, log: opt.Logger, looker: NewLooker(c, opt.Version), hosts: map[*resource.Host][]*gate{}, turns: make(chan struct{}, hostsAtOnce)}
	w.looker.asked = opt.Asked
	if opt.Transport != nil {
		w.looker.transports = func(string) http.RoundTripper { return opt.Transport }
	}
	for _, r := range opt.Table.All() {
		if c.Of(r.Host.Name).Skip {
			continue
		}
		g := &gate{resource: r, sight: Sight{State: Unknown}}
		w.gates = append(w.gates, g)
		w.hosts[r.Host] = append(w.hosts[r.Host], g)
	}
	return w
}

// Adopt takes over what another Watch has seen of the same gates. It must be called
// before Run.
func (w *Watch) Adopt(from *Watch) {
	if w == nil || from == nil {
		return
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	seen := make(map[string]gate, len(from.gates))
	for _, g := range from.gates {
		seen[g.resource.URI] = *g
	}
	for _, g := range w.gates {
		if old, ok := seen[g.resource.URI]; ok {
			old.resource = g.resource
			*g = old
		}
	}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	if w == nil {
		return
	}
	var all sync.WaitGroup
	for _, gates := range w.hosts {
		all.Go(func() { w.follow(ctx, gates) })
	}
	all.Wait()
}

// follow looks at the gates of one host again and again. Replicas do not know of
// each other: chance keeps their looks apart.
func (w *Watch) follow(ctx context.Context, gates []*gate) {
	pause := rand.N(w.config.Interval / 6)
	for sleep(ctx, pause) {
		pause = around(w.config.Interval)
		if !w.turn(ctx) {
			return
		}
		for _, g := range gates {
			sight := w.looker.Look(ctx, g.resource)
			if ctx.Err() != nil { // a look that was cut off shows nothing
				break
			}
			if w.note(g, sight) {
				pause = around(w.config.Interval / 4)
			}
		}
		<-w.turns
	}
}

func (w *Watch) turn(ctx context.Context) bool {
	select {
	case w.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// around is d, give or take a tenth.
func around(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// note takes in what a look showed, and reports whether to look again soon.
func (w *Watch) note(g *gate, s Sight) (soon bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.State == g.sight.State:
		g.sight.Saw, g.next, g.seen = s.Saw, Sight{}, 0
		return false
	case s.State == Unreachable && g.sight.State.bad():
		return false // that it cannot be seen makes it no better
	case s.State == g.next.State || s.State.bad() && g.next.State.bad():
		g.seen++
	default:
		g.seen = 1
	}
	g.next = s
	needed := looksToBelieve
	if s.State == Unreachable {
		needed = looksToMiss
	}
	if g.seen < needed {
		return s.State.bad()
	}
	g.sight, g.since, g.next, g.seen = s, time.Now(), Sight{}, 0
	w.say(g)
	return false
}

// say writes the one line about a change.
func (w *Watch) say(g *gate) {
	level, text := slog.LevelInfo, "the gate is closed"
	switch g.sight.State {
	case Open:
		level, text = slog.LevelError, "the gate is OPEN: requests reach the MCP server without this service"
	case Foreign:
		level, text = slog.LevelError, "the gate is not this service's: something else answers in its place"
	case Unreachable:
		level, text = slog.LevelWarn, "the gate cannot be looked at"
	}
	w.log.Log(context.Background(), level, text, "resource", g.resource.URI, "state", string(g.sight.State), "saw", g.sight.Saw)
}

// Gate is what is known of the gate of one MCP server.
type Gate struct {
	Resource *resource.Resource
	Sight
	Since time.Time // of the state; zero while that is Unknown
}

// Gates returns what is known of every gate that is watched.
func (w *Watch) Gates() []Gate {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Gate, 0, len(w.gates))
	for _, g := range w.gates {
		out = append(out, Gate{g.resource, g.sight, g.since})
	}
	return out
}

// Trouble lists the gates that are open, not this service's, or not to be seen,
// the worst first and ten at most.
func (w *Watch) Trouble() []string {
	order := []State{Open, Foreign, Unreachable}
	gates := slices.DeleteFunc(w.Gates(), func(g Gate) bool { return !slices.Contains(order, g.State) })
	slices.SortStableFunc(gates, func(a, b Gate) int {
		return cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State))
	})
	var out []string
	for i, g := range gates {
		if i == maxSaid {
			return append(out, fmt.Sprintf("and %d more", len(gates)-i))
		}
		out = append(out, fmt.Sprintf("gate of %s %s: %s", g.Resource.URI, g.State, g.Saw))
	}
	return out
}

// LookAtAll looks once at every gate but those to skip, and calls seen with each
// in the order of the table. It returns when all are done or ctx ends.
func LookAtAll(ctx context.Context, c Config, table *resource.Table, version string, seen func(Gate)) error {
	l := NewLooker(c, version)
	for _, r := range table.All() {
		if c.Of(r.Host.Name).Skip {
			continue
		}
		sight := l.Look(ctx, r)
		if err := ctx.Err(); err != nil {
			return err
		}
		seen(Gate{Resource: r, Sight: sight})
	}
	return nil
}
