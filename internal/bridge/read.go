package bridge

import (
	"encoding/json"
	"errors"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// maxBatch bounds the messages of a batch (MCP 2025-03-26).
const maxBatch = 100

// bounds are those of the service, which may have decided about the same message.
var bounds = strictjson.Bounds{Depth: 256, Members: 128}

// Members that decisions depend on. A member that differs from them only in case is
// refused, because some MCP servers would read it as the same.
var (
	ofMessage = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	ofParams  = []string{"_meta", "name", "uri", "taskId", "requestId", "arguments"}
	ofMeta    = []string{"progressToken", protocolVersion}
)

var errBatch = errors.New("a batch has 1 to 100 messages")

// clientReader reads what clients send. The MCP server gets the same bytes, and must
// not read them differently than the service that decided.
type clientReader struct{ *strictjson.Reader }

// readClient reads one message, or the list of them that 2025-03-26 has.
func readClient(body []byte) (all []*message, err error) {
	r, err := strictjson.New(body, bounds)
	if err != nil {
		return nil, err
	}
	c := clientReader{r}
	if c.Next() != '[' {
		m, err := c.message()
		return []*message{m}, err
	}
	err = c.Array(func() error {
		if len(all) == maxBatch {
			return errBatch
		}
		m, err := c.message()
		all = append(all, m)
		return err
	})
	if err == nil && len(all) == 0 {
		err = errBatch
	}
	return all, err
}

func (c clientReader) message() (*message, error) {
	if c.Next() != '{' {
		return nil, errMessage
	}
	m, version := &message{}, ""
	err := c.Object(ofMessage, func(member string) (err error) {
		switch member {
		case "jsonrpc":
			return c.text(&version)
		case "method":
			return c.text(&m.Method)
		case "id":
			if m.ID, err = c.raw(c.Skip); string(m.ID) == "null" {
				m.ID = nil
			}
		case "params":
			m.Params, err = c.raw(c.params)
		case "result":
			m.Result, err = c.raw(c.Skip)
		case "error":
			m.Error, err = c.raw(c.Skip)
		default:
			err = c.Skip()
		}
		return err
	})
	if err == nil && (version != "2.0" || !m.valid()) {
		err = errMessage
	}
	return m, err
}

func (c clientReader) text(into *string) error {
	if c.Next() != '"' {
		return errMessage
	}
	var ok bool
	if *into, ok = c.Text(); !ok {
		return strictjson.Err
	}
	return nil
}

// raw returns what read passes.
func (c clientReader) raw(read func() error) (json.RawMessage, error) {
	c.Next()
	from := c.Offset()
	err := read()
	return json.RawMessage(c.Since(from)), err
}

func (c clientReader) params() error {
	if c.Next() != '{' {
		return c.Skip()
	}
	return c.Object(ofParams, func(member string) error {
		if member != "_meta" || c.Next() != '{' {
			return c.Skip()
		}
		return c.Object(ofMeta, func(string) error { return c.Skip() })
	})
}
