package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Bounds of a File.
const (
	queuedLines = 8192     // that wait to be written; some 4 MB
	batchBytes  = 64 << 10 // of one write
	lookPeriod  = time.Second
	nagPeriod   = time.Minute
)

// File is the end of a file that entries are added to. Write never waits: what
// finds the queue full, or cannot be written, is counted and lost, because a full
// disk must not end everybody's access to everything.
type File struct {
	path string
	log  *slog.Logger
	lost func(lines int)

	lines  chan []byte
	reopen atomic.Bool
	stop   chan struct{}
	done   chan struct{}

	// Of the writing goroutine.
	file    *os.File
	looked  time.Time
	nagged  time.Time
	failing bool
}

// OpenFile opens or makes the file at path, which only we and our group may
// read. lost is told how many lines could not be written.
func OpenFile(path string, log *slog.Logger, lost func(lines int)) (*File, error) {
	f := &File{
		path: path, log: log, lost: lost,
		lines: make(chan []byte, queuedLines), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("audit.file: %w", err)
	}
	go f.run()
	return f, nil
}

// CheckFile reports why OpenFile would fail at path, and leaves nothing there.
func CheckFile(path string) error {
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return fmt.Errorf("%s is a directory, not a file", path)
		}
		file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return file.Close()
	}
	directory := filepath.Dir(path)
	info, err := os.Stat(directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; make it, or choose another", directory)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", directory)
	}
	probe, err := os.CreateTemp(directory, ".mcp-forward-auth-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// Write takes one line. It keeps nothing of p.
func (f *File) Write(p []byte) (int, error) {
	select {
	case f.lines <- append([]byte(nil), p...):
	default:
		f.lost(1)
	}
	return len(p), nil
}

// Reopen has the next line written to what is at the path then.
func (f *File) Reopen() { f.reopen.Store(true) }

// Close writes what waits, for a bounded time, and closes the file. Nothing may
// be written after it.
func (f *File) Close() {
	close(f.stop)
	select {
	case <-f.done:
	case <-time.After(5 * time.Second):
	}
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.looked = file, time.Now()
	return nil
}

func (f *File) run() {
	defer close(f.done)
	defer func() { f.file.Close() }()
	for {
		select {
		case line := <-f.lines:
			f.write(f.batch(line))
		case <-f.stop:
			for {
				select {
				case line := <-f.lines:
					f.write(f.batch(line))
				default:
					return
				}
			}
		}
	}
}

// batch adds to line what else waits.
func (f *File) batch(line []byte) (batch []byte, lines int) {
	batch, lines = line, 1
	for len(batch) < batchBytes {
		select {
		case next := <-f.lines:
			batch, lines = append(batch, next...), lines+1
		default:
			return batch, lines
		}
	}
	return batch, lines
}

func (f *File) write(batch []byte, lines int) {
	err := f.follow()
	if err == nil {
		var n int
		if n, err = f.file.Write(batch); err != nil && n > 0 {
			_, _ = f.file.Write([]byte("\n")) // what was cut is one bad line, not the beginning of the next
		}
	}
	if err == nil {
		if f.failing {
			f.log.Info("the audit log is written again", "file", f.path)
		}
		f.failing = false
		return
	}
	f.lost(lines)
	if now := time.Now(); !f.failing || now.Sub(f.nagged) > nagPeriod {
		f.log.Error("the audit log cannot be written; entries are lost", "file", f.path, "error", err)
		f.nagged = now
	}
	f.failing = true
	f.looked = time.Time{} // look at once whether a new file would do
}

// follow opens the file again if it was asked for, or if there is another file at
// the path, as after a rotation.
func (f *File) follow() error {
	asked := f.reopen.Swap(false)
	if !asked && time.Since(f.looked) < lookPeriod {
		return nil
	}
	f.looked = time.Now()
	if !asked {
		there, err := os.Stat(f.path)
		if err == nil {
			if ours, err := f.file.Stat(); err == nil && os.SameFile(there, ours) {
				return nil
			}
		}
	}
	return f.open()
}
