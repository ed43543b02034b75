package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
)

const editorSchemaPath = "../../docs/reference/config.schema.json"

// Editors read the schema: keys with their documentation, values, and what is unknown.
// It knows each key alone; what keys mean together check-config says.
func TestReferenceSchema(t *testing.T) {
	got, err := editorSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(editorSchemaPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old, err := os.ReadFile(editorSchemaPath); !bytes.Equal(got, old) {
		t.Errorf("%s differs from the sections (%v); run\n\tgo test ./internal/config -run Reference -update", editorSchemaPath, err)
	}
}

// The schema takes what the program takes, and sees what an editor can see.
func TestEditorSchema(t *testing.T) {
	text, err := os.ReadFile(editorSchemaPath)
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(document string) error {
		var v any
		if err := yaml.Unmarshal([]byte(document), &v); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(v)
	}
	example, err := os.ReadFile(filepath.Join("testdata", "example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{minimal, githubConfig, staticConfig, string(example),
		minimal + "tokens: {accessTokenLifetime: 1h30m, refreshTokens: {enabled: false}}", "clients: [{id: a, secretFiles: [a, b]}]\n" + minimal,
	} {
		if err := check(good); err != nil {
			t.Errorf("%s\n%v", good, err)
		}
	}
	for _, bad := range []string{
		"",
		"tokns: {}\n" + minimal,
		"tokens: {accessTokenLifetime: soon}\n" + minimal,
		"tokens: {remembered: 1}\n" + minimal,
		"logging: {level: trace}\n" + minimal,
		"provider: {name: gogle}\n" + proxy,
		"proxy: {hosts: [{host: a.example.com}]}",
		"proxy: {hosts: [{host: a.example.com, endpoint: 'http://a', toolPolicy: none}]}",
	} {
		if err := check(bad); err == nil {
			t.Errorf("taken:\n%s", bad)
		}
	}
}

func editorSchema() ([]byte, error) {
	comments, err := fieldComments()
	if err != nil {
		return nil, err
	}
	file := reflect.TypeFor[File]()
	schema := sectionSchema(file, comments)
	for _, field := range conf.Fields(file) {
		key := field.Tag.Get("json")
		schema["properties"].(map[string]any)[key].(map[string]any)["description"] = describe(file, field, comments)
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Configuration of mcp-forward-auth"
	schema["required"] = []string{"proxy"}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err = e.Encode(schema)
	return b.Bytes(), err
}

// sectionSchema is the schema of a section: typeSchema, with what tags say.
func sectionSchema(t reflect.Type, comments map[string]string) map[string]any {
	schema := typeSchema(t, comments, true)
	properties := schema["properties"].(map[string]any)
	for _, f := range conf.Fields(t) {
		key := f.Tag.Get("json")
		property := properties[key].(map[string]any)
		inner := f.Type
		if inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !conf.IsText(inner) {
			section := sectionSchema(inner, comments)
			if f.Type.Kind() == reflect.Slice {
				property["items"] = section
			} else {
				delete(section, "required") // an absent section is a default one
				section["description"] = property["description"]
				properties[key] = section
			}
			continue
		}
		fromTags(property, f)
		if f.Tag.Get("json") == "name" && strings.Contains(property["description"].(string), `"static"`) && f.Type.Kind() == reflect.String {
			property["enum"] = kinds.Names()
		}
	}
	return schema
}

// fromTags puts what the tags of a field say into the schema of its key.
func fromTags(property map[string]any, f reflect.StructField) {
	if enum := strings.Fields(f.Tag.Get("enum")); len(enum) > 0 && f.Type.Kind() == reflect.String {
		property["enum"] = append(enum, "")
		if slices.Contains(enum, "off") {
			property["enum"] = append(anys(enum), "", false) // to YAML, off without quotes is false
		}
	}
	switch {
	case f.Type == reflect.TypeFor[time.Duration]():
		property["pattern"] = `^(([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|0)?$`
	case f.Type.Kind() == reflect.Int:
		for tag, name := range map[string]string{"min": "minimum", "max": "maximum"} {
			if n, err := strconv.Atoi(f.Tag.Get(tag)); err == nil && f.Tag.Get("min") != "" {
				property[name] = n
			}
		}
	}
	if standard := f.Tag.Get("default"); standard != "" {
		switch f.Type.Kind() {
		case reflect.Bool:
			property["default"] = standard == "true"
		case reflect.Int:
			property["default"], _ = strconv.Atoi(standard)
		default:
			property["default"] = standard
		}
	}
}

func anys(texts []string) (all []any) {
	for _, t := range texts {
		all = append(all, t)
	}
	return all
}
