package registration

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

const (
	// reachPause is how long metadata does not announce documents after the network
	// failed. It is longer than the five minutes for which clients may cache the
	// metadata.
	reachPause = 15 * time.Minute
	// reachProof is for how long an answer of any host shows that the network works, and
	// that a failure is the fault of one host.
	reachProof = 10 * time.Minute
)

// reach knows whether this service can fetch from the network at all. The zero value
// knows of no failure.
type reach struct {
	answered, failed atomic.Int64 // when the last fetch did, in Unix nanoseconds; 0 for never
}

// heard notes how a fetch ended: any answer counts as answered, and err as failed. Once
// there was an answer, only the failure of a URL that was good before counts, because a
// stranger can name any number of dead hosts.
func (f *fetched[T]) heard(url string, err error) {
	switch n := f.network; {
	case n == nil, errors.Is(err, egress.ErrBudget):
	case err == nil:
		n.answered.Store(f.now().UnixNano())
	case n.answered.Load() == 0, f.client.Known(url):
		n.failed.Store(f.now().UnixNano())
	}
}

func (r *reach) works(now time.Time) bool {
	answered, failed := time.Unix(0, r.answered.Load()), time.Unix(0, r.failed.Load())
	proven := failed.Sub(answered) < reachProof // there was an answer shortly before the failure, or after it
	return proven || now.Sub(failed) >= reachPause
}
