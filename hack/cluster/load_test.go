package cluster

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// load is gateways that ask without a pause: half of them keep connections,
// half make a new one for every question.
type load struct {
	mu       sync.Mutex
	asked    int
	failed   int
	problems map[string]int
	stop     chan struct{}
	workers  sync.WaitGroup
}

func (r *installed) startLoad() *load {
	l := &load{problems: map[string]int{}, stop: make(chan struct{})}
	for i := range 6 {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		// Every third asks without a token: to be refused is an answer as well.
		token, want := r.token, http.StatusOK
		if i%3 == 2 {
			token, want = "", http.StatusUnauthorized
		}
		l.workers.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				status, err := r.ask(client, token)
				l.record(status == want && err == nil, fmt.Sprintf("%d instead of %d, %v", status, want, err))
			}
		})
	}
	return l
}

func (l *load) record(ok bool, problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if !ok {
		l.failed++
		l.problems[problem]++
	}
}

// end stops the load and returns how many questions there were, and how many
// did not get the right answer.
func (l *load) end() (asked, failed int, problems map[string]int) {
	close(l.stop)
	l.workers.Wait()
	return l.asked, l.failed, l.problems
}

// restart replaces every pod while gateways ask.
func (r *installed) restart(t *testing.T) {
	before := r.pods(t)
	l, start := r.startLoad(), time.Now()
	time.Sleep(time.Second)
	r.must(t, "kubectl", "-n", namespace, "rollout", "restart", "deployment/"+fullname)
	r.must(t, "kubectl", "-n", namespace, "rollout", "status", "deployment/"+fullname, "--timeout=180s")
	// The rollout is over when the new pods are ready; the old ones still drain.
	eventually(t, "the old pods are gone", time.Minute, func() (bool, string) {
		out := r.must(t, "kubectl", "-n", namespace, "get", "pods", "-l", "app.kubernetes.io/component=server", "-o", "name")
		return countLines(out) == 2, out
	})
	time.Sleep(time.Second)
	took := time.Since(start)
	asked, failed, problems := l.end()
	if after := r.pods(t); after == before {
		t.Errorf("the pods are still %s", after)
	}
	if failed > 0 || asked < 200 {
		t.Errorf("%d of %d requests failed: %v", failed, asked, problems)
	}
	mustEqual(t, "the token of before, after the restart", r.authenticate(t, r.token), http.StatusOK)
	say("rolling restart under load: %d of %d calls of /authenticate failed, in %.0f s", failed, asked, took.Seconds())
}

func countLines(s string) (n int) {
	for _, c := range s {
		if c == '\n' {
			n++
		}
	}
	return n
}
