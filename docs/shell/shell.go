// Package shell finds the commands that the documents show, for the tests that run
// them.
package shell

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Pages returns the Markdown files of the repository at root that are for users.
func Pages(root string) ([]string, error) {
	var pages []string
	for _, pattern := range []string{"*.md", "charts/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		pages = append(pages, found...)
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	return pages, err
}

var (
	fenced   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	indented = regexp.MustCompile(`(?m)(?:^ {4}[^\n]*\n)+`)
	// program begins a line of an indented block that is commands.
	program = regexp.MustCompile(`^(?:\$ |[A-Z_]+=\S+ )?(?:curl|helm|kubectl|mcp-forward-auth|go|make|docker|git|claude|codex|cosign|gh|npx|npm|kind|oc|cd|head|sudo|systemctl|journalctl) `)
)

// Blocks returns the blocks of a page that are commands for a shell: those that say so,
// and indented ones that begin with a program.
func Blocks(page string) []string {
	var blocks []string
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		switch m[1] {
		case "sh", "bash", "shell", "console":
			blocks = append(blocks, m[2])
		}
	}
	for _, m := range indented.FindAllString(fenced.ReplaceAllString(page, ""), -1) {
		block := strings.ReplaceAll("\n"+m, "\n    ", "\n")[1:]
		if program.MatchString(block) {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// Words splits a command at its spaces. It knows quotes and lines that go on; nothing is
// expanded.
func Words(command string) (words []string) {
	word, inside, quote := "", false, rune(0)
	for _, c := range strings.ReplaceAll(command, "\\\n", " ") {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inside = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if inside {
				words = append(words, word)
			}
			word, inside = "", false
		default:
			word, inside = word+string(c), true
		}
	}
	if inside {
		words = append(words, word)
	}
	return words
}
