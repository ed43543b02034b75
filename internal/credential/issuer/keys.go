package issuer

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
)

const (
	// fetchInterval is the least time between two fetches of a set, whatever
	// strangers send.
	fetchInterval = 10 * time.Second
	// refreshEvery is how often a set is fetched without being asked for, and so how
	// long a key lives that the issuer takes out of it.
	refreshEvery = 5 * time.Minute
	// maxAge is how long keys are used while their issuer cannot be asked.
	maxAge = 24 * time.Hour
	// fetchTime bounds one fetch with its discovery.
	fetchTime = 8 * time.Second
	// patience is how long a request waits for a fetch.
	patience = 2 * time.Second
	// maxWaiting is how many requests wait for one set.
	maxWaiting = 32
	// maxTried is how many keys are tried for a token that names none.
	maxTried = 8
)

// set is the keys of one issuer from one source. It is shared by all resources
// that take the issuer's tokens from there. Readers take no lock.
type set struct {
	fetch  func(context.Context) (jwks.Document, error) // nil for keys from a file
	report func(Fetch)
	now    func() time.Time

	current atomic.Pointer[snapshot]
	waiting atomic.Int32

	mu      sync.Mutex
	started time.Time     // when the last fetch began
	running chan struct{} // closed at the end of the fetch under way, nil for none
	failed  bool          // the last fetch
	wanted  chan struct{} // has an entry if a fetch is wanted as soon as there may be one
}

// snapshot is what one fetch brought. It does not change.
type snapshot struct {
	keys  []*key
	began time.Time // when the fetch began
	until time.Time // after this it is not used; zero for never
}

// key is one key of a set.
type key struct {
	jwks.Key
	print     string // of the key and its use
	withdrawn *atomic.Bool
}

// Fetch is what became of one attempt to get the keys of an issuer.
type Fetch struct {
	Issuer string
	Keys   int            // in force now
	Left   []jwks.Problem // keys that are not used
	Err    error          // nil for success
}

func newSet(fetch func(context.Context) (jwks.Document, error), report func(Fetch), now func() time.Time) *set {
	return &set{fetch: fetch, report: report, now: now, wanted: make(chan struct{}, 1)}
}

// errNoKeys: an answer without keys is taken for a fault of the issuer, so that
// the keys that are known go on.
var errNoKeys = errors.New("the key set has no key that can be used")

// apply puts a document in force. Keys that it does not have are withdrawn.
func (s *set) apply(d jwks.Document, began, until time.Time) (keys int, left []jwks.Problem, err error) {
	usable, left := d.Usable()
	if len(usable) == 0 {
		return 0, left, errNoKeys
	}
	next, before := &snapshot{began: began, until: until}, s.current.Load()
	for _, k := range usable {
		print, err := fingerprint(k)
		if err != nil {
			left = append(left, jwks.Problem{ID: k.KeyID, Text: err.Error()})
			continue
		}
		added := &key{k, print, new(atomic.Bool)}
		if before != nil {
			for _, known := range before.keys {
				if known.print == print {
					added.withdrawn = known.withdrawn
				}
			}
		}
		next.keys = append(next.keys, added)
	}
	s.current.Store(next)
	if before != nil {
		for _, known := range before.keys {
			if !next.has(known.print) {
				known.withdrawn.Store(true)
			}
		}
	}
	return len(next.keys), left, nil
}

func (s *snapshot) has(print string) bool {
	for _, k := range s.keys {
		if k.print == print {
			return true
		}
	}
	return false
}

func fingerprint(k jwks.Key) (string, error) {
	thumb, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	use, err := json.Marshal([]string{base64.RawURLEncoding.EncodeToString(thumb), k.KeyID, k.Algorithm, k.Issuer})
	return string(use), err
}

// keys are those in force, nil if there are none.
func (s *set) keys() *snapshot {
	now := s.current.Load()
	if now == nil || !now.until.IsZero() && !s.now().Before(now.until) {
		return nil
	}
	return now
}

// fitting are the keys that may have signed with this kid and algorithm.
func (s *snapshot) fitting(kid string, alg jose.SignatureAlgorithm) []*key {
	if s == nil {
		return nil
	}
	var fit []*key
	for _, k := range s.keys {
		if kid != "" && k.KeyID != kid || k.Algorithm != "" && k.Algorithm != string(alg) {
			continue
		}
		if fit = append(fit, k); len(fit) == maxTried {
			break
		}
	}
	return fit
}

// mayHaveNew reports whether the issuer may have a key that is not known here,
// for a token that says it was issued then; zero if it does not say. A key of the
// last fetch signed what was issued before it, unless that failed.
func (s *set) mayHaveNew(issued time.Time) bool {
	if s.fetch == nil {
		return false
	}
	now := s.keys()
	if now == nil || issued.IsZero() || issued.After(now.began.Add(-fetchInterval)) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.now().Before(s.started.Add(fetchInterval))
}

// await has the keys fetched if that may be now, and waits for a fetch that is
// under way or near. It reports whether there was one.
func (s *set) await(ctx context.Context) bool {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, next := s.begin()
		if done != nil {
			select {
			case <-done:
				return true
			case <-ctx.Done():
				return false
			}
		}
		select { // so that the key is here soon, whether or not another request comes
		case s.wanted <- struct{}{}:
		default:
		}
		if next >= patience {
			return false
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return false
		}
	}
}

// begin begins a fetch, if it may, and returns a channel that is closed at the end
// of the one under way. Without one it says how long there will be none.
func (s *set) begin() (done <-chan struct{}, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return s.running, 0
	}
	now := s.now()
	if next := s.started.Add(fetchInterval).Sub(now); !s.started.IsZero() && next > 0 {
		return nil, next
	}
	running := make(chan struct{})
	s.started, s.running = now, running
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
		defer cancel()
		s.once(ctx, now)
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		close(running)
	}()
	return running, 0
}

// once fetches.
func (s *set) once(ctx context.Context, began time.Time) {
	var f Fetch
	document, err := s.fetch(ctx)
	if err == nil {
		_, f.Left, err = s.apply(document, began, began.Add(maxAge))
	}
	if now := s.keys(); now != nil {
		f.Keys = len(now.keys)
	}
	s.mu.Lock()
	s.failed = err != nil
	s.mu.Unlock()
	f.Err = err
	s.report(f)
}

// run fetches the keys until ctx ends: at once, from time to time, and when they
// are wanted.
func (s *set) run(ctx context.Context) {
	if s.fetch == nil {
		return
	}
	delay := time.Duration(0)
	failures := 0
	for {
		if !s.sleep(ctx, delay) {
			return
		}
		done, next := s.begin()
		if done == nil {
			delay = next
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		if delay = refreshEvery; s.hasFailed() {
			delay = min(fetchInterval<<min(failures, 5), refreshEvery)
			failures++
		} else {
			failures = 0
		}
	}
}

// sleep waits for delay, or until keys are wanted. It reports whether to go on.
func (s *set) sleep(ctx context.Context, delay time.Duration) bool {
	select {
	case <-time.After(delay):
		return true
	case <-s.wanted:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *set) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// trouble says what is wrong with the keys, "" for nothing.
func (s *set) trouble() string {
	switch {
	case s.keys() == nil:
		return "there are no keys, so its tokens get 503"
	case s.fetch != nil && s.hasFailed():
		return "its keys cannot be fetched; those that are known go on"
	}
	return ""
}
