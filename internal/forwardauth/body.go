package forwardauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxBody bounds what is read of a request.
	maxBody = 1 << 20
	// bodyPatience bounds the wait for a body. Some gateways announce one and
	// never send it.
	bodyPatience = time.Second
	// maxBatch bounds the messages of a batch (MCP 2025-03-26).
	maxBatch = 100
	maxDepth = 256
)

// content is what a body asks for.
type content struct {
	ops   []operation
	batch bool
	// trace is the traceparent that the client put into the first message with
	// one (MCP, "_meta"). Nothing is decided by it.
	trace string
}

// fromBody reads the operations out of the request's body. A request without a
// body asks nothing of the server, but only where its method says that there is
// none: otherwise the gateway did not forward it.
func fromBody(q *Request) (content, Reason) {
	if q.BodyCut {
		return content{}, BodyTooLarge
	}
	if !traits[q.Dialect].body {
		return content{}, BodyMissing
	}
	var body []byte
	if q.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(q.Body, maxBody+1)); err != nil {
			return content{}, BodyMissing
		}
	}
	switch {
	case len(body) > maxBody:
		return content{}, BodyTooLarge
	case len(body) > 0:
		return parseBody(body)
	case q.Method == http.MethodGet || q.Method == http.MethodHead || q.Method == http.MethodDelete || q.Method == http.MethodOptions:
		return content{}, Allowed
	}
	return content{}, BodyMissing
}

var errBody = errors.New("not a message of JSON-RPC that everybody reads alike")

// parseBody reads JSON-RPC messages (JSON-RPC 2.0, section 4): one, or a batch.
// What two parsers could read differently is refused: repeated members, members
// that differ from ours in case only, text that is not UTF-8, a second document.
func parseBody(body []byte) (content, Reason) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return content{}, MalformedBody
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(body)), trace: new(string)}
	p.dec.UseNumber()
	c, err := p.document()
	if err != nil {
		return content{}, MalformedBody
	}
	c.trace = *p.trace
	return c, Allowed
}

// parser walks the tokens of one document.
type parser struct {
	dec   *json.Decoder
	trace *string
}

func (p parser) document() (c content, err error) {
	start, err := p.dec.Token()
	if err != nil {
		return c, err
	}
	switch start {
	case json.Delim('{'):
		op, err := p.message()
		if err != nil {
			return c, err
		}
		c.ops = append(c.ops, op)
	case json.Delim('['):
		c.batch = true
		for p.dec.More() {
			if t, err := p.dec.Token(); err != nil || t != json.Delim('{') || len(c.ops) == maxBatch {
				return c, errBody
			}
			op, err := p.message()
			if err != nil {
				return c, err
			}
			c.ops = append(c.ops, op)
		}
		if _, err := p.dec.Token(); err != nil || len(c.ops) == 0 {
			return c, errBody
		}
	default:
		return c, errBody
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return c, errBody
	}
	return c, nil
}

// message reads the rest of a message object. A response, which has no method,
// asks for nothing and gives an operation without a method.
func (p parser) message() (op operation, err error) {
	var name, uri string
	err = p.object([]string{"jsonrpc", "id", "method", "params"}, func(member string) error {
		switch member {
		case "method":
			op.method, err = p.text()
			return err
		case "params":
			name, uri, err = p.params()
			return err
		}
		return p.skip()
	})
	switch op.method {
	case toolsCall, promptsGet:
		op.name = name
	case resourcesRead:
		op.name = uri
	}
	if err == nil && named(op.method) && op.name == "" {
		return op, errBody
	}
	return op, err
}

func (p parser) params() (name, uri string, err error) {
	start, err := p.dec.Token()
	if err != nil {
		return "", "", err
	}
	switch start {
	case json.Delim('{'):
	case json.Delim('['): // JSON-RPC has parameters by position, MCP has not
		return "", "", errBody
	default:
		return "", "", nil // null: not ours to judge
	}
	err = p.object([]string{"name", "uri"}, func(member string) error {
		if member == "_meta" {
			return p.meta()
		}
		// A method that needs neither may have them as anything.
		t, err := p.value()
		if s, ok := t.(string); ok && member == "name" {
			name = s
		} else if ok && member == "uri" {
			uri = s
		}
		return err
	})
	return name, uri, err
}

// meta reads the metadata of a request.
func (p parser) meta() error {
	start, err := p.dec.Token()
	switch {
	case err != nil:
		return err
	case start == json.Delim('['):
		return p.rest()
	case start != json.Delim('{'):
		return nil
	}
	return p.object(nil, func(member string) error {
		t, err := p.value()
		if s, ok := t.(string); ok && member == "traceparent" && *p.trace == "" {
			*p.trace = s
		}
		return err
	})
}

// object reads the rest of an object and calls read at each value. None of the
// members may repeat, nor may a member differ from one of ours in case only:
// some servers would take it for ours.
func (p parser) object(ours []string, read func(member string) error) error {
	seen := map[string]bool{}
	for p.dec.More() {
		t, err := p.dec.Token()
		member, ok := t.(string)
		if err != nil || !ok || seen[member] {
			return errBody
		}
		seen[member] = true
		for _, name := range ours {
			if member != name && strings.EqualFold(member, name) {
				return errBody
			}
		}
		if err := read(member); err != nil {
			return err
		}
	}
	_, err := p.dec.Token()
	return err
}

// text reads a string. One with U+FFFD may have been broken escapes, which
// parsers repair in different ways.
func (p parser) text() (string, error) {
	t, err := p.dec.Token()
	s, ok := t.(string)
	if err != nil || !ok || s == "" || strings.ContainsRune(s, utf8.RuneError) {
		return "", errBody
	}
	return s, nil
}

// value reads a value and returns it if it is a plain one.
func (p parser) value() (json.Token, error) {
	t, err := p.dec.Token()
	if s, ok := t.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		return nil, errBody
	}
	if t == json.Delim('{') || t == json.Delim('[') {
		return nil, p.rest()
	}
	return t, err
}

func (p parser) skip() error {
	_, err := p.value()
	return err
}

// rest skips to the end of the array or object just begun.
func (p parser) rest() error {
	for depth := 1; depth > 0; {
		t, err := p.dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return errBody
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}

// patientBody is the body of an HTTP request that is waited for only so long.
type patientBody struct {
	io.Reader
	conn    *http.ResponseController
	started bool
	ended   bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	if !b.started {
		b.started = true
		// Recorders and the like have no deadline; they do not wait either.
		_ = b.conn.SetReadDeadline(time.Now().Add(bodyPatience))
	}
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.ended = true
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
