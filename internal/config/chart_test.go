package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

const chartSchemaPath = "../../charts/mcp-forward-auth/values.schema.json"

// The chart passes the sections of the configuration on as they are. Its schema
// of them is made from File, so that chart and program cannot drift: what the
// program does not know the chart refuses.
func TestReferenceInChart(t *testing.T) {
	old, err := os.ReadFile(chartSchemaPath)
	if err != nil {
		t.Fatal(err)
	}
	got, err := chartSchema(old)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(chartSchemaPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, old) {
		t.Errorf("%s differs from file.go; run\n\tgo test ./internal/config -run Reference -update", chartSchemaPath)
	}
}

// chartSchema returns old with the schema of each section of File put in, and
// those of sections that are no more taken out.
func chartSchema(old []byte) ([]byte, error) {
	var schema map[string]any
	if err := json.Unmarshal(old, &schema); err != nil {
		return nil, err
	}
	comments, err := fieldComments()
	if err != nil {
		return nil, err
	}
	values := schema["properties"].(map[string]any)
	for key, value := range values {
		if comment, _ := value.(map[string]any)["$comment"].(string); comment == sectionMark {
			delete(values, key)
		}
	}
	file := reflect.TypeFor[File]()
	for _, field := range conf.Fields(file) {
		section := typeSchema(field.Type, comments, false)
		section["$comment"] = sectionMark
		section["description"] = describe(file, field, comments)
		values[field.Tag.Get("json")] = section
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(schema)
	return b.Bytes(), err
}

const sectionMark = "Generated from internal/config/file.go."

// typeSchema is the JSON Schema of a Go type. In elements of lists what is
// required is said; in sections it is not, because the whole configuration may
// be in a Secret that already exists.
func typeSchema(t reflect.Type, comments map[string]string, element bool) map[string]any {
	if conf.IsText(t) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), comments, element)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem(), comments, true)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": typeSchema(t.Elem(), comments, true)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		properties := make(map[string]any)
		var required []string
		for _, field := range conf.Fields(t) {
			property := typeSchema(field.Type, comments, false)
			key, comment := field.Tag.Get("json"), strings.Join(descriptions(t, field, comments), " ")
			property["description"] = comment
			properties[key] = property
			if element && field.Index != nil && strings.HasSuffix(comment, " Required.") {
				required = append(required, key)
			}
		}
		schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
		if required != nil {
			schema["required"] = required
		}
		return schema
	}
	panic("internal error: unexpected kind " + t.Kind().String())
}
