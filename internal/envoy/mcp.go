package envoy

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// mcpFilter is the namespace in which Envoy's MCP filter puts what it read from the
// body (envoy.extensions.filters.http.mcp.v3, Envoy 1.38 and later).
const mcpFilter = "envoy.filters.http.mcp"

// mcpResponse is what the filter sends instead of a method if the body is a JSON-RPC
// response.
const mcpResponse = "__jsonrpc_response"

// Field numbers, by message.
const (
	attributeContextMetadata = 11

	metadataFilters = 1 // a map from namespace to google.protobuf.Struct

	mapKey   = 1
	mapValue = 2

	valueBool   = 4
	valueStruct = 5
)

// metadataContext reads core.Metadata. Only Envoy's own filters write there.
func (q *question) metadataContext(n protowire.Number, entry []byte) error {
	if n != metadataFilters {
		return nil
	}
	key, value, err := mapEntry(entry)
	if err != nil || string(key) != mcpFilter {
		return err
	}
	if q.mcp != nil { // two answers to one question
		q.mcp = &forwardauth.Parsed{}
		return nil
	}
	q.mcp = new(forwardauth.Parsed)
	return parsed(q.mcp, value)
}

// parsed reads the filter's findings. They are complete only if the filter read the
// body as one MCP message, without reservation; a value that is missing, comes twice or
// has another type leaves them incomplete.
func parsed(into *forwardauth.Parsed, b []byte) error {
	var isMCP, ok bool
	var params []byte
	seen := map[string]bool{}
	twice, reserved := false, false
	err := fields(b, func(n protowire.Number, entry []byte) error {
		if n != structFields {
			return nil
		}
		key, value, err := mapEntry(entry)
		if err != nil {
			return err
		}
		twice = twice || seen[string(key)]
		seen[string(key)] = true
		switch string(key) {
		case "is_mcp_request":
			isMCP = boolValue(value)
		case "status":
			ok = stringValue(value) == "mcp_ok"
		case "method":
			into.Method = stringValue(value)
		case "params":
			params = member(value, valueStruct)
		case "passthrough_reason", "is_exceeding_limit":
			reserved = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := operand(into, params); err != nil {
		return err
	}
	into.Whole = isMCP && ok && into.Method != "" && !twice && !reserved
	if into.Method == mcpResponse {
		into.Method = ""
	}
	return nil
}

// operand reads the name of the tool or prompt, or the URI of the resource.
func operand(into *forwardauth.Parsed, params []byte) error {
	return fields(params, func(n protowire.Number, entry []byte) error {
		if n != structFields {
			return nil
		}
		key, value, err := mapEntry(entry)
		switch string(key) {
		case "name":
			into.Name = stringValue(value)
		case "uri":
			into.URI = stringValue(value)
		}
		return err
	})
}

// mapEntry reads the entry of a map from text to messages.
func mapEntry(b []byte) (key, value []byte, err error) {
	err = fields(b, func(n protowire.Number, v []byte) error {
		switch n {
		case mapKey:
			key = v
			return valid(v)
		case mapValue:
			value = v
		}
		return nil
	})
	return key, value, err
}

// member returns the field of a google.protobuf.Value that has a length, nil if the
// value is of another type.
func member(b []byte, field protowire.Number) (found []byte) {
	_ = fields(b, func(n protowire.Number, v []byte) error {
		found = nil // the last one counts
		if n == field {
			found = v
		}
		return nil
	})
	return found
}

func stringValue(b []byte) string {
	v := member(b, valueString)
	if valid(v) != nil {
		return ""
	}
	return string(v)
}

// boolValue reports whether b is the Value true and nothing else.
func boolValue(b []byte) bool {
	n, kind, size := protowire.ConsumeTag(b)
	if size < 0 || n != valueBool || kind != protowire.VarintType {
		return false
	}
	v, used := protowire.ConsumeVarint(b[size:])
	return used >= 0 && v == 1 && size+used == len(b)
}
