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

// enough says whether a state is what one waits for.
type enough func(s *state, now time.Time) bool

// alive is a token that can be handed out.
func alive(s *state, now time.Time) bool {
	return now.Before(s.dead) && !now.Before(time.Unix(s.Got, 0).Add(-clockStep))
}

// fresh is what the provider said of the person a moment ago.
func fresh(s *state, now time.Time) bool {
	return alive(s, now) && now.Sub(time.Unix(s.Got, 0)) < freshEnough
}

// await renews what is known of family until it is enough, or over, or ctx ends. A
// renewal that has begun goes on without ctx.
func (h *Held) await(ctx context.Context, family string, good enough) error {
	pause := 20 * time.Millisecond
	for {
		s, now := h.state(family), h.Now()
		switch {
		case s != nil && s.Over != "":
			return ErrOver
		case s != nil && good(s, now):
			return nil
		}
		h.open.Add(1) // here, where the request is: what begins later Close does not see
		done := h.flights.DoChan(family, func() (any, error) {
			return nil, h.renew(context.WithoutCancel(ctx), family, good)
		})
		select {
		case <-ctx.Done():
			go func() {
				<-done
				h.open.Done()
			}()
			return ErrCannotTell
		case result := <-done:
			h.open.Done()
			if err := result.Err; err != nil && !errors.Is(err, errBusy) {
				return err
			}
		}
		select { // another replica renews: look again soon
		case <-ctx.Done():
			return ErrCannotTell
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// renewBehind begins a renewal that no request waits for, unless one is under way,
// has failed a moment ago, or too many are.
func (h *Held) renewBehind(s *state, now time.Time) {
	until := s.failed.Load()
	if now.Unix() < until || !s.failed.CompareAndSwap(until, now.Add(retry).Unix()) {
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

// Close waits for the renewals that are under way, or until ctx ends.
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

// renew brings what this replica knows of family up to date: with what the guard has,
// if that is good, else with what the provider says under a lease.
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

// turn says how a try to take the lease ended.
type turn struct {
	mine      bool
	overtaken bool // the holder before did not give it back: it may have asked the provider
	patience  time.Duration
	raw       string // what the guard holds meanwhile
}

// take reads what the guard has of family. If that is good, or over, this replica
// knows it then; else it takes the lease. errBusy: another replica has it.
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

// forget makes family one whose session is over.
func (h *Held) forget(family string) {
	if s := h.state(family); s != nil {
		over := s.record
		over.Over, over.Session, over.Token = reasons.ProviderTokenMissing, connector.Session{}, Token{}
		h.remember(over)
	}
}

// ask has the provider say who the person is now and give a new token. Of a session
// that is over, the record says so. Beside an error there is the session to go on with.
func (h *Held) ask(ctx context.Context, r record, took turn) (record, error) {
	next := r
	next.Lease, next.LeasedUntil = "", 0
	t, p := h.settings(r), h.Providers.Find(r.Provider)
	if t == nil || p == nil { // the operator has changed the configuration
		return h.ended(next, reasons.ProviderRemoved), nil
	}
	if h.Ended.Check(revocation.Facts{Family: r.Family, Subject: r.Identity.FullSubject(), Email: r.Identity.Email}) != revocation.None {
		return h.ended(next, reasons.TokenRevoked), nil
	}
	ctx, cancel := context.WithTimeout(connector.Patient(ctx), took.patience)
	defer cancel()
	ctx = connector.OnExchange(ctx, func(s connector.Session) { h.keep(ctx, r, took.raw, s) })
	bare := connector.Identity{Namespace: r.Identity.Namespace, Subject: r.Identity.Subject}
	id, session, err := p.Recheck(ctx, bare, r.Session)
	if why := refusal(err, took); why != "" {
		return h.refused(next, why, err), nil
	}
	if !session.IsZero() { // also beside an error: the one before is spent
		next.Session = session.Lean()
	}
	if err != nil {
		return next, fmt.Errorf("%w: %w", ErrCannotTell, err)
	}
	if denied := p.Gate.Admit(id); denied != nil {
		return h.refused(next, policy.ReasonOf(denied), denied), nil
	}
	return h.supplied(ctx, next, p, t, id, session)
}

// keep stores at once the session that replaced that of r, instead of raw: if this
// replica dies before the renewal has ended, the next one goes on from there. Where the
// guard cannot be told, commit tries again.
func (h *Held) keep(ctx context.Context, r record, raw string, s connector.Session) {
	r.Session = s.Lean()
	if value, life, err := h.sealed(r); err == nil {
		_, _ = h.Guard.Replace(context.WithoutCancel(ctx), sessionID(r.Family), raw, value, life)
	}
}

// supplied fills in what a good answer of the provider brought.
func (h *Held) supplied(ctx context.Context, next record, p *provider.Provider, t *resource.ProviderToken, id connector.Identity, session connector.Session) (record, error) {
	k, err := Obtain(ctx, p, t, session, h.Now())
	switch {
	case errors.Is(err, connector.ErrUnavailable), errors.Is(err, connector.ErrMisconfigured):
		return next, fmt.Errorf("%w: %w", ErrCannotTell, err)
	case err != nil:
		return h.refused(next, reasons.ProviderTokenMissing, err), nil
	case len(k.Value) > maxHeld:
		return h.refused(next, reasons.ProviderTokenTooLarge, ErrTooLarge), nil
	}
	next.Token, next.Identity, next.Got = k, id, h.Now().Unix()
	next.Policy = h.Policy.For(next.Resource).Rematch(id, next.InGroups, next.Client).String()
	next.Renewal++
	return next, nil
}

// settings are those of the MCP server of r, nil if it gets no tokens any more.
func (h *Held) settings(r record) *resource.ProviderToken {
	for _, res := range h.Resources.All() {
		if res.URI == r.Resource && res.ProviderToken.Of(r.Provider) && res.ProviderToken.Held {
			return res.ProviderToken
		}
	}
	return nil
}

// refusal says why a session is over by the provider's word, "" if it is not. After a
// replica that died the provider may take the session for stolen, and says nothing
// about the person then.
func refusal(err error, took turn) reasons.Reason {
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

// ended is r without anything to renew it with.
func (h *Held) ended(r record, why reasons.Reason) record {
	r.Over, r.Session, r.Token = why, connector.Session{}, Token{}
	r.Renewal++
	return r
}

// refused is ended for a sign-in that ends with its session.
func (h *Held) refused(r record, why reasons.Reason, cause error) record {
	h.End(r.Family, r.Until, r.Identity.FullSubject(), why, cause)
	return h.ended(r, why)
}

// over ends the session of r, here at once and then for all.
func (h *Held) over(r record, why reasons.Reason, cause error) {
	over := h.refused(r, why, cause)
	h.remember(over)
	h.open.Add(1)
	go func() {
		defer h.open.Done()
		_ = h.commit(context.Background(), r, over)
	}()
}

// commit replaces r by next, unless another replica has written a later one. This
// replica goes by next meanwhile: it is what the provider gave, and the guard may be
// away for a while.
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
			// A lease that ran out is another's now: it is not taken away for nothing.
			nothing := next.Renewal == r.Renewal && next.Session == r.Session
			if now.Renewal > r.Renewal || nothing && now.Lease != r.Lease {
				return old, 0, nil
			}
			overtaken = false
			return h.sealed(next)
		})
		switch {
		case err == nil && dropped: // at another replica, while the provider was asked
			h.forget(r.Family)
			return nil
		case err == nil && overtaken:
			return nil
		case err == nil:
			h.told(next, r)
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

// told counts a renewal that is written down.
func (h *Held) told(next, before record) {
	switch {
	case next.Over != "":
		h.observe(Over)
	case next.Renewal > before.Renewal:
		h.observe(Renewed)
	}
}
