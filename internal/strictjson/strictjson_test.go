package strictjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf(`"m%d":%d`, i, i)
	}
	for body, want := range map[string]string{
		`{"a":1, "b" : [1,{"a":2},{"a":"}"}] ,"c":{"a":"\",{"}}`: "",
		" \n{}\t":                                  "",
		`{` + strings.Join(many, ",") + `}`:        "",
		`{"a":1,"a":2}`:                            `has the member "a" twice`,
		`{"a":1,"\u0061":2}`:                       `has the member "a" twice`,
		`{"x":[{"a":1},{"b":1,"c":2,"b":3}]}`:      `has the member "b" twice`,
		`{"x":{"y":1},"y":{"x":1},"x":2}`:          `has the member "x" twice`,
		`{` + strings.Join(many, ",") + `,"m7":1}`: `has the member "m7" twice`,
		`{"a":1}{`:                                 "has trailing data",
		`{"a":1} {}`:                               "has trailing data",
		`{"a":1`:                                   "is not JSON",
		``:                                         "is not JSON",
		`[]`:                                       "is not a JSON object",
		`null`:                                     "is not a JSON object",
		`7`:                                        "is not a JSON object",
		"{\"a\":\"\xff\"}":                         "is not UTF-8",
		`{"a":[[[[]]]]}`:                           "is nested too deeply",
	} {
		got, err := Members([]byte(body), 4)
		if said := fmt.Sprint(err); err == nil && want != "" || err != nil && said != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		if want != "" {
			continue
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(got, all, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s: %q, want %q", body, got, all)
		}
	}
}

// What is taken is what encoding/json reads, and no name repeats in it.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":{"b":[{}]},"":""}`, `{"\ud800":1,"\ufffd":2}`, `{"a\\":"\\"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Members(body, 8)
		if err != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(body, &all); err != nil || !maps.EqualFunc(got, all, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%q: %q, want %q, %v", body, got, all, err)
		}
	})
}
