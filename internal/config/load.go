package config

import (
	"io/fs"
	"os"
	"runtime"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Load reads and checks the configuration file at path. Relative paths in it
// start at its directory. The error is an Errors unless the file itself cannot
// be read.
func Load(path string) (*Config, error) { return (&loading{path: path, read: sums{}}).load() }

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
	config.hostsRules = file.Proxy.HostsFiles
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
