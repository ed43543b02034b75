package egress

import (
	"sync"
	"time"
)

// rate is a token bucket's shape: burst at once, then one each interval.
type rate struct {
	burst    int
	interval time.Duration
}

// Budgets of fetches. First fetches are what strangers cause; they are counted
// for the whole service and for each site (registrable domain), so that this
// service cannot be made to flood a victim through its subdomains, paths or queries. Repeats
// keep alive what was found good before, and sites that were good before may have
// new documents; both have budgets of their own, so that strangers cannot starve
// the clients in use.
var (
	firstTotal  = rate{60, 200 * time.Millisecond}
	firstSite   = rate{10, 5 * time.Second}
	repeatTotal = rate{200, 50 * time.Millisecond}
	repeatURL   = rate{5, 5 * time.Second}
)

// maxConcurrent bounds the fetches of one purse that are under way: each may hang
// for seconds.
const maxConcurrent = 32

// purse is a budget, and places for so many at once.
type purse struct {
	budget
	places chan struct{}
}

func (p *purse) open(total, each rate) {
	p.total, p.each, p.places = total, each, make(chan struct{}, maxConcurrent)
}

func (p *purse) take(key string, now time.Time) (leave func(), ok bool) {
	select {
	case p.places <- struct{}{}:
	default:
		return nil, false
	}
	leave = func() { <-p.places }
	if !p.budget.take(key, now) {
		leave()
		return nil, false
	}
	return leave, true
}

// budget is one total bucket and one bucket for each key. Keys are forgotten
// once their bucket is full again; the total bounds how many there can be.
type budget struct {
	total, each rate

	mu    sync.Mutex
	all   bucket
	keys  map[string]*bucket
	sweep time.Time
}

type bucket struct {
	used float64 // tokens taken and not yet refilled
	at   time.Time
}

func (b *bucket) settle(r rate, now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.used = max(0, b.used-float64(passed)/float64(r.interval))
	}
	b.at = now
}

// take reports whether one more fetch for key is within the budget, and counts it.
func (b *budget) take(key string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil {
		b.keys = map[string]*bucket{}
	}
	if now.After(b.sweep) {
		b.forget(now)
	}
	k := b.keys[key]
	if k == nil {
		k = &bucket{at: now}
	}
	k.settle(b.each, now)
	b.all.settle(b.total, now)
	if k.used+1 > float64(b.each.burst) || b.all.used+1 > float64(b.total.burst) {
		return false
	}
	k.used++
	b.all.used++
	b.keys[key] = k
	return true
}

func (b *budget) forget(now time.Time) {
	for key, k := range b.keys {
		if k.settle(b.each, now); k.used == 0 {
			delete(b.keys, key)
		}
	}
	b.sweep = now.Add(time.Duration(b.each.burst) * b.each.interval)
}
