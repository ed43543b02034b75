package rule

import (
	"reflect"
	"testing"
)

func TestInDomain(t *testing.T) {
	for _, tt := range []struct {
		pattern, domain string
		want            bool
	}{
		{"example.com", "example.com", true}, {"example.com", "a.example.com", false}, {"*.example.com", "a.example.com", true},
		{"*.example.com", "example.com", false}, {"*.example.com", "badexample.com", false}, {"*.example.com", ".example.com", false},
	} {
		if got := InDomain(tt.pattern, tt.domain); got != tt.want {
			t.Errorf("%s, %s: %v", tt.pattern, tt.domain, got)
		}
	}
}

func TestLowerASCII(t *testing.T) {
	if got := LowerASCII("JANE@\u212aI\u0130.example"); got != "jane@\u212ai\u0130.example" {
		t.Errorf("a letter beyond ASCII became another: %q", got)
	}
}

// A condition without a row would be neither checked nor part of what tokens are bound to.
func TestConditions(t *testing.T) {
	lists := 0
	r := Rule{}
	for field := range reflect.TypeFor[Rule]().Fields() {
		if field.Type.Kind() == reflect.Slice {
			reflect.ValueOf(&r).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf([]string{field.Name}))
			lists++
		}
	}
	seen := map[string]bool{}
	for _, c := range Conditions {
		entries := c.Of(&r)
		if len(entries) != 1 || seen[entries[0]] || c.Name == "" || c.Covers == nil {
			t.Errorf("%s: %v", c.Name, entries)
			continue
		}
		seen[entries[0]] = true
		if what := entries[0] == "Scopes" || entries[0] == "Tools"; what != c.What {
			t.Errorf("%s: What is %v", c.Name, c.What)
		}
	}
	if len(seen) != lists {
		t.Errorf("%d of %d lists of a rule have a condition", len(seen), lists)
	}
}
