// Package strictjson reads JSON that others write in the one way that every parser
// agrees on. encoding/json takes the last of two members of one name, and other
// parsers the first.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Members splits a JSON object into its members. It refuses repeated names at any
// depth, trailing data, nesting deeper than maxDepth, what is not UTF-8 and what
// is not an object (RFC 8259, sections 4 and 8.1). Its errors complete "the
// document …".
func Members(body []byte, maxDepth int) (map[string]json.RawMessage, error) {
	if members := quick(body, maxDepth); members != nil {
		return members, nil
	}
	if !utf8.Valid(body) {
		return nil, errors.New("is not UTF-8")
	}
	if err := check(body, maxDepth); err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &out); err != nil || out == nil {
		return nil, errors.New("is not a JSON object")
	}
	return out, nil
}

// quick is Members in one walk, for objects of a usual size. It returns nil where it
// is not sure, so that the slower way says what is wrong.
func quick(body []byte, maxDepth int) map[string]json.RawMessage {
	r, err := New(body, Bounds{Depth: maxDepth, Members: 64})
	if err != nil {
		return nil
	}
	var skip func() error // as Skip, but no member may repeat
	skip = func() error {
		switch r.Next() {
		case '{':
			return r.Object(nil, func(string) error { return skip() })
		case '[':
			return r.Array(skip)
		}
		return r.Skip()
	}
	members := map[string]json.RawMessage{}
	err = r.Object(nil, func(name string) error {
		r.Next()
		from := r.Offset()
		err := skip()
		members[name] = json.RawMessage(r.Since(from))
		return err
	})
	if err != nil {
		return nil
	}
	return members
}

// check reads one JSON value to the end.
func check(body []byte, maxDepth int) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := checkValue(dec, 0, maxDepth); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("has trailing data")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth, maxDepth int) error {
	t, err := dec.Token()
	if err != nil {
		return errors.New("is not JSON")
	}
	delim, nested := t.(json.Delim)
	if !nested {
		return nil
	}
	if depth++; depth > maxDepth {
		return errors.New("is nested too deeply")
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			t, err := dec.Token()
			if err != nil {
				return errors.New("is not JSON")
			}
			name := t.(string) // the decoder admits nothing else here
			if seen[name] {
				return fmt.Errorf("has the member %.40q twice", name)
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth, maxDepth); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errors.New("is not JSON")
	}
	return nil
}
