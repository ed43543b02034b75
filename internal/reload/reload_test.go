package reload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFile goes through what happens to a mounted ConfigMap.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deny.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		t.Helper()
		if os.Symlink(filepath.Join(dir, to), path+".new") != nil || os.Rename(path+".new", path) != nil {
			t.Fatal("no link")
		}
	}
	var told []string
	const maxBytes = 100
	inForce := ""
	apply := func(data []byte) (int, error) {
		entries, ok := strings.CutPrefix(string(data), "good:")
		if !ok {
			return 0, errors.New("broken")
		}
		inForce = entries
		return len(entries), nil
	}
	f := &File{What: "deny-list", Path: path, MaxBytes: maxBytes, Apply: apply, Loaded: func(entries int, err error) { told = append(told, fmt.Sprint(entries, err != nil)) }}
	if f.Load() == nil {
		t.Error("a missing file is no mistake at the start")
	}
	write("..1", "good:a")
	link("..1")
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	holds := func(want string) {
		t.Helper()
		if inForce != want {
			t.Errorf("%q is in force, want %q", inForce, want)
		}
	}
	holds("a")
	f.look()
	write("..2", "good:bb")
	link("..2")
	f.look()
	holds("bb")
	write("..2", "broken") // broken in place
	f.look()
	f.look()
	holds("bb")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.look()
	holds("bb")
	link("..1") // good again
	f.look()
	holds("a")
	write("..1", "broken") // broken, then as it was
	f.look()
	write("..1", "good:a")
	f.look()
	f.look()
	write("..1", "good:"+strings.Repeat("x", maxBytes))
	f.look()
	holds("a")
	if got, want := strings.Join(told, ", "), "1 false, 2 false, 2 true, 2 true, 1 false, 1 true, 1 false, 1 true"; got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
}
