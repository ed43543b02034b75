package envoy

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of agentgateway.dev.ext_mcp, by message. McpRequest and McpResponse
// have the same, and so have their results.
const (
	mcpServices = 1
	mcpMethod   = 2
	mcpMetadata = 3
	mcpPayload  = 4

	mcpPass    = 1
	mcpMutated = 2
	mcpError   = 3
	mcpHeaders = 4

	errorCode   = 1
	errorReason = 2
	errorData   = 3
)

// Codes of AuthorizationError.
const (
	mcpUnknown uint64 = iota
	mcpDenied
	mcpExhausted
	mcpInvalid
)

// mcpMessage holds the fields that are read of McpRequest and McpResponse. It keeps no
// reference to the bytes that it is read from.
type mcpMessage struct {
	services int // how many MCP servers are meant
	method   string
	about    map[string]string // the metadata
	twice    bool              // metadata that can be read in two ways
	payload  []byte            // params of a request, result of a response
}

func (q *mcpMessage) read(b []byte) error {
	return fields(b, func(n protowire.Number, v []byte) error {
		switch n {
		case mcpServices:
			q.services++
		case mcpMethod:
			return text(&q.method, v)
		case mcpMetadata:
			q.twice = q.twice || q.about != nil
			q.about = map[string]string{}
			return fields(v, q.metadata)
		case mcpPayload:
			q.payload = bytes.Clone(v)
		}
		return nil
	})
}

// metadata reads an entry of the google.protobuf.Struct. Values other than strings
// count as missing.
func (q *mcpMessage) metadata(n protowire.Number, entry []byte) error {
	if n != structFields {
		return nil
	}
	key, value, err := mapEntry(entry)
	if err != nil {
		return err
	}
	if _, ok := q.about[string(key)]; ok {
		q.twice = true
	}
	q.about[string(key)] = stringValue(value)
	return nil
}

// body is the JSON-RPC message that the gateway has read, without its id, which the
// gateway does not send.
func (q *mcpMessage) body() []byte {
	method, _ := json.Marshal(q.method) // text always can be
	out := append([]byte(`{"jsonrpc":"2.0","id":0,"method":`), method...)
	if len(q.payload) > 0 {
		out = append(append(out, `,"params":`...), q.payload...)
	}
	return append(out, '}')
}

// refuseFor writes an AuthorizationError. data is JSON, or "" for none.
func (m *message) refuseFor(code uint64, reason, data string) {
	e := m.begin(mcpError)
	m.number(errorCode, code)
	m.text(errorReason, reason)
	if data != "" {
		m.text(errorData, data)
	}
	m.end(e)
}
