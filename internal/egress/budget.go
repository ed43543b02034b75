package egress

import (
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
)

// Budgets of fetches. First fetches are what strangers cause; they are counted
// for the whole service and for each site (registrable domain), so that this
// service cannot be made to flood a victim through its subdomains, paths or queries. Repeats
// keep alive what was found good before, and sites that were good before may have
// new documents; both have budgets of their own, so that strangers cannot starve
// the clients in use.
var (
	firstTotal  = limit.Rate{Burst: 60, Interval: 200 * time.Millisecond}
	firstSite   = limit.Rate{Burst: 10, Interval: 5 * time.Second}
	repeatTotal = limit.Rate{Burst: 200, Interval: 50 * time.Millisecond}
	repeatURL   = limit.Rate{Burst: 5, Interval: 5 * time.Second}
)

const (
	// maxConcurrent bounds the fetches of one purse that are under way: each may
	// hang for seconds.
	maxConcurrent = 32
	// maxCounted is more than the sites or URLs that a total lets begin before
	// they are whole again.
	maxCounted = 1 << 14
)

// purse is a budget, and places for so many at once.
type purse struct {
	total, each *limit.Limiter
	places      chan struct{}
}

func newPurse(total, each limit.Rate, now func() time.Time) *purse {
	return &purse{total: limit.New(total, 1, now), each: limit.New(each, maxCounted, now), places: make(chan struct{}, maxConcurrent)}
}

// take counts one more fetch for key, if it is within the budget and there is a place.
func (p *purse) take(key string) (leave func(), ok bool) {
	select {
	case p.places <- struct{}{}:
	default:
		return nil, false
	}
	leave = func() { <-p.places }
	if ok, _ := p.each.Allow(key); !ok {
		leave()
		return nil, false
	}
	if ok, _ := p.total.Allow(""); !ok {
		p.each.Return(key)
		leave()
		return nil, false
	}
	return leave, true
}
