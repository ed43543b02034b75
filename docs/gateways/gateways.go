// Package gateways holds the recipes: one page for each gateway, that a person
// reads here, the doctor quotes and the end-to-end tests run. There is no second
// copy of any of it.
package gateways

import (
	"embed"
	"regexp"
	"slices"
	"strings"
)

//go:embed *.md
var pages embed.FS

// index is the page that lists the others.
const index = "README"

// Names lists the pages.
func Names() []string {
	entries, err := pages.ReadDir(".")
	if err != nil {
		panic("internal error: the recipes are not embedded: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ".md"); name != index {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Page returns the text of a page.
func Page(name string) (string, bool) {
	if !slices.Contains(Names(), name) {
		return "", false
	}
	text, err := pages.ReadFile(name + ".md")
	return string(text), err == nil
}

// Section returns what stands under a heading of the second level, "" if the
// page has none of that name.
func Section(name, heading string) string {
	text, _ := Page(name)
	_, rest, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		return ""
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return strings.TrimSpace(section)
}

// Whole is the heading of the complete configuration, where a page has one. The
// blocks of the other sections are parts of it.
const Whole = "The whole configuration"

// Block is one fenced block of a page.
type Block struct{ Language, Text string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// Blocks returns the blocks under a heading.
func Blocks(name, heading string) []Block {
	var out []Block
	for _, m := range fence.FindAllStringSubmatch(Section(name, heading), -1) {
		out = append(out, Block{Language: m[1], Text: m[2]})
	}
	return out
}
