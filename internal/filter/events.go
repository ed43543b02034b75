package filter

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Events is an event stream (HTML, "Server-sent events") whose events hold
// messages, each as the reader of a view may see it. An event is passed on when it
// is whole; a message that cannot be passed on ends the stream with an error. An
// event of another type than "message" need not hold one: "endpoint", by which
// HTTP+SSE tells an address, is passed on as it is, and others where their data
// can be read.
type Events struct {
	from   *bufio.Reader
	filter func(message []byte) ([]byte, error)
	ready  bytes.Buffer
	err    error
	begun  bool // the first line was read, which may begin with a byte order mark
	cr     bool // the last line ended in CR, which an LF may belong to
}

// maxIdle bounds the memory, in bytes, that a stream holds of the last event while it
// waits for the next one.
const maxIdle = 64 << 10

// errEvent is for a line that never ends.
var errEvent = errors.New("it has a line without an end")

// NewEvents returns the stream from, of whose messages filter makes what is passed on.
func NewEvents(from io.Reader, filter func(message []byte) ([]byte, error)) *Events {
	return &Events{from: bufio.NewReaderSize(from, 1<<10), filter: filter}
}

// Read implements io.Reader.
func (e *Events) Read(p []byte) (int, error) {
	for e.ready.Len() == 0 {
		if e.err != nil {
			return 0, e.err
		}
		if e.ready.Cap() > maxIdle {
			e.ready = bytes.Buffer{}
		}
		e.err = e.next()
	}
	return e.ready.Read(p)
}

// next makes the next event ready. An event without its end counts for nothing.
func (e *Events) next() error {
	var lines [][]byte // as they came, with their ends
	var data []byte
	kind, has, size := "message", false, 0
	for {
		line, err := e.line(MaxBytes - size)
		if err != nil {
			return err
		}
		size += len(line)
		lines = append(lines, line)
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 {
			break
		}
		if value, ok := valueOf("event", text); ok {
			kind = string(value)
		}
		if value, ok := valueOf("data", text); ok {
			if has {
				data = append(append(data, '\n'), value...)
			} else {
				data, has = value[:len(value):len(value)], true
			}
		}
	}
	if len(bytes.TrimSpace(data)) == 0 || kind == "endpoint" { // a comment, or an event that begins a stream
		e.pass(lines)
		return nil
	}
	out, err := e.filter(data)
	switch {
	case err != nil && kind != "message" && kind != "":
		return nil // left out
	case err != nil:
		return err
	case bytes.Equal(out, data):
		e.pass(lines)
	default:
		e.replace(lines, out)
	}
	return nil
}

func (e *Events) pass(lines [][]byte) {
	for _, line := range lines {
		e.ready.Write(line)
	}
}

// replace writes the lines with other data instead of the first line of data.
func (e *Events) replace(lines [][]byte, data []byte) {
	written := false
	for _, line := range lines {
		text := bytes.TrimRight(line, "\r\n")
		if _, ok := valueOf("data", text); !ok {
			e.ready.Write(line)
			continue
		}
		if written {
			continue
		}
		written = true
		for part := range bytes.SplitSeq(data, []byte("\n")) {
			e.ready.WriteString("data: ")
			e.ready.Write(part)
			e.ready.Write(line[len(text):])
		}
	}
}

// valueOf returns the value of a line of that field.
func valueOf(field string, line []byte) (value []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(field))
	if !ok || len(rest) > 0 && rest[0] != ':' {
		return nil, false
	}
	if len(rest) == 0 {
		return nil, true
	}
	return bytes.TrimPrefix(rest[1:], []byte(" ")), true
}

// line returns the next line of at most most bytes, with its end: CR, LF or both.
// To wait for an LF behind a CR would hold back an event that is whole, so the line
// ends there, and the LF is left out when it comes. A CR is passed on as an LF: before
// an empty line that ends in LF the two would read as one end.
func (e *Events) line(most int) ([]byte, error) {
	var line []byte
	for {
		if _, err := e.from.Peek(1); err != nil {
			return nil, err
		}
		held, _ := e.from.Peek(e.from.Buffered())
		if e.cr {
			e.cr = false
			if held[0] == '\n' {
				e.from.Discard(1)
				continue
			}
		}
		taken, ended := cutLine(held)
		if len(line)+len(taken) > most {
			return nil, errEvent
		}
		line = append(line, taken...)
		e.from.Discard(len(taken))
		if !ended {
			continue
		}
		if e.cr = line[len(line)-1] == '\r'; e.cr {
			line[len(line)-1] = '\n'
		}
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		return line, nil
	}
}

// cutLine returns what of held belongs to the line at its beginning, and whether
// the line ends there.
func cutLine(held []byte) (line []byte, ended bool) {
	lf := bytes.IndexByte(held, '\n')
	until := held
	if lf >= 0 {
		until = held[:lf]
	}
	switch cr := bytes.IndexByte(until, '\r'); {
	case cr >= 0 && cr == lf-1, cr < 0 && lf >= 0:
		return held[:lf+1], true
	case cr >= 0:
		return held[:cr+1], true
	}
	return held, false
}
