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
// for the whole service and for each site (registrable domain), so that nobody
// makes us flood a victim through its subdomains, paths or queries. Repeats
// keep alive what was found good before; they have budgets of their own, so
// that strangers cannot starve the clients in use.
var (
	firstTotal  = rate{60, 200 * time.Millisecond}
	firstSite   = rate{10, 5 * time.Second}
	repeatTotal = rate{200, 50 * time.Millisecond}
	repeatURL   = rate{5, 5 * time.Second}
)

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
