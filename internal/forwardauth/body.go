package forwardauth

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 1 << 20
	// bodyPatience bounds the wait for a body. Some gateways announce one and never send
	// it.
	bodyPatience = time.Second
)

// content is what a body asks for.
type content struct {
	ops   []operation
	batch bool
	// trace is the traceparent in the first message that has one (MCP, "_meta"). No
	// decision depends on it.
	trace string
	// id is the id of the one message, as it is written in JSON; "" if there is none, or
	// several.
	id string
}

// fromBody reads the operations out of the request's body. An empty body is fine only if
// the method has no body; otherwise the gateway did not forward it.
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
		if reason := mediaType(&q.Headers); reason != Allowed {
			return content{}, reason
		}
		return parseBody(body)
	case bodiless(q.Method):
		return content{}, Allowed
	}
	return content{}, BodyMissing
}

// bodiless reports whether requests of the method have no body.
func bodiless(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete || method == http.MethodOptions
}

// fromGateway returns the operation that the gateway read out of the body. If the gateway
// says nothing, or read only a part, what the server will read is unknown.
func fromGateway(q *Request) (content, Reason) {
	switch {
	case q.Parsed == nil && bodiless(q.Method):
		return content{}, Allowed
	case q.Parsed == nil:
		return content{}, BodyMissing
	}
	if reason := mediaType(&q.Headers); reason != Allowed {
		return content{}, reason
	}
	op := operation{method: q.Parsed.Method}
	switch op.method {
	case toolsCall, promptsGet:
		op.name = q.Parsed.Name
	case resourcesRead:
		op.name = q.Parsed.URI
	}
	if !q.Parsed.Whole || named(op.method) && op.name == "" || !strictjson.Plain(op.method) || !strictjson.Plain(op.name) {
		return content{}, MalformedBody
	}
	return content{ops: []operation{op}}, Allowed
}

// mediaType checks that every server reads the bytes of the body alike: as JSON in UTF-8
// (RFC 8259, section 8.1). A server that honours another charset, or undoes a content
// coding, would read another text than this package. A missing type is refused too,
// because some gateways forward only the headers that they are told to, so the client may
// have sent one.
func mediaType(h *Headers) Reason {
	switch {
	case len(h.ContentType) == 0:
		return MediaTypeMissing
	case len(h.ContentType) > 1 || !plainJSON(h.ContentType[0]):
		return WrongMediaType
	case len(h.ContentEncoding) > 1 || len(h.ContentEncoding) == 1 && !sameWord(h.ContentEncoding[0], "identity"):
		return EncodedBody
	}
	return Allowed
}

// plainJSON reports whether a Content-Type is application/json, with no
// parameter but a charset of UTF-8. The type defines no parameters (RFC 8259,
// section 11), and servers read odd ones in different ways.
func plainJSON(value string) bool {
	const space = " \t"
	media, parameter, more := strings.Cut(value, ";")
	if !sameWord(strings.Trim(media, space), "application/json") {
		return false
	}
	name, charset, _ := strings.Cut(strings.Trim(parameter, space), "=")
	return !more || sameWord(name, "charset") && (sameWord(charset, "utf-8") || sameWord(charset, `"utf-8"`))
}

// sameWord compares s with an ASCII word, in any case. Comparing the lengths keeps out
// letters beyond ASCII that fold to an ASCII letter.
func sameWord(s, word string) bool { return len(s) == len(word) && strings.EqualFold(s, word) }

// patientBody is the body of an HTTP request that is waited for only for bodyPatience.
type patientBody struct {
	io.Reader
	conn    *http.ResponseController
	started bool
	ended   bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	if !b.started {
		b.started = true
		// Writers of tests have no deadline; their bodies do not wait either.
		_ = b.conn.SetReadDeadline(time.Now().Add(bodyPatience))
	}
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.ended = true
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
