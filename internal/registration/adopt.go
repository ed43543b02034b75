package registration

import (
	"reflect"
	"slices"
)

// Adopt takes over the documents and key sets that from has fetched, if the settings that
// they were checked against are the same. It must be called before c is used.
func (c *Clients) Adopt(from *Clients) {
	if c.KeySets == nil || from.KeySets == nil || !c.KeySets.urls.alike(from.KeySets.urls) {
		return
	}
	c.KeySets.cache.adopt(from.KeySets.cache)
	if d, o := c.Documents, from.Documents; d != nil && o != nil &&
		reflect.DeepEqual(d.redirects, o.redirects) && d.allowQuery == o.allowQuery && slices.Equal(d.grants, o.grants) {
		d.cache.adopt(o.cache)
		d.network.answered.Store(o.network.answered.Load())
		d.network.failed.Store(o.network.failed.Load())
	}
}

// alike reports whether p and o admit the same URLs. It ignores Own, which is checked
// before each use.
func (p URLPolicy) alike(o URLPolicy) bool {
	return p.Egress.Alike(o.Egress) && slices.Equal(p.Allowed, o.Allowed) && slices.Equal(p.Denied, o.Denied)
}

// adopt copies the entries of another cache, and what it knows of failing publishers.
func (f *fetched[T]) adopt(from *fetched[T]) {
	from.mu.Lock()
	defer from.mu.Unlock()
	for el := from.recent.Back(); el != nil; el = el.Prev() {
		c := *el.Value.(*copied[T])
		f.entries[c.url] = f.recent.PushFront(&c)
	}
	for url, t := range from.failing {
		f.failing[url] = t
	}
}
