package server

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/authorize"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// limitedKeys bounds the memory of each limit, to some 3 MB when full.
const limitedKeys = 1 << 16

// limitReasons are the audit reasons of answers with 429; also metric labels.
var limitReasons = []reasons.Reason{
	reasons.TooManyRequestsOfAddress, reasons.TooManyRegistrations, reasons.TooManyRequestsOfClient, reasons.TooManySignIns, reasons.ClientAuthenticationThrottled, reasons.TooManyRevocations, reasons.TooManyUserCodes,
}

// limits are those that need only a request's host and address. The others are in the
// endpoints, where the client or the user name is known.
type limits struct {
	addresses *limit.Limiter
	// registrations bounds those of one address at one host, allRegistrations those
	// of all addresses together.
	registrations, allRegistrations *limit.Limiter

	proxies []netip.Prefix
	pages   *page.Pages
	audit   *audit.Log
}

func (b *builder) newLimits() *limits {
	most := b.cfg.Limits.Registrations
	return &limits{
		addresses:     b.perMinute("addresses", b.cfg.Limits.AddressRequests),
		registrations: b.perMinute("registrations", most), allRegistrations: b.perMinute("all registrations", allRegistering*most),
		proxies: b.cfg.Listen.TrustedProxies, pages: b.pages, audit: b.audit,
	}
}

// limiters are those of a service, by their names and how much they allow.
type limiters map[limiterKey]*limit.Limiter

type limiterKey struct {
	name      string
	perMinute int
}

// perMinute returns a limiter for n events a minute, nil for 0. One of the previous
// service with the same name and number continues: used-up requests stay used up.
func (b *builder) perMinute(name string, n int) *limit.Limiter {
	if n == 0 {
		return nil
	}
	key := limiterKey{name, n}
	if b.limiters == nil {
		b.limiters = limiters{}
	}
	if b.before != nil {
		b.limiters[key] = b.before.limiters[key]
	}
	if b.limiters[key] == nil {
		b.limiters[key] = limit.New(limit.PerMinute(n), limitedKeys, b.opt.Now)
	}
	return b.limiters[key]
}

// Audit entries a minute: about no known person, for each event and reason at a
// host, and in all, some 50 KB a second; and about one person, for each event and
// reason at a host.
const (
	auditRefusals  = 60
	auditSteps     = 600
	auditStrangers = 6000
	auditPersons   = 600
)

func auditBounds(now func() time.Time) *audit.Bounds {
	return &audit.Bounds{
		Refusals: limit.New(limit.PerMinute(auditRefusals), limitedKeys, now), Steps: limit.New(limit.PerMinute(auditSteps), limitedKeys, now),
		Strangers: limit.New(limit.PerMinute(auditStrangers), 1, now), Persons: limit.New(limit.PerMinute(auditPersons), limitedKeys, now),
	}
}

// before counts requests to a route that is limited on their way to next.
func (l *limits) before(route web.Route, next web.HostHandler) web.HostHandler {
	if route.Refused == "" {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request, host *resource.Host) {
		slow := l.check(route, r, host)
		if slow == nil {
			next(w, r, host)
			return
		}
		l.audit.Write(r.Context(), audit.Entry{Event: route.Refused, Reason: slow.Reason, Host: host.Name})
		if route.Person {
			authorize.TooMany(l.pages, w, r, slow)
		} else {
			web.FormError(w, slow)
		}
	}
}

func (l *limits) check(route web.Route, r *http.Request, host *resource.Host) *web.TooMany {
	if l.addresses != nil {
		if ok, wait := l.addresses.Allow(l.source(r)); !ok {
			return &web.TooMany{Reason: reasons.TooManyRequestsOfAddress, Wait: wait}
		}
	}
	if route.Registers {
		// A request beyond the address's own limit does not count for the shared one.
		ok, wait := l.registrations.Allow(host.Name + " " + l.source(r))
		if ok {
			ok, wait = l.allRegistrations.Allow(host.Name)
		}
		if !ok {
			return &web.TooMany{Reason: reasons.TooManyRegistrations, Wait: wait}
		}
	}
	return nil
}

// allRegistering is how many times as many registrations all addresses together
// may make at a host as one. Registrations are not stored, so they cost little.
const allRegistering = 100

// allAddresses is how many times as many wrong passwords for one name all
// addresses together may send as one.
const allAddresses = 10

// attempts limits wrong passwords. If no proxy is trusted every request seems to come
// from the gateway, so addresses are not used.
func (b *builder) attempts(l *limits) authorize.Attempts {
	n := b.cfg.Limits.SignInAttempts
	near := b.perMinute("wrong passwords", n)
	if len(l.proxies) == 0 {
		return authorize.Attempts{Near: near}
	}
	return authorize.Attempts{Near: near, Name: b.perMinute("wrong passwords for a name", allAddresses*n), Source: l.source}
}

// The codes of devices that are tried in a minute: from one address, and from all. A
// code has 34 bits and lives for ten minutes: all allowed attempts together find one of
// a thousand live codes in a month.
const (
	codesOfAddress = 10
	codesOfAll     = 300
)

// userCodes bounds the codes of devices that are typed, as attempts bounds passwords.
func (b *builder) userCodes(l *limits) authorize.Attempts {
	all := b.perMinute("codes of devices", codesOfAll)
	if len(l.proxies) == 0 {
		return authorize.Attempts{Near: all}
	}
	return authorize.Attempts{Near: b.perMinute("codes of devices from an address", codesOfAddress), Name: all, Source: l.source}
}

// source names whom a request counts for. A single machine has a whole /64 of
// IPv6 addresses to choose from.
func (l *limits) source(r *http.Request) string {
	a := web.ClientAddress(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), l.proxies)
	if a.Is6() {
		network, _ := a.Prefix(64)
		return network.String()
	}
	return a.String()
}
