package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/shell"
)

// callOfOurs is where a document calls the program, in a block or in a line of text, up to
// the end of that command.
var callOfOurs = regexp.MustCompile("(?m)(?:^|[`$|(&] ?|^ {4})(?:go run \\./cmd/)?mcp-forward-auth ([a-z][-a-z]*(?:[^`|&;<>#\n\\\\]|\\\\\n|\\|[^ \n])*)")

// Every call of the program in the documents is one that it takes: the command is there,
// and its flags are.
func TestDocumentsCallWhatThereIs(t *testing.T) {
	pages, err := shell.Pages(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range program().Commands() {
		known[c.Name()] = true
	}
	calls := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range callOfOurs.FindAllStringSubmatch(string(text), -1) {
			words := shell.Words(m[1])
			if !known[words[0]] && !strings.Contains(m[1], "--") {
				continue // a sentence about the program
			}
			calls++
			root := program()
			found, args, err := root.Find(words)
			if err == nil && found == root {
				t.Errorf("%s: %q: there is no such command", page, m[1])
				continue
			}
			if err == nil {
				err = found.ParseFlags(args)
			}
			named := len(words) == 2 && err != nil && strings.HasPrefix(err.Error(), "flag needs an argument") // a flag that a sentence is about
			if err != nil && !named {
				t.Errorf("%s: %q: %v", page, m[1], err)
			}
		}
	}
	if calls < 60 {
		t.Errorf("%d calls: the pattern finds none", calls)
	}
}
