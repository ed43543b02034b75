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
	// maxAge is how old what is known of a person may become while they are in use,
	// whatever their token's life is.
	maxAge = 15 * time.Minute
	// retry is how long a renewal that failed is left alone by a replica.
	retry = 5 * time.Second
	// renewers bounds how many renewals a replica has under way.
	renewers = 32
	// longestLease is how long the other replicas leave a session to the one that
	// renews it, shortestLease the same where the token dies soon. The provider has
	// what is left of it after leaseMargin.
	longestLease, shortestLease = 40 * time.Second, 14 * time.Second
	leaseMargin                 = 4 * time.Second
	// commits bounds the time for which a replica tries to write down what a renewal
	// brought: without it the session is lost.
	commitTime = 2 * time.Minute
	// freshEnough is how old the answer about a person may be at a client's refresh.
	freshEnough = time.Minute
)

// Errors of a Held. Both are about the session; ErrOver is for good.
var (
	ErrOver        = fmt.Errorf("%w: the session for the MCP server's token has ended", connector.ErrSessionOver)
	ErrCannotTell  = fmt.Errorf("%w: the session for the MCP server's token cannot be had right now", connector.ErrUnavailable)
	errOtherServer = errors.New("internal error: the session is of another MCP server")
)

// SignIn is what a sign-in has besides its session.
type SignIn struct {
	Family, Resource, Provider string
	Client                     policy.Client // as the rules know it
	InGroups                   bool          // see policy.Rules.Rematch
	Until                      time.Time     // when the last token of the sign-in is dead
}

// record is what the guard holds of one sign-in, sealed, with its family for
// associated data.
type record struct {
	SignIn
	Session  connector.Session  `json:"session,omitzero"`
	Identity connector.Identity `json:"identity"`
	Policy   string             `json:"policy"` // which rules hold, see policy.Match
	Token    Token              `json:"token"`
	Got      int64              `json:"got"` // when Token was had, in Unix seconds
	// Renewal counts the renewals, so that none is written over a later one.
	Renewal int `json:"n"`
	// Lease is random while a replica renews, until LeasedUntil (Unix milliseconds by
	// the clock that replicas share).
	Lease       string `json:"lease,omitempty"`
	LeasedUntil int64  `json:"until,omitempty"`
	// Over says why there is nothing more to renew, "" while there is.
	Over reasons.Reason `json:"over,omitempty"`
}

// Held keeps the sessions of sign-ins in form "held". Of each, one replica at a time
// exchanges it at the provider, and all serve what that brought, from memory.
type Held struct {
	Guard     guard.Guard
	Providers provider.Set
	Resources *resource.Table
	Policy    *policy.Policy
	Ended     *revocation.List
	// End ends a sign-in for a reason that renewing it brought to light.
	End    func(family string, until time.Time, subject string, why reasons.Reason, cause error)
	Now    func() time.Time
	Logger *slog.Logger
	// Observe is told how each renewal ended, for metrics; may be nil.
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
	Failed   Outcome = "failed"   // it could not be told
	Lost     Outcome = "lost"     // a new token could not be written down
	Overtook Outcome = "overtook" // the replica that renewed before did not say how it ended
)

// Outcomes are all of them.
var Outcomes = []Outcome{Renewed, Adopted, Over, Failed, Lost, Overtook}

// state is what this replica knows of one sign-in. Only failed changes.
type state struct {
	record
	renew, dead time.Time
	// replaced becomes true when there is another state.
	replaced *atomic.Bool
	failed   atomic.Int64 // Unix seconds: no try before
}

// New returns h with the boxes of keys, for at most that many sessions in memory.
func New(keys *seal.Keyring, most int, h *Held) *Held {
	h.box = seal.NewBox[record](keys, "session with a provider")
	h.handles = seal.NewBox[handle](keys, "handle of a provider's token")
	h.places = make(chan struct{}, renewers)
	h.known = expiring.New[*state](most)
	return h
}

func sessionID(family string) string { return "provider session " + family }

// Begin keeps the session of a sign-in that completes, once: its later state is not
// replaced. Errors wrap guard.ErrUnavailable, and ErrTooLarge.
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

func (h *Held) sealed(r record) (string, time.Duration, error) {
	value, err := h.box.Seal(r, r.Until, r.Family)
	return value, max(r.Until.Sub(h.Now()), time.Second), err
}

// Longest is how long an access token lives at most for any MCP server whose
// sessions are held.
func (h *Held) Longest() (longest time.Duration) {
	for _, r := range h.Resources.All() {
		if t := r.ProviderToken; t != nil && t.Held {
			longest = max(longest, t.Lifetime)
		}
	}
	return longest
}

// Drop forgets the session of a sign-in that has ended, in the background. That the
// guard does not answer is no harm: nothing asks for it any more, and it dies by itself.
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

// newState says of r when it is to be renewed, and when its token is dead.
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

// remember makes r what this replica knows, and tells those who have the state before.
func (h *Held) remember(r record) *state {
	s := newState(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known.Sweep(h.Now())
	if before, ok := h.known.Get(r.Family); ok {
		if (before.Renewal > r.Renewal || before.Over != "") && r.Over == "" { // what is over stays so
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

// state returns what is known of family, nil for nothing.
func (h *Held) state(family string) *state {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, _ := h.known.Get(family)
	return s
}

// due reports whether s is to be renewed now that it is used. A clock that was set
// back makes it due too: what it says of the token is then not to be believed.
func (s *state) due(now time.Time) bool {
	return s.Over == "" && (!now.Before(s.renew) || now.Before(time.Unix(s.Got, 0).Add(-clockStep)))
}

// clockStep is by how much the clocks of replicas may differ.
const clockStep = 2 * time.Minute

// lease says for how long a renewal of s has the session to itself.
func (s *state) lease(now time.Time) time.Duration {
	return max(shortestLease, min(longestLease, s.dead.Sub(now)/2))
}

func newLease() string { return rand.Text() }
