// Package conftest writes sections of the configuration down as a person would.
// Only tests import it.
package conftest

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Document returns a section as encoding/json would read it from a document, without
// the keys that say what an absent one means. The text of a conf.Secret or of bytes
// that are read from a file stands for the name of the file.
func Document[T any](section T) map[string]any {
	var standard T
	conf.SetDefaults(&standard)
	return mapping(reflect.ValueOf(section), reflect.ValueOf(standard))
}

func mapping(section, standard reflect.Value) map[string]any {
	out := map[string]any{}
	for _, f := range conf.Fields(section.Type()) {
		if f.Index == nil { // a further key
			continue
		}
		value, absent := section.FieldByIndex(f.Index), standard.FieldByIndex(f.Index)
		if !reflect.DeepEqual(value.Interface(), absent.Interface()) {
			out[f.Tag.Get("json")] = written(value, absent)
		}
	}
	copied := reflect.New(section.Type())
	copied.Elem().Set(section)
	if open, ok := copied.Interface().(conf.Open); ok {
		if own, _ := open.Further(); own != nil {
			absent := reflect.New(reflect.TypeOf(own).Elem())
			conf.SetDefaults(absent.Interface())
			maps.Copy(out, mapping(reflect.ValueOf(own).Elem(), absent.Elem()))
		}
	}
	return out
}

func written(value, absent reflect.Value) any {
	switch v := value.Interface().(type) {
	case conf.Secret:
		return v.Reveal()
	case []byte:
		return string(v)
	case fmt.Stringer: // a duration, a network
		return v.String()
	}
	switch value.Kind() {
	case reflect.Struct:
		return mapping(value, absent)
	case reflect.Slice:
		list := make([]any, value.Len())
		for i := range list {
			one := reflect.New(value.Type().Elem())
			if one.Elem().Kind() == reflect.Struct {
				conf.SetDefaults(one.Interface())
			}
			list[i] = written(value.Index(i), one.Elem())
		}
		return list
	}
	return value.Interface()
}
