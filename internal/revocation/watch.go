package revocation

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

// File is the operator's deny-list on disk.
type File struct {
	Path string
	List *List
	// Loaded is told of every new content: how many entries are denied now, or
	// what is wrong with it, in which case the last good content stays in force.
	Loaded func(entries int, err error)

	last    [sha256.Size]byte
	problem string
	entries int
}

// Load reads the file and applies it. A service that cannot read its deny-list
// at the start must not serve: it would honour whom the operator denies.
func (f *File) Load() error {
	data, err := f.read()
	if err == nil {
		err = f.apply(data)
	}
	if err != nil {
		return fmt.Errorf("deny-list: %w", err)
	}
	f.Loaded(f.entries, nil)
	return nil
}

// Watch looks at the file every Period until ctx ends. It compares contents:
// modification times are coarse, and a mounted ConfigMap changes by a symbolic link.
func (f *File) Watch(ctx context.Context) {
	tick := time.NewTicker(Period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
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
	case err.Error() != f.problem: // once for each new problem
		f.problem = err.Error()
		f.Loaded(f.entries, err)
	}
}

func (f *File) apply(data []byte) error {
	d, err := ParseDenied(data)
	if err != nil {
		return err
	}
	f.List.Deny(d)
	f.last, f.entries = sha256.Sum256(data), d.Len()
	return nil
}

func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("the file is larger than %d bytes", maxFileBytes)
	}
	return data, err
}
