package internal_test

import (
	"go/ast"
	"go/token"
	"testing"
)

// A reason that is written as text would compile with a spelling mistake in it.
func TestReasonsAreOfTheList(t *testing.T) {
	files := parse(t)
	takesReason := map[string]int{} // by package and function: the parameter's place
	for _, f := range files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if d, ok := n.(*ast.FuncDecl); ok {
				place := 0
				for _, p := range d.Type.Params.List {
					if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Reason" {
						takesReason[f.pkg+"."+d.Name.Name] = place
					}
					place += len(p.Names)
				}
			}
			return true
		})
	}
	if len(takesReason) < 5 {
		t.Errorf("only %d functions take a reason", len(takesReason))
	}
	for _, f := range files {
		refuse := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING && lit.Value != `""` {
				t.Errorf("%s: the reason %s is not one of package reasons", f.name, lit.Value)
			}
		}
		isReason := func(e ast.Expr) bool {
			s, ok := e.(*ast.SelectorExpr)
			return ok && s.Sel.Name == "Reason"
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" && f.pkg != "doctor" {
					refuse(n.Value)
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if isReason(left) && i < len(n.Rhs) {
						refuse(n.Rhs[i])
					}
				}
			case *ast.BinaryExpr:
				if isReason(n.X) {
					refuse(n.Y)
				}
			case *ast.CallExpr:
				name := ""
				switch fun := n.Fun.(type) {
				case *ast.Ident:
					name = fun.Name
				case *ast.SelectorExpr:
					name = fun.Sel.Name
				}
				if place, ok := takesReason[f.pkg+"."+name]; ok && place < len(n.Args) {
					refuse(n.Args[place])
				}
			}
			return true
		})
	}
}
