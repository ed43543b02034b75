package server

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
)

// followed are the files that are read again by what uses them, without the
// configuration, and what is wrong with them.
type followed struct {
	files []*reload.File

	mu       sync.Mutex
	problems map[string]string // by path
}

// add follows a file. If its new content cannot be used, the log says so, and trouble
// reports it until the file is valid again.
func (f *followed) add(file *reload.File, log *slog.Logger) {
	loaded := file.Loaded
	file.Loaded = func(entries int, err error) {
		f.note(file.Path, err)
		if err != nil {
			log.Error("a file that changed cannot be used; what it held before stays in force", "file", file.Path, "problem", err)
		}
		loaded(entries, err)
	}
	f.files = append(f.files, file)
}

func (f *followed) note(path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.problems, path)
		return
	}
	if f.problems == nil {
		f.problems = map[string]string{}
	}
	f.problems[path] = err.Error()
}

// trouble names the files that cannot be used.
func (f *followed) trouble() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(f.problems)) {
		all = append(all, "the file "+path+" cannot be used, and what it held before is in force: "+f.problems[path])
	}
	return all
}
