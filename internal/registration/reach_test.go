package registration

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// broken makes the network of w fail in a way that may pass.
func broken(o *DocumentsOptions) {
	o.URLs.Egress.Network.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}
}

func TestReachable(t *testing.T) {
	t.Run("the network fails", func(t *testing.T) {
		w := newWorld(t, broken)
		if !w.Reachable() {
			t.Error("not announced before anything failed")
		}
		if _, err := w.get(); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnfetchable) {
			t.Fatalf("%v", err)
		}
		if w.Reachable() {
			t.Error("announced after the network failed")
		}
		w.pass(reachPause)
		if !w.Reachable() {
			t.Error("never announced again")
		}
	})
	t.Run("the document is bad, or its site has a fault of its own", func(t *testing.T) {
		for _, status := range []int{200, 404, 302, 500} {
			w := newWorld(t, nil)
			w.site.set(status, "{}")
			if _, err := w.get(); err == nil {
				t.Fatal("accepted")
			}
			if !w.Reachable() {
				t.Errorf("%d: an answer shows that the network works", status)
			}
		}
	})
	t.Run("a stranger's dead host, while others answer", func(t *testing.T) {
		w := newWorld(t, nil)
		if _, err := w.get(); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if _, err := w.Client(t.Context(), "https://dead.example/client.json"); err == nil || !w.Reachable() {
			t.Errorf("%v, reachable %v", err, w.Reachable())
		}
		w.pass(2 * reachProof)
		if _, err := w.Client(t.Context(), "https://dead.example/client.json"); err == nil || !w.Reachable() {
			t.Errorf("%v, reachable %v: a stranger can take the announcement away", err, w.Reachable())
		}
	})
	t.Run("the network fails later", func(t *testing.T) {
		w := newWorld(t, nil)
		if _, err := w.get(); err != nil {
			t.Fatal(err)
		}
		w.pass(2 * reachProof)
		w.net.Resolve("app.example") // no address any more
		if _, err := w.get(); err != nil {
			t.Fatalf("an older copy: %v", err)
		}
		if w.Reachable() {
			t.Error("announced, though what was good cannot be reached")
		}
		w.pass(time.Minute)
		w.net.Resolve("app.example", "93.184.215.14")
		w.site.set(404, "")
		_, _ = w.get()
		if !w.Reachable() {
			t.Error("an answer does not count")
		}
	})
}

// A lasting fault is distinguished from a temporary one, and a copy survives both.
func TestUnfetchable(t *testing.T) {
	w := newWorld(t, nil)
	w.net.Resolve("app.example", "10.0.0.1")
	if _, err := w.get(); !errors.Is(err, ErrUnfetchable) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDocument) || !strings.Contains(Unfetchable(err), "does not connect to") {
		t.Errorf("a private address: %v", err)
	}
	for range 2 * maxFailures { // a publisher that is left alone for a while is not told as a passing trouble
		if _, err := w.Client(t.Context(), "https://absent.example/client.json"); !errors.Is(err, ErrUnfetchable) {
			t.Errorf("a name that does not exist: %v", err)
		}
	}
	w.net.Resolve("app.example", "93.184.215.14")
	w.pass(time.Minute)
	if _, err := w.get(); err != nil {
		t.Fatal(err)
	}
	w.net.Resolve("app.example", "10.0.0.1")
	w.pass(time.Hour)
	if _, err := w.get(); err != nil {
		t.Errorf("an older copy is not used: %v", err)
	}
}

// A host that the operator named, and not one below a wildcard, may be private,
// on the port that was named with it.
func TestNamedDomains(t *testing.T) {
	for allowed, want := range map[string]error{"app.example": nil, "app.example:8443": ErrUnknown, "*.example": ErrUnfetchable, "": ErrUnfetchable} {
		w := newWorld(t, func(o *DocumentsOptions) {
			if allowed != "" {
				o.URLs.Allowed = []string{allowed}
			}
			if !strings.HasPrefix(allowed, "*") {
				o.URLs.Egress.Named = o.URLs.Allowed
			}
			o.URLs.Egress.Ports = nil
		})
		w.net.Resolve("app.example", "10.0.0.1")
		if _, err := w.get(); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("allowed %q: %v", allowed, err)
		}
		if allowed != "app.example:8443" {
			continue
		}
		w.site.set(200, strings.ReplaceAll(document(nil), "https://app.example/client.json", "https://app.example:8443/client.json"))
		c, err := w.Client(t.Context(), "https://app.example:8443/client.json")
		if err != nil || !c.Trusted {
			t.Errorf("the port that was named: %+v, %v", c, err)
		}
	}
}
