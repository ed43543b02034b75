package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Answers that hold lists are read into memory. To bound it, at most largeLists answers
// that are longer than smallList bytes are read at a time; others wait.
const (
	smallList  = 256 << 10
	largeLists = 8
)

// filters reports whether the answer may hold a list that different readers see
// differently. The answer to a GET may: it is a stream, which may continue an earlier
// answer, and a server of HTTP+SSE sends all its answers there.
func (x *exchange) filters() bool {
	return x.server.resource.Page == nil && (x.in.Method == http.MethodGet || x.decision.Lists())
}

// filter removes from the lists in the answer what the person may not see.
func (x *exchange) filter(resp *http.Response) *fault {
	stream := isEventStream(resp.Header)
	switch asked := x.decision.Lists(); {
	case !stream && !asked, resp.StatusCode == http.StatusNoContent:
		return nil
	case !stream && resp.StatusCode == http.StatusAccepted && !isJSON(resp.Header):
		acknowledged(resp)
		return nil
	case encoded(resp.Header):
		return errAnswer.with(errors.New("it is compressed, which was not asked for, so that lists in it cannot be read"))
	case stream:
		x.filterEvents(resp)
		return nil
	case isJSON(resp.Header):
		return x.filterDocument(resp)
	case resp.StatusCode >= 200 && resp.StatusCode < 300 && resp.ContentLength != 0:
		return errAnswer.with(fmt.Errorf("it answered the request for a list with another type than JSON or an event stream"))
	}
	return nil
}

// acknowledged drops the body of an answer with 202. Servers of HTTP+SSE answer each
// message with 202, some with a text, and send the list over their stream.
func acknowledged(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, smallList)) // so that the connection can be used again
	resp.Body.Close()
	resp.Body, resp.ContentLength, resp.TransferEncoding, resp.Trailer = http.NoBody, 0, nil, nil
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		delete(resp.Header, name)
	}
	resp.Header["Content-Length"] = []string{"0"}
}

// encoded reports whether the body has a content coding, such as gzip.
func encoded(h http.Header) bool {
	for _, line := range h["Content-Encoding"] {
		if !strings.EqualFold(strings.TrimSpace(line), "identity") {
			return true
		}
	}
	return false
}

func isJSON(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}

// shown returns the message as the person may see it.
func (x *exchange) shown(message []byte) ([]byte, error) {
	return x.endpoint.lists.Message(message, x.endpoint.Decisions.View(x.decision))
}

func (x *exchange) filterDocument(resp *http.Response) *fault {
	body, err := x.readList(resp.Body)
	resp.Body.Close()
	if err != nil {
		if !errors.Is(err, filter.ErrTooLarge) {
			return errUnreachable.with(err)
		}
		return errAnswer.with(err)
	}
	if len(body) > 0 {
		if body, err = x.shown(body); err != nil {
			return errAnswer.with(err)
		}
	}
	private(resp.Header)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header["Content-Length"] = []string{fmt.Sprint(len(body))}
	resp.TransferEncoding, resp.Trailer = nil, nil
	return nil
}

// readList reads a whole answer. One that is longer than smallList waits for a place.
func (x *exchange) readList(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, smallList+1))
	if err != nil || len(body) <= smallList {
		return body, err
	}
	select {
	case x.endpoint.large <- struct{}{}:
		defer func() { <-x.endpoint.large }()
	case <-x.in.Context().Done():
		return nil, x.in.Context().Err()
	}
	rest, err := io.ReadAll(io.LimitReader(from, filter.MaxBytes+1-int64(len(body))))
	if body = append(body, rest...); err == nil && len(body) > filter.MaxBytes {
		err = filter.ErrTooLarge
	}
	return body, err
}

func (x *exchange) filterEvents(resp *http.Response) {
	events := filter.NewEvents(resp.Body, x.shown)
	resp.Body = &eventsBody{events, resp.Body, x}
	resp.ContentLength = -1
	private(resp.Header)
}

// private makes sure that no shared cache stores the answer.
func private(h http.Header) {
	for _, name := range filter.Stale {
		delete(h, name)
	}
	h["Cache-Control"] = []string{filter.CacheControl}
}

// eventsBody is a filtered event stream.
type eventsBody struct {
	*filter.Events
	from io.Closer
	x    *exchange
}

func (b *eventsBody) Read(p []byte) (int, error) {
	n, err := b.Events.Read(p)
	if err != nil && err != io.EOF && b.x.in.Context().Err() == nil && !b.x.idle.expired() {
		b.x.endpoint.audit(b.x, audit.RelayFailed, &fault{reason: reasons.MCPServerAnswer, cause: err})
	}
	return n, err
}

// Close implements io.Closer.
func (b *eventsBody) Close() error { return b.from.Close() }
