package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

const procServiceName = "envoy.service.ext_proc.v3.ExternalProcessor"

var processor = grpc.ServiceDesc{
	ServiceName: procServiceName,
	HandlerType: (*any)(nil),
	Streams:     []grpc.StreamDesc{{StreamName: "Process", Handler: process, ServerStreams: true, ClientStreams: true}},
	Metadata:    "envoy/service/ext_proc/v3/external_processor.proto",
}

// processing filters the lists in answers of MCP servers. Envoy opens a stream for each
// request, and this service asks for the answer only if it may hold a list: a tool's
// answer never comes here. An answer that cannot be filtered is not passed on, and if a
// stream ends with an error Envoy ends the client's answer.
type processing struct {
	decisions Decider
	reads     Reader
	named     func() Headers
	log       *slog.Logger
	lists     *filter.Cache
}

// firstKey is the context key of the function that reports that a stream's first
// message has come.
type firstKey struct{}

// untilFirst ends a stream whose first message takes too long. Later messages may take
// as long as the MCP server does.
func untilFirst(ctx context.Context, most time.Duration) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(most, cancel)
	return context.WithValue(ctx, firstKey{}, func() { timer.Stop() })
}

func process(srv any, s grpc.ServerStream) error {
	return srv.(*processing).process(s)
}

func (p *processing) process(s grpc.ServerStream) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			p.log.Error("internal error: panic", "panic", fmt.Sprint(caught), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	e := event{question: question{others: p.named().others}}
	if err := s.RecvMsg(&e); err != nil {
		return err
	}
	if arrived, ok := s.Context().Value(firstKey{}).(func()); ok {
		arrived()
	}
	if e.twice || e.stage != requestHeaders {
		return status.Error(codes.InvalidArgument, "the first message must have the headers of the request: request_header_mode SEND")
	}
	a := answering{processing: p}
	out, more := a.request(s.Context(), &e)
	for {
		if err := s.SendMsg(out); err != nil {
			return err
		}
		if !more {
			return nil // Envoy goes on by itself
		}
		e = event{}
		if err := s.RecvMsg(&e); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if out, more, err = a.answer(&e); err != nil {
			return status.Error(codes.FailedPrecondition, err.Error())
		}
	}
}

// answering is one answer of an MCP server on its way to the client.
type answering struct {
	*processing
	view   filter.View
	host   string // as the client named it
	list   bool   // the client asked for a list
	stream bool   // the answer is an event stream
	// acknowledged: the answer only acknowledges, and the list comes over a stream of
	// HTTP+SSE.
	acknowledged bool
	held         []byte
}

// request decides by the headers of the request, and what Envoy's MCP filter has
// read of its body, whether the answer may hold a list.
func (a *answering) request(ctx context.Context, e *event) (out message, more bool) {
	q := e.question.request()
	from(ctx, &q)
	v, lists, ok := a.reads(ctx, &q)
	if !ok {
		return a.denied(ctx, &q), false
	}
	a.view, a.list, a.host = v, lists, q.Host
	if !lists && q.Method != http.MethodGet {
		out.common(answerRequestHeaders, change{})
		out.mode(headersSkip, bodyNone)
		return out, false
	}
	// A compressed list could not be read.
	out.common(answerRequestHeaders, change{remove: []string{"accept-encoding"}})
	out.mode(headersSend, bodyBuffered)
	return out, true
}

// denied answers a request that Decide would deny: its credential has ended since it
// was let pass, or nothing has decided about it.
func (a *answering) denied(ctx context.Context, q *forwardauth.Request) (out message) {
	d := a.decisions.Decide(ctx, q)
	if d.Allowed() {
		out.immediate(http.StatusBadGateway, problem(), unreadable("Envoy does not say what the request asks for, so that no list in its answer could be filtered"))
		return out
	}
	out.immediate(d.Status, d.Headers, d.Body)
	return out
}

var errStage = errors.New("a message came that was not asked for")

// answer takes the next part of the answer. An error ends the client's answer.
func (a *answering) answer(e *event) (out message, more bool, err error) {
	switch {
	case e.twice:
		return nil, false, errStage
	case e.stage == responseHeaders:
		out, more = a.headers(e)
		return out, more, nil
	case e.stage == responseBody && a.stream:
		return a.events(e)
	case e.stage == responseBody:
		return a.document(e), !e.end, nil
	}
	return nil, false, errStage
}

// headers decides by the headers of the answer how Envoy should send its body.
func (a *answering) headers(e *event) (out message, more bool) {
	media, _, _ := strings.Cut(strings.ToLower(e.contentType), ";")
	media = strings.TrimSpace(media)
	a.stream = media == "text/event-stream"
	good := strings.HasPrefix(e.status, "2")
	switch {
	case !a.stream && !a.list, e.end, !good && media != "application/json":
		out.common(answerResponseHeaders, change{})
		out.mode(headersSkip, bodyNone)
		return out, false
	case e.status == "202" && !a.stream && media != "application/json":
		a.acknowledged = true
		out.common(answerResponseHeaders, change{remove: append([]string{"content-type", "content-encoding"}, filter.Stale...)})
		out.mode(headersSend, bodyBuffered)
		return out, true
	case e.contentEncoding != "" && !strings.EqualFold(e.contentEncoding, "identity"):
		return a.refused("its answer is compressed, which was not asked for"), false
	case a.stream:
		out.common(answerResponseHeaders, change{set: private(), remove: filter.Stale})
		out.mode(headersSend, bodyStreamed)
		return out, true
	case media != "application/json":
		return a.refused("it answers the request for a list with another type than JSON or an event stream"), false
	}
	out.common(answerResponseHeaders, change{set: private(), remove: filter.Stale})
	out.mode(headersSend, bodyBuffered)
	return out, true
}

// document filters a JSON document, which arrives in one piece.
func (a *answering) document(e *event) (out message) {
	body := e.body
	if a.acknowledged {
		body = nil
	}
	if len(body) > 0 {
		var err error
		if body, err = a.lists.Message(body, a.view); err != nil {
			return a.refused(err.Error())
		}
	}
	out.common(answerResponseBody, change{body: notNil(body)})
	return out
}

// events filters the complete events, and holds the rest back.
func (a *answering) events(e *event) (out message, more bool, err error) {
	a.held = append(a.held, e.body...)
	whole := len(a.held)
	if !e.end {
		whole = wholeEvents(a.held)
	}
	if len(a.held)-whole > filter.MaxBytes {
		return nil, false, filter.ErrTooLarge
	}
	shown := func(m []byte) ([]byte, error) { return a.lists.Message(m, a.view) }
	passed, err := io.ReadAll(filter.NewEvents(bytes.NewReader(a.held[:whole]), shown))
	if err != nil {
		return nil, false, err
	}
	a.held = append(a.held[:0:0], a.held[whole:]...)
	out.common(answerResponseBody, change{body: notNil(passed)})
	return out, !e.end, nil
}

// wholeEvents returns how much of an event stream is events that have ended: with
// an empty line. A CR at the very end may be half of a line's end.
func wholeEvents(b []byte) (n int) {
	empty := true // the line so far
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\r':
			if i+1 == len(b) {
				return n
			}
			if b[i+1] == '\n' {
				continue
			}
		case '\n':
		default:
			empty = false
			continue
		}
		if empty {
			n = i + 1
		}
		empty = true
	}
	return n
}

// notNil makes an empty body of nil, because nil stands for an unchanged one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// refused replaces the answer of a server that cannot be filtered.
func (a *answering) refused(why string) (out message) {
	a.log.Warn("the list of an MCP server cannot be filtered, so it is not passed on", "host", a.host, "reason", why)
	out.immediate(http.StatusBadGateway, problem(), unreadable("the answer of the MCP server cannot be passed on"))
	return out
}

// unreadable is an error of JSON-RPC.
func unreadable(text string) string {
	return `{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"` + text + `"}}` + "\n"
}

func problem() forwardauth.Lines {
	return forwardauth.Lines{Names: []string{"Content-Type", "Cache-Control"}, Values: []string{"application/json", "no-store"}}
}

// private keeps an answer out of caches that others read.
func private() forwardauth.Lines {
	return forwardauth.Lines{Names: []string{"Cache-Control"}, Values: []string{filter.CacheControl}}
}
