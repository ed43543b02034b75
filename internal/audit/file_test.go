package audit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func holds(path, text string) func() bool {
	return func() bool {
		content, _ := os.ReadFile(path)
		return strings.Contains(string(content), text)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	var lost atomic.Int64
	open := func() *File {
		f, err := OpenFile(path, slog.New(slog.DiscardHandler), func(n int) { lost.Add(int64(n)) })
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	for i := range 100 {
		fmt.Fprintf(f, "line %d\n", i)
	}
	f.Close()
	content, err := os.ReadFile(path)
	if err != nil || bytes.Count(content, []byte("\n")) != 100 || !strings.HasSuffix(string(content), "line 99\n") {
		t.Fatalf("%v: %d lines", err, bytes.Count(content, []byte("\n")))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may read it: %v %v", info.Mode(), err)
	}

	f = open() // adds to what is there
	fmt.Fprintln(f, "after a restart")
	eventually(t, "a restart", holds(path, "line 99\nafter a restart"))

	t.Run("moved away and a signal", func(t *testing.T) {
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		f.Reopen()
		fmt.Fprintln(f, "after the signal")
		eventually(t, "the new file", holds(path, "after the signal"))
	})
	t.Run("moved away without one", func(t *testing.T) {
		if err := os.Rename(path, path+".2"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new file", func() bool {
			fmt.Fprintln(f, "more")
			time.Sleep(50 * time.Millisecond)
			return holds(path, "more")()
		})
	})
	f.Close()
	if lost.Load() != 0 {
		t.Errorf("%d lines are lost", lost.Load())
	}
}

// What cannot be written is counted and said once, and Write does not fail.
func TestFileFails(t *testing.T) {
	if _, err := OpenFile(filepath.Join(t.TempDir(), "no", "such", "folder"), slog.New(slog.DiscardHandler), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that cannot be made: %v", err)
	}
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("only Linux has a device that is always full")
	}
	var lost atomic.Int64
	var log bytes.Buffer
	f, err := OpenFile(full, slog.New(slog.NewTextHandler(&log, nil)), func(n int) { lost.Add(int64(n)) })
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := fmt.Fprintln(f, "a line"); err != nil {
			t.Errorf("Write: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	f.Close()
	if lost.Load() != 20 || strings.Count(log.String(), "cannot be written") != 1 {
		t.Errorf("%d lost; log:\n%s", lost.Load(), log.String())
	}
}

// A queue that is not emptied never holds a writer up.
func TestFileQueue(t *testing.T) {
	var lost int
	f := &File{lines: make(chan []byte, 3), lost: func(n int) { lost += n }}
	for range 5 {
		fmt.Fprintln(f, "a line")
	}
	if lost != 2 || len(f.lines) != 3 {
		t.Errorf("%d lost, %d wait", lost, len(f.lines))
	}
}
