package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// The codes of JSON-RPC and MCP that the bridge answers with itself.
const (
	codeParse       = -32700
	codeInvalid     = -32600
	codeNoMethod    = -32601
	codeInternal    = -32603
	codeUnsupported = -32022 // protocol version, from 2026-07-28 on
)

// message is one JSON-RPC message. Its params, result and error stay as they were
// written.
type message struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

func (m *message) request() bool  { return m.Method != "" && m.ID != nil }
func (m *message) response() bool { return m.Method == "" }

// line is the message as a process reads it: on one line.
func (m *message) line() ([]byte, error) {
	data, err := m.encode()
	return append(data, '\n'), err
}

// encode writes the message on one line. Its members were read as JSON, or made by this
// package; only their line ends are removed.
func (m *message) encode() ([]byte, error) {
	out := make([]byte, 0, 64+len(m.ID)+len(m.Method)+len(m.Params)+len(m.Result)+len(m.Error))
	out = append(out, `{"jsonrpc":"2.0"`...)
	method := json.RawMessage(nil)
	if m.Method != "" {
		var err error
		if method, err = json.Marshal(m.Method); err != nil {
			return nil, err
		}
	}
	for _, member := range []struct {
		name  string
		value json.RawMessage
	}{{`,"id":`, m.ID}, {`,"method":`, method}, {`,"params":`, m.Params}, {`,"result":`, m.Result}, {`,"error":`, m.Error}} {
		if member.value != nil {
			out = appendOneLine(append(out, member.name...), member.value)
		}
	}
	return append(out, '}'), nil
}

// appendOneLine appends JSON without its line ends, which stand between its tokens alone.
func appendOneLine(out []byte, value json.RawMessage) []byte {
	if !bytes.ContainsAny(value, "\n\r") {
		return append(out, value...)
	}
	for _, c := range value {
		if c != '\n' && c != '\r' {
			out = append(out, c)
		}
	}
	return out
}

var errMessage = errors.New(`not a message of JSON-RPC 2.0: "jsonrpc", and a method or the answer to an id`)

// decode reads one message of the MCP server.
func decode(data []byte) (*message, error) {
	var m struct {
		Version string `json:"jsonrpc"`
		message
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	if bytes.Equal(m.ID, []byte("null")) {
		m.ID = nil
	}
	if m.Version != "2.0" || !m.valid() {
		return nil, errMessage
	}
	return &m.message, nil
}

// valid reports whether it is a request, a notification or an answer.
func (m *message) valid() bool {
	answers := m.Result != nil || m.Error != nil
	return answers != (m.Method != "") && (m.ID == nil || validID(m.ID)) && (m.Method != "" || m.ID != nil || m.Error != nil)
}

// validID: a string or a whole number (JSON-RPC 2.0, section 4; MCP forbids null).
func validID(id json.RawMessage) bool {
	if len(id) > 1<<10 {
		return false
	}
	if id[0] == '"' {
		return true
	}
	_, err := strconv.ParseInt(string(id), 10, 64)
	return err == nil
}

// failure is the error answer to a request that the bridge could not pass on.
func failure(id json.RawMessage, code int, text string, data any) *message {
	e := struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{code, text, data}
	raw, _ := json.Marshal(e) // of what cannot fail
	if id == nil {
		id = json.RawMessage("null")
	}
	return &message{ID: id, Error: raw}
}

func number(n int64) json.RawMessage { return strconv.AppendInt(nil, n, 10) }

// numbered returns the number that an id or token is, if it is one of this bridge.
func numbered(id json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(string(id), 10, 64)
	return n, err == nil
}

// mayHave reports whether an object may have a member, so that most need not be read.
// Its name may be written with escapes.
func mayHave(object json.RawMessage, name string) bool {
	return bytes.Contains(object, []byte(name)) || bytes.IndexByte(object, '\\') >= 0
}

// edit changes a member of an object at a path, if the objects on the path exist. It
// returns the former value, nil for none.
func edit(object json.RawMessage, value func(old json.RawMessage) json.RawMessage, path ...string) (changed, old json.RawMessage) {
	if !mayHave(object, path[len(path)-1]) {
		return object, nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil || members == nil {
		return object, nil
	}
	inner, ok := members[path[0]]
	if !ok {
		return object, nil
	}
	if len(path) == 1 {
		old = inner
		members[path[0]] = value(inner)
	} else {
		members[path[0]], old = edit(inner, value, path[1:]...)
	}
	if old == nil {
		return object, nil
	}
	changed, err := json.Marshal(members)
	if err != nil {
		return object, nil
	}
	return changed, old
}
