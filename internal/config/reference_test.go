package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	openid "github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
)

var update = flag.Bool("update", false, "write docs/reference/config.md")

const referencePath = "../../docs/reference/config.md"

func TestReference(t *testing.T) {
	got, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(referencePath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from the comments of the sections; run\n\tgo test ./internal/config -run Reference -update", referencePath)
	}
}

// The example that the reference begins with is a whole configuration.
func TestReferenceExample(t *testing.T) {
	document, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(document), "```yaml\n")
	example, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("no example")
	}
	c, err := Parse([]byte(example), func(string) ([]byte, error) { return []byte("from-a-file\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	if c.Hosts[0].Path != "/mcp" || own[*google.Settings](c).ClientSecret.Reveal() != "from-a-file" {
		t.Errorf("got %+v", c)
	}
}

// What a comment says of a default, and no tag does, is what an absent key means.
func TestReferenceDefaults(t *testing.T) {
	document, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, minimal)
	for key, value := range map[string]any{
		"provider.allowAnyUser":        c.Providers[0].AllowAnyUser,
		"provider.groupsClaim":         own[*openid.Settings](c).GroupsClaim,
		"proxy.disableConsentScreen":   !c.ConsentScreen,
		"proxy.hosts[].scheme":         c.Hosts[0].Scheme,
		"introspection.enabled":        c.Introspection,
		"identityHeaders.user":         c.IdentityHeaders.User,
		"identityHeaders.email":        c.IdentityHeaders.Email,
		"identityHeaders.groups":       c.IdentityHeaders.Groups,
		"proxy.hosts[].toolPolicy":     c.Hosts[0].Rules.ToolPolicy,
		"proxy.hosts[].body":           c.Hosts[0].Rules.Body,
		"proxy.hosts[].serve.enabled":  c.Hosts[0].Serving != nil,
		"proxy.hosts[].envoyMCP":       c.Hosts[0].Rules.EnvoyMCP,
		"proxy.hosts[].extMCP":         c.Hosts[0].Rules.ExtMCP,
		"gateWatch.enabled":            c.GateWatch.Enabled,
		"gateWatch.interval":           conf.ShowDuration(c.GateWatch.Interval),
		"tokens.refreshTokens.enabled": c.Tokens.Refresh.Enabled, // by a tag, as a check of the check
	} {
		row := fmt.Sprintf("| `%s` | ", key)
		_, line, found := strings.Cut(document, row)
		line, _, _ = strings.Cut(line, "\n")
		if !found || !strings.Contains(line, fmt.Sprintf("| `%v` |", value)) {
			t.Errorf("the reference does not give %s the default %v", key, value)
		}
	}
}

const preamble = "# Configuration\n\n" +
	"<!-- Generated from internal/config/file.go by `go test ./internal/config -run Reference -update`. -->\n\n" +
	"One YAML file holds the whole configuration. This is a complete one; everything else has a default:\n\n" +
	"```yaml\n%s```\n\n" +
	"`mcp-forward-auth check-config` reads a file as the service does at start, and reports every mistake in it at once.\n\n" +
	"Editors with the YAML language server (VS Code, Neovim, JetBrains) complete and check keys with this as the first line, which names\n" +
	"[the JSON Schema](config.schema.json) of the file:\n\n" +
	"```text\n# yaml-language-server: $schema=https://raw.githubusercontent.com/mcp-forward-auth/mcp-forward-auth/main/docs/reference/config.schema.json\n```\n\n" +
	"- Keys are case-sensitive. Unknown and repeated keys are mistakes.\n" +
	"- An empty value (`\"\"`, `[]` or nothing) is the same as an absent key.\n" +
	"- Durations are written like `90s`, `30m` or `1h`. Listen addresses are `host:port`, or `:port` for all interfaces.\n" +
	"- Nothing is substituted: a `$` in the file is a `$`. Secrets come from the files that `...File` keys name. The environment has a say in four things alone: `SSL_CERT_DIR` and\n" +
	"  `SSL_CERT_FILE` (authorities to trust), `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (the way to identity providers), `GOMEMLIMIT` (the memory to stay below), `NO_COLOR`.\n" +
	"- The file, and the files it names, are read again when they change. What says \"takes effect at the next start\" needs a restart; see [reload.md](../reload.md).\n" +
	"- Relative paths of files start at the directory of the configuration file.\n" +
	"- The file may have 1 MiB, and 10 000 hosts.\n"

// reference returns docs/reference/config.md. It fails if a key has no comment.
func reference() (string, error) {
	comments, err := fieldComments()
	if err != nil {
		return "", err
	}
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, preamble, example)
	file := reflect.TypeFor[File]()
	for _, field := range conf.Fields(file) {
		key, comment := field.Tag.Get("json"), describe(file, field, comments)
		if comment == "" {
			return "", fmt.Errorf("%s has no comment", key)
		}
		fmt.Fprintf(&b, "\n## `%s`\n\n%s\n\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n", key, comment)
		_, section := typeName(field.Type)
		if field.Type.Kind() == reflect.Slice {
			key += "[]"
		}
		if err := rows(&b, key, section, comments); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// rows writes a line for each key of section, and for those below it.
func rows(b *strings.Builder, at string, section reflect.Type, comments map[string]string) error {
	for _, field := range conf.Fields(section) {
		if section == reflect.TypeFor[ProviderFile]() && (at == "providers[]") != (field.Tag.Get("in") == "providers") {
			continue // the keys that both have are listed once
		}
		path := at + "." + field.Tag.Get("json")
		name, below := typeName(field.Type)
		for _, comment := range descriptions(section, field, comments) {
			if comment == "" {
				return fmt.Errorf("%s has no comment", path)
			}
			meaning, standard := splitComment(comment)
			if takesRestart(path) {
				meaning += " Takes effect at the next start."
			}
			escape := strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;").Replace
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, name, escape(standard), escape(meaning))
		}
		if below == nil {
			continue
		}
		if field.Type.Kind() == reflect.Slice {
			path += "[]"
		}
		if err := rows(b, path, below, comments); err != nil {
			return err
		}
	}
	return nil
}

// splitComment takes the closing sentence about requirement or default off a comment.
func splitComment(comment string) (meaning, standard string) {
	for _, word := range []string{"Default: ", "Default ", "Required"} {
		start := strings.LastIndex(comment, word)
		if start < 0 || start > 0 && comment[start-1] != ' ' {
			continue
		}
		meaning, standard = strings.TrimSpace(comment[:start]), strings.TrimSuffix(comment[start:], ".")
		if word == "Default " {
			standard = "`" + strings.Trim(strings.TrimPrefix(standard, word), `"`) + "`"
		}
		if word == "Default: " {
			standard = strings.TrimPrefix(standard, word)
		}
		return meaning, strings.ToLower(standard[:1]) + standard[1:]
	}
	return comment, ""
}

// typeName names the YAML type of a field, and returns the section below it.
func typeName(t reflect.Type) (name string, below reflect.Type) {
	if conf.IsText(t) {
		return "text", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		name, below = typeName(t.Elem())
		return "list of " + map[string]string{"text": "text", "mapping": "mappings"}[name], below
	case reflect.Struct:
		return "mapping", t
	case reflect.Map:
		return "mapping of text", nil
	case reflect.Bool:
		return "true or false", nil
	case reflect.Int:
		return "whole number", nil
	case reflect.Float64:
		return "number", nil
	}
	panic("internal error: unexpected kind " + t.Kind().String())
}

// describe returns the comment of a field, with what its tags say.
func describe(section reflect.Type, field reflect.StructField, comments map[string]string) string {
	comment := comments[commentKey(section, field)]
	if enum := strings.Fields(field.Tag.Get("enum")); len(enum) > 0 && !saysAll(comment, enum) {
		comment += " One of " + conf.Quoted(enum) + "."
	}
	if standard := field.Tag.Get("default"); standard != "" && !strings.Contains(comment, "Default") {
		if conf.IsText(field.Type) {
			standard = strconv.Quote(standard)
		}
		comment += " Default " + standard + "."
	}
	return comment
}

func saysAll(comment string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(comment, strconv.Quote(word)) })
}

// descriptions returns what a key means: one text, or one for each meaning that it has
// for some kinds of provider.
func descriptions(section reflect.Type, field reflect.StructField, comments map[string]string) []string {
	if field.Index != nil {
		return []string{describe(declaring(section, field), field, comments)}
	}
	var texts []string
	names := map[string][]string{}
	for _, kind := range kinds.All() {
		t := reflect.TypeOf(kind).Elem()
		for _, f := range conf.Fields(t) {
			if f.Tag.Get("json") != field.Tag.Get("json") {
				continue
			}
			text := describe(declaring(t, f), f, comments)
			if names[text] == nil {
				texts = append(texts, text)
			}
			names[text] = append(names[text], kind.Kind())
		}
	}
	for i, text := range texts {
		others := slices.DeleteFunc(kinds.Names(), func(name string) bool { return slices.Contains(names[text], name) })
		switch {
		case text == "" || len(others) == 0:
		case len(others) == 1:
			texts[i] = "Not for name " + conf.Quoted(others) + ": " + text
		default:
			texts[i] = "For name " + conf.Quoted(names[text]) + ": " + text
		}
	}
	return texts
}

// declaring returns the struct that has the field: section, or one that it embeds.
func declaring(section reflect.Type, field reflect.StructField) reflect.Type {
	for _, i := range field.Index[:len(field.Index)-1] {
		section = section.Field(i).Type
	}
	return section
}

// commentKey is how fieldComments names a field.
func commentKey(section reflect.Type, field reflect.StructField) string {
	return path.Base(section.PkgPath()) + "." + section.Name() + "." + field.Name
}

// fieldComments maps "package.Type.Field" to its doc comment on one line.
func fieldComments() (map[string]string, error) {
	comments := make(map[string]string)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err == nil {
			commentsOf(file, comments)
		}
		return err
	})
	return comments, err
}

func commentsOf(file *ast.File, comments map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if section, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range section.Fields.List {
				for _, name := range field.Names {
					comments[file.Name.Name+"."+spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return true
	})
}

func TestSplitComment(t *testing.T) {
	for _, tt := range []struct{ comment, meaning, standard string }{
		{`Level. Default "info".`, "Level.", "`info`"},
		{"Switch. Default true.", "Switch.", "`true`"},
		{"Path. Default: the path of endpoint.", "Path.", "the path of endpoint"},
		{"Name. Required.", "Name.", "required"},
		{"Just so.", "Just so.", ""},
	} {
		if meaning, standard := splitComment(tt.comment); meaning != tt.meaning || standard != tt.standard {
			t.Errorf("%q: got %q, %q", tt.comment, meaning, standard)
		}
	}
}
