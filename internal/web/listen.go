package web

import (
	"net"
	"net/netip"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Listen is the `listen` section.
type Listen struct {
	// Address of the protocol listener: OAuth endpoints, discovery and /authenticate.
	HTTP string `json:"http" default:":8080"`
	// The protocol listener speaks HTTP/2 without TLS as well as HTTP/1.1, for gateways that want it (h2c with prior knowledge). Default false.
	H2C bool `json:"h2c"`
	// Address of the management listener: /metrics, /healthz, /readyz, /debug/flows. Never expose it.
	Management string `json:"management" default:":9090"`
	// Address of the gRPC listener for Envoy's ext_authz (plain HTTP/2), such as ":9001". Only gateways may reach it. Default: none.
	GRPC string `json:"grpc" like:":9001"`
	// Networks of the gateways, such as "10.0.0.0/8" or "2001:db8::/32", whose X-Forwarded-For is believed: the client's address is the right-most one in it that is not in these networks. The gateways must set the header or append to it. Default: none, and no address is looked at.
	TrustedProxies []netip.Prefix `json:"trustedProxies" max:"100" check:"unique"`
}

// Resolve checks the section. The addresses differ because each listener is for
// other callers: the management and gRPC listeners must never be reachable where
// the protocol listener is.
func (l *Listen) Resolve(c conf.Section) {
	type listener struct{ at, address string }
	var taken []listener
	for _, own := range []listener{{c.Key("http"), l.HTTP}, {c.Key("management"), l.Management}, {c.Key("grpc"), l.GRPC}} {
		if own.address == "" {
			continue
		}
		if problem := listenProblem(own.address); problem != "" {
			c.Add(own.at, "%s %s", conf.Show(own.address), problem)
			continue
		}
		for _, other := range taken {
			if overlap(own.address, other.address) {
				c.Add(own.at, "%q is taken by %s (%q); choose another port", own.address, other.at, other.address)
			}
		}
		taken = append(taken, own)
	}
	for i, p := range l.TrustedProxies {
		if p.IsValid() && p.Bits() == 0 {
			c.Add(conf.Element(c.Key("trustedProxies"), i), "%q is every address: a client could choose the address that it is counted by", p)
		}
	}
}

// listenProblem says why one cannot listen at an address, or "".
func listenProblem(value string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "is not an address such as \":8080\" or \"127.0.0.1:8080\""
	}
	// Port 0 lets the system choose, which tests and demonstrations want.
	if port != "0" && !conf.ValidPort(port) {
		return "has no port number between 1 and 65535"
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && conf.DNSNameProblem(host) != "" {
		return "has neither an IP address nor a host name before the port"
	}
	return ""
}

// overlap reports whether one cannot listen on both addresses.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}
