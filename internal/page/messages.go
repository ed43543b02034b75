package page

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/a-h/templ"
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

// part is a piece of a message: its own words, or the value of a {place}.
type part struct {
	text  string
	value bool
}

// t is a message among markup. One that is not there, or lacks a value, fails the page.
func (l locale) t(id string, args ...string) templ.Component {
	parts, err := l.parts(id, args)
	if err != nil {
		return templ.ComponentFunc(func(context.Context, io.Writer) error { return err })
	}
	return sentence(parts)
}

// tn is a message about n things.
func (l locale) tn(id string, n int) templ.Component {
	return l.t(id+"."+l.plural()(n), "n", strconv.Itoa(n))
}

// tx is a message where no markup can be: a title.
func (l locale) tx(id string, args ...string) (string, error) {
	parts, err := l.parts(id, args)
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String(), err
}

func (l locale) plural() func(n int) string {
	if category, ok := plurals[l.Lang]; ok {
		return category
	}
	return plurals["en"]
}

// parts cuts a message at its places and puts their values there; args are
// names, each with its value.
func (l locale) parts(id string, args []string) ([]part, error) {
	m, ok := l.Messages[id]
	if !ok {
		return nil, fmt.Errorf("page: no message %q in %q", id, l.Lang)
	}
	if len(args)%2 != 0 {
		return nil, fmt.Errorf("page: message %q: a place has no value", id)
	}
	var out []part
	for {
		before, after, found := strings.Cut(m, "{")
		out = append(out, part{text: before})
		if !found {
			return out, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		v, ok := place(args, name)
		if !closed || !ok {
			return nil, fmt.Errorf("page: message %q: no value for {%s}", id, name)
		}
		out = append(out, part{text: v, value: true})
		m = tail
	}
}

func place(args []string, name string) (string, bool) {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == name {
			return args[i+1], true
		}
	}
	return "", false
}

// text is a message for an attribute, "" if it is not there.
func (l locale) text(id string) string {
	s, err := l.tx(id)
	if err != nil {
		return ""
	}
	return s
}
