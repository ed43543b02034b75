package conf

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Section is a part of the document while it is checked.
type Section struct {
	*Check
	At string // path, such as "provider" or "providers[1]"
}

// Key returns the path of a key of the section.
func (s Section) Key(name string) string { return Join(s.At, name) }

// Sub returns the section at a key.
func (s Section) Sub(name string) Section { return Section{s.Check, s.Key(name)} }

// Switch turns one feature on or off.
type Switch struct {
	// Whether the feature is on.
	Enabled bool `json:"enabled" default:"true"`
}

// IsSet reports whether the document says something at a path: an empty value, or
// false, is the same as an absent key.
func (c *Check) IsSet(at string) bool { return saysSomething(c.Written(at)) }

// Written returns what the document says at a path, as encoding/json reads it, and
// nil for nothing.
func (c *Check) Written(at string) any {
	node := c.tree
	for _, step := range strings.FieldsFunc(at, func(r rune) bool { return r == '.' || r == '[' }) {
		switch inner := node.(type) {
		case map[string]any:
			node = inner[step]
		case []any:
			n, err := strconv.Atoi(strings.TrimSuffix(step, "]"))
			if err != nil || n >= len(inner) {
				return nil
			}
			node = inner[n]
		default:
			return nil
		}
	}
	return node
}

// pin puts value in place of what the document says at a path of mappings.
func pin(document any, at string, value any) any {
	section, ok := document.(map[string]any)
	if !ok {
		section = map[string]any{}
	}
	key, below, deeper := strings.Cut(at, ".")
	if deeper {
		value = pin(section[key], below, value)
	}
	section[key] = value
	return section
}

func saysSomething(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), saysSomething)
	}
	return true
}

var badEscape = regexp.MustCompile(`~([^01]|$)`)

// Claim checks a key that names a claim of a token, or is a JSON pointer (RFC
// 6901, section 3) to one.
func (s Section) Claim(key, value string) {
	at := s.Key(key)
	s.Text(at, value)
	if strings.HasPrefix(value, "/") && badEscape.MatchString(value) {
		s.Add(at, `%s is not a JSON pointer: "~" stands before 0 or 1 only`, Show(value))
	}
}

// Open is a section with further keys, which depend on what its own keys say.
type Open interface {
	// Further returns a pointer to the struct that holds the further keys, nil where
	// it is not known which, and pointers to all that there are.
	Further() (own any, all []any)
	// Misplaced says what is wrong with a key that only another of them has.
	Misplaced() string
}

// Fields returns the keys of a section in the order of the reference. Further keys
// stand where the struct has its field that holds them; their Index is nil.
func Fields(section reflect.Type) []reflect.StructField {
	open, ok := reflect.New(section).Interface().(Open)
	if !ok {
		return fields(section)
	}
	var keys []reflect.StructField
	for _, f := range reflect.VisibleFields(section) {
		switch {
		case f.Tag.Get("json") != "":
			keys = append(keys, f)
		case f.Type.Kind() == reflect.Interface:
			_, all := open.Further()
			keys = append(keys, further(all)...)
		}
	}
	return keys
}

// further are the keys of structs, each once.
func further(all []any) (keys []reflect.StructField) {
	seen := map[string]bool{}
	for _, one := range all {
		for _, f := range fields(reflect.TypeOf(one).Elem()) {
			if key := f.Tag.Get("json"); !seen[key] {
				seen[key], f.Index = true, nil
				keys = append(keys, f)
			}
		}
	}
	return keys
}

// fields are those of a section with a key, with those of embedded structs. The
// others hold what follows from them.
func fields(t reflect.Type) []reflect.StructField {
	if known, ok := fieldsOf.Load(t); ok {
		return known.([]reflect.StructField)
	}
	found := slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Tag.Get("json") == "" })
	fieldsOf.Store(t, found)
	return found
}

var fieldsOf sync.Map // a document may have thousands of entries of one type
