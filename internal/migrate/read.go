package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
	yaml "go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// readYAML reads a file of YAML, whose keys are options.
func readYAML(g *given, f File) {
	var tree any
	if err := yaml.Unmarshal(f.Text, &tree); err != nil {
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: it is not YAML: %s", f.Name, withoutText(err)))
		return
	}
	if tree == nil {
		return
	}
	if _, ok := tree.(map[string]any); !ok {
		g.mistakes = append(g.mistakes, f.Name+": it is not a YAML mapping with text for keys")
		return
	}
	g.tree(f.Name, "", tree)
}

// withoutText keeps of a YAML error where it is: the rest may quote a secret.
func withoutText(err error) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
	if line, _, ok := strings.Cut(text, ":"); ok && strings.HasPrefix(line, "line ") {
		return "see " + line
	}
	return "a key or a value is not well formed"
}

// readJSON reads a file of JSON, whose members are options.
func readJSON(g *given, f File) {
	var tree map[string]any
	if _, err := strictjson.Members(f.Text, 32); err != nil {
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: it is not a JSON object: %v", f.Name, err))
		return
	}
	d := json.NewDecoder(bytes.NewReader(f.Text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		g.mistakes = append(g.mistakes, f.Name+": it is not a JSON object")
		return
	}
	g.tree(f.Name, "", numbersAsText(tree))
}

// numbersAsText replaces json.Number, which no accessor knows, by its digits.
func numbersAsText(node any) any {
	switch node := node.(type) {
	case json.Number:
		return node.String()
	case map[string]any:
		for k, v := range node {
			node[k] = numbersAsText(v)
		}
	case []any:
		for i, v := range node {
			node[i] = numbersAsText(v)
		}
	}
	return node
}

// readTOML reads a file of TOML; key gives the option that a key of it is.
func readTOML(g *given, f File, key func(string) string) {
	tree := map[string]any{}
	if err := toml.Unmarshal(f.Text, &tree); err != nil {
		where := ""
		if parse, ok := errors.AsType[toml.ParseError](err); ok {
			where = fmt.Sprintf(", see line %d", parse.Position.Line)
		}
		g.mistakes = append(g.mistakes, f.Name+": it is not TOML"+where)
		return
	}
	for _, k := range sortedKeys(tree) {
		g.set(f.Name, key(k), tree[k])
	}
}

// shell says how a file of variables and command lines is to be read.
type shell struct {
	// program are the names by which the predecessor is called, as the last part of
	// a path or an image.
	program []string
	// variable gives the option that a variable is, and false for one of others.
	variable func(name string) (string, bool)
	// flag gives the option that a flag is; boolean flags take no value.
	flag    func(name string) string
	boolean func(option string) bool
	// repeats are options that may come more than once, and grow into a list.
	repeats func(option string) bool
	// arguments takes what is behind the flags, or is nil where nothing may be.
	arguments string
}

// readShell reads a file of variables, one NAME=value a line, of command lines of
// the predecessor, or of "docker run" with -e, as a POSIX shell reads it. Nothing is
// run and nothing is expanded: a value with a $ that the shell would replace is a
// mistake.
func (s shell) read(g *given, f File) {
	script, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(bytes.NewReader(f.Text), f.Name)
	if err != nil {
		where := ""
		if parse, ok := errors.AsType[syntax.ParseError](err); ok {
			where = fmt.Sprintf(", see line %d: %s", parse.Pos.Line(), parse.Text)
		}
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: it cannot be read as variables and command lines%s; put values between single quotes", f.Name, where))
		return
	}
	lists := map[string][]string{}
	for _, statement := range script.Stmts {
		call, ok := statement.Cmd.(*syntax.CallExpr)
		if !ok || statement.Background || statement.Negated || len(statement.Redirs) > 0 {
			g.mistakes = append(g.mistakes, fmt.Sprintf("%s: line %d: only variables and a command line are read; put a value with &, |, < or > between single quotes", f.Name, statement.Pos().Line()))
			continue
		}
		s.assignments(g, f.Name, call.Assigns)
		words := make([]string, len(call.Args))
		for i, w := range call.Args {
			words[i] = literal(g, f.Name, w)
		}
		s.command(g, f.Name, words, lists)
	}
	for _, option := range sortedKeys(lists) {
		g.set(f.Name, option, lists[option])
	}
}

func (s shell) assignments(g *given, file string, all []*syntax.Assign) {
	for _, a := range all {
		text := ""
		if a.Value != nil {
			text = literal(g, file, a.Value)
		}
		s.set(g, file, a.Name.Value, text)
	}
}

func (s shell) set(g *given, file, name, text string) {
	if option, ours := s.variable(name); ours {
		g.set(file, option, text)
		return
	}
	g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %s: unknown option", file, name))
}

// literal is the text of a word in which nothing is to be expanded.
func literal(g *given, file string, w *syntax.Word) string {
	var text strings.Builder
	refuse := func(p syntax.WordPart) {
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: line %d: the shell would replace a part of the value; write the value itself, between single quotes", file, p.Pos().Line()))
	}
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text.WriteString(unescape(part.Value, ""))
		case *syntax.SglQuoted:
			text.WriteString(part.Value)
		case *syntax.DblQuoted:
			for _, inner := range part.Parts {
				lit, ok := inner.(*syntax.Lit)
				if !ok {
					refuse(inner)
					continue
				}
				text.WriteString(unescape(lit.Value, "$`\"\\\n"))
			}
		default:
			refuse(part)
		}
	}
	return text.String()
}

// unescape takes away the backslashes that escape one of these characters, or any
// character if there are none named.
func unescape(s, escapable string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (escapable == "" || strings.IndexByte(escapable, s[i+1]) >= 0) {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// command takes the words of one command.
func (s shell) command(g *given, file string, words []string, lists map[string][]string) {
	if len(words) == 0 {
		return
	}
	if words[0] == "export" {
		for _, w := range words[1:] {
			name, text, _ := strings.Cut(w, "=")
			s.set(g, file, name, text)
		}
		return
	}
	start := 0
	if last := lastPart(words[0]); last == "docker" || last == "podman" {
		if start = s.container(g, file, words); start == 0 {
			return
		}
	} else if !s.named(words[0]) {
		g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %q is not a command of this predecessor", file, lastPart(words[0])))
		return
	}
	s.flags(g, file, words[start+1:], lists)
}

func (s shell) named(word string) bool {
	for _, p := range s.program {
		if lastPart(word) == p {
			return true
		}
	}
	return false
}

// lastPart is the name of a program or an image, without its path, tag and suffix.
func lastPart(word string) string {
	word = word[strings.LastIndexAny(word, `/\`)+1:]
	word, _, _ = strings.Cut(word, ":")
	return strings.TrimSuffix(word, ".exe")
}

// container takes the variables of "docker run" and returns where the image stands,
// or 0 if there is none of this predecessor.
func (s shell) container(g *given, file string, words []string) int {
	for i := 1; i < len(words); i++ {
		w := words[i]
		if s.named(w) && !strings.HasPrefix(w, "-") && words[i-1] != "--name" {
			return i
		}
		text, ok := strings.CutPrefix(w, "--env=")
		if !ok && (w == "-e" || w == "--env") && i+1 < len(words) {
			i++
			text, ok = words[i], true
		}
		if !ok {
			continue // of docker itself
		}
		name, v, has := strings.Cut(text, "=")
		if !has {
			g.mistakes = append(g.mistakes, fmt.Sprintf("%s: -e %s names a variable without its value; write %s=value", file, name, name))
			continue
		}
		s.set(g, file, name, v)
	}
	g.mistakes = append(g.mistakes, fmt.Sprintf("%s: docker runs no image that ends in %s", file, strings.Join(s.program, " or ")))
	return 0
}

// flags takes the flags of the predecessor.
func (s shell) flags(g *given, file string, words []string, lists map[string][]string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w == "--" || !strings.HasPrefix(w, "-") {
			if w == "--" {
				i++
			}
			if rest := words[i:]; len(rest) > 0 {
				if s.arguments == "" {
					g.mistakes = append(g.mistakes, fmt.Sprintf("%s: %q is not a flag", file, rest[0]))
					return
				}
				g.set(file, s.arguments, rest)
			}
			return
		}
		name, text, inline := strings.Cut(strings.TrimLeft(w, "-"), "=")
		option := s.flag(name)
		switch {
		case inline:
		case s.boolean(option):
			text = "true"
		case i+1 < len(words):
			i++
			text = words[i]
		default:
			g.mistakes = append(g.mistakes, fmt.Sprintf("%s: --%s has no value", file, name))
			continue
		}
		if s.repeats != nil && s.repeats(option) {
			lists[option] = append(lists[option], text)
			continue
		}
		g.set(file, option, text)
	}
}
