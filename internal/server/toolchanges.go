package server

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// toolWatch reports changes of an MCP server's tools to operators, before any page
// shows them. With a shared guard one replica writes the entry for all, and a change
// between two runs of this service is noticed too.
type toolWatch struct {
	guard   guard.Guard
	shared  bool
	keys    seal.Box[catalog.Snapshot]
	audit   *audit.Log
	changed func(resource string) // for metrics, at each replica
	hosts   map[string]string     // of resources
	now     func() time.Time
}

const (
	// toolsKept is how long it is remembered which tools a server had.
	toolsKept = 90 * 24 * time.Hour
	// toolsRepeat is how soon the same change is logged again: the replicas of an MCP
	// server may differ for a while.
	toolsRepeat = time.Hour
	// toolsWait bounds what the guard may take, while pages show the list of before.
	toolsWait = 2 * time.Second
)

// watchTools makes b's toolWatch.
func (b *builder) watchTools() *toolWatch {
	w := &toolWatch{
		guard: b.replay, shared: b.memory.store != nil, keys: seal.NewPackedBox[catalog.Snapshot](b.sealing, "tools of an MCP server", ""),
		audit: b.audit, hosts: map[string]string{}, now: b.opt.Now,
	}
	changes, now := b.metrics.toolChanges, b.opt.Now
	w.changed = func(resource string) { changes.WithLabelValues(resource).Set(float64(now().Unix())) }
	for _, r := range b.table.All() {
		w.hosts[r.URI] = r.Host.Name
	}
	return w
}

// read is catalog.Options.Read.
func (w *toolWatch) read(ctx context.Context, resource string, now catalog.Snapshot, before *catalog.Snapshot) {
	ctx, cancel := context.WithTimeout(ctx, toolsWait)
	defer cancel()
	first := before == nil
	if first {
		if before = w.kept(ctx, resource); before == nil {
			w.keep(ctx, resource, now)
			return
		}
	}
	d := now.Since(*before)
	if !d.None() {
		w.changed(resource)
		w.write(ctx, resource, d)
	}
	if first || !d.None() {
		w.keep(ctx, resource, now)
	}
}

// write logs a change, unless another replica has.
func (w *toolWatch) write(ctx context.Context, resource string, d catalog.Difference) {
	what, _ := json.Marshal(d) // lists of text
	// If the guard does not answer, the entry is written: one too many is better than one
	// too few.
	if isFirst, err := w.guard.Redeem(ctx, "tools "+resource+" "+string(what), w.now().Add(toolsRepeat)); err == nil && !isFirst {
		return
	}
	w.audit.Write(ctx, audit.Entry{
		Event: audit.ToolsChanged, Host: w.hosts[resource], Resource: resource, Scope: catalog.Names(d.Scopes),
		ToolsAdded: catalog.Names(d.Added), ToolsChanged: catalog.Names(d.Changed), ToolsRemoved: catalog.Names(d.Removed),
	})
}

func (w *toolWatch) kept(ctx context.Context, resource string) *catalog.Snapshot {
	if !w.shared {
		return nil
	}
	sealed, err := w.guard.Kept(ctx, toolsID(resource))
	if err != nil || sealed == "" {
		return nil
	}
	s, err := w.keys.Open(sealed, resource)
	if err != nil {
		return nil
	}
	return &s
}

// keep stores a server's list for replicas that read it for the first time. A list that
// is too long to store is only compared while this replica runs.
func (w *toolWatch) keep(ctx context.Context, resource string, s catalog.Snapshot) {
	if !w.shared {
		return
	}
	until := w.now().Add(toolsKept)
	if sealed, err := w.keys.Seal(s, until, resource); err == nil && len(sealed) <= guard.MaxKept {
		_ = w.guard.Keep(ctx, toolsID(resource), sealed, until)
	}
}

func toolsID(resource string) string { return "tools of " + resource }
