package relay

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
)

// maxEndpointLine bounds the line that is held back: the beginning of each line until its
// field is known, and the data of an event "endpoint".
const maxEndpointLine = 4 << 10

var errEndpointEvent = errors.New("its event \"endpoint\" leads elsewhere, or cannot be read")

func isEventStream(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// endpointEvents passes on an event stream of HTTP+SSE, with public addresses in the
// events "endpoint" (MCP 2024-11-05, "HTTP with SSE"). An address of another origin, or
// outside of this MCP server, ends the stream. Of other events only the beginning of a
// line is held back.
type endpointEvents struct {
	from  io.ReadCloser
	x     *exchange
	line  []byte // the line so far, while it is held back
	whole bool   // the rest of the line passes unchanged
	event bool   // the event is "endpoint"
	data  bool   // the event has data already
	cr    bool   // the last byte was a carriage return
	ready bytes.Buffer
	err   error
}

// Read implements io.Reader.
func (s *endpointEvents) Read(p []byte) (int, error) {
	for s.ready.Len() == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.from.Read(p)
		s.err = err
		for _, c := range p[:n] {
			if failed := s.next(c); failed != nil {
				s.err = failed
				s.x.endpoint.audit(s.x, audit.RelayFailed, errAnswer.with(failed))
				break
			}
		}
		if err == io.EOF && s.err == io.EOF {
			s.ready.Write(s.line) // clients drop an event that does not end
			s.line = nil
		}
	}
	return s.ready.Read(p)
}

// Close implements io.Closer.
func (s *endpointEvents) Close() error { return s.from.Close() }

// next handles one byte. Lines end in CR, LF or both (HTML, "Parsing an event stream").
func (s *endpointEvents) next(c byte) error {
	if c == '\n' && s.cr {
		s.cr = false
		s.ready.WriteByte(c)
		return nil
	}
	s.cr = c == '\r'
	if c == '\n' || c == '\r' {
		if err := s.endOfLine(); err != nil {
			return err
		}
		s.ready.WriteByte(c)
		return nil
	}
	if s.whole {
		s.ready.WriteByte(c)
		return nil
	}
	s.line = append(s.line, c)
	switch field, _, named := bytes.Cut(s.line, []byte(":")); {
	case named && string(field) == "event":
	case named && string(field) == "data" && s.event:
	case named && len(field) == len(s.line)-1: // another field, or a comment
		if string(field) == "data" {
			s.data = true
		}
		s.pass()
	}
	if len(s.line) > maxEndpointLine {
		return errEndpointEvent
	}
	return nil
}

// pass lets the line through, so far and to its end.
func (s *endpointEvents) pass() {
	s.whole = true
	s.ready.Write(s.line)
	s.line = s.line[:0]
}

func (s *endpointEvents) endOfLine() error {
	defer func() { s.line, s.whole = s.line[:0], false }()
	if s.whole {
		return nil
	}
	if len(s.line) == 0 { // the end of the event
		s.event, s.data = false, false
		return nil
	}
	field, value, _ := strings.Cut(string(s.line), ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case field == "event":
		if s.data && value == "endpoint" {
			return errEndpointEvent // its data has been passed on
		}
		s.event = value == "endpoint"
	case field == "data" && s.event:
		address, ok := s.x.messagesAddress(value)
		if !ok || s.data {
			return errEndpointEvent
		}
		s.data = true
		s.ready.WriteString("data: " + address)
		return nil
	}
	s.ready.Write(s.line)
	return nil
}
