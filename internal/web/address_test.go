package web

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestClientAddress(t *testing.T) {
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		trusted    []netip.Prefix
		want       string
	}{
		{"nobody is trusted", "10.0.0.1:4711", []string{"192.0.2.1"}, nil, "10.0.0.1"},
		{"ATK-51 an untrusted peer says what it likes", "203.0.113.9:4711", []string{"192.0.2.1"}, inside, "203.0.113.9"},
		{"a trusted peer", "10.0.0.1:4711", []string{"192.0.2.1"}, inside, "192.0.2.1"},
		{"ATK-51 what the client wrote is left of its address", "10.0.0.1:4711", []string{"198.51.100.1, 192.0.2.1"}, inside, "192.0.2.1"},
		{"ATK-51 in a line of its own", "10.0.0.1:4711", []string{"198.51.100.1", "192.0.2.1"}, inside, "192.0.2.1"},
		{"ATK-51 a trusted address that the client wrote", "10.0.0.1:4711", []string{"10.9.9.9,192.0.2.1"}, inside, "192.0.2.1"},
		{"ATK-51 rubbish that the client wrote", "10.0.0.1:4711", []string{"\"x\", ,,192.0.2.1"}, inside, "192.0.2.1"},
		{"through two proxies", "10.0.0.1:4711", []string{"198.51.100.1, 192.0.2.1, 10.0.0.2"}, inside, "192.0.2.1"},
		{"through two proxies, two lines", "10.0.0.1:4711", []string{"198.51.100.1, 192.0.2.1", "10.0.0.2"}, inside, "192.0.2.1"},
		{"all are trusted", "10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, inside, "10.0.0.3"},
		{"no header", "10.0.0.1:4711", nil, inside, "10.0.0.1"},
		{"an empty header", "10.0.0.1:4711", []string{""}, inside, "10.0.0.1"},
		{"malformed", "10.0.0.1:4711", []string{"192.0.2.1, unknown"}, inside, "10.0.0.1"},
		{"malformed behind a proxy", "10.0.0.1:4711", []string{"192.0.2.256, 10.0.0.2"}, inside, "10.0.0.1"},
		{"half a bracket", "10.0.0.1:4711", []string{"[2001:db8::1"}, inside, "10.0.0.1"},
		{"with a port", "10.0.0.1:4711", []string{"192.0.2.1:53124"}, inside, "192.0.2.1"},
		{"IPv6", "[fd00::1]:4711", []string{"2001:db8::1"}, inside, "2001:db8::1"},
		{"IPv6 in brackets", "[fd00::1]:4711", []string{"[2001:db8::1]"}, inside, "2001:db8::1"},
		{"IPv6 with a port", "[fd00::1]:4711", []string{"[2001:db8::1]:53124"}, inside, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:4711", []string{"::ffff:192.0.2.1"}, inside, "192.0.2.1"},
		{"a zone is no second address", "[fd00::1%eth0]:4711", []string{"fe80::1%a"}, inside, "fe80::1"},
		{"too many proxies", "10.0.0.1:4711", []string{"192.0.2.1" + strings.Repeat(",10.0.0.2", maxForwarded)}, inside, "10.0.0.1"},
		{"no address at all", "@", []string{"192.0.2.1"}, inside, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ClientAddress(tt.peer, tt.forwarded, tt.trusted).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{1: "1", time.Second: "1", time.Second + 1: "2"} {
		h := http.Header{}
		(&TooMany{Wait: wait}).Headers(h)
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After is %s, want %s", wait, got, want)
		}
	}
}

func BenchmarkClientAddress(b *testing.B) { // a header full of what the client wrote
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	line := []string{strings.Repeat("x,", 30_000) + "192.0.2.1"}
	b.ReportAllocs()
	for b.Loop() {
		ClientAddress("10.0.0.1:1", line, trusted)
	}
}

// Whatever a client writes into X-Forwarded-For, the address that the nearest
// proxy has added counts; and where nothing is added, an address that stands there.
func FuzzClientAddress(f *testing.F) {
	inside := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, line := range []string{"", "192.0.2.1", "192.0.2.1, 10.0.0.2", "10.0.0.2,10.0.0.3", "[fd00::1]:80", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown", ",", "192.0.2.1\x00", " 192.0.2.1 \t, x"} {
		f.Add(line, "198.51.100.7")
		f.Add("x", line)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		const peer = "10.0.0.1:4711"
		direct, real := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.9")
		for _, lines := range [][]string{{first, second, real.String()}, {first, second + ", " + real.String()}, {first + "," + second + "," + real.String() + ", 10.9.9.9"}} {
			if got := ClientAddress(peer, lines, inside); got != real {
				t.Fatalf("%q gives %s", lines, got)
			}
		}
		lines := []string{first, second}
		if got := ClientAddress("203.0.113.9:1", lines, inside); got != real {
			t.Fatalf("an untrusted peer is believed: %s", got)
		}
		got := ClientAddress(peer, lines, inside)
		if got == direct {
			return
		}
		for _, entry := range strings.Split(first+","+second, ",") {
			if parseAddress(strings.TrimSpace(entry)) == got && got.IsValid() {
				return
			}
		}
		t.Fatalf("%q gives %s, which does not stand there", lines, got)
	})
}
