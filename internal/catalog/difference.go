package catalog

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Snapshot is what catalogues are compared by. It can be stored as JSON.
type Snapshot struct {
	// Tools has a hash of what the server says of each tool. Scopes has a hash of the
	// names of the tools that each scope opens.
	Tools  map[string]string `json:"t"`
	Scopes map[string]string `json:"s"`
}

// Snapshot returns the snapshot of c.
func (c *Catalogue) Snapshot() Snapshot {
	s := Snapshot{make(map[string]string, len(c.Tools)), make(map[string]string, len(c.Scopes))}
	for _, t := range c.Tools {
		s.Tools[t.Name] = base64.RawURLEncoding.EncodeToString(t.print[:])[:fingerprintBytes]
	}
	for _, scope := range c.Scopes {
		s.Scopes[scope.Name] = c.hashScope(scope.Name)[:fingerprintBytes]
	}
	return s
}

// Difference is what changed at an MCP server, by names in alphabetical order.
type Difference struct {
	// Added, Changed and Removed are tools. A changed tool has another description,
	// schema or hint.
	Added, Changed, Removed []string
	// Scopes are those that open other tools than before.
	Scopes []string
}

// Since returns what changed from before to s.
func (s Snapshot) Since(before Snapshot) Difference {
	var d Difference
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		switch print, known := before.Tools[name]; {
		case !known:
			d.Added = append(d.Added, name)
		case print != s.Tools[name]:
			d.Changed = append(d.Changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.Tools)) {
		if _, left := s.Tools[name]; !left {
			d.Removed = append(d.Removed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Scopes)) {
		if print, known := before.Scopes[name]; known && print != s.Scopes[name] {
			d.Scopes = append(d.Scopes, name)
		}
	}
	return d
}

// None reports whether nothing differs.
func (d Difference) None() bool {
	return len(d.Added)+len(d.Changed)+len(d.Removed)+len(d.Scopes) == 0
}

// maxNamed is how many names Names writes out.
const maxNamed = 10

// Names writes out the first names, and how many more there are.
func Names(names []string) string {
	if more := len(names) - maxNamed; more > 0 {
		return strings.Join(names[:maxNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
