package envoy

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// question holds the fields that a decision reads of
// envoy.service.auth.v3.CheckRequest. It keeps no reference to the bytes that it is
// read from.
type question struct {
	http               bool // the field is there
	method, path, host string
	body               string
	rawBody            []byte
	cut                bool
	mcp                *forwardauth.Parsed // nil unless Envoy's MCP filter says something

	joined headers // headers: lines of one name joined by commas
	lines  headers // header_map: every line, with encode_raw_headers
	raw    bool    // there is a line in header_map
	others others
}

// others are the further headers that a decision may read: their canonical names, by
// Envoy's spelling.
type others map[string]string

// request reads what Envoy says of the client's request. Nothing in the headers
// can change where the request goes: host, path and method have fields of their own.
func (q *question) request() forwardauth.Request {
	path, query, _ := strings.Cut(q.path, "?")
	r := forwardauth.Request{
		Dialect: forwardauth.EnvoyGRPC, Method: q.method, Host: q.host, Path: path, Query: query,
		Ambiguous: !q.http || !strings.HasPrefix(path, "/"),
		Headers:   q.joined.Headers, BodyCut: q.cut, Parsed: q.mcp,
	}
	if q.raw {
		r.Headers = q.lines.Headers
	}
	if len(q.rawBody) > 0 {
		r.Body = bytes.NewReader(q.rawBody)
	} else if q.body != "" {
		r.Body = strings.NewReader(q.body)
	}
	return r
}

// headers are the headers that a decision reads. Most come once: first is the array of
// their only line.
type headers struct {
	forwardauth.Headers
	first [9]string
}

// add adds a line; replace says that it is the only one, whatever came before.
func (h *headers) add(name, value []byte, replace bool, others others) {
	var into *[]string
	var i int
	switch string(name) {
	case "authorization":
		into, i = &h.Authorization, 0
	case "origin":
		into, i = &h.Origin, 1
	case "access-control-request-method":
		into, i = &h.PreflightMethod, 2
	case "mcp-protocol-version":
		into, i = &h.ProtocolVersion, 3
	case "mcp-method":
		into, i = &h.MCPMethod, 4
	case "mcp-name":
		into, i = &h.MCPName, 5
	case "content-type":
		into, i = &h.ContentType, 6
	case "content-encoding":
		into, i = &h.ContentEncoding, 7
	case "dpop":
		into, i = &h.Proof, 8
	default:
		if name := others[string(name)]; name != "" {
			h.addOther(name, string(value), replace)
		}
		return
	}
	if replace || len(*into) == 0 {
		h.first[i] = lineOf(value)
		*into = h.first[i : i+1 : i+1]
		return
	}
	*into = append(*into, string(value))
}

func (h *headers) addOther(name, value string, replace bool) {
	if h.Other == nil {
		h.Other = http.Header{}
	}
	if replace {
		h.Other[name] = nil
	}
	h.Other[name] = append(h.Other[name], value)
}

// lineOf copies a value, but for the one that nearly every request has.
func lineOf(value []byte) string {
	const usual = "application/json"
	if string(value) == usual {
		return usual
	}
	return string(value)
}

// partial is the header by which Envoy says that it sent only the beginning of
// the body. A client that says so itself is only denied.
const partial = "x-envoy-auth-partial-body"

func says(value []byte) bool { return len(value) > 0 && string(value) != "false" }

// Field numbers, by message.
const (
	checkRequestAttributes = 1

	attributeContextRequest = 4

	requestHTTP = 2

	httpMethod    = 2
	httpHeaders   = 3
	httpPath      = 4
	httpHost      = 5
	httpBody      = 11
	httpRawBody   = 12
	httpHeaderMap = 13

	headerMapHeaders = 1

	headerKey      = 1
	headerValue    = 2
	headerRawValue = 3
)

// read reads an envoy.service.auth.v3.CheckRequest.
func (q *question) read(b []byte) error {
	return fields(b, func(n protowire.Number, v []byte) error {
		if n != checkRequestAttributes {
			return nil
		}
		return fields(v, func(n protowire.Number, v []byte) error {
			switch n {
			case attributeContextRequest:
			case attributeContextMetadata:
				return fields(v, q.metadataContext)
			default:
				return nil
			}
			return fields(v, func(n protowire.Number, v []byte) error {
				if n != requestHTTP {
					return nil
				}
				q.http = true
				return fields(v, q.httpRequest)
			})
		})
	})
}

func (q *question) httpRequest(n protowire.Number, v []byte) error {
	switch n {
	case httpMethod:
		return text(&q.method, v)
	case httpPath:
		return text(&q.path, v)
	case httpHost:
		return text(&q.host, v)
	case httpBody:
		return text(&q.body, v)
	case httpRawBody:
		q.rawBody = bytes.Clone(v)
	case httpHeaders:
		key, value, _, err := header(v)
		if err != nil {
			return err
		}
		if string(key) == partial {
			q.cut = q.cut || says(value)
		}
		q.joined.add(key, value, true, q.others)
	case httpHeaderMap:
		return fields(v, q.headerLine)
	}
	return nil
}

func (q *question) headerLine(n protowire.Number, v []byte) error {
	if n != headerMapHeaders {
		return nil
	}
	key, value, raw, err := header(v)
	if err != nil {
		return err
	}
	q.raw = true
	key = bytes.ToLower(key)
	if string(key) == partial {
		q.cut = q.cut || says(value) || says(raw)
	}
	if len(raw) > 0 {
		value = raw
	}
	q.lines.add(key, value, false, q.others)
	return nil
}

// header reads HeaderValue, and the entry of a map from name to value, whose
// fields have the same numbers.
func header(b []byte) (key, value, raw []byte, err error) {
	err = fields(b, func(n protowire.Number, v []byte) error {
		switch n {
		case headerKey:
			key = v
		case headerValue:
			value = v
		case headerRawValue:
			raw = v
			return nil
		default:
			return nil
		}
		return valid(v)
	})
	return key, value, raw, err
}

// fields calls f for each field of a message that has a length: strings, bytes and
// messages. A decision reads no field of another type.
func fields(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
				return protowire.ParseError(size)
			}
			b = b[size:]
			continue
		}
		v, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := f(n, v); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

var errNotUTF8 = errors.New("a string is not UTF-8")

func valid(v []byte) error {
	if !utf8.Valid(v) {
		return errNotUTF8
	}
	return nil
}

func text(into *string, v []byte) error {
	*into = string(v)
	return valid(v)
}
