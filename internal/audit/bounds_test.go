package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
)

const linesOfRefusal, linesOfStep, linesOfStrangers, linesOfPerson = 6, 60, 600, 60

func newBounds(now func() time.Time) *Bounds {
	return &Bounds{
		Refusals: limit.New(limit.PerMinute(linesOfRefusal), 1<<14, now), Steps: limit.New(limit.PerMinute(linesOfStep), 1<<14, now),
		Strangers: limit.New(limit.PerMinute(linesOfStrangers), 1, now), Persons: limit.New(limit.PerMinute(linesOfPerson), 1<<14, now),
	}
}

// bounded is a log with bounds, at a time that the test sets.
type bounded struct {
	*Log
	text    bytes.Buffer
	now     time.Time
	counted int
}

func newBounded(level slog.Level) *bounded {
	b := &bounded{now: time.Unix(1_800_000_000, 0)}
	b.Log = &Log{
		Logger: slog.New(slog.NewJSONHandler(&b.text, &slog.HandlerOptions{Level: level})),
		Bounds: newBounds(func() time.Time { return b.now }), Counted: func() { b.counted++ },
	}
	return b
}

// read returns what was written, and how many entries that stands for.
func (b *bounded) read(t *testing.T) (lines []map[string]string, entries int) {
	t.Helper()
	for line := range strings.Lines(b.text.String()) {
		var record struct{ Audit map[string]string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, record.Audit)
		n := 1
		if record.Audit["count"] != "" {
			n, _ = strconv.Atoi(record.Audit["count"])
		}
		entries += n
	}
	b.text.Reset()
	return lines, entries
}

// Whatever strangers send, the log grows by so much a minute, and every entry is
// written or counted.
func TestFloodOfStrangers(t *testing.T) {
	const n = 100_000
	b := newBounded(slog.LevelInfo)
	for i := range n {
		b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "bad_signature", Host: "a.example", Method: strings.Repeat("m", 4000), Tool: strconv.Itoa(i)})
	}
	b.Flush(t.Context())
	lines, entries := b.read(t)
	if len(lines) != linesOfRefusal+1 || entries != n || b.counted != n-linesOfRefusal {
		t.Fatalf("%d lines stand for %d entries, %d counted", len(lines), entries, b.counted)
	}
	if last := lines[len(lines)-1]; len(last) != 5 || last["reason"] != "bad_signature" || last["host"] != "a.example" || last["event"] != string(AccessDenied) {
		t.Errorf("%v", last)
	}
	b.Flush(t.Context())
	if lines, _ := b.read(t); len(lines) != 0 {
		t.Errorf("again: %v", lines)
	}
	b.now = b.now.Add(time.Minute)
	b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "bad_signature", Host: "a.example"})
	if lines, _ := b.read(t); len(lines) != 1 {
		t.Error("a minute later nothing is written")
	}
}

// Many hosts and kinds of nonsense together are bounded too, and so is the memory
// for their counts.
func TestFloodAtManyHosts(t *testing.T) {
	b := newBounded(slog.LevelInfo)
	const hosts, each = 10_000, 3
	for i := range hosts {
		for range each {
			b.Write(t.Context(), Entry{Event: TokenRefused, Reason: "invalid_code", Host: fmt.Sprintf("%d.example", i)})
		}
	}
	if len(b.Bounds.held) > heldKeys+1 {
		t.Errorf("%d counts are kept", len(b.Bounds.held))
	}
	before, written := b.read(t)
	b.Flush(t.Context())
	after, counted := b.read(t)
	if len(before) != linesOfStrangers || len(after) > heldKeys+1 || written+counted != hosts*each {
		t.Errorf("%d lines, then %d, for %d and %d entries", len(before), len(after), written, counted)
	}
}

func TestWhatIsAlwaysWritten(t *testing.T) {
	t.Run("the operator's own", func(t *testing.T) {
		b := newBounded(slog.LevelInfo)
		for range 2000 {
			b.Write(t.Context(), Entry{Event: DenyListLoaded})
		}
		if lines, _ := b.read(t); len(lines) != 2000 {
			t.Errorf("%d lines", len(lines))
		}
	})
	t.Run("people, whatever strangers do", func(t *testing.T) {
		b := newBounded(slog.LevelInfo)
		for i := range 3 * linesOfStrangers {
			b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "insufficient_scope", Host: strconv.Itoa(i)})
		}
		b.read(t)
		b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "insufficient_scope", Host: "1", Subject: "jane", Tool: "put"})
		if lines, _ := b.read(t); len(lines) != 1 || lines[0]["mcp_tool"] != "put" {
			t.Errorf("%v", lines)
		}
	})
	t.Run("each person, up to a bound", func(t *testing.T) {
		b := newBounded(slog.LevelInfo)
		for range 2 * linesOfPerson {
			b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "insufficient_scope", Host: "a.example", Subject: "jane", Tool: "put"})
		}
		b.Flush(t.Context())
		if lines, n := b.read(t); len(lines) != linesOfPerson+1 || n != 2*linesOfPerson || lines[linesOfPerson]["subject"] != "jane" {
			t.Errorf("%d lines for %d entries", len(lines), n)
		}
	})
	t.Run("at debug level, everything", func(t *testing.T) {
		b := newBounded(slog.LevelDebug)
		for range 1000 {
			b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "bad_signature"})
		}
		if lines, _ := b.read(t); len(lines) != 1000 {
			t.Errorf("%d lines", len(lines))
		}
	})
	t.Run("without bounds, everything", func(t *testing.T) {
		b := newBounded(slog.LevelInfo)
		b.Bounds = nil
		for range 1000 {
			b.Write(t.Context(), Entry{Event: AccessDenied, Reason: "bad_signature"})
		}
		b.Flush(t.Context())
		if lines, _ := b.read(t); len(lines) != 1000 {
			t.Errorf("%d lines", len(lines))
		}
	})
}

// BenchmarkFlood is what an entry beyond the bounds costs.
func BenchmarkFlood(b *testing.B) {
	l := Log{Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)), Bounds: newBounds(time.Now)}
	b.ReportAllocs()
	for b.Loop() {
		l.Write(context.Background(), Entry{Event: AccessDenied, Reason: "bad_signature", Host: "a.example"})
	}
}
