package web

import (
	"net/netip"
	"slices"
	"strings"
)

// maxForwarded bounds the trusted proxies that one request went through.
const maxForwarded = 16

// ClientAddress returns the address that a request comes from: of peer, as in
// http.Request.RemoteAddr, or if that is a trusted proxy the right-most of the
// X-Forwarded-For lines that is not one. What stands left of that the client may
// have written. If all are trusted it is the left-most; if what a trusted proxy
// says cannot be read it is peer. Without trusted proxies it is peer.
func ClientAddress(peer string, forwarded []string, trusted []netip.Prefix) netip.Addr {
	if client, ok := ToldAddress(peer, forwarded, trusted); ok {
		return client
	}
	return parseAddress(peer)
}

// ToldAddress is ClientAddress where a trusted proxy must have told it. It is for
// questions of a gateway, which is never itself the client.
func ToldAddress(peer string, forwarded []string, trusted []netip.Prefix) (client netip.Addr, told bool) {
	if !contains(trusted, parseAddress(peer)) {
		return netip.Addr{}, false
	}
	hops := 0
	for _, line := range slices.Backward(forwarded) {
		for more := true; more; {
			var entry string
			line, entry, more = cutLast(line)
			client = parseAddress(strings.TrimSpace(entry))
			if hops++; !client.IsValid() || hops > maxForwarded {
				return netip.Addr{}, false
			}
			if !contains(trusted, client) {
				return client, true
			}
		}
	}
	return client, client.IsValid()
}

func cutLast(line string) (rest, entry string, more bool) {
	i := strings.LastIndexByte(line, ',')
	if i < 0 {
		return "", line, false
	}
	return line[:i], line[i+1:], true
}

// parseAddress reads an address, with a port or without; some gateways write it.
// The zero Addr is none.
func parseAddress(s string) netip.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}
