package egress

import (
	"net/netip"
	"slices"
)

// special lists what IANA's special-purpose address registries (RFC 6890 and
// its successors) keep from the public internet, and the forms of IPv6 that
// carry an IPv4 address to somewhere else.
var special = prefixes(
	// IPv4.
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // carrier-grade NAT; some clouds keep metadata here
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, cloud metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // IETF protocol assignments
	"192.0.2.0/24",    // documentation
	"192.31.196.0/24", // AS112
	"192.52.193.0/24", // AMT
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"192.175.48.0/24", // AS112
	"198.18.0.0/15",   // benchmarking
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, broadcast
	// IPv6 within 2000::/3; everything outside it is refused anyway.
	"2001::/23",               // IETF protocol assignments: Teredo, benchmarking, ORCHID
	"2001:db8::/32",           // documentation
	"2002::/16",               // 6to4
	"2620:4f:8000::/48",       // AS112
	"3fff::/20",               // documentation
	"3ffe::/16",               // former 6bone
	"2001:4:112::/48",         // AS112
	"2001:67c:2b0::/48",       // a public NAT64 (trex.fi)
	"2a00:1098:2b::/96",       // a public NAT64 (nat64.net)
	"2a00:1098:2c::/96",       // a public NAT64 (nat64.net)
	"2a01:4f8:c2c:123f::/64",  // a public NAT64 (nat64.net)
	"2a01:4f9:c010:3f02::/64", // a public NAT64 (nat64.net)
)

// cloud lists where clouds keep what a machine must ask only for itself:
// metadata, credentials, wire and time servers. Some of it looks public. It is
// never connected to, even where the operator named the host.
var cloud = prefixes(
	"169.254.0.0/16",     // link-local: metadata of AWS, Azure, Google, Oracle, Tencent and others
	"fe80::/10",          // link-local
	"168.63.129.16/32",   // Azure's wire server
	"100.100.100.200/32", // Alibaba's metadata
	"100.100.2.0/24",     // Alibaba's name and time servers
	"192.0.0.192/32",     // Oracle's former metadata
	"fd00:ec2::/32",      // AWS: metadata, names, time, pod identity
	"fd20:ce::/64",       // Google's metadata
	"161.26.0.0/16",      // IBM's service network
	"166.8.0.0/14",       // IBM's private endpoints
)

// private is where an operator's own hosts may be.
var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

// globalUnicast is the only part of IPv6 from which global addresses are
// assigned. Outside lie unspecified, loopback, mapped and compatible IPv4,
// NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard, SRv6, ULA, link-local,
// site-local and multicast.
var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// own reports whether a is an address at which an operator's own host may be.
func own(a netip.Addr) bool { return a.Zone() == "" && contains(private, a) }

// Public reports whether a is an address of the public internet that a stranger
// may make this service connect to. An IPv4 address inside an IPv6 one is not:
// callers unmap what a resolver returns, and no other use needs that form.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
		return false
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	if contains(special, a) || contains(cloud, a) {
		return false
	}
	// An ISATAP interface identifier (RFC 5214, section 6.1) carries an IPv4 address.
	if b := a.As16(); a.Is6() && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe && b[8]&^0x02 == 0 {
		return false
	}
	return true
}
