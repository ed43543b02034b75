package dpop

import "time"

// Settings is the `dpop` section.
type Settings struct {
	// Demand a nonce of this service in each proof, so that none can be made in advance or used long after (RFC 9449, sections 8 and 9). A client gets one with an answer that refuses its first proof, and tries again; at gateways that cannot add a header to the answers of the MCP server it does so each time the nonce has expired. See docs/dpop.md. Default false.
	Nonces bool `json:"nonces"`
	// How long a nonce is good.
	NonceLifetime time.Duration `json:"nonceLifetime" default:"2m" min:"30s" max:"10m"`
}
