package forwardauth

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

const (
	// maxBody bounds what is read of a request.
	maxBody = 1 << 20
	// bodyPatience bounds the wait for a body. Some gateways announce one and
	// never send it.
	bodyPatience = time.Second
)

// content is what a body asks for.
type content struct {
	ops   []operation
	batch bool
	// trace is the traceparent that the client put into the first message with
	// one (MCP, "_meta"). Nothing is decided by it.
	trace string
	// id is that of a single request, as it is written; "" for none.
	id string
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

// fromGateway takes what the gateway read out of the body. A gateway that says
// nothing, or that has reservations, did not see what the server will.
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

// mediaType reports whether every server reads the body's bytes as they are: as
// JSON in UTF-8 (RFC 8259, section 8.1). Servers that honor another charset, or
// undo a content coding, would see another text than this package does. A
// missing type is refused too: some gateways forward only the headers they are
// told to, so the client may have sent one.
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

// sameWord compares with an ASCII word without case. The length keeps out
// letters beyond ASCII that fold to one of the word's.
func sameWord(s, word string) bool { return len(s) == len(word) && strings.EqualFold(s, word) }

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
