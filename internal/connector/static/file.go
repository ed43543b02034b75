package static

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

const (
	// Period is how often the file with the accounts is read again.
	Period = 2 * time.Second

	maxFile = 1 << 20
)

// file is where the accounts come from.
type file struct {
	path    string
	last    [sha256.Size]byte // of the content in force
	problem string            // of the content that was seen last
}

// Watch looks at the file with the accounts, if there is one, every Period until
// ctx ends, and tells loaded of every new content: how many accounts there are
// now, or what is wrong with it, in which case the last good content stays in
// force. It compares contents: modification times are coarse, and a mounted
// Secret changes by a symbolic link.
func (c *Connector) Watch(ctx context.Context, loaded func(users int, err error)) {
	if c.file == nil {
		return
	}
	tick := time.NewTicker(Period)
	defer tick.Stop()
	for {
		c.look(loaded)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Connector) look(loaded func(users int, err error)) {
	f := c.file
	data, err := f.read()
	sum := sha256.Sum256(data)
	if err == nil && sum == f.last && f.problem == "" {
		return
	}
	if err == nil {
		err = c.apply(data)
	}
	switch {
	case err == nil:
		f.last, f.problem = sum, ""
		loaded(len(*c.users.Load()), nil)
	case err.Error() != f.problem: // once for each new problem
		f.problem = err.Error()
		loaded(len(*c.users.Load()), fmt.Errorf("users file: %w", err))
	}
}

func (c *Connector) apply(data []byte) error {
	users, err := config.ParseUsers(data)
	if err != nil {
		return err
	}
	return c.replace(users)
}

func (f *file) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile+1)) // config.ParseUsers refuses one byte more
}
