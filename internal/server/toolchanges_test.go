package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// brokenGuard answers nothing.
type brokenGuard struct{ guard.Guard }

func (brokenGuard) Redeem(context.Context, string, time.Time) (bool, error) {
	return false, guard.ErrUnavailable
}
func (brokenGuard) Kept(context.Context, string) (string, error) { return "", guard.ErrUnavailable }
func (brokenGuard) Keep(context.Context, string, string, time.Time) error {
	return errors.Join(guard.ErrUnavailable)
}

// Operators read once what is new about an MCP server's tools, whichever replica saw
// it and whether or not one ran when it happened.
func TestToolChangesAreWrittenDown(t *testing.T) {
	const resource = "https://mcp.example.com/mcp"
	now := time.Unix(1_800_000_000, 0)
	keys, err := seal.NewKeyring(func() time.Time { return now }, []byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	changed := 0
	memory := guard.NewMemory(100, func() time.Time { return now })
	replica := func(g guard.Guard, shared bool) *toolWatch {
		return &toolWatch{
			guard: g, shared: shared, keys: seal.NewPackedBox[catalog.Snapshot](keys, "tools", ""), hosts: map[string]string{resource: "mcp.example.com"},
			audit:   &audit.Log{Logger: slog.New(slog.NewJSONHandler(&log, nil)), Bounds: auditBounds(func() time.Time { return now })},
			changed: func(string) { changed++ }, now: func() time.Time { return now },
		}
	}
	list := func(tools ...string) catalog.Snapshot {
		s := catalog.Snapshot{Tools: map[string]string{}, Scopes: map[string]string{"write": fmt.Sprint(len(tools))}}
		for _, name := range tools {
			name, print, _ := strings.Cut(name, "=")
			s.Tools[name] = print
		}
		return s
	}
	expect := func(what string, entries, seen int, parts ...string) {
		t.Helper()
		got := log.String()
		if n := strings.Count(got, `"event":"tools.changed"`); n != entries || changed != seen {
			t.Errorf("%s: %d entries, want %d; seen by %d, want %d\n%s", what, n, entries, changed, seen, got)
		}
		for _, p := range parts {
			if !strings.Contains(got, p) {
				t.Errorf("%s: %s is not in %s", what, p, got)
			}
		}
		log.Reset()
		changed = 0
	}

	one, two := replica(memory, true), replica(memory, true)
	first := list("a=1", "b=1", "c=1")
	one.read(t.Context(), resource, first, nil)
	two.read(t.Context(), resource, first, nil)
	expect("the first time", 0, 0)
	second := list("a=1", "b=2", "d=1", "e=1")
	one.read(t.Context(), resource, second, &first)
	two.read(t.Context(), resource, second, &first)
	expect("a change that two replicas see", 1, 2, `"resource":"`+resource+`"`, `"host":"mcp.example.com"`,
		`"tools_added":"d, e"`, `"tools_changed":"b"`, `"tools_removed":"c"`, `"scope":"write"`)
	one.read(t.Context(), resource, second, &second)
	expect("nothing new", 0, 0)
	third := list("a=1", "b=2", "d=1", "e=2")
	replica(memory, true).read(t.Context(), resource, third, nil)
	expect("a change while nothing ran", 1, 1, `"tools_changed":"e"`)

	alone := replica(guard.NewMemory(100, func() time.Time { return now }), false)
	alone.read(t.Context(), resource, first, nil)
	alone.read(t.Context(), resource, second, &first)
	expect("one replica without a shared guard", 1, 1)
	for range 200 { // a server that flaps fills no log
		alone.read(t.Context(), resource, first, &second)
		alone.read(t.Context(), resource, second, &first)
	}
	expect("the same two changes again and again", 1, 400)
	broken := replica(brokenGuard{}, true)
	broken.read(t.Context(), resource, first, nil)
	broken.read(t.Context(), resource, second, &first)
	expect("a guard that does not answer", 1, 1)
}
