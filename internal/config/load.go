package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Load reads and checks the configuration file at path. Relative paths in it
// start at its directory. The error is an Errors unless the file itself cannot
// be read.
func Load(path string) (*Config, error) { return load(path, nil, sums{}) }

// load is Load with pins in the place of what the document says there. It notes in
// read what it reads.
func load(path string, pins map[string]any, read sums) (*Config, error) {
	data, err := conf.ReadBounded(path, conf.MaxFileBytes)
	read.add(path, data, err)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	dir := filepath.Dir(path)
	below := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	r := &resolver{Check: &conf.Check{
		ReadFile: func(name string) ([]byte, error) {
			data, err := conf.ReadBounded(below(name), conf.MaxSecretBytes)
			read.add(below(name), data, err)
			return data, err
		},
		Below:   below,
		Exposed: func(name string) bool { return worldReadable(below(name)) },
		Pinned:  pins,
	}}
	c, err := r.parse(data)
	if err == nil && worldReadable(path) && r.Inline {
		c.Warnings = append(conf.Errors{{Problem: "every user of this machine may read this file, which holds a secret; take that right away (chmod o-r), or put the secret into a file of its own"}}, c.Warnings...)
	}
	return c, err
}

// Parse checks the configuration file with content data. It calls readFile for
// every file that data names; nil means that there are none to read. The error
// is an Errors. Data is the operator's: it may use YAML aliases, whose expansion
// only the YAML library bounds.
func Parse(data []byte, readFile func(string) ([]byte, error)) (*Config, error) {
	if readFile == nil {
		readFile = func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	}
	return (&resolver{Check: &conf.Check{ReadFile: readFile}}).parse(data)
}

func (r *resolver) parse(data []byte) (*Config, error) {
	switch {
	case len(data) > conf.MaxFileBytes:
		return nil, conf.Errors{{Problem: "the configuration is larger than 1 MiB"}}
	case !utf8.Valid(data):
		return nil, conf.Errors{{Problem: "the configuration is not UTF-8 text"}}
	}
	var file File
	r.Decode(data, &file)
	config := r.resolve(file)
	config.written = map[string]any{}
	for _, key := range pinnedKeys {
		config.written[key] = r.Written(key)
	}
	if config.AuditFile != "" && r.Below != nil {
		if err := audit.CheckFile(config.AuditFile); err != nil {
			r.Add("audit.file", "%v", err)
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return config, nil
}

// worldReadable reports whether every user of the machine may read the file.
func worldReadable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0
}
