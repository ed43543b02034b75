package guard

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"
)

// Store is what replicas share: values under keys, each with its own lifetime. Both
// methods touch one key, return within a few seconds whatever the network does, and may
// be repeated when it is not known whether they took effect.
type Store interface {
	// Load returns the value under key, "" for none, and the store's own time:
	// every replica measures with that one clock.
	Load(ctx context.Context, key string) (value string, now time.Time, err error)
	// Swap puts value under key for ttl if old is there now ("" for nothing),
	// in one step. It also reports true if value is there already.
	Swap(ctx context.Context, key, old, value string, ttl time.Duration) (swapped bool, err error)
}

// Operation is what a store was asked for; a closed set, for metrics.
type Operation string

// Operations.
const (
	OpLoad   Operation = "load"
	OpSwap   Operation = "swap"
	OpRevoke Operation = "revoke" // end something for every replica
	OpPoll   Operation = "poll"   // learn what other replicas ended
)

// Operations are all there are.
var Operations = []Operation{OpLoad, OpSwap, OpRevoke, OpPoll}

const (
	// exchangeLimit bounds next. leaseTime is how long other replicas leave a family to
	// the one that exchanges for it. The difference is time for the store.
	exchangeLimit = 15 * time.Second
	leaseTime     = 25 * time.Second
	// patience is how long one waits for another replica's exchange.
	patience = 10 * time.Second
	// firstPause doubles up to lastPause while one waits.
	firstPause = 20 * time.Millisecond
	lastPause  = 250 * time.Millisecond
	// margin keeps entries a little past their expiry, because the clocks of replicas and
	// of the store differ.
	margin = 2 * time.Minute
	// commitTime is how long a replica tries to write the outcome of an exchange. Most
	// restarts of a store take less. Unless another replica has taken over, the identity
	// provider's answer is still good after the lease.
	commitTime = 45 * time.Second
	// changes is how many attempts are made to change a value that others write as well.
	changes = 20
)

// Shared is the guard of all replicas that use one store. Keys are hashes, and
// values are numbers, random ids and what next returned or kept, which is sealed.
//
// One exchange of a family runs at a time, under a lease. A replica that dies holding
// it delays the family by at most leaseTime, and the replica that takes over gets what
// next has kept. A replica that is suspended for longer and then continues finds its
// lease taken, and discards its result.
type Shared struct {
	Store Store
	Now   func() time.Time // the clock of the service
	// Observe is told of every call of the store; may be nil.
	Observe func(op Operation, took time.Duration, err error)

	running exchanges
}

// Redeem implements Guard. The value is random for each call, so a call that the
// store's client repeats does not count as a second use.
func (s *Shared) Redeem(ctx context.Context, id string, expires time.Time) (bool, error) {
	return s.swap(ctx, storeKey("once", id), "", rand.Text(), max(expires.Sub(s.Now()), 0)+margin)
}

// Rotate implements Guard. Like Memory's, next runs to its end, or for
// exchangeLimit, even if ctx does not.
func (s *Shared) Rotate(ctx context.Context, r Rotation, next Next) (string, error) {
	return s.running.rotate(ctx, r, func(ctx context.Context) (string, error) { return s.exchange(ctx, r, next) })
}

// exchange judges r by what the store knows, and calls next if it is fresh.
func (s *Shared) exchange(ctx context.Context, r Rotation, next Next) (string, error) {
	giveUp, pause := time.Now().Add(patience), firstPause
	for {
		h, err := s.history(ctx, r.Family)
		if err != nil {
			return "", err
		}
		if h.busy() {
			if time.Now().After(giveUp) {
				return "", fmt.Errorf("%w: another replica is still busy with the family", ErrUnavailable)
			}
			time.Sleep(pause)
			pause = min(2*pause, lastPause)
			continue
		}
		verdict := h.family().judge(r, h.now)
		if verdict == repeated {
			if verdict, err = s.repeat(ctx, r, h); err != nil {
				return "", err
			}
		}
		switch verdict {
		case repeated:
			return s.answer(ctx, h.Exchange)
		case reused:
			over, err := h.Ended, error(nil)
			if !over {
				over, err = s.write(ctx, h, record{Current: h.Current, Since: h.Since, Made: h.Made, Ended: true, Expires: max(h.Expires, r.Expires.UnixMilli())})
			}
			if err != nil {
				return "", err
			}
			if over {
				return "", ErrReused
			}
		case fresh:
			leased := h.record
			leased.Lease, leased.LeasedUntil = rand.Text(), h.now.Add(leaseTime).UnixMilli()
			leased.Expires = max(leased.Expires, r.Expires.UnixMilli())
			if mine, err := s.write(ctx, h, leased); err != nil {
				return "", err
			} else if mine {
				return s.spend(ctx, r, h, leased, next)
			}
		}
	}
}

// repeat decides, by what happened since, whether a request that by h alone gets the
// last answer again does get it. If so, it is counted.
func (s *Shared) repeat(ctx context.Context, r Rotation, h history) (verdict, error) {
	if !r.Arrived.IsZero() {
		r.Arrived = h.storeTime().Add(r.Arrived.Sub(s.Now()))
	}
	v := repeated
	err := s.change(ctx, r.Family, h.Current, func(l aftermath, _ time.Time) (aftermath, bool) {
		f := h.family()
		f.repeats = l.Repeats
		if l.Used != 0 {
			f.used = time.UnixMilli(l.Used)
		}
		v = f.judge(r, h.now)
		l.Repeats++
		return l, v == repeated
	})
	return v, err
}

// Used implements Guard.
func (s *Shared) Used(ctx context.Context, u Use) error {
	return s.change(ctx, u.Family, u.Generation, func(l aftermath, now time.Time) (aftermath, bool) {
		if l.Used != 0 {
			return l, false
		}
		l.Used = now.Add(u.At.Sub(s.Now())).UnixMilli()
		return l, true
	})
}

// Keep implements Guard.
func (s *Shared) Keep(ctx context.Context, id, value string, expires time.Time) error {
	key, ttl := storeKey("kept", id), expires.Sub(s.Now())
	if ttl <= 0 {
		return nil
	}
	for range changes {
		old, _, err := s.load(ctx, key)
		if err != nil {
			return err
		}
		if swapped, err := s.swap(ctx, key, old, value, ttl); swapped || err != nil {
			return err
		}
	}
	return errContended
}

// Kept implements Guard.
func (s *Shared) Kept(ctx context.Context, id string) (string, error) {
	value, _, err := s.load(ctx, storeKey("kept", id))
	return value, err
}

// Change implements Guard.
func (s *Shared) Change(ctx context.Context, id string, edit Edit) error {
	key := storeKey("kept", id)
	for try := range changes {
		if try > 1 { // others are at it too: let them pass
			time.Sleep(mathrand.N(time.Duration(try) * firstPause / 4))
		}
		old, now, err := s.load(ctx, key)
		if err != nil {
			return err
		}
		value, life, err := edit.apply(old, now)
		if err != nil || value == old {
			return err
		}
		if swapped, err := s.swap(ctx, key, old, value, max(life, time.Millisecond)); swapped || err != nil {
			return err
		}
	}
	return errContended
}

// Replace implements Guard.
func (s *Shared) Replace(ctx context.Context, id, old, value string, life time.Duration) (bool, error) {
	if len(value) > MaxKept {
		return false, ErrTooLarge
	}
	return s.swap(ctx, storeKey("kept", id), old, value, max(life, time.Millisecond))
}

// errContended: another replica wrote in between at every attempt.
var errContended = fmt.Errorf("%w: too many replicas write at once", ErrUnavailable)

// aftermath is what the store holds of the time after an exchange. It has a key of
// its own, because while a lease is held only its holder may write the record.
type aftermath struct {
	Used    int64  `json:"used,omitempty"` // Unix milliseconds by the store; 0 for not yet
	Repeats int    `json:"repeats,omitempty"`
	Nonce   string `json:"nonce"` // distinguishes a write from those of other replicas
}

// change applies edit to what is known of the time after the exchange that made
// generation. edit reports whether there is something to write; it runs again if
// another replica wrote meanwhile.
func (s *Shared) change(ctx context.Context, family string, generation int, edit func(l aftermath, now time.Time) (aftermath, bool)) error {
	key := storeKey("aftermath", fmt.Sprintf("%s\x00%d", family, generation))
	for range changes {
		raw, now, err := s.load(ctx, key)
		if err != nil {
			return err
		}
		var l aftermath
		if raw != "" {
			if err := json.Unmarshal([]byte(raw), &l); err != nil {
				return fmt.Errorf("%w: what the store holds of an exchange is not ours: %w", ErrUnavailable, err)
			}
		}
		l, write := edit(l, now)
		if !write {
			return nil
		}
		l.Nonce = rand.Text()
		next, err := json.Marshal(l)
		if err != nil {
			panic("internal error: " + err.Error()) // numbers and strings
		}
		if swapped, err := s.swap(ctx, key, raw, string(next), leaseTime+margin); swapped || err != nil {
			return err
		}
	}
	return errContended
}

// spend calls next under the lease and stores its result.
func (s *Shared) spend(ctx context.Context, r Rotation, before history, leased record, next Next) (string, error) {
	held := &holding{history: history{record: leased, raw: leased.encode(), key: before.key, now: before.now, read: before.read}}
	if before.Left != "" && before.LeftFor == r.Generation && r.Resume != nil {
		r.Resume(before.Left)
	}
	written := false
	defer func() {
		if !written { // also after a panic; if this fails the lease runs out
			_, _ = s.writeHeld(ctx, held, held.released())
		}
	}()
	bounded, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	answer, err := next(bounded, func(value string) { s.leave(ctx, held, r, value) })
	if unfinished, ok := errors.AsType[*Unfinished](err); ok {
		held.Left, held.LeftFor = unfinished.Keep, r.Generation
		// What cannot be written is lost, as with a replica that dies here.
		written = untilWritten(func() error { _, err := s.writeHeld(ctx, held, held.released()); return err }) == nil
		return "", unfinished.Err
	}
	if err != nil {
		return "", err
	}
	written = true
	done := record{
		Current: r.Generation + 1, Since: held.storeTime().UnixMilli(), Made: s.Now().UnixMilli(), Exchange: leased.Lease, Expires: r.Expires.UnixMilli(),
	}
	if err := s.commit(ctx, held, done, answer, r.Grace); err != nil {
		return "", err
	}
	return answer, nil
}

// holding is what the store holds of a family while this replica has its lease.
type holding struct {
	history
	// perhaps is what the store may hold instead of raw, after a write that may or may not
	// have taken effect; else "".
	perhaps string
}

// released is the record without the lease.
func (h *holding) released() record {
	r := h.record
	r.Lease, r.LeasedUntil = "", 0
	return r
}

// leave writes at once what an exchange must not lose. If it cannot, the exchange
// continues, because its end is written as well.
func (s *Shared) leave(ctx context.Context, h *holding, r Rotation, value string) {
	h.Left, h.LeftFor = value, r.Generation
	raw := h.encode()
	switch written, err := s.writeHeld(ctx, h, h.record); {
	case err != nil:
		h.perhaps = raw
	case written:
		h.raw, h.perhaps = raw, ""
	}
}

// writeHeld replaces h, if it is still what the store holds.
func (s *Shared) writeHeld(ctx context.Context, h *holding, next record) (bool, error) {
	written, err := s.write(ctx, h.history, next)
	if !written && err == nil && h.perhaps != "" {
		other := h.history
		other.raw = h.perhaps
		return s.write(ctx, other, next)
	}
	return written, err
}

// commit writes the answer and then that there is one. If this fails the client loses
// the identity provider's answer, so it is tried again while the store is down.
func (s *Shared) commit(ctx context.Context, held *holding, done record, answer string, grace time.Duration) error {
	mine := false
	err := untilWritten(func() (err error) {
		if _, err = s.swap(ctx, storeKey("answer", done.Exchange), "", answer, grace+leaseTime); err == nil {
			mine, err = s.writeHeld(ctx, held, done)
		}
		return err
	})
	if err == nil && !mine {
		err = fmt.Errorf("%w: the exchange took so long that another replica has taken over", ErrUnavailable)
	}
	return err
}

// untilWritten calls write until it succeeds, for commitTime at most.
func untilWritten(write func() error) error {
	giveUp, pause := time.Now().Add(commitTime), firstPause
	for {
		err := write()
		if err == nil || time.Now().After(giveUp) {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

// answer returns the stored answer of an exchange.
func (s *Shared) answer(ctx context.Context, exchange string) (string, error) {
	answer, _, err := s.load(ctx, storeKey("answer", exchange))
	if err == nil && answer == "" {
		err = errAnswerLost
	}
	return answer, err
}

// record is what the store holds of a family. Times are in milliseconds since 1970.
type record struct {
	Current     int    `json:"current"`            // the generation that is to be used next
	Since       int64  `json:"since"`              // when it was made, by the store
	Made        int64  `json:"made"`               // the same by the replica that made it
	Exchange    string `json:"exchange,omitempty"` // names the answer
	Ended       bool   `json:"ended,omitempty"`
	Expires     int64  `json:"expires"`
	Left        string `json:"left,omitempty"` // what an exchange has left that failed, or has not ended
	LeftFor     int    `json:"leftFor,omitempty"`
	Lease       string `json:"lease,omitempty"` // random: who runs an exchange now
	LeasedUntil int64  `json:"leasedUntil,omitempty"`
}

func (r record) family() family {
	f := family{current: r.Current, since: time.UnixMilli(r.Since), ended: r.Ended}
	if r.Made != 0 {
		f.issuedBy = time.UnixMilli(r.Made).Add(-margin)
	}
	return f
}

func (r record) encode() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic("internal error: " + err.Error()) // numbers and strings
	}
	return string(text)
}

// history is a record as it was read.
type history struct {
	record
	key, raw string
	now      time.Time // by the store, when it was read
	read     time.Time // by this process
}

// busy reports whether a replica holds a lease that has not run out.
func (h history) busy() bool { return h.Lease != "" && h.now.UnixMilli() < h.LeasedUntil }

// storeTime is what the store's clock says now.
func (h history) storeTime() time.Time { return h.now.Add(time.Since(h.read)) }

func (s *Shared) history(ctx context.Context, family string) (history, error) {
	h := history{key: storeKey("family", family)}
	var err error
	if h.raw, h.now, err = s.load(ctx, h.key); err != nil {
		return h, err
	}
	h.read = time.Now()
	if h.raw == "" {
		return h, nil
	}
	if err := json.Unmarshal([]byte(h.raw), &h.record); err != nil {
		return h, fmt.Errorf("%w: what the store holds of the family is not ours: %w", ErrUnavailable, err)
	}
	return h, nil
}

// write replaces h, if it is still what the store holds.
func (s *Shared) write(ctx context.Context, h history, next record) (bool, error) {
	ttl := time.UnixMilli(next.Expires).Sub(h.storeTime())
	return s.swap(ctx, h.key, h.raw, next.encode(), max(ttl, leaseTime)+margin)
}

func (s *Shared) load(ctx context.Context, key string) (string, time.Time, error) {
	began := time.Now()
	value, now, err := s.Store.Load(ctx, key)
	return value, now, s.observed(OpLoad, began, err)
}

func (s *Shared) swap(ctx context.Context, key, old, value string, ttl time.Duration) (bool, error) {
	began := time.Now()
	swapped, err := s.Store.Swap(ctx, key, old, value, ttl)
	err = s.observed(OpSwap, began, err)
	return swapped && err == nil, err
}

func (s *Shared) observed(op Operation, began time.Time, err error) error {
	if s.Observe != nil {
		s.Observe(op, time.Since(began), err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// storeKey hides ids: a reader of the store learns no id of a code or family,
// and every key has the same size.
func storeKey(kind, id string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + id))
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}
