package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"testing"
)

// So many are remembered as good, and of those the ones that were used last.
func TestKnown(t *testing.T) {
	at := func(i int) string { return fmt.Sprintf("https://n%d.example/", i) }
	var c Client
	for i := range maxKnown {
		c.Good(at(i))
	}
	if !c.Known(at(0)) || !c.knownSite("n0.example") {
		t.Error("the first is forgotten though there is room")
	}
	c.Good(at(0)) // it is known, and takes no other place
	if !c.Known(at(1)) || c.known.urls.order.Len() != maxKnown {
		t.Error("what was known took another place")
	}
	c.Good(at(maxKnown))
	for i, want := range map[int]bool{0: true, 1: true, 2: false, 3: true, maxKnown: true, maxKnown + 1: false} {
		if c.Known(at(i)) != want {
			t.Errorf("%s: known %v, want %v", at(i), !want, want)
		}
	}
}

func TestAlike(t *testing.T) {
	full := func() *Client {
		return &Client{
			Ports: []uint16{8443}, Named: []string{"a"}, NamedURLs: []string{"https://a/"}, Denied: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Proxy: &url.URL{Host: "proxy"}, Loopback: true,
		}
	}
	if !full().Alike(full()) {
		t.Error("the same is not alike")
	}
	for name, change := range map[string]func(*Client){
		"ports": func(c *Client) { c.Ports[0]++ }, "named": func(c *Client) { c.Named = nil }, "named URLs": func(c *Client) { c.NamedURLs[0] += "x" },
		"denied": func(c *Client) { c.Denied = nil }, "proxy": func(c *Client) { c.Proxy.Host = "other" }, "loopback": func(c *Client) { c.Loopback = false },
	} {
		other := full()
		if change(other); full().Alike(other) {
			t.Errorf("%s: another one is alike", name)
		}
	}
}
