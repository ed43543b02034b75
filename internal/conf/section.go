package conf

import (
	"maps"
	"reflect"
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
func (c *Check) IsSet(at string) bool {
	node := c.tree
	for _, step := range strings.FieldsFunc(at, func(r rune) bool { return r == '.' || r == '[' }) {
		switch inner := node.(type) {
		case map[string]any:
			node = inner[step]
		case []any:
			n, err := strconv.Atoi(strings.TrimSuffix(step, "]"))
			if err != nil || n >= len(inner) {
				return false
			}
			node = inner[n]
		default:
			return false
		}
	}
	return saysSomething(node)
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

// SetKeys returns the keys of a struct that say something: an empty value is the
// same as an absent key.
func SetKeys(section any) []string {
	v := reflect.ValueOf(section)
	var set []string
	for _, f := range fields(v.Type()) {
		value := v.FieldByIndex(f.Index)
		switch value.Kind() {
		case reflect.Slice, reflect.Map:
			if value.Len() == 0 {
				continue
			}
		default:
			if value.IsZero() {
				continue
			}
		}
		set = append(set, f.Tag.Get("json"))
	}
	return set
}

// Fill copies to the struct that target points to what section holds at the same
// keys, and returns the keys of section that say something and that target does
// not have. A key of another type in the two is a mistake of the program.
func Fill(target, section any) (other []string) {
	to, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(section)
	known := map[string][]int{}
	for _, f := range fields(to.Type()) {
		known[f.Tag.Get("json")] = f.Index
	}
	for _, f := range fields(from.Type()) {
		if index, ok := known[f.Tag.Get("json")]; ok {
			to.FieldByIndex(index).Set(from.FieldByIndex(f.Index))
		}
	}
	return slices.DeleteFunc(SetKeys(section), func(key string) bool { _, ok := known[key]; return ok })
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

// Fields returns the fields of a section that have a key, in the order of the reference.
func Fields(section reflect.Type) []reflect.StructField { return slices.Clone(fields(section)) }
