// Package breaker stands between a connector and its identity provider when the
// provider is in trouble. Its invariant: however many people sign in, one
// provider has a bounded number of our requests under way, and one that has
// stopped answering is asked by one request at a time until it answers again;
// the others fail at once instead of waiting.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// failures in a row open the circuit. One good answer in between, and the
	// provider is not the one to blame.
	failures = 10
	// pause is how long an open circuit stays so before a request tries.
	pause = 5 * time.Second
)

var (
	// ErrOpen: the provider has not answered the last requests. What kept it from
	// answering the last of them is wrapped beside it.
	ErrOpen = errors.New("not asked, because it has not answered for a while")
	// ErrBusy: as many requests as may be are waiting for the provider.
	ErrBusy = errors.New("not asked, because too many requests wait for it")
)

// Transport is the way to one provider. New makes one.
type Transport struct {
	next    http.RoundTripper
	slots   chan struct{} // nil for no bound
	circuit *gobreaker.TwoStepCircuitBreaker[any]

	mu   sync.Mutex
	last error // why the last request failed
}

// New puts a breaker before next, http.DefaultTransport if nil. At most
// concurrent requests are under way, 0 for no bound. changed, if not nil, is
// told when the circuit opens (true), and when it closes again.
func New(next http.RoundTripper, concurrent int, changed func(open bool)) *Transport {
	if next == nil {
		next = http.DefaultTransport
	}
	t := &Transport{next: next}
	if concurrent > 0 {
		t.slots = make(chan struct{}, concurrent)
	}
	t.circuit = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests: 1, Timeout: pause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		// A closed browser says nothing about the provider.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if changed != nil && (from == gobreaker.StateClosed || to == gobreaker.StateClosed) {
				changed(to != gobreaker.StateClosed)
			}
		},
	})
	return t
}

// RoundTrip implements http.RoundTripper. It holds a place until the answer's
// body is closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, ok := t.enter()
	if !ok {
		return nil, ErrBusy
	}
	tell, err := t.circuit.Allow()
	if err != nil {
		leave()
		return nil, t.open()
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.failed(err)
		tell(err)
		leave()
		return nil, err
	}
	err = unanswered(resp.StatusCode)
	t.failed(err)
	tell(err)
	resp.Body = &body{ReadCloser: resp.Body, leave: leave}
	return resp, nil
}

// failed keeps why the last request failed, so that a fault that waiting does not
// end is told as one while the circuit is open, too.
func (t *Transport) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
}

func (t *Transport) open() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return ErrOpen
	}
	return fmt.Errorf("%w; the last failure: %w", ErrOpen, t.last)
}

func (t *Transport) enter() (leave func(), ok bool) {
	if t.slots == nil {
		return func() {}, true
	}
	select {
	case t.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-t.slots }), true
	default:
		return nil, false
	}
}

// unanswered says which statuses count as no answer. 500 counts as an answer:
// some providers send it for a forged code, and a stranger must not be able to
// open the circuit with one.
func unanswered(status int) error {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("status %d", status)
	}
	return nil
}

type body struct {
	io.ReadCloser
	leave func()
}

func (b *body) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}
