package forwardauth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a body, so that the work for it grows with its length alone.
const (
	// maxBatch bounds the messages of a batch (MCP 2025-03-26).
	maxBatch = 100
	// maxDepth bounds how deep arrays and objects nest. Servers have bounds of
	// their own, some of a thousand.
	maxDepth = 256
	// maxMembers bounds the members of a message, of its params and of its _meta,
	// each of which is compared with the ones before.
	maxMembers = 128
)

var errBody = errors.New("not a message of JSON-RPC that every server reads in the same way")

// parseBody reads JSON-RPC messages (JSON-RPC 2.0, section 4): one, or a batch.
// What two parsers could read differently is refused: repeated members, members
// that differ from those it looks for in case only, text that is not UTF-8, a
// second document.
func parseBody(body []byte) (content, Reason) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return content{}, MalformedBody
	}
	c := cursor{text: string(body)}
	all, err := c.document()
	if err != nil {
		return content{}, MalformedBody
	}
	all.trace = c.trace
	return all, Allowed
}

// cursor walks once over a document that json.Valid has accepted, so it only has
// to find where values end. It allocates nothing for what it skips.
type cursor struct {
	text  string
	at    int
	depth int
	trace string
}

func (c *cursor) document() (all content, err error) {
	switch c.next() {
	case '{':
		op, err := c.message()
		all.ops = []operation{op}
		return all, err
	case '[':
		all.batch = true
		err = c.list('[', ']', func() error {
			if c.next() != '{' || len(all.ops) == maxBatch {
				return errBody
			}
			op, err := c.message()
			all.ops = append(all.ops, op)
			return err
		})
		if len(all.ops) == 0 {
			return all, errBody
		}
		return all, err
	}
	return all, errBody
}

// message reads a message object. A response, which has no method, asks for
// nothing and gives an operation without a method.
func (c *cursor) message() (op operation, err error) {
	var name, uri string
	var answer bool
	err = c.object([]string{"jsonrpc", "id", "method", "params", "result", "error"}, func(member string) (err error) {
		switch member {
		case "method":
			var ok bool
			if op.method, ok = c.plainText(); !ok || op.method == "" {
				return errBody
			}
			return nil
		case "params":
			name, uri, err = c.params()
			return err
		case "result", "error":
			answer = true
		}
		return c.skip()
	})
	switch op.method {
	case toolsCall, promptsGet:
		op.name = name
	case resourcesRead:
		op.name = uri
	}
	if err == nil && (named(op.method) && op.name == "" || op.method == "" && !answer) {
		return op, errBody
	}
	return op, err
}

func (c *cursor) params() (name, uri string, err error) {
	switch c.next() {
	case '{':
	case '[': // JSON-RPC has parameters by position, MCP has not
		return "", "", errBody
	default:
		return "", "", c.skip() // null: not ours to judge
	}
	err = c.object([]string{"name", "uri"}, func(member string) (err error) {
		var into *string
		switch member {
		case "name":
			into = &name
		case "uri":
			into = &uri
		case "_meta":
			return c.meta()
		}
		if into == nil || c.next() != '"' { // a method that needs neither may have them as anything
			return c.skip()
		}
		var ok bool
		if *into, ok = c.plainText(); !ok {
			return errBody
		}
		return nil
	})
	return name, uri, err
}

// meta reads the metadata of a request. Nothing in it has a part in a decision.
func (c *cursor) meta() error {
	if c.next() != '{' {
		return c.skip()
	}
	return c.object(nil, func(member string) error {
		if member != "traceparent" || c.trace != "" || c.next() != '"' {
			return c.skip()
		}
		c.trace, _ = c.plainText()
		return nil
	})
}

// object reads an object and calls read at each value. No member may repeat, nor
// differ from one that is read here in case only: some servers would take it for ours. Nor
// may one be named __proto__: JavaScript servers that copy an object with
// Object.assign would read members that are not there.
func (c *cursor) object(ours []string, read func(member string) error) error {
	var seen []string
	return c.list('{', '}', func() error {
		member, ok := c.plainText()
		if !ok || member == "__proto__" || len(seen) == maxMembers || slices.Contains(seen, member) {
			return errBody
		}
		seen = append(seen, member)
		for _, name := range ours {
			if member != name && strings.EqualFold(member, name) {
				return errBody
			}
		}
		c.take(':')
		return read(member)
	})
}

// list reads what stands between open and end, which the cursor is at, and calls
// element at the beginning of each.
func (c *cursor) list(open, end byte, element func() error) error {
	if c.depth++; c.depth > maxDepth {
		return errBody
	}
	c.take(open)
	for c.next() != end {
		if err := element(); err != nil {
			return err
		}
		if c.next() == ',' {
			c.at++
		}
	}
	c.at++
	c.depth--
	return nil
}

// next passes white space and returns the byte after it.
func (c *cursor) next() byte {
	for c.text[c.at] == ' ' || c.text[c.at] == '\n' || c.text[c.at] == '\r' || c.text[c.at] == '\t' {
		c.at++
	}
	return c.text[c.at]
}

// take passes a byte that must come next.
func (c *cursor) take(b byte) {
	if c.next() == b {
		c.at++
	}
}

// quoted passes a string, and returns it as it is written, with its quotes.
func (c *cursor) quoted() string {
	from := c.at
	for c.at++; c.text[c.at] != '"'; c.at++ {
		if c.text[c.at] == '\\' {
			c.at++
		}
	}
	c.at++
	return c.text[from:c.at]
}

// plainText reads a string that every server reads as the same.
func (c *cursor) plainText() (s string, ok bool) {
	if c.next() != '"' {
		return "", false
	}
	raw := c.quoted()
	if s = raw[1 : len(raw)-1]; strings.IndexByte(raw, '\\') >= 0 {
		if json.Unmarshal([]byte(raw), &s) != nil {
			return "", false
		}
	}
	return s, isPlainText(s)
}

// isPlainText refuses text that servers read in different ways. U+FFFD may have been
// half of a surrogate pair, which parsers repair differently, and NUL ends the text
// for servers whose strings end there.
func isPlainText(s string) bool {
	return !strings.ContainsRune(s, utf8.RuneError) && strings.IndexByte(s, 0) < 0
}

// skip passes a value.
func (c *cursor) skip() error {
	outside := c.depth
	for {
		switch c.next() {
		case '"':
			c.quoted()
		case '{', '[':
			if c.depth++; c.depth > maxDepth {
				return errBody
			}
			c.at++
		case '}', ']':
			c.depth--
			c.at++
		case ',', ':':
			c.at++
		default:
			c.word()
		}
		if c.depth == outside {
			return nil
		}
	}
}

// word passes a number, true, false or null. All that is read stands in an
// object or array, so something comes after it.
func (c *cursor) word() {
	for ; ; c.at++ {
		switch c.text[c.at] {
		case ' ', '\n', '\r', '\t', ',', ']', '}':
			return
		}
	}
}
