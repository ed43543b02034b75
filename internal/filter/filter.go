// Package filter takes from lists of an MCP server what their reader may not see:
// tools, prompts, resources and resource templates. It is a pure function of what
// the reader may use and one message of the server, and knows no transport, so
// that it can stand behind every door.
//
// Its invariant: what is left is byte for byte what the server wrote, page by
// page, and a message that cannot be read with certainty is an error, so that
// nothing of it is passed on.
package filter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// View says what a list may show.
type View interface {
	// Shows reports whether a list may show an entry. method is the one that uses it
	// (tools/call, prompts/get, resources/read), with its name or URI, or
	// resources/templates/list with a URI template.
	Shows(method, name string) bool
}

// Bounds of a message.
const (
	// MaxBytes bounds a message: ten thousand tools of 1.6 KB.
	MaxBytes    = 16 << 20
	maxMessages = 100 // of a batch (MCP 2025-03-26)
	maxDepth    = 256
	maxMembers  = 128
)

// Errors of messages that cannot be passed on.
var (
	ErrTooLarge   = fmt.Errorf("it is larger than %d bytes", MaxBytes)
	ErrUnreadable = errors.New("it holds a list that cannot be read, or no JSON-RPC")
)

// CacheControl is that of a filtered answer, which caches must not give to others.
const CacheControl = "private, no-store"

// Stale are headers, in canonical form, that describe the bytes of the server's
// answer or let caches keep it. A filtered answer has none of them.
var Stale = []string{"Content-Length", "Etag", "Last-Modified", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Expires", "Age", "Accept-Ranges"}

// lists are the members of a result that hold lists, with what names an entry and
// the method that uses it.
var lists = map[string]struct{ name, method string }{
	"tools":             {"name", "tools/call"},
	"prompts":           {"name", "prompts/get"},
	"resources":         {"uri", "resources/read"},
	"resourceTemplates": {"uriTemplate", "resources/templates/list"},
}

// read are the members of a message and of a result that are looked at.
var (
	messageMembers = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	resultMembers  = []string{"tools", "prompts", "resources", "resourceTemplates", "nextCursor", "ttlMs", "cacheScope", "resultType", "_meta"}
)

// Message returns a message of the server as the reader of the view may see it: a
// message of JSON-RPC, or a batch. One without a list is returned as it is.
func Message(message []byte, v View) ([]byte, error) {
	out, _, err := read(message, v)
	return out, err
}

// read is Message. result is where the result of a single message is, and zero
// for others.
func read(message []byte, v View) (out []byte, result span, err error) {
	if len(message) > MaxBytes {
		return nil, span{}, ErrTooLarge
	}
	r, err := strictjson.New(message, strictjson.Bounds{Depth: maxDepth, Members: maxMembers})
	if err != nil {
		return nil, span{}, ErrUnreadable
	}
	f := &reading{Reader: r, view: v}
	switch r.Next() {
	case '{':
		err = f.message()
		result = f.result
	case '[':
		n := 0
		err = r.Array(func() error {
			if n++; n > maxMessages {
				return strictjson.Err
			}
			return f.message()
		})
	default:
		err = strictjson.Err
	}
	if err != nil {
		return nil, span{}, ErrUnreadable
	}
	return f.apply(message), result, nil
}

// Result is Message for the result of a request alone, as gateways hand it over that
// read the messages themselves.
func Result(result []byte, v View) ([]byte, error) {
	if len(result) > MaxBytes {
		return nil, ErrTooLarge
	}
	r, err := strictjson.New(result, strictjson.Bounds{Depth: maxDepth, Members: maxMembers})
	if err != nil || r.Next() != '{' {
		return nil, ErrUnreadable
	}
	f := &reading{Reader: r, view: v}
	if err := f.readResult(); err != nil {
		return nil, ErrUnreadable
	}
	return f.apply(result), nil
}

// span is a part of a message.
type span struct{ from, to int }

// edit is a part of a message that others take the place of.
type edit struct {
	span
	parts [][2]int // of the message, with commas between; nil for text
	text  string
}

// reading is a message while it is read.
type reading struct {
	*strictjson.Reader
	view   View
	edits  []edit
	result span
}

// value passes a value with read, and returns where it is.
func (f *reading) value(read func() error) (s span, err error) {
	f.Next()
	s.from = f.Offset()
	err = read()
	s.to = f.Offset()
	return s, err
}

func (f *reading) message() error {
	return f.Object(messageMembers, func(member string) (err error) {
		if member != "result" || f.Next() != '{' {
			return f.Skip()
		}
		f.result, err = f.value(f.readResult)
		return err
	})
}

// readResult reads the result of a request, which may be of one that lists something.
func (f *reading) readResult() error {
	isList, cacheable := false, false
	var scope *span
	open := f.Offset()
	err := f.Object(resultMembers, func(member string) error {
		if l, ok := lists[member]; ok {
			isList = true
			return f.list(l.name, l.method)
		}
		switch member {
		case "_meta":
			return f.meta()
		case "ttlMs", "resultType": // members of the revisions that have cacheScope
			cacheable = true
		case "cacheScope":
			s, err := f.value(f.Skip)
			scope = &s
			return err
		}
		return f.Skip()
	})
	if err != nil || !isList {
		return err
	}
	// What one person sees is not for a cache that others read (MCP 2026-07-28, "Caching").
	switch {
	case scope != nil:
		f.edits = append(f.edits, edit{span: *scope, text: `"private"`})
	case cacheable:
		f.edits = append(f.edits, edit{span: span{open + 1, open + 1}, text: `"cacheScope":"private",`})
	}
	return nil
}

// list reads a list, and keeps the entries that the view shows.
func (f *reading) list(name, method string) error {
	if f.Next() != '[' {
		return strictjson.Err
	}
	var kept [][2]int
	hidden := 0
	whole, err := f.value(func() error {
		return f.Array(func() error {
			named, text := false, ""
			s, err := f.value(func() error {
				return f.Object([]string{name}, func(member string) (err error) {
					if member != name {
						return f.Skip()
					}
					if text, named = f.Text(); !named {
						return strictjson.Err
					}
					return nil
				})
			})
			switch {
			case err != nil:
				return err
			case !named:
				return strictjson.Err
			case f.view.Shows(method, text):
				kept = append(kept, [2]int{s.from, s.to})
			default:
				hidden++
			}
			return nil
		})
	})
	if err == nil && hidden > 0 {
		f.edits = append(f.edits, edit{span: span{whole.from + 1, whole.to - 1}, parts: kept})
	}
	return err
}

// meta reads the metadata of a result, where servers declare scopes with the tools
// that each opens.
func (f *reading) meta() error {
	if f.Next() != '{' {
		return f.Skip()
	}
	return f.Object([]string{"scopes"}, func(member string) error {
		if member != "scopes" || f.Next() != '[' {
			return f.Skip()
		}
		return f.scopes()
	})
}

// scopes keeps of the scopes those that open a tool which the view shows, with
// these tools alone.
func (f *reading) scopes() error {
	var kept [][2]int
	var inside []edit
	hidden := false
	whole, err := f.value(func() error {
		return f.Array(func() error {
			before := len(f.edits)
			var shown bool
			s, err := f.value(func() (err error) {
				shown, err = f.scope()
				return err
			})
			if err != nil {
				return err
			}
			if shown {
				kept = append(kept, [2]int{s.from, s.to})
				inside = append(inside, f.edits[before:]...)
			} else {
				hidden = true
			}
			f.edits = f.edits[:before]
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case !hidden:
		f.edits = append(f.edits, inside...)
		return nil
	}
	f.edits = append(f.edits, removals(whole, kept)...)
	f.edits = append(f.edits, inside...)
	return nil
}

// removals are edits that leave of an array these elements alone, untouched, so
// that there may be edits inside them.
func removals(whole span, kept [][2]int) []edit {
	var out []edit
	at := whole.from + 1
	for i, k := range kept {
		comma := ","
		if i == 0 {
			comma = ""
		}
		out = append(out, edit{span: span{at, k[0]}, text: comma})
		at = k[1]
	}
	return append(out, edit{span: span{at, whole.to - 1}})
}

// scope reads one declared scope; it is shown where it names no tools, or one that is.
func (f *reading) scope() (shown bool, err error) {
	if f.Next() != '{' {
		return false, f.Skip()
	}
	shown = true
	err = f.Object([]string{"tools"}, func(member string) error {
		if member != "tools" {
			return f.Skip()
		}
		if f.Next() != '[' {
			shown = false
			return f.Skip()
		}
		var kept [][2]int
		all := 0
		whole, err := f.value(func() error {
			return f.Array(func() error {
				all++
				if f.Next() != '"' {
					return f.Skip()
				}
				var text string
				s, err := f.value(func() error {
					var ok bool
					if text, ok = f.Text(); !ok {
						return strictjson.Err
					}
					return nil
				})
				if err == nil && f.view.Shows("tools/call", text) {
					kept = append(kept, [2]int{s.from, s.to})
				}
				return err
			})
		})
		shown = all == 0 || len(kept) > 0
		if len(kept) < all {
			f.edits = append(f.edits, edit{span: span{whole.from + 1, whole.to - 1}, parts: kept})
		}
		return err
	})
	return shown, err
}

// apply returns the message with its edits.
func (f *reading) apply(message []byte) []byte {
	if len(f.edits) == 0 {
		return message
	}
	slices.SortFunc(f.edits, func(a, b edit) int { return a.from - b.from })
	out := make([]byte, 0, len(message)+64)
	at := 0
	for _, e := range f.edits {
		out = append(out, message[at:e.from]...)
		out = append(out, e.text...)
		for i, p := range e.parts {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, message[p[0]:p[1]]...)
		}
		at = e.to
	}
	return append(out, message[at:]...)
}
