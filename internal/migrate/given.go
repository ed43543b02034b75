package migrate

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// given is what the files of the predecessor say.
type given struct {
	options  []Option
	order    []string
	values   map[string]value
	mistakes []string
}

// value is one option as a file gives it: text, a number, true or false, a list, or
// a mapping where the option is a whole section.
type value struct {
	of   any
	file string
	used bool
}

func (g *given) mistake(option, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if option != "" {
		text = option + ": " + text
		if v, ok := g.values[option]; ok && v.file != "" {
			text = v.file + ": " + text
		}
	}
	g.mistakes = append(g.mistakes, text)
}

var entryNumber = regexp.MustCompile(`\[\d+\]`)

// option finds the declaration for a path such as "proxy.hosts[0].host".
func (g *given) option(path string) (Option, bool) {
	name := entryNumber.ReplaceAllString(path, "[]")
	for _, o := range g.options {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// set notes that a file gives the option at path. A second word on it must say the
// same; a list grows where the predecessor lets an option be repeated.
func (g *given) set(file, path string, v any) {
	if _, known := g.option(path); !known {
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %s: unknown option", file, path))
		return
	}
	if v == nil || v == "" {
		return // the same as not given, in every predecessor
	}
	if before, twice := g.values[path]; twice {
		if !reflect.DeepEqual(before.of, v) {
			g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %s: given twice, with two values (%s); keep one", file, path, before.file))
		}
		return
	}
	g.values[path] = value{of: v, file: file}
	g.order = append(g.order, path)
}

// tree notes what a decoded file says: mappings are descended into until an option
// is declared for the path.
func (g *given) tree(file, path string, node any) {
	if path != "" {
		if _, known := g.option(path); known {
			g.set(file, path, node)
			return
		}
	}
	switch node := node.(type) {
	case map[string]any:
		if len(node) == 0 {
			return
		}
		for _, key := range sortedKeys(node) {
			at := key
			if path != "" {
				at = path + "." + key
			}
			g.tree(file, at, node[key])
		}
	case []any:
		for i, entry := range node {
			g.tree(file, fmt.Sprintf("%s[%d]", path, i), entry)
		}
	case nil:
	default:
		if path == "" {
			path = "the file"
		}
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %s: unknown option", file, path))
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// has reports whether the option is given.
func (g *given) has(path string) bool { _, ok := g.values[path]; return ok }

// raw returns the option as it was given, or nil.
func (g *given) raw(path string) any {
	v, ok := g.values[path]
	if !ok {
		return nil
	}
	v.used = true
	g.values[path] = v
	return v.of
}

// text returns an option that is one text, or "".
func (g *given) text(path string) string {
	switch v := g.raw(path).(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(v)
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v)
	case []any:
		if len(v) == 1 {
			return strings.TrimSpace(fmt.Sprint(v[0]))
		}
	case []string:
		if len(v) == 1 {
			return strings.TrimSpace(v[0])
		}
	}
	g.mistake(path, "must be one text")
	return ""
}

// on returns an option that is true or false; false if it is not given.
func (g *given) on(path string) bool {
	text := g.text(path)
	if text == "" {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(text))
	if err != nil {
		g.mistake(path, "must be true or false")
	}
	return b
}

// off reports whether the option is given, and false.
func (g *given) off(path string) bool { return g.has(path) && !g.on(path) }

// number returns an option that is a whole number, or 0.
func (g *given) number(path string) int {
	text := g.text(path)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		g.mistake(path, "must be a whole number")
	}
	return n
}

// list returns an option that is a list, or one text with commas.
func (g *given) list(path string) []string {
	var out []string
	add := func(v any) {
		switch v.(type) {
		case map[string]any, []any:
			g.mistake(path, "must be a list of texts")
			return
		}
		for part := range strings.SplitSeq(fmt.Sprint(v), ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	switch v := g.raw(path).(type) {
	case nil:
	case []string:
		for _, e := range v {
			add(e)
		}
	case []any:
		for _, e := range v {
			add(e)
		}
	default:
		add(v)
	}
	return out
}

// lines returns an option that is a list of texts, each as it stands: a comma is
// part of it.
func (g *given) lines(path string) []string {
	var out []string
	all, ok := g.raw(path).([]any)
	for _, e := range all {
		text, is := e.(string)
		ok = ok && is
		out = append(out, text)
	}
	if g.has(path) && !ok {
		g.mistake(path, "must be a list of texts")
		return nil
	}
	return out
}

// count returns how many entries the list at path has.
func (g *given) count(path string) int {
	n := 0
	for at := range g.values {
		rest, ok := strings.CutPrefix(at, path+"[")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(number); err == nil && i >= n {
			n = i + 1
		}
	}
	return n
}
