package claim

import (
	"encoding/json"
	"testing"
)

func TestPointer(t *testing.T) {
	var claims Set
	document := `{"a":{"b":["x",{"c":"y"}],"d/e":"z","~":"t","":"empty"},"/odd":"no","http://x/y":"url","n":null,"0":"zero"}`
	if err := json.Unmarshal([]byte(document), &claims); err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{
		"/a/b/0": "x", "/a/b/1/c": "y", "/a/d~1e": "z", "/a/~0": "t", "/a/": "empty", "http://x/y": "url", "/0": "zero", "/~1odd": "no",
		"/a/b/2": "", "/a/b/-1": "", "/a/b/00": "", "/a/b/+1": "", "/a/b/x": "", "/b": "", "/": "", "/a/b/0/c": "", "/n/x": "", "a/b": "",
	} {
		if got := claims.String(pointer); got != want {
			t.Errorf("%s = %q, want %q", pointer, got, want)
		}
	}
}
