package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
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

const chartRulesPath = "../../charts/mcp-forward-auth/files/configuration.json"

// The chart refuses values at installation that the program would refuse at its
// start, in the same words. What tags say of a key it reads from a file.
func TestReferenceRulesInChart(t *testing.T) {
	rules := chartRules(nil, reflect.TypeFor[File](), "")
	for _, section := range []string{"provider", "providers[]"} {
		rules = append(rules, chartRule{Path: section + ".name", Enum: kinds.Names()})
	}
	rules, forms := addForms(t, emptyLists(t, rules))
	rules = addReferrals(t, rules)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(map[string]any{"keys": rules, "needs": needsOfProviders(t), "kinds": keysOfKinds(), "guards": needsOfGuards(t), "forms": forms, "dependencies": chartDependencies(t), "lifetimes": lifetimes(t), "endpointPath": endpointPath(t), "samePort": samePort(t)}); err != nil {
		t.Fatal(err)
	}
	got := b.Bytes()
	if *update {
		if err := os.WriteFile(chartRulesPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old, err := os.ReadFile(chartRulesPath); !bytes.Equal(got, old) {
		t.Errorf("%s differs from the tags of the configuration (%v); run\n\tgo test ./internal/config -run Reference -update", chartRulesPath, err)
	}
}

// chartRule is what may stand at a path. An element of a list is "[]", that of a mapping "*".
type chartRule struct {
	Path string   `json:"path"`
	Enum []string `json:"enum,omitempty"`
	// Min and Max bound a duration or, with Number, a number.
	Min    string `json:"min,omitempty"`
	Max    string `json:"max,omitempty"`
	Number bool   `json:"number,omitempty"`
	// File marks the name of a file.
	File bool `json:"file,omitempty"`
	// Duration: the text is a duration, which Min and Max may bound.
	Duration bool `json:"duration,omitempty"`
	// Most entries may be in a list, and with Unique none twice.
	Most   int  `json:"most,omitempty"`
	Unique bool `json:"unique,omitempty"`
	// Empty is what is wrong with a list without entries.
	Empty string `json:"empty,omitempty"`
	// Forms are names of forms of a text that are refused.
	Forms []string `json:"forms,omitempty"`
	// Refers is set where the text is the name of another entry.
	Refers *referral `json:"refers,omitempty"`
}

// need is what a provider of a kind lacks where none of the keys Unless is set.
type need struct {
	Kind   string   `json:"kind"`
	Path   string   `json:"path"`
	Text   string   `json:"text"`
	Unless []string `json:"unless"`
}

// needsOfProviders asks the program what is wrong with a provider that has credentials and
// nothing else. A key that the answer names is a way to mend it.
func needsOfProviders(t *testing.T) (needs []need) {
	named := regexp.MustCompile(`provider\.([A-Za-z]+)`)
	for _, kind := range kinds.Names() {
		credentials := ""
		if kind != "static" {
			credentials = ", clientID: id, clientSecretFile: secret"
		}
		_, err := Parse([]byte("provider: {name: "+kind+credentials+"}\n"+proxy), testFiles)
		mistakes, ok := errors.AsType[conf.Errors](err)
		if !ok {
			t.Fatalf("a provider %q needs nothing: %v", kind, err)
		}
		for _, m := range mistakes {
			key := strings.TrimPrefix(m.Path, "provider.")
			unless := []string{key, key + "File"} // what a file may hold instead
			for _, other := range named.FindAllStringSubmatch(m.Problem, -1) {
				unless = append(unless, other[1])
			}
			if who := kinds.Of(kind).Audience(); slices.Contains(unless, "allowAnyUser") {
				unless = append(unless, who.Keys...)
			}
			slices.Sort(unless)
			needs = append(needs, need{kind, key, m.Problem, slices.Compact(unless)})
		}
	}
	return needs
}

func chartRules(rules []chartRule, t reflect.Type, at string) []chartRule {
	if conf.IsText(t) {
		return rules
	}
	switch t.Kind() {
	case reflect.Pointer:
		return chartRules(rules, t.Elem(), at)
	case reflect.Slice:
		return chartRules(rules, t.Elem(), at+"[]")
	case reflect.Map:
		return chartRules(rules, t.Elem(), at+".*")
	case reflect.Struct:
		for _, f := range conf.Fields(t) {
			path := conf.Join(at, f.Tag.Get("json"))
			rule := chartRule{Path: path, File: (strings.HasSuffix(path, "File") || strings.HasSuffix(path, ".file")) && path != "audit.file"} // which is written
			if strings.HasSuffix(path, "Files") && !strings.HasSuffix(path, "hostsFiles") {                                                    // which are patterns
				rules = append(rules, chartRule{Path: path + "[]", File: true})
			}
			if f.Type.Kind() == reflect.String {
				rule.Enum = strings.Fields(f.Tag.Get("enum"))
			}
			if f.Type == reflect.TypeFor[time.Duration]() {
				rule.Min, rule.Max, rule.Duration = f.Tag.Get("min"), f.Tag.Get("max"), true
			}
			if kind := f.Type.Kind(); kind == reflect.Int || kind == reflect.Float64 {
				rule.Min, rule.Max, rule.Number = f.Tag.Get("min"), f.Tag.Get("max"), f.Tag.Get("min") != ""
			}
			checks := strings.Fields(f.Tag.Get("check"))
			if f.Type.Kind() == reflect.Slice && !conf.IsText(f.Type) {
				rules = append(rules, listRule(rule, f, checks)...)
			} else if rule.Forms = checks; len(rule.Enum) > 0 || rule.Min != "" || rule.File || rule.Duration || len(checks) > 0 {
				rules = append(rules, rule)
			}
			rules = chartRules(rules, f.Type, path)
		}
	}
	return rules
}

// listRule is the rule of a list, and that of its entries.
func listRule(rule chartRule, f reflect.StructField, checks []string) (rules []chartRule) {
	rule.Most, _ = strconv.Atoi(f.Tag.Get("max"))
	entry := chartRule{Path: rule.Path + "[]"}
	for _, check := range checks {
		if check == "unique" {
			rule.Unique = true
		} else {
			if rule.Most == 0 {
				rule.Most = map[string]int{"scopes": conf.MaxScopes, "patterns": conf.MaxNames, "groups": conf.MaxGroups}[check]
			}
			entry.Forms = append(entry.Forms, check)
		}
	}
	if f.Type == reflect.TypeFor[[]netip.Prefix]() {
		entry.Forms = []string{"network"}
	}
	if rule.Most > 0 || rule.Unique {
		rules = append(rules, rule)
	}
	if len(entry.Forms) > 0 {
		rules = append(rules, entry)
	}
	return rules
}

// chartSchema returns old with the schema of each section of File put in, and
// those of removed sections taken out.
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
			if slices.Contains(strings.Fields(field.Tag.Get("enum")), "off") {
				property["type"] = []string{"string", "boolean"} // to YAML, off without quotes is false
			}
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
