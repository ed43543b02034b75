package bridge

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// streamRoom is how many messages wait for a client that reads slowly. Then the
	// process waits, for stallTime at most.
	streamRoom = 16
	stallTime  = 30 * time.Second
	// streamSoon is when a pending answer becomes an event stream, which can be kept
	// alive.
	streamSoon = 10 * time.Second
	beat       = 25 * time.Second
)

// stream is what a client of HTTP reads: the answer to a POST, or the stream of a GET.
type stream struct {
	out   chan item
	last  chan struct{} // closed when nothing more comes, without a final item
	left  chan struct{} // closed when the client has left
	ended sync.Once
	once  sync.Once

	missing int // answers that are still to come; guarded by the process
}

// item is one message for the client; after the final one there is none.
type item struct {
	data  []byte
	final bool
}

func newStream() *stream {
	return &stream{out: make(chan item, streamRoom), last: make(chan struct{}), left: make(chan struct{})}
}

// deliver hands a message over, and reports whether the client may get it.
func (s *stream) deliver(i item) bool {
	select {
	case s.out <- i:
		return true
	case <-s.left:
		return false
	default:
	}
	slow := time.NewTimer(stallTime)
	defer slow.Stop()
	select {
	case s.out <- i:
		return true
	case <-s.left:
	case <-s.last:
	case <-slow.C:
		s.leave()
	}
	return false
}

func (s *stream) leave() { s.once.Do(func() { close(s.left) }) }
func (s *stream) end()   { s.ended.Do(func() { close(s.last) }) }

// next waits for a message; one without data only keeps the stream alive. more is false
// when the stream has ended or the client has left.
func (s *stream) next(r *http.Request, patience time.Duration) (i item, more bool) {
	select {
	case i = <-s.out:
		return i, true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case i = <-s.out:
		return i, true
	case <-timer.C:
		return item{}, true
	case <-s.left:
	case <-r.Context().Done():
	case <-s.last:
		select { // what came before the end
		case i = <-s.out:
			return i, true
		default:
		}
	}
	return item{}, false
}

// answer writes the answers to requests: as JSON if there is only one and it comes
// soon, else as events.
func (s *stream) answer(w http.ResponseWriter, r *http.Request, one, current bool) {
	first, more := s.next(r, streamSoon)
	json, events := accepts(r)
	switch {
	case !more:
	case json && one && first.final:
		writeJSON(w, first.data, current)
	case events:
		s.events(w, r, first)
	default:
		for i := first; more; i, more = s.next(r, beat) { // what comes beside the answer is left out
			if i.final {
				writeJSON(w, i.data, current)
				return
			}
		}
	}
}

func writeJSON(w http.ResponseWriter, data []byte, current bool) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf(data, current))
	_, _ = w.Write(data)
}

// events writes the stream as server-sent events until it ends.
func (s *stream) events(w http.ResponseWriter, r *http.Request, i item) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for more := true; more; i, more = s.next(r, beat) {
		text := ": \n\n"
		if i.data != nil {
			text = "event: message\ndata: " + string(i.data) + "\n\n"
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return
		}
		if len(s.out) == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
		if i.final {
			return
		}
	}
}

// accepts reads Accept; without the header everything is accepted.
func accepts(r *http.Request) (json, events bool) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "", "*/*":
			json, events = true, true
		case "application/json", "application/*":
			json = true
		case "text/event-stream", "text/*":
			events = true
		}
	}
	return json, events
}
