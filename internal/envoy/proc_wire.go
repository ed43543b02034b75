package envoy

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// stage is the stage of an envoy.service.ext_proc.v3.ProcessingRequest: the field of
// the oneof.
type stage = protowire.Number

// Stages. Others are not asked for, and refused.
const (
	requestHeaders  stage = 2
	responseHeaders stage = 3
	responseBody    stage = 5

	lastStage = 7 // response_trailers
)

// Field numbers, by message.
const (
	processingMetadata = 8

	httpHeadersMap = 1
	httpHeadersEnd = 3

	bodyBytes = 1
	bodyEnd   = 2
)

// event holds the fields that are read of a ProcessingRequest. It keeps no reference to
// the bytes that it is read from.
type event struct {
	stage stage
	twice bool // more than one stage
	end   bool // of the message that the headers or the body belong to

	// Of the client's request.
	question question
	// Of the server's answer.
	status, contentType, contentEncoding string
	body                                 []byte
}

// read reads a ProcessingRequest.
func (e *event) read(b []byte) error {
	return fields(b, func(n protowire.Number, v []byte) error {
		switch {
		case n == processingMetadata:
			return fields(v, e.question.metadataContext)
		case n < requestHeaders || n > lastStage:
			return nil
		}
		e.twice, e.stage = e.twice || e.stage != 0, n
		switch n {
		case requestHeaders:
			e.end = flag(v, httpHeadersEnd)
			return fields(v, e.requestHeaders)
		case responseHeaders:
			e.end = flag(v, httpHeadersEnd)
			return fields(v, e.responseHeaders)
		case responseBody:
			e.end = flag(v, bodyEnd)
			return fields(v, func(n protowire.Number, v []byte) error {
				if n == bodyBytes {
					e.body = bytes.Clone(v)
				}
				return nil
			})
		}
		return nil
	})
}

// flag reports whether the boolean field of a message is true.
func flag(b []byte, field protowire.Number) bool {
	set := false
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return false
		}
		b = b[size:]
		if n == field && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			set = v != 0
		}
		if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
			return false
		}
		b = b[size:]
	}
	return set
}

// requestHeaders reads the client's request out of its headers, in which method,
// host and path are pseudo-headers.
func (e *event) requestHeaders(n protowire.Number, v []byte) error {
	return headerLines(n, v, func(name string, value []byte) {
		q := &e.question
		q.http, q.raw = true, true
		into := map[string]*string{":method": &q.method, ":path": &q.path, ":authority": &q.host}[name]
		if into == nil {
			q.lines.add([]byte(name), value, false, q.others)
			return
		}
		e.twice, *into = e.twice || *into != "", string(value)
	})
}

func (e *event) responseHeaders(n protowire.Number, v []byte) error {
	return headerLines(n, v, func(name string, value []byte) {
		into := map[string]*string{":status": &e.status, "content-type": &e.contentType, "content-encoding": &e.contentEncoding}[name]
		if into == nil {
			return
		}
		if *into != "" { // two lines: neither is believed
			value = append([]byte(*into+","), value...)
		}
		*into = string(value)
	})
}

// headerLines calls f for each line of the HeaderMap in a message of headers.
func headerLines(n protowire.Number, v []byte, f func(name string, value []byte)) error {
	if n != httpHeadersMap {
		return nil
	}
	return fields(v, func(n protowire.Number, v []byte) error {
		if n != headerMapHeaders {
			return nil
		}
		key, value, raw, err := header(v)
		if err != nil {
			return err
		}
		if len(raw) > 0 {
			value = raw
		}
		f(string(bytes.ToLower(key)), value)
		return nil
	})
}

// Values of envoy.extensions.filters.http.ext_proc.v3.ProcessingMode.
const (
	headersSend = 1
	headersSkip = 2

	bodyNone     = 0
	bodyStreamed = 1
	bodyBuffered = 2
)

// Field numbers, by message.
const (
	answerRequestHeaders  = 1
	answerResponseHeaders = 2
	answerResponseBody    = 4
	answerImmediate       = 7
	answerMode            = 9

	commonResponse = 1

	commonHeaders = 2
	commonBody    = 3

	mutationSet    = 1
	mutationRemove = 2

	bodyMutationBody = 1

	modeResponseHeaders = 2
	modeResponseBody    = 4

	immediateStatus  = 1
	immediateHeaders = 2
	immediateBody    = 3
)

// change is what an answer does to the headers and, if body is not nil, the body.
type change struct {
	set    forwardauth.Lines
	remove []string
	body   []byte
}

// common writes a CommonResponse into an answer to a stage.
func (m *message) common(answer protowire.Number, c change) {
	stage := m.begin(answer)
	common := m.begin(commonResponse)
	if len(c.set.Names)+len(c.remove) > 0 {
		headers := m.begin(commonHeaders)
		m.rawLines(mutationSet, c.set)
		for _, name := range c.remove {
			m.text(mutationRemove, name)
		}
		m.end(headers)
	}
	if c.body != nil {
		body := m.begin(commonBody)
		m.bytes(bodyMutationBody, c.body)
		m.end(body)
	}
	m.end(common)
	m.end(stage)
}

// mode says which parts of the server's answer Envoy is to send.
func (m *message) mode(headers, body uint64) {
	mode := m.begin(answerMode)
	m.number(modeResponseHeaders, headers)
	m.number(modeResponseBody, body)
	m.end(mode)
}

// immediate makes the client's answer, instead of the server's.
func (m *message) immediate(status int, headers forwardauth.Lines, body string) {
	answer := m.begin(answerImmediate)
	code := m.begin(immediateStatus)
	m.number(statusCode, uint64(status))
	m.end(code)
	set := m.begin(immediateHeaders)
	m.rawLines(mutationSet, headers)
	m.end(set)
	m.bytes(immediateBody, []byte(body))
	m.end(answer)
}

// rawLines writes header lines for ext_proc, which ignores values that are not in
// raw_value.
func (m *message) rawLines(field protowire.Number, lines forwardauth.Lines) {
	for i, name := range lines.Names {
		option := m.begin(field)
		header := m.begin(optionHeader)
		m.text(headerKey, name)
		m.bytes(headerRawValue, []byte(lines.Values[i]))
		m.end(header)
		m.number(optionAppendAction, overwrite)
		m.end(option)
	}
}

// bytes writes bytes of any kind.
func (m *message) bytes(field protowire.Number, b []byte) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendBytes(*m, b)
}
