// Package reload follows a file that may change while the service runs. Content
// that cannot be used changes nothing: what was in force stays in force, and the
// problem is reported once.
package reload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// Period is how often a File is read again.
const Period = 2 * time.Second

// File is one file and what to do with its content. Only one goroutine may use
// it at a time.
type File struct {
	// What names the content in errors, for example "deny-list".
	What string
	Path string
	// MaxBytes bounds the content; a larger file is an error.
	MaxBytes int64
	// Apply puts content in force and returns how many entries it has. It must
	// change nothing when it returns an error.
	Apply func(data []byte) (entries int, err error)
	// Loaded is called with each new content: how many entries are in force now,
	// and what is wrong with the new content, if anything.
	Loaded func(entries int, err error)

	last    [sha256.Size]byte // of the content in force
	problem string            // of the content seen last
	entries int
}

// Load reads the file once and reports what is wrong with it.
func (f *File) Load() error {
	data, err := f.read()
	if err == nil {
		err = f.apply(data)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.What, err)
	}
	f.Loaded(f.entries, nil)
	return nil
}

// Watch reads the file now and then every Period until ctx ends. It compares
// contents: modification times are coarse, and a mounted ConfigMap or Secret
// changes by a symbolic link.
func (f *File) Watch(ctx context.Context) {
	tick := time.NewTicker(Period)
	defer tick.Stop()
	for {
		f.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *File) look() {
	data, err := f.read()
	if err == nil && sha256.Sum256(data) == f.last && f.problem == "" {
		return
	}
	if err == nil {
		err = f.apply(data)
	}
	switch {
	case err == nil:
		f.problem = ""
		f.Loaded(f.entries, nil)
	case err.Error() != f.problem: // report each problem once
		f.problem = err.Error()
		f.Loaded(f.entries, fmt.Errorf("%s: %w", f.What, err))
	}
}

func (f *File) apply(data []byte) error {
	entries, err := f.Apply(data)
	if err != nil {
		return err
	}
	f.last, f.entries = sha256.Sum256(data), entries
	return nil
}

func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, f.MaxBytes+1))
	if err == nil && int64(len(data)) > f.MaxBytes {
		err = fmt.Errorf("the file is larger than %d bytes", f.MaxBytes)
	}
	return data, err
}
