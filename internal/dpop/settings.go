package dpop

import "time"

// Settings is the `dpop` section.
type Settings struct {
	// Require a nonce of this service in each proof: then no proof can be made in advance or used much later (RFC 9449, sections 8 and 9). A client gets the nonce with the refusal of its first proof, and tries again; at gateways that cannot add a header to the MCP server's answers, this happens each time the nonce has expired. See docs/dpop.md. Default false.
	Nonces bool `json:"nonces"`
	// How long a nonce is valid.
	NonceLifetime time.Duration `json:"nonceLifetime" default:"2m" min:"30s" max:"10m"`
}
