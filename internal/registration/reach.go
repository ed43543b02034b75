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
	// reachProof is how long an answer from anywhere shows that the network works,
	// so that a stranger's dead host does not change what others are told.
	reachProof = 10 * time.Minute
)

// reach is whether the publishers of documents can be reached at all. The zero
// value knows of no failure.
type reach struct {
	answered, failed atomic.Int64 // Unix nanoseconds of the last one; 0 for never
}

// heard notes how a fetch ended: with an answer, whatever it said, or with err.
func (f *fetched[T]) heard(answered bool, err error) {
	switch {
	case f.network == nil, errors.Is(err, egress.ErrBudget):
	case answered:
		f.network.answered.Store(f.now().UnixNano())
	default:
		f.network.failed.Store(f.now().UnixNano())
	}
}

func (r *reach) works(now time.Time) bool {
	answered, failed := time.Unix(0, r.answered.Load()), time.Unix(0, r.failed.Load())
	proven := failed.Sub(answered) < reachProof // and after the failure, too
	return proven || now.Sub(failed) >= reachPause
}
