package strictjson

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Err is the error for every document that is refused.
var Err = errors.New("not JSON that every parser reads in the same way")

// Bounds keep the work for a document in proportion to its length.
type Bounds struct {
	// Depth bounds how deep arrays and objects nest. Parsers have bounds of their
	// own, some of a thousand.
	Depth int
	// Members bounds those of an object that is read with Object, each of which is
	// compared with the ones before.
	Members int
}

// Reader walks once over a document, and refuses what two parsers could read
// differently: a member that repeats or that differs in case only from one that is
// looked for, and strings that parsers repair or cut off. It holds nothing of the
// document but where it is, and allocates nothing for what it skips.
type Reader struct {
	text   string
	at     int
	depth  int
	bounds Bounds
}

// New returns a Reader at the beginning of a document. It refuses one that is not
// JSON in UTF-8 (RFC 8259, section 8.1), so that a walk only has to find where
// values end.
func New(document []byte, b Bounds) (*Reader, error) {
	if !utf8.Valid(document) || !json.Valid(document) {
		return nil, Err
	}
	return &Reader{text: string(document), bounds: b}, nil
}

// Next passes white space and returns the byte after it, the first of a value.
// There must be one.
func (r *Reader) Next() byte {
	for r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\r' || r.text[r.at] == '\t' {
		r.at++
	}
	return r.text[r.at]
}

// Offset returns how many bytes were passed: after Next the beginning of a value,
// after a value its end.
func (r *Reader) Offset() int { return r.at }

// Since returns what was passed since an offset.
func (r *Reader) Since(offset int) string { return r.text[offset:r.at] }

// Object reads an object, which must come next, and calls read at each value,
// which read must pass. No member may repeat, nor differ from one of names in case
// only: some parsers would take it for that. Nor may one be named __proto__:
// JavaScript programs that copy an object with Object.assign would read members
// that are not there.
func (r *Reader) Object(names []string, read func(member string) error) error {
	var seen []string
	return r.list('{', '}', func() error {
		member, ok := r.Text()
		if !ok || member == "__proto__" || len(seen) == r.bounds.Members || slices.Contains(seen, member) {
			return Err
		}
		seen = append(seen, member)
		for _, name := range names {
			if member != name && strings.EqualFold(member, name) {
				return Err
			}
		}
		r.take(':')
		return read(member)
	})
}

// Array reads an array, which must come next, and calls element at each value,
// which element must pass.
func (r *Reader) Array(element func() error) error { return r.list('[', ']', element) }

// list reads what stands between open and end, and calls element at the beginning of each.
func (r *Reader) list(open, end byte, element func() error) error {
	if r.Next() != open {
		return Err
	}
	if r.depth++; r.depth > r.bounds.Depth {
		return Err
	}
	r.at++
	for r.Next() != end {
		if err := element(); err != nil {
			return err
		}
		if r.Next() == ',' {
			r.at++
		}
	}
	r.at++
	r.depth--
	return nil
}

// take passes a byte that must come next.
func (r *Reader) take(b byte) {
	if r.Next() == b {
		r.at++
	}
}

// quoted passes a string, and returns it as it is written, with its quotes.
func (r *Reader) quoted() string {
	from := r.at
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			r.at++
		}
	}
	r.at++
	return r.text[from:r.at]
}

// Plain refuses text that parsers read in different ways. U+FFFD may have been half
// of a surrogate pair, which they repair differently, and NUL ends the text for
// those whose strings end there.
func Plain(s string) bool {
	return !strings.ContainsRune(s, utf8.RuneError) && strings.IndexByte(s, 0) < 0
}

// Text reads a string that every parser reads as the same; ok is false for another value.
func (r *Reader) Text() (s string, ok bool) {
	if r.Next() != '"' {
		return "", false
	}
	raw := r.quoted()
	if s = raw[1 : len(raw)-1]; strings.IndexByte(raw, '\\') >= 0 {
		if json.Unmarshal([]byte(raw), &s) != nil {
			return "", false
		}
	}
	return s, Plain(s)
}

// Skip passes a value.
func (r *Reader) Skip() error {
	outside := r.depth
	for {
		switch r.Next() {
		case '"':
			r.quoted()
		case '{', '[':
			if r.depth++; r.depth > r.bounds.Depth {
				return Err
			}
			r.at++
		case '}', ']':
			r.depth--
			r.at++
		case ',', ':':
			r.at++
		default:
			r.word()
		}
		if r.depth == outside {
			return nil
		}
	}
}

// word passes a number, true, false or null. Beside them a document may end.
func (r *Reader) word() {
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case ' ', '\n', '\r', '\t', ',', ']', '}':
			return
		}
	}
}
