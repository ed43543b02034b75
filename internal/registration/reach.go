package registration

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

const (
	// reachPause is how long documents are not announced after the network failed.
	// It is longer than clients may keep what they were told, five minutes.
	reachPause = 15 * time.Minute
	// reachProof is how long an answer from anywhere shows that the network works
	// and that a failure is its site's own.
	reachProof = 10 * time.Minute
)

// reach is whether the publishers of documents can be reached at all. The zero
// value knows of no failure.
type reach struct {
	answered, failed atomic.Int64 // Unix nanoseconds of the last one; 0 for never
}

// heard notes how a fetch ended: with an answer, whatever it said, or with err.
// Once there was an answer, only the failure of a URL that was good before
// counts: a stranger can name any number of hosts that are dead.
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
	proven := failed.Sub(answered) < reachProof // and after the failure, too
	return proven || now.Sub(failed) >= reachPause
}
