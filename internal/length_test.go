package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// maxFunctionLines is what fits on a screen.
const maxFunctionLines = 60

// A function that is longer does several things, each of which wants a name. Test
// code and generated code may be longer.
func TestFunctionsFitOnAScreen(t *testing.T) {
	set := token.NewFileSet()
	functions := 0
	for _, root := range []string{".", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || testOnlyFile(path) {
				return err
			}
			syntax, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil || ast.IsGenerated(syntax) {
				return err
			}
			ast.Inspect(syntax, func(n ast.Node) bool {
				f, ok := n.(*ast.FuncDecl)
				if !ok {
					return true
				}
				functions++
				if lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
					t.Errorf("%s: %s has %d lines, more than %d: give its steps names", set.Position(f.Pos()), f.Name.Name, lines, maxFunctionLines)
				}
				return false
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if functions < 1000 {
		t.Errorf("only %d functions found", functions)
	}
}

// testOnlyFile reports whether a file belongs to a package that only tests import.
func testOnlyFile(path string) bool {
	return anyMatches(testOnly, filepath.ToSlash(filepath.Dir(path)))
}
