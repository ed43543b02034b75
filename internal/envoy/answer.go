package envoy

import (
	"math"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// Field numbers, by message.
const (
	responseStatus   = 1
	responseDenied   = 2
	responseOK       = 3
	responseMetadata = 4

	statusCode = 1

	okHeaders         = 2
	okHeadersToRemove = 5
	okResponseHeaders = 6

	deniedStatus  = 1
	deniedHeaders = 2
	deniedBody    = 3

	optionHeader       = 1
	optionAppendAction = 3

	structFields = 1
	valueNumber  = 2
	valueString  = 3
)

// overwrite is OVERWRITE_IF_EXISTS_OR_ADD: a header replaces whatever the
// request or answer has by its name. Older Envoys look only at the deprecated
// append field, whose absence means the same.
const overwrite = 2

// respond makes an envoy.service.auth.v3.CheckResponse.
func respond(d *forwardauth.Decision) message {
	m := make(message, 0, 1024)
	if d.Allowed() {
		m.allow(d)
	} else {
		m.deny(d)
	}
	return m
}

func (m *message) allow(d *forwardauth.Decision) {
	m.end(m.begin(responseStatus)) // OK is 0
	ok := m.begin(responseOK)
	m.lines(okHeaders, d.Headers)
	for _, name := range d.Remove {
		m.text(okHeadersToRemove, name)
	}
	m.lines(okResponseHeaders, d.Client)
	m.end(ok)
	if d.Token != nil {
		m.metadata(d.Token)
	}
}

func (m *message) deny(d *forwardauth.Decision) {
	status := m.begin(responseStatus)
	m.number(statusCode, uint64(code(d.Status)))
	m.end(status)
	denied := m.begin(responseDenied)
	httpStatus := m.begin(deniedStatus)
	m.number(statusCode, uint64(d.Status))
	m.end(httpStatus)
	m.lines(deniedHeaders, d.Headers)
	m.line(deniedHeaders, "Cache-Control", "no-store")
	m.text(deniedBody, d.Body)
	m.end(denied)
}

// code is the RPC status that goes with an HTTP denial. Any but OK denies.
func code(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}

func (m *message) lines(field protowire.Number, lines forwardauth.Lines) {
	for i, name := range lines.Names {
		m.line(field, name, lines.Values[i])
	}
}

func (m *message) line(field protowire.Number, name, value string) {
	option := m.begin(field)
	header := m.begin(optionHeader)
	m.text(headerKey, name)
	m.text(headerValue, value)
	m.end(header)
	m.number(optionAppendAction, overwrite)
	m.end(option)
}

// metadata is the verified token for later filters and access logs, in the
// namespace envoy.filters.http.ext_authz: a google.protobuf.Struct.
func (m *message) metadata(t *forwardauth.Token) {
	all := m.begin(responseMetadata)
	for _, f := range [...]struct{ name, text string }{
		{"sub", t.Subject()}, {"client_id", t.Client()}, {"jti", t.ID()}, {"scope", t.Scope}, {"exp", ""},
	} {
		entry := m.begin(structFields)
		m.text(headerKey, f.name)
		value := m.begin(headerValue)
		if f.name == "exp" {
			*m = protowire.AppendTag(*m, valueNumber, protowire.Fixed64Type)
			*m = protowire.AppendFixed64(*m, math.Float64bits(float64(t.Expires)))
		} else {
			m.text(valueString, f.text)
		}
		m.end(value)
		m.end(entry)
	}
	m.end(all)
}

// message is a message that is being encoded.
type message []byte

// begin begins a message within m, and end ends it: it says how long it became.
func (m *message) begin(field protowire.Number) int {
	*m = append(protowire.AppendTag(*m, field, protowire.BytesType), 0)
	return len(*m)
}

func (m *message) end(from int) {
	size := uint64(len(*m) - from)
	if more := protowire.SizeVarint(size) - 1; more > 0 { // begin left room for one byte
		*m = append(*m, make([]byte, more)...)
		copy((*m)[from+more:], (*m)[from:])
	}
	protowire.AppendVarint((*m)[:from-1], size)
}

// text writes a string, which has to be UTF-8: a message with another is refused whole.
func (m *message) text(field protowire.Number, s string) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendString(*m, strings.ToValidUTF8(s, "\uFFFD"))
}

func (m *message) number(field protowire.Number, n uint64) {
	*m = protowire.AppendTag(*m, field, protowire.VarintType)
	*m = protowire.AppendVarint(*m, n)
}
