package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
)

//go:embed messages/*.json
var messageFiles embed.FS

// locale is one language's texts. A message may hold {name} places; one that
// counts is two or more messages, "id.one", "id.other", after the CLDR categories.
type locale struct {
	Lang     string            `json:"lang"` // BCP 47
	Dir      string            `json:"dir"`  // "ltr" or "rtl"
	Messages map[string]string `json:"messages"`
}

// locales holds every file of messages/, by language.
var locales = loadLocales()

// plurals picks the CLDR category of a number; a language not named here uses
// English's.
var plurals = map[string]func(n int) string{
	"en": func(n int) string {
		if n == 1 {
			return "one"
		}
		return "other"
	},
	"ar": func(n int) string {
		switch {
		case n == 0:
			return "zero"
		case n == 1:
			return "one"
		case n == 2:
			return "two"
		case n%100 >= 3 && n%100 <= 10:
			return "few"
		case n%100 >= 11:
			return "many"
		}
		return "other"
	},
}

func loadLocales() map[string]locale {
	out := map[string]locale{}
	files, err := messageFiles.ReadDir("messages")
	if err != nil {
		panic("internal error: page messages: " + err.Error())
	}
	for _, f := range files {
		raw, err := messageFiles.ReadFile("messages/" + f.Name())
		if err != nil {
			panic("internal error: page messages: " + err.Error())
		}
		var l locale
		if err := json.Unmarshal(raw, &l); err != nil {
			panic("internal error: page messages: " + f.Name() + ": " + err.Error())
		}
		out[l.Lang] = l
	}
	return out
}

func (l locale) funcs() template.FuncMap {
	return template.FuncMap{"t": l.html, "tx": l.text, "tn": l.count}
}

// html is a message as markup: its {places} are escaped and wrapped in <bdi>,
// so that a name in another direction cannot reorder the sentence around it.
func (l locale) html(id string, args ...any) (template.HTML, error) {
	s, err := l.fill(id, args, func(v string) string {
		return "<bdi>" + template.HTMLEscapeString(v) + "</bdi>"
	}, template.HTMLEscapeString)
	return template.HTML(s), err
}

// text is a message where no markup can be: titles and attributes.
func (l locale) text(id string, args ...any) (string, error) {
	same := func(v string) string { return v }
	return l.fill(id, args, same, same)
}

// count is a message about n things.
func (l locale) count(id string, n int) (template.HTML, error) {
	return l.html(id+"."+l.plural()(n), "n", n)
}

func (l locale) plural() func(n int) string {
	if category, ok := plurals[l.Lang]; ok {
		return category
	}
	return plurals["en"]
}

func (l locale) fill(id string, args []any, value, rest func(string) string) (string, error) {
	m, ok := l.Messages[id]
	if !ok {
		return "", fmt.Errorf("page: no message %q in %q", id, l.Lang)
	}
	if len(args)%2 != 0 {
		return "", fmt.Errorf("page: message %q: a place has no value", id)
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(m, "{")
		b.WriteString(rest(before))
		if !found {
			return b.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		v, ok := place(args, name)
		if !closed || !ok {
			return "", fmt.Errorf("page: message %q: no value for {%s}", id, name)
		}
		b.WriteString(value(v))
		m = tail
	}
}

func place(args []any, name string) (string, bool) {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == name {
			return fmt.Sprint(args[i+1]), true
		}
	}
	return "", false
}
