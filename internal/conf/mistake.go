package conf

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

// Add reports a mistake, unless decoding has already reported its cause.
func (c *Check) Add(at, format string, args ...any) {
	if !c.IsMalformed(at) {
		c.list = append(c.list, Mistake{at, fmt.Sprintf(format, args...)})
	}
}

// addMalformed reports a value that could not be decoded.
func (c *Check) addMalformed(at, format string, args ...any) {
	c.Add(at, format, args...)
	c.silence(at)
}

// silence keeps later rules from speaking about at.
func (c *Check) silence(at string) {
	if c.malformed == nil {
		c.malformed = make(map[string]bool)
	}
	c.malformed[at] = true
}

// IsMalformed reports whether at or what contains it could not be decoded.
func (c *Check) IsMalformed(at string) bool {
	if len(c.malformed) == 0 {
		return false
	}
	for {
		if c.malformed[at] {
			return true
		}
		border := strings.LastIndexAny(at, ".[")
		if border < 0 {
			return c.malformed[""]
		}
		at = at[:border]
	}
}

// Len returns how many mistakes there are.
func (c *Check) Len() int { return len(c.list) }

// Wrong reports whether there is a mistake at a path or below it.
func (c *Check) Wrong(at string) bool {
	return c.IsMalformed(at) || slices.ContainsFunc(c.list, func(m Mistake) bool {
		rest, ok := strings.CutPrefix(m.Path, at)
		return ok && (rest == "" || rest[0] == '.')
	})
}

// Err returns what was collected as an Errors, in the order of the keys in the
// document that was decoded, or nil.
func (c *Check) Err() error {
	if len(c.list) == 0 {
		return nil
	}
	type ranked struct {
		Mistake
		rank []int
	}
	all := make([]ranked, len(c.list))
	for i, mistake := range c.list {
		all[i] = ranked{mistake, c.rank(mistake.Path)}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return slices.Compare(a.rank, b.rank) })
	for i, r := range all {
		c.list[i] = r.Mistake
	}
	return c.list
}

// rank turns a path into its position in the document: one number per key and index.
// An unknown key comes after its known siblings.
func (c *Check) rank(at string) []int {
	if at == "" || c.document == nil {
		return nil
	}
	var position []int
	t := c.document
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
		keys := Fields(t)
		n := slices.IndexFunc(keys, func(f reflect.StructField) bool { return f.Tag.Get("json") == step })
		if n < 0 {
			return append(position, len(keys))
		}
		position = append(position, n)
		t = keys[n].Type
	}
	return position
}
