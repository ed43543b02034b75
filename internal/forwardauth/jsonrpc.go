package forwardauth

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Bounds of a body, so that the work for it grows with its length alone.
const (
	// maxBatch bounds the messages of a batch (MCP 2025-03-26).
	maxBatch = 100
	// maxDepth bounds how deep arrays and objects nest.
	maxDepth = 256
	// maxMembers bounds the members of a message, of its params and of its _meta.
	maxMembers = 128
)

// parseBody reads one JSON-RPC message or a batch (JSON-RPC 2.0, section 4). It refuses
// what two parsers could read differently: repeated members, members that differ from a
// known one in case only, text that is not UTF-8, a second document.
func parseBody(body []byte) (content, Reason) {
	r, err := strictjson.New(body, strictjson.Bounds{Depth: maxDepth, Members: maxMembers})
	if err != nil {
		return content{}, MalformedBody
	}
	c := cursor{Reader: r}
	all, err := c.document()
	if err != nil {
		return content{}, MalformedBody
	}
	if all.trace = c.trace; !all.batch {
		all.id = c.id
	}
	return all, Allowed
}

// cursor walks through a document once.
type cursor struct {
	*strictjson.Reader
	trace string
	id    string // of the last message
}

func (c *cursor) document() (all content, err error) {
	switch c.Next() {
	case '{':
		op, err := c.message()
		all.ops = []operation{op}
		return all, err
	case '[':
		all.batch = true
		err = c.Array(func() error {
			if c.Next() != '{' || len(all.ops) == maxBatch {
				return strictjson.Err
			}
			op, err := c.message()
			all.ops = append(all.ops, op)
			return err
		})
		if len(all.ops) == 0 {
			return all, strictjson.Err
		}
		return all, err
	}
	return all, strictjson.Err
}

// message reads a message object. A response, which has no method, asks for
// nothing and gives an operation without a method.
func (c *cursor) message() (op operation, err error) {
	var name, uri string
	var answer bool
	err = c.Object([]string{"jsonrpc", "id", "method", "params", "result", "error"}, func(member string) (err error) {
		switch member {
		case "method":
			var ok bool
			if op.method, ok = c.Text(); !ok || op.method == "" {
				return strictjson.Err
			}
			return nil
		case "params":
			name, uri, err = c.params()
			return err
		case "id":
			return c.readID()
		case "result", "error":
			answer = true
		}
		return c.Skip()
	})
	switch op.method {
	case toolsCall, promptsGet:
		op.name = name
	case resourcesRead:
		op.name = uri
	}
	if err == nil && (named(op.method) && op.name == "" || op.method == "" && !answer) {
		return op, strictjson.Err
	}
	return op, err
}

// readID reads the id of a message, which is text or a number (MCP, "Requests").
func (c *cursor) readID() error {
	const longest = 256
	first := c.Next()
	from := c.Offset()
	err := c.Skip()
	if id := c.Since(from); len(id) <= longest && (first == '"' || first == '-' || '0' <= first && first <= '9') {
		c.id = id
	}
	return err
}

func (c *cursor) params() (name, uri string, err error) {
	switch c.Next() {
	case '{':
	case '[': // JSON-RPC has parameters by position, MCP has not
		return "", "", strictjson.Err
	default:
		return "", "", c.Skip() // such as null, which the server may accept
	}
	err = c.Object([]string{"name", "uri"}, func(member string) (err error) {
		var into *string
		switch member {
		case "name":
			into = &name
		case "uri":
			into = &uri
		case "_meta":
			return c.meta()
		}
		if into == nil || c.Next() != '"' { // a method that needs neither may have them as anything
			return c.Skip()
		}
		var ok bool
		if *into, ok = c.Text(); !ok {
			return strictjson.Err
		}
		return nil
	})
	return name, uri, err
}

// meta reads the traceparent out of the metadata of a request. No decision depends on
// _meta.
func (c *cursor) meta() error {
	if c.Next() != '{' {
		return c.Skip()
	}
	return c.Object(nil, func(member string) error {
		if member != "traceparent" || c.trace != "" || c.Next() != '"' {
			return c.Skip()
		}
		c.trace, _ = c.Text()
		return nil
	})
}
