package providertoken

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/expiring"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const (
	// maxAge bounds the age of what is known of a person while their token is in use,
	// however long the token lives.
	maxAge = 15 * time.Minute
	// retry is how long a replica waits after it began a renewal in the background before
	// it begins another one for the same session.
	retry = 5 * time.Second
	// renewers bounds the background renewals of one replica at a time.
	renewers = 32
	// A renewal holds a lease on its session, so that other replicas leave it alone: for
	// longestLease at most, and for shortestLease at least where the token dies soon. The
	// provider has the time of the lease, less leaseMargin, to answer.
	longestLease, shortestLease = 40 * time.Second, 14 * time.Second
	leaseMargin                 = 4 * time.Second
	// commitTime bounds how long a replica tries to store the result of a renewal. If it
	// fails, the session is lost to the other replicas.
	commitTime = 2 * time.Minute
	// freshEnough is the age up to which a client's refresh accepts what the provider
	// said about the person.
	freshEnough = time.Minute
)

// Errors of Held. ErrOver is permanent; after ErrCannotTell the caller may try again.
var (
	ErrOver        = fmt.Errorf("%w: the session for the MCP server's token has ended", connector.ErrSessionOver)
	ErrCannotTell  = fmt.Errorf("%w: the session for the MCP server's token cannot be had right now", connector.ErrUnavailable)
	errOtherServer = errors.New("internal error: the session is of another MCP server")
)

// SignIn describes the sign-in that a session belongs to.
type SignIn struct {
	Family, Resource, Provider string
	Client                     policy.Client // as the policy knows it
	InGroups                   bool          // see policy.Rules.Rematch
	Until                      time.Time     // when the last token of the sign-in is dead
}

// record is what the guard stores for one sign-in. It is sealed; the family is the
// associated data.
type record struct {
	SignIn
	Session  connector.Session  `json:"session,omitzero"`
	Identity connector.Identity `json:"identity"`
	Policy   string             `json:"policy"` // the rules that matched the person, see policy.Match
	Token    Token              `json:"token"`
	Got      int64              `json:"got"` // when the provider gave Token, in Unix seconds
	// Renewal counts the renewals, so that an older result never replaces a newer one.
	Renewal int `json:"n"`
	// Lease is a random value while a replica renews the session, until LeasedUntil (Unix
	// milliseconds by the clock that the replicas share).
	Lease       string `json:"lease,omitempty"`
	LeasedUntil int64  `json:"until,omitempty"`
	// Over is why the session cannot be renewed any more, "" while it can.
	Over reasons.Reason `json:"over,omitempty"`
}

// Held keeps the sessions of sign-ins in form "held". One replica at a time exchanges a
// session at the provider. All replicas serve the result from memory.
type Held struct {
	Guard     guard.Guard
	Providers provider.Set
	Resources *resource.Table
	Policy    *policy.Policy
	Ended     *revocation.List
	// End ends a sign-in when a renewal shows that it must end: the person is gone, say,
	// or is not admitted any more.
	End    func(family string, until time.Time, subject string, why reasons.Reason, cause error)
	Now    func() time.Time
	Logger *slog.Logger
	// Observe, if set, is called with the outcome of each renewal, for metrics.
	Observe func(Outcome)

	box     seal.Box[record]
	handles seal.Box[handle]
	flights singleflight.Group
	places  chan struct{}
	open    sync.WaitGroup

	mu    sync.Mutex
	known *expiring.Map[*state]
}

// Outcome is how a renewal ended; a closed set.
type Outcome string

// The outcomes.
const (
	Renewed  Outcome = "renewed"  // the provider gave a new token
	Adopted  Outcome = "adopted"  // another replica had renewed
	Over     Outcome = "over"     // the provider gives nothing more
	Failed   Outcome = "failed"   // the provider or the guard did not answer, or refused for now
	Lost     Outcome = "lost"     // the guard did not store the new token
	Overtook Outcome = "overtook" // another replica's lease ran out without a result
)

// Outcomes lists every Outcome.
var Outcomes = []Outcome{Renewed, Adopted, Over, Failed, Lost, Overtook}

// state is what this replica knows of one sign-in. Only replaced and retryAt change after
// newState.
type state struct {
	record
	renew, dead time.Time // when to renew, and when the token is no longer handed out
	// replaced becomes true when a newer state is known.
	replaced *atomic.Bool
	retryAt  atomic.Int64 // Unix seconds: no background renewal begins before
}

// New returns h ready for use. It keeps at most most sessions in memory.
func New(keys *seal.Keyring, most int, h *Held) *Held {
	h.box = seal.NewBox[record](keys, "session with a provider")
	h.handles = seal.NewBox[handle](keys, "handle of a provider's token")
	h.places = make(chan struct{}, renewers)
	h.known = expiring.New[*state](most)
	return h
}

func sessionID(family string) string { return "provider session " + family }

// Begin stores the session of a sign-in that completes. If the guard has the sign-in
// already, the stored record stays as it is. Errors wrap guard.ErrUnavailable or
// ErrTooLarge.
func (h *Held) Begin(ctx context.Context, s SignIn, id connector.Identity, match string, session connector.Session, k Token) error {
	if len(k.Value) > maxHeld {
		return fmt.Errorf("%w: it has %d bytes, and %d can be held", ErrTooLarge, len(k.Value), maxHeld)
	}
	r := record{SignIn: s, Session: session.Lean(), Identity: id, Policy: match, Token: k, Got: h.Now().Unix()}
	err := h.Guard.Change(ctx, sessionID(s.Family), func(old string, _ time.Time) (string, time.Duration, error) {
		if old != "" {
			return old, 0, nil
		}
		return h.sealed(r)
	})
	if err != nil {
		return err
	}
	h.remember(r)
	return nil
}

// sealed returns r as the guard stores it, and for how long.
func (h *Held) sealed(r record) (string, time.Duration, error) {
	value, err := h.box.Seal(r, r.Until, r.Family)
	return value, max(r.Until.Sub(h.Now()), time.Second), err
}

// Longest returns the longest access token lifetime that is configured for an MCP server
// with held sessions, 0 if none is.
func (h *Held) Longest() (longest time.Duration) {
	for _, r := range h.Resources.All() {
		if t := r.ProviderToken; t != nil && t.Held {
			longest = max(longest, t.Lifetime)
		}
	}
	return longest
}

// Drop removes the session of a sign-in that has ended, in the background. If the guard
// does not answer, the record stays there unused until it expires.
func (h *Held) Drop(family string) {
	h.open.Add(1)
	go func() {
		defer h.open.Done()
		h.drop(context.Background(), family)
	}()
}

func (h *Held) drop(ctx context.Context, family string) {
	if s := h.state(family); s != nil {
		over := s.record
		over.Over, over.Session, over.Token = reasons.TokenRevoked, connector.Session{}, Token{}
		h.remember(over)
	}
	err := h.Guard.Change(ctx, sessionID(family), func(string, time.Time) (string, time.Duration, error) { return "", 0, nil })
	if err != nil {
		h.Logger.Warn("a session with an identity provider that has ended could not be removed from the guard", "error", err)
	}
}

// newState computes when to renew r, and when its token is no longer handed out.
func newState(r record) *state {
	s := &state{record: r, replaced: new(atomic.Bool)}
	got := time.Unix(r.Got, 0)
	s.renew, s.dead = got.Add(maxAge), r.Until
	if r.Token.Expires != 0 {
		expires := time.Unix(r.Token.Expires, 0)
		life := expires.Sub(got)
		s.dead = expires.Add(-margin(life) / 4)
		if half := got.Add(life / 2); half.Before(s.renew) {
			s.renew = half
		}
	}
	return s
}

// remember makes r what this replica knows, unless it knows something newer, and returns
// what it knows then. Views of the state before see that it was replaced. When the memory
// is full, the entry that expires first is forgotten.
func (h *Held) remember(r record) *state {
	s := newState(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known.Sweep(h.Now())
	if before, ok := h.known.Get(r.Family); ok {
		if (before.Renewal > r.Renewal || before.Over != "") && r.Over == "" { // a session that is over stays over
			return before
		}
		before.replaced.Store(true)
	}
	if h.known.Set(r.Family, s, r.Until) != nil {
		h.known.Evict()
		_ = h.known.Set(r.Family, s, r.Until)
	}
	return s
}

// state returns what this replica knows of family, nil if nothing.
func (h *Held) state(family string) *state {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, _ := h.known.Get(family)
	return s
}

// due reports whether it is time to renew s. It is also true if the clock was set back,
// because the expiry of the token cannot be trusted then.
func (s *state) due(now time.Time) bool {
	return s.Over == "" && (!now.Before(s.renew) || now.Before(time.Unix(s.Got, 0).Add(-clockStep)))
}

// clockStep bounds the difference between the clocks of two replicas.
const clockStep = 2 * time.Minute

// lease returns how long a renewal of s may hold the session.
func (s *state) lease(now time.Time) time.Duration {
	return max(shortestLease, min(longestLease, s.dead.Sub(now)/2))
}

func newLease() string { return rand.Text() }
