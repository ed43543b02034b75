package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Mistake is one thing wrong in a configuration file.
type Mistake struct {
	// Path names the key, such as "proxy.hosts[1].endpoint"; empty means the
	// file as a whole.
	Path string
	// Problem says what is wrong and what would be right. It never holds a secret.
	Problem string
}

func (m Mistake) String() string {
	if m.Path == "" {
		return m.Problem
	}
	return m.Path + ": " + m.Problem
}

// Errors is every mistake of one configuration file, in the order in which the
// reference lists the keys.
type Errors []Mistake

// Error returns one mistake per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, mistake := range e {
		lines[i] = mistake.String()
	}
	return strings.Join(lines, "\n")
}

// mistakes collects what is wrong while a file is decoded and resolved.
type mistakes struct {
	list Errors
	// malformed holds the paths whose value could not be decoded. Whatever a
	// rule would say about them, or about what is below them, is noise: the
	// zero value it looks at is not what the operator wrote.
	malformed map[string]bool
}

// add reports a mistake, unless decoding has already reported its cause.
func (m *mistakes) add(at, format string, args ...any) {
	if !m.isMalformed(at) {
		m.list = append(m.list, Mistake{at, fmt.Sprintf(format, args...)})
	}
}

// addMalformed reports a value that could not be decoded.
func (m *mistakes) addMalformed(at, format string, args ...any) {
	m.add(at, format, args...)
	m.silence(at)
}

// silence keeps later rules from speaking about at.
func (m *mistakes) silence(at string) {
	if m.malformed == nil {
		m.malformed = make(map[string]bool)
	}
	m.malformed[at] = true
}

// isMalformed reports whether at or what contains it could not be decoded.
func (m *mistakes) isMalformed(at string) bool {
	if len(m.malformed) == 0 {
		return false
	}
	for {
		if m.malformed[at] {
			return true
		}
		border := strings.LastIndexAny(at, ".[")
		if border < 0 {
			return m.malformed[""]
		}
		at = at[:border]
	}
}

// err returns what was collected as an Errors, or nil.
func (m *mistakes) err() error {
	if len(m.list) == 0 {
		return nil
	}
	type ranked struct {
		Mistake
		rank []int
	}
	all := make([]ranked, len(m.list))
	for i, mistake := range m.list {
		all[i] = ranked{mistake, rank(mistake.Path)}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return slices.Compare(a.rank, b.rank) })
	for i, r := range all {
		m.list[i] = r.Mistake
	}
	return m.list
}

// rank turns a path into its position in File: one number per key and index.
// An unknown key comes after its known siblings.
func rank(at string) []int {
	if at == "" {
		return nil
	}
	var position []int
	t := reflect.TypeFor[File]()
	for _, step := range strings.FieldsFunc(at, func(r rune) bool { return r == '.' || r == '[' }) {
		if index, isIndex := strings.CutSuffix(step, "]"); isIndex {
			n, _ := strconv.Atoi(index)
			position = append(position, n)
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			continue
		}
		if t.Kind() != reflect.Struct {
			return position
		}
		n := slices.Index(keys(t), step)
		if n < 0 {
			return append(position, t.NumField())
		}
		position = append(position, n)
		t = t.Field(n).Type
	}
	return position
}

// keys returns the keys of a section in the order of its fields.
func keys(section reflect.Type) []string {
	names := make([]string, section.NumField())
	for i := range names {
		names[i] = section.Field(i).Tag.Get("json")
	}
	return names
}
