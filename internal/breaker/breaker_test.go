package breaker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// provider answers as a test wants and counts.
type provider struct {
	answer func(*http.Request) (int, error)
	asked  int
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.asked++
	status, err := p.answer(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("x"))}, nil
}

func status(code int) func(*http.Request) (int, error) {
	return func(*http.Request) (int, error) { return code, nil }
}

func dead(*http.Request) (int, error) { return 0, errors.New("connection refused") }

func ask(t *Transport) error {
	req, _ := http.NewRequest(http.MethodGet, "https://idp.example/", nil)
	resp, err := t.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states []bool
		p := &provider{answer: dead}
		tr := New(p, 4, func(open bool) { states = append(states, open) })
		for range 50 {
			ask(tr)
		}
		if p.asked != failures || !errors.Is(ask(tr), ErrOpen) {
			t.Errorf("a dead provider was asked %d times", p.asked)
		}
		time.Sleep(pause + time.Second)
		for range 50 { // one probe, and then closed to all again
			ask(tr)
		}
		if p.asked != failures+1 {
			t.Errorf("asked %d times", p.asked)
		}
		time.Sleep(pause + time.Second)
		p.answer = status(200)
		for range 50 {
			if err := ask(tr); err != nil {
				t.Fatalf("after it came back: %v", err)
			}
		}
		if len(states) != 2 || !states[0] || states[1] {
			t.Errorf("states %v", states)
		}
	})
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answer: dead}
		tr := New(p, 0, nil)
		for range failures {
			ask(tr)
		}
		time.Sleep(pause + time.Second)
		done := make(chan struct{})
		p.answer = func(*http.Request) (int, error) { <-done; return 200, nil }
		go ask(tr)
		synctest.Wait()
		for range 20 {
			if err := ask(tr); !errors.Is(err, ErrOpen) {
				t.Errorf("beside the probe: %v", err)
			}
		}
		close(done)
		synctest.Wait()
		if err := ask(tr); err != nil {
			t.Error(err)
		}
	})
}

// A probe whose person went away must not keep the circuit open for good.
func TestProbeThatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answer: dead}
		tr := New(p, 0, nil)
		for range failures {
			ask(tr)
		}
		time.Sleep(pause + time.Second)
		p.answer = func(*http.Request) (int, error) { return 0, context.Canceled }
		ask(tr)
		p.answer = status(200)
		if err := ask(tr); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(*http.Request) (int, error)
		opens  bool
	}{
		"no answer":       {dead, true},
		"timeout":         {func(*http.Request) (int, error) { return 0, context.DeadlineExceeded }, true},
		"502":             {status(502), true},
		"503":             {status(503), true},
		"504":             {status(504), true},
		"500":             {status(500), false},
		"400":             {status(400), false},
		"429":             {status(429), false},
		"the person went": {func(*http.Request) (int, error) { return 0, context.Canceled }, false},
		"one good in eleven": {func() func(*http.Request) (int, error) {
			n := 0
			return func(*http.Request) (int, error) { n++; return 503 - 303*(n%10/9), nil }
		}(), false},
	} {
		t.Run(name, func(t *testing.T) {
			tr := New(&provider{answer: tt.answer}, 0, nil)
			for range 100 {
				ask(tr)
			}
			if open := errors.Is(ask(tr), ErrOpen); open != tt.opens {
				t.Errorf("open: %v", open)
			}
		})
	}
}

func TestConcurrent(t *testing.T) {
	p := &provider{answer: status(200)}
	tr := New(p, 2, nil)
	req, _ := http.NewRequest(http.MethodGet, "https://idp.example/", nil)
	one, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if err := ask(tr); !errors.Is(err, ErrBusy) || p.asked != 2 {
		t.Errorf("a third: %v, asked %d", err, p.asked)
	}
	one.Body.Close()
	one.Body.Close() // twice gives one place
	if err := ask(tr); err != nil {
		t.Error(err)
	}
	held, err := tr.RoundTrip(req)
	if err != nil || !errors.Is(ask(tr), ErrBusy) {
		t.Errorf("%v %v", held, err)
	}
}
