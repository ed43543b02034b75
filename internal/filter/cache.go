package filter

import (
	"bytes"
	"sync"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Bounds of a Cache.
const (
	maxViews      = 256
	resultsOfView = 4       // pages of a list, and lists of other kinds
	maxRemembered = 1 << 20 // bytes of a result
	maxAll        = 64 << 20
	// maxEnvelope is what a message has around its result.
	maxEnvelope = 1 << 10
)

// Cache remembers what became of results of servers. A list that has not changed,
// for a reader who may see the same, is found by comparing bytes, and not read
// again. The zero value is ready for use, by many goroutines.
type Cache struct {
	mu    sync.Mutex
	views map[View]*seen
	size  int
}

// seen are the last results that were shown with a view, the latest first.
type seen struct{ results []remembered }

// remembered is a result as the server wrote it, and what it became.
type remembered struct{ from, to []byte }

// Message is the function of that name. v must be comparable, and equal views show the same.
func (c *Cache) Message(message []byte, v View) ([]byte, error) {
	if out, ok := c.known(message, v); ok {
		return out, nil
	}
	out, result, err := read(message, v)
	if err == nil && result.to > result.from && result.to-result.from <= maxRemembered {
		tail := len(message) - result.to
		c.remember(v, remembered{bytes.Clone(message[result.from:result.to]), bytes.Clone(out[result.from : len(out)-tail])})
	}
	return out, err
}

// Result is the function of that name; see Message.
func (c *Cache) Result(result []byte, v View) ([]byte, error) {
	for _, r := range c.resultsOf(v) {
		if bytes.Equal(r.from, result) {
			return r.to, nil
		}
	}
	out, err := Result(result, v)
	if err == nil && len(result) <= maxRemembered {
		c.remember(v, remembered{bytes.Clone(result), bytes.Clone(out)})
	}
	return out, err
}

// resultsOf are the last results that were shown with a view.
func (c *Cache) resultsOf(v View) []remembered {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.views[v]; s != nil {
		return s.results
	}
	return nil
}

// known finds a result that was read before in the message. A value of JSON ends
// where it ends whatever is around it, so it is enough that the message is one with
// null in its place.
func (c *Cache) known(message []byte, v View) ([]byte, bool) {
	for _, r := range c.resultsOf(v) {
		if len(message)-len(r.from) > maxEnvelope {
			continue
		}
		at := bytes.Index(message, r.from)
		if at < 0 {
			continue
		}
		tail := message[at+len(r.from):]
		if !envelope(message[:at], tail) {
			continue
		}
		out := make([]byte, 0, at+len(r.to)+len(tail))
		return append(append(append(out, message[:at]...), r.to...), tail...), true
	}
	return nil, false
}

// envelope reports whether head, a value and tail are a message whose result is the value.
func envelope(head, tail []byte) bool {
	const value = "null"
	document := append(append(append(make([]byte, 0, len(head)+len(value)+len(tail)), head...), value...), tail...)
	r, err := strictjson.New(document, strictjson.Bounds{Depth: maxDepth, Members: maxMembers})
	if err != nil || r.Next() != '{' {
		return false
	}
	found := false
	err = r.Object(messageMembers, func(member string) error {
		r.Next()
		found = found || member == "result" && r.Offset() == len(head)
		return r.Skip()
	})
	return err == nil && found
}

func (c *Cache) remember(v View, r remembered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.views == nil || len(c.views) >= maxViews || c.size > maxAll {
		c.views, c.size = map[View]*seen{}, 0
	}
	s := c.views[v]
	if s == nil {
		s = new(seen)
		c.views[v] = s
	}
	c.size += len(r.from) + len(r.to)
	kept := s.results[:min(len(s.results), resultsOfView-1)]
	for _, gone := range s.results[len(kept):] {
		c.size -= len(gone.from) + len(gone.to)
	}
	s.results = append([]remembered{r}, kept...) // readers hold the slice before
}
