package jwks

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
)

const (
	// FetchInterval is the least time between two fetches of a set, whatever
	// strangers send.
	FetchInterval = 10 * time.Second
	// refreshEvery is how often a set is fetched without being asked for, and so how
	// long a key lives that the issuer takes out of it.
	refreshEvery = 5 * time.Minute
	// MaxAge is how long keys are used while their issuer cannot be asked.
	MaxAge = 24 * time.Hour
	// fetchTime bounds one fetch with its discovery.
	fetchTime = 8 * time.Second
	// Patience is how long a request waits for a fetch.
	Patience = 2 * time.Second
	// maxWaiting is how many requests wait for one set.
	maxWaiting = 32
	// maxTried is how many keys are tried for a token that names none.
	maxTried = 8
)

// Set is the keys of one issuer from one source. It is shared by all that take the
// issuer's tokens from there. Keys are fetched in the background, and for a token
// with a key that is not known, at most once in FetchInterval. Known keys go on
// while the issuer is down. Readers take no lock.
type Set struct {
	issuer string
	fetch  func(context.Context) (Document, error) // nil for keys from a file
	report func(Fetch)
	now    func() time.Time

	current atomic.Pointer[Snapshot]
	waiting atomic.Int32

	mu      sync.Mutex
	started time.Time     // when the last fetch began
	running chan struct{} // closed at the end of the fetch under way, nil for none
	failed  bool          // the last fetch
	wanted  chan struct{} // has an entry if a fetch is wanted as soon as there may be one
}

// Adopt takes over what another set of the same keys knows. It must be called
// before s is used.
func (s *Set) Adopt(from *Set) {
	from.mu.Lock()
	defer from.mu.Unlock()
	s.current.Store(from.current.Load())
	s.started, s.failed = from.started, from.failed
}

// Snapshot is what one fetch brought. It does not change; nil holds nothing.
type Snapshot struct {
	keys  []*Published
	began time.Time // when the fetch began
	until time.Time // after this it is not used; zero for never
}

// Published is one key of a set that is in force.
type Published struct {
	Key
	// Withdrawn becomes true when the issuer no longer publishes the key.
	Withdrawn *atomic.Bool

	print string // of the key and its use
}

// Fetch is what became of one attempt to get the keys of an issuer.
type Fetch struct {
	Issuer string
	Keys   int       // in force now
	Left   []Problem // keys that are not used
	Err    error     // nil for success
}

// NewSet returns an empty set of keys of issuer, which fetch brings; nil for keys of
// a file, see Load. report is told of every attempt to get keys.
func NewSet(issuer string, fetch func(context.Context) (Document, error), report func(Fetch), now func() time.Time) *Set {
	return &Set{issuer: issuer, fetch: fetch, report: report, now: now, wanted: make(chan struct{}, 1)}
}

// errNoKeys: an answer without keys counts as a fault of the issuer, so that the keys
// that are known go on.
var errNoKeys = errors.New("the key set has no key that can be used")

// apply puts a document in force. Keys that it does not have are withdrawn.
func (s *Set) apply(d Document, began, until time.Time) (keys int, left []Problem, err error) {
	usable, left := d.Usable()
	if len(usable) == 0 {
		return 0, left, errNoKeys
	}
	next, before := &Snapshot{began: began, until: until}, s.current.Load()
	for _, k := range usable {
		print, err := fingerprint(k)
		if err != nil {
			left = append(left, Problem{ID: k.KeyID, Text: err.Error()})
			continue
		}
		added := &Published{k, new(atomic.Bool), print}
		if before != nil {
			for _, known := range before.keys {
				if known.print == print {
					added.Withdrawn = known.Withdrawn
				}
			}
		}
		next.keys = append(next.keys, added)
	}
	s.current.Store(next)
	if before != nil {
		for _, known := range before.keys {
			if !next.has(known.print) {
				known.Withdrawn.Store(true)
			}
		}
	}
	return len(next.keys), left, nil
}

func (s *Snapshot) has(print string) bool {
	for _, k := range s.keys {
		if k.print == print {
			return true
		}
	}
	return false
}

func fingerprint(k Key) (string, error) {
	thumb, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	use, err := json.Marshal([]string{base64.RawURLEncoding.EncodeToString(thumb), k.KeyID, k.Algorithm, k.Issuer})
	return string(use), err
}

// Keys are those in force, nil if there are none.
func (s *Set) Keys() *Snapshot {
	now := s.current.Load()
	if now == nil || !now.until.IsZero() && !s.now().Before(now.until) {
		return nil
	}
	return now
}

// Fitting are the keys that may have signed with this kid and algorithm.
func (s *Snapshot) Fitting(kid string, alg jose.SignatureAlgorithm) []*Published {
	if s == nil {
		return nil
	}
	var fit []*Published
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

// MayHaveNew reports whether the issuer may have a key that is not known here,
// for a token that says it was issued then; zero if it does not say. A key of the
// last fetch signed what was issued before it, unless that failed.
func (s *Set) MayHaveNew(issued time.Time) bool {
	if s.fetch == nil {
		return false
	}
	now := s.Keys()
	if now == nil || issued.IsZero() || issued.After(now.began.Add(-FetchInterval)) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.now().Before(s.started.Add(FetchInterval))
}

// Await has the keys fetched if that may be now, and waits for a fetch that is
// under way or near. It reports whether there was one.
func (s *Set) Await(ctx context.Context) bool {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, Patience)
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
		if next >= Patience {
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
func (s *Set) begin() (done <-chan struct{}, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return s.running, 0
	}
	now := s.now()
	if next := s.started.Add(FetchInterval).Sub(now); !s.started.IsZero() && next > 0 {
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
func (s *Set) once(ctx context.Context, began time.Time) {
	f := Fetch{Issuer: s.issuer}
	document, err := s.fetch(ctx)
	if err == nil {
		_, f.Left, err = s.apply(document, began, began.Add(MaxAge))
	}
	if now := s.Keys(); now != nil {
		f.Keys = len(now.keys)
	}
	s.mu.Lock()
	s.failed = err != nil
	s.mu.Unlock()
	f.Err = err
	s.report(f)
}

// Run fetches the keys until ctx ends: at once, from time to time, and when they
// are wanted.
func (s *Set) Run(ctx context.Context) {
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
		if delay = refreshEvery; s.Failed() {
			delay = min(FetchInterval<<min(failures, 5), refreshEvery)
			failures++
		} else {
			failures = 0
		}
	}
}

// sleep waits for delay, or until keys are wanted. It reports whether to go on.
func (s *Set) sleep(ctx context.Context, delay time.Duration) bool {
	select {
	case <-time.After(delay):
		return true
	case <-s.wanted:
		return true
	case <-ctx.Done():
		return false
	}
}

// Failed reports whether the last fetch failed.
func (s *Set) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Trouble says what is wrong with the keys, "" for nothing.
func (s *Set) Trouble() string {
	switch {
	case s.Keys() == nil:
		return "there are no keys, so its tokens get 503"
	case s.fetch != nil && s.Failed():
		return "its keys cannot be fetched; those that are known go on"
	}
	return ""
}

// Load puts the content of a file in force.
func (s *Set) Load(data []byte) (keys int, err error) {
	var document Document
	if err := decode(data, &document); err != nil {
		return 0, err
	}
	keys, left, err := s.apply(document, s.now(), time.Time{})
	s.report(Fetch{Issuer: s.issuer, Keys: keys, Left: left, Err: err})
	return keys, err
}

// Until is when the keys in force are no longer used, zero for never.
func (s *Set) Until() time.Time {
	if now := s.current.Load(); now != nil {
		return now.until
	}
	return time.Time{}
}
