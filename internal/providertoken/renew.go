package providertoken

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// enough reports whether a state will do for the caller that waits.
type enough func(s *state, now time.Time) bool

// alive reports whether the token can be handed out.
func alive(s *state, now time.Time) bool {
	return now.Before(s.dead) && !now.Before(time.Unix(s.Got, 0).Add(-clockStep))
}

// fresh reports whether the provider has said a moment ago who the person is.
func fresh(s *state, now time.Time) bool {
	return alive(s, now) && now.Sub(time.Unix(s.Got, 0)) < freshEnough
}

// await returns the state of family as soon as it is good enough, and renews it until
// then. Errors wrap ErrOver, or ErrCannotTell when ctx ends. A renewal that has begun
// goes on after ctx has ended.
func (h *Held) await(ctx context.Context, family string, good enough) (*state, error) {
	pause := 20 * time.Millisecond
	for {
		s, now := h.state(family), h.Now()
		switch {
		case s != nil && s.Over != "":
			return nil, ErrOver
		case s != nil && good(s, now):
			return s, nil
		}
		h.open.Add(1) // before the renewal begins, so that Close waits for it
		done := h.flights.DoChan(family, func() (any, error) {
			return nil, h.renew(context.WithoutCancel(ctx), family, good)
		})
		select {
		case <-ctx.Done():
			go func() {
				<-done
				h.open.Done()
			}()
			return nil, ErrCannotTell
		case result := <-done:
			h.open.Done()
			if err := result.Err; err != nil && !errors.Is(err, errBusy) {
				return nil, err
			}
		}
		select { // another replica may be renewing: look again soon
		case <-ctx.Done():
			return nil, ErrCannotTell
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// renewInBackground begins a renewal that no request waits for. It does nothing if one
// began less than retry ago, or if too many are under way.
func (h *Held) renewInBackground(s *state, now time.Time) {
	retryAt := s.retryAt.Load()
	if now.Unix() < retryAt || !s.retryAt.CompareAndSwap(retryAt, now.Add(retry).Unix()) {
		return
	}
	select {
	case h.places <- struct{}{}:
	default:
		return
	}
	h.open.Add(1)
	go func() {
		defer h.open.Done()
		defer func() { <-h.places }()
		renewed := func(other *state, _ time.Time) bool { return other.Renewal > s.Renewal }
		_, _, _ = h.flights.Do(s.Family, func() (any, error) { return nil, h.renew(context.Background(), s.Family, renewed) })
	}()
}

// Close waits until the renewals that are under way have ended, or ctx has.
func (h *Held) Close(ctx context.Context) {
	if h == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		h.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// errBusy: another replica renews the session.
var errBusy = errors.New("another replica renews the session")

// renew brings what this replica knows of family up to date. It takes the guard's record
// if that is good enough, and otherwise takes the lease and asks the provider.
func (h *Held) renew(ctx context.Context, family string, good enough) error {
	r, took, err := h.take(ctx, family, good)
	if err != nil || !took.mine {
		return err
	}
	if took.overtaken {
		h.observe(Overtook)
	}
	next, err := h.ask(ctx, r, took)
	if err != nil {
		h.observe(Failed)
		h.Logger.Info("a session with an identity provider could not be renewed", "family", family, "error", err)
	}
	return errors.Join(err, h.commit(ctx, r, next))
}

func (h *Held) observe(o Outcome) {
	if h.Observe != nil {
		h.Observe(o)
	}
}

// turn is the result of trying to take the lease of a session.
type turn struct {
	mine      bool          // this replica has the lease
	overtaken bool          // the holder before let its lease run out: it may have asked the provider
	patience  time.Duration // how long the provider may take
	raw       string        // the record with the lease, as the guard stores it
}

// take reads the guard's record of family. A record that is good enough, or over, becomes
// what this replica knows. Otherwise take writes a lease into the record, and took.mine
// is true. The error is errBusy if another replica has the lease.
func (h *Held) take(ctx context.Context, family string, good enough) (r record, took turn, err error) {
	var found *record
	err = h.Guard.Change(ctx, sessionID(family), func(old string, shared time.Time) (string, time.Duration, error) {
		found, took = nil, turn{}
		if old == "" {
			return old, 0, nil
		}
		was, err := h.box.Open(old, family)
		if err != nil {
			return "", 0, err
		}
		found, r = &was, was
		s := newState(was)
		switch {
		case was.Over != "", good(s, h.Now()):
			return old, 0, nil
		case was.Lease != "" && shared.UnixMilli() < was.LeasedUntil:
			return old, 0, errBusy
		}
		life := s.lease(h.Now())
		took = turn{mine: true, overtaken: was.Lease != "", patience: life - leaseMargin}
		r.Lease, r.LeasedUntil = newLease(), shared.Add(life).UnixMilli()
		value, ttl, err := h.sealed(r)
		took.raw = value
		return value, ttl, err
	})
	switch {
	case errors.Is(err, errBusy):
		return r, took, err
	case err != nil:
		return r, took, fmt.Errorf("%w: %w", ErrCannotTell, err)
	case found == nil: // the guard has forgotten it, or it was never there
		h.forget(family)
		return r, took, ErrOver
	case took.mine:
		return r, took, nil
	}
	if h.remember(*found); found.Over == "" {
		h.observe(Adopted)
	}
	return r, took, nil
}

// forget notes that the guard has no session of family any more.
func (h *Held) forget(family string) {
	if s := h.state(family); s != nil {
		over := s.record
		over.Over, over.Session, over.Token = reasons.ProviderTokenMissing, connector.Session{}, Token{}
		h.remember(over)
	}
}

// ask has the provider say who the person is now, and give a new token. It returns the
// next record. If the session is over, the record says so and the error is nil. With an
// error, the record has the session to go on with.
func (h *Held) ask(ctx context.Context, r record, took turn) (record, error) {
	next := r
	next.Lease, next.LeasedUntil = "", 0
	t, p := h.settings(r), h.Providers.Find(r.Provider)
	if t == nil || p == nil { // the configuration has changed
		return h.ended(next, reasons.ProviderRemoved), nil
	}
	if h.Ended.Check(revocation.Facts{Family: r.Family, Subject: r.Identity.FullSubject(), Email: r.Identity.Email}) != revocation.None {
		return h.ended(next, reasons.TokenRevoked), nil
	}
	ctx, cancel := context.WithTimeout(connector.Patient(ctx), took.patience)
	defer cancel()
	ctx = connector.OnExchange(ctx, func(s connector.Session) { h.storeSession(ctx, r, took.raw, s) })
	bare := connector.Identity{Namespace: r.Identity.Namespace, Subject: r.Identity.Subject}
	id, session, err := p.Recheck(ctx, bare, r.Session)
	if why := whyOver(err, took); why != "" {
		return h.endSignIn(next, why, err), nil
	}
	if !session.IsZero() { // also with an error: the one before is spent
		next.Session = session.Lean()
	}
	if err != nil {
		return next, fmt.Errorf("%w: %w", ErrCannotTell, err)
	}
	if denied := p.Gate.Admit(id); denied != nil {
		return h.endSignIn(next, policy.ReasonOf(denied), denied), nil
	}
	return h.withToken(ctx, next, p, t, id, session)
}

// storeSession stores a session that replaced the one in r, as soon as the provider gave
// it. If this replica dies before the renewal has ended, the next one goes on from there.
// raw is the record that the guard has now. An error is ignored: commit tries again.
func (h *Held) storeSession(ctx context.Context, r record, raw string, s connector.Session) {
	r.Session = s.Lean()
	if value, life, err := h.sealed(r); err == nil {
		_, _ = h.Guard.Replace(context.WithoutCancel(ctx), sessionID(r.Family), raw, value, life)
	}
}

// withToken returns next with the new token, and with the person and their rules.
func (h *Held) withToken(ctx context.Context, next record, p *provider.Provider, t *resource.ProviderToken, id connector.Identity, session connector.Session) (record, error) {
	k, err := Obtain(ctx, p, t, session, h.Now())
	switch {
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, connector.ErrMisconfigured):
		return next, fmt.Errorf("%w: %w", ErrCannotTell, err)
	case err != nil:
		return h.endSignIn(next, reasons.ProviderTokenMissing, err), nil
	case len(k.Value) > maxHeld:
		return h.endSignIn(next, reasons.ProviderTokenTooLarge, ErrTooLarge), nil
	}
	next.Token, next.Identity, next.Got = k, id, h.Now().Unix()
	next.Policy = h.Policy.For(next.Resource).Rematch(id, next.InGroups, next.Client).String()
	next.Renewal++
	return next, nil
}

// settings returns what the configuration says of the MCP server of r, nil if the server
// gets no held token of this provider any more.
func (h *Held) settings(r record) *resource.ProviderToken {
	for _, res := range h.Resources.All() {
		if res.URI == r.Resource && res.ProviderToken.Of(r.Provider) && res.ProviderToken.Held {
			return res.ProviderToken
		}
	}
	return nil
}

// whyOver returns why the provider's error ends the session, "" if it does not. If
// another replica's lease ran out, its request may have spent the session. The provider
// may then report a reuse as if the person were gone, so the reason is about the session
// alone.
func whyOver(err error, took turn) reasons.Reason {
	switch {
	case errors.Is(err, connector.ErrGone) && took.overtaken, errors.Is(err, connector.ErrSessionOver):
		return reasons.ProviderSessionOver
	case errors.Is(err, connector.ErrGone):
		return reasons.UserGone
	case errors.Is(err, connector.ErrNotAllowed):
		return reasons.AccountNotAllowed
	}
	return ""
}

// ended returns r as a record that cannot be renewed any more.
func (h *Held) ended(r record, why reasons.Reason) record {
	r.Over, r.Session, r.Token = why, connector.Session{}, Token{}
	r.Renewal++
	return r
}

// endSignIn ends the sign-in of r together with its session, and returns the ended
// record.
func (h *Held) endSignIn(r record, why reasons.Reason, cause error) record {
	h.End(r.Family, r.Until, r.Identity.FullSubject(), why, cause)
	return h.ended(r, why)
}

// endNow is endSignIn for a caller that does not wait: this replica knows it at once, and
// the guard is told in the background.
func (h *Held) endNow(r record, why reasons.Reason, cause error) {
	over := h.endSignIn(r, why, cause)
	h.remember(over)
	h.open.Add(1)
	go func() {
		defer h.open.Done()
		_ = h.commit(context.Background(), r, over)
	}()
}

// commit replaces r in the guard by next, unless another replica has stored a later
// renewal. It tries for commitTime, because the guard may be away for a while. Meanwhile
// this replica serves next.
func (h *Held) commit(ctx context.Context, r, next record) error {
	if next.Renewal > r.Renewal {
		h.remember(next)
	}
	giveUp, pause := time.Now().Add(commitTime), 50*time.Millisecond
	for {
		overtaken, dropped := false, false
		err := h.Guard.Change(ctx, sessionID(r.Family), func(old string, _ time.Time) (string, time.Duration, error) {
			overtaken = true
			if dropped = old == ""; dropped {
				return old, 0, nil
			}
			now, err := h.box.Open(old, r.Family)
			if err != nil {
				return "", 0, err
			}
			// Without a change there is only the lease to give back. If it ran out, another
			// replica may have it.
			unchanged := next.Renewal == r.Renewal && next.Session == r.Session
			if now.Renewal > r.Renewal || unchanged && now.Lease != r.Lease {
				return old, 0, nil
			}
			overtaken = false
			return h.sealed(next)
		})
		switch {
		case err == nil && dropped: // by another replica, while the provider was asked
			h.forget(r.Family)
			return nil
		case err == nil && overtaken:
			return nil
		case err == nil:
			h.countRenewal(next, r)
			return nil
		case time.Now().After(giveUp):
			h.observe(Lost)
			h.Logger.Error("what an identity provider gave could not be written down: other replicas will not know it", "family", r.Family, "error", err)
			return fmt.Errorf("%w: %w", ErrCannotTell, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, 2*time.Second)
	}
}

// countRenewal counts a renewal that the guard has stored.
func (h *Held) countRenewal(next, before record) {
	switch {
	case next.Over != "":
		h.observe(Over)
	case next.Renewal > before.Renewal:
		h.observe(Renewed)
	}
}
