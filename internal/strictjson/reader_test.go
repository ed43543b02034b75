package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

var bounds = Bounds{Depth: 8, Members: 4}

func TestNew(t *testing.T) {
	for _, refused := range []string{"", " ", "{", "{}{}", "[1,]", "\xff", "\"\xed\xa0\x80\"", "\ufeff{}", "{'a':1}", "nul", "01", "{\"a\":1}x", "/**/{}"} {
		if _, err := New([]byte(refused), bounds); err == nil {
			t.Errorf("%q is read", refused)
		}
	}
}

// walk visits everything and returns the members of objects, by path.
func walk(r *Reader, path string, seen map[string]string) error {
	switch r.Next() {
	case '{':
		return r.Object([]string{"name"}, func(member string) error { return walk(r, path+"."+member, seen) })
	case '[':
		return r.Array(func() error { return walk(r, path+"[]", seen) })
	case '"':
		s, ok := r.Text()
		if !ok {
			return Err
		}
		seen[path] = s
		return nil
	}
	return r.Skip()
}

func TestWalk(t *testing.T) {
	for document, want := range map[string]string{
		`{"name":"a"}`: "a", ` { "name" : "\u0061" , "x" : [1, {"y": true}, null] } `: "a", `{"name":"a","x":-1.5e3}`: "a", `{"x":{"name":"b"},"name":"a"}`: "a",
		`{"name":"a","name":"b"}`: "refused", `{"name":"a","Name":"b"}`: "refused", `{"n\u0061me":"a","name":"b"}`: "refused", `{"name":"a","__proto__":{}}`: "refused",
		`{"name":"\ud800"}`: "refused", `{"name":"a\u0000"}`: "refused", `{"name":"` + "\ufffd" + `"}`: "refused", `{"a":1,"b":1,"c":1,"d":1,"e":1}`: "refused",
		`{"name":"a","x":` + strings.Repeat("[", 7) + strings.Repeat("]", 7) + `}`: "a", `{"name":"a","x":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`: "refused",
	} {
		r, err := New([]byte(document), bounds)
		if err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		seen := map[string]string{}
		got := "refused"
		if walk(r, "", seen) == nil {
			got = seen[".name"]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", document, got, want)
		}
	}
}

func TestSkipAndOffset(t *testing.T) {
	for _, document := range []string{`1`, ` "a" `, `null`, `{"a":[1,2,{"b":"]"}]}`, `[[],{},"\"" ]`} {
		r, err := New([]byte(document), bounds)
		if err != nil {
			t.Fatal(err)
		}
		r.Next()
		from := r.Offset()
		if err := r.Skip(); err != nil || document[from:r.Offset()] != strings.TrimSpace(document) {
			t.Errorf("%s: %v, %q", document, err, document[from:r.Offset()])
		}
	}
	r, _ := New([]byte(`[1]`), bounds)
	if r.Object(nil, func(string) error { return nil }) == nil {
		t.Error("an array is read as an object")
	}
}

// What is read is what encoding/json reads, and no document ends in a panic.
func FuzzReader(f *testing.F) {
	for _, s := range []string{`{"name":"a"}`, `[{"name":"\ud83d\ude00"}]`, `{"a":{"name":"x"},"name":"y"}`, `"\\"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		r, err := New(document, Bounds{Depth: 64, Members: 16})
		if err != nil {
			return
		}
		seen := map[string]string{}
		if walk(r, "", seen) != nil {
			return
		}
		var top struct{ Name any }
		if len(document) > 0 && strings.TrimSpace(string(document))[0] == '{' && json.Unmarshal(document, &top) == nil {
			if name, ok := top.Name.(string); ok && seen[".name"] != name {
				t.Errorf("%q: %q, encoding/json reads %q", document, seen[".name"], name)
			}
		}
	})
}
