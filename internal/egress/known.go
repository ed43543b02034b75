package egress

import (
	"container/list"
	"net/url"
	"sync"
)

// maxKnown bounds how many URLs, and how many sites, are remembered as good.
const maxKnown = 4096

// known remembers the URLs that gave something good, and their sites, each with
// those used last. It opens nothing; it only says whose budget a fetch is on.
type known struct {
	mu    sync.Mutex
	urls  recent
	sites recent
}

// Good says that what came from this URL was what it should be, so that later
// fetches from it, and from its site, are not those of strangers.
func (c *Client) Good(raw string) {
	u, err := url.Parse(raw)
	if err != nil {
		return
	}
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	c.known.urls.add(raw)
	c.known.sites.add(site(u.Hostname()))
}

// Known reports whether this URL gave something good before.
func (c *Client) Known(raw string) bool {
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	return c.known.urls.has(raw)
}

func (c *Client) knownSite(name string) bool {
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	return c.known.sites.has(name)
}

// recent is a set that forgets what was not used for longest.
type recent struct {
	at    map[string]*list.Element
	order list.List // of string, most recently used first
}

func (r *recent) add(key string) {
	if r.has(key) {
		return
	}
	if r.at == nil {
		r.at = map[string]*list.Element{}
	}
	r.at[key] = r.order.PushFront(key)
	for len(r.at) > maxKnown {
		delete(r.at, r.order.Remove(r.order.Back()).(string))
	}
}

func (r *recent) has(key string) bool {
	el := r.at[key]
	if el != nil {
		r.order.MoveToFront(el)
	}
	return el != nil
}
