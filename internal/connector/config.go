package connector

import (
	"cmp"
	"regexp"
)

// ProtocolParams are those of an authorization request that the flow itself
// sets; no configuration replaces them.
var ProtocolParams = []string{
	"response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri", "acr_values",
}

// Config is an identity provider that signs people in.
type Config struct {
	// ID tells it from the others; "" for the one of the `provider` section.
	ID string
	// KeepSubjects: it was once the only provider, and its users keep their subjects.
	KeepSubjects bool
	Name         string // that of a kind
	DisplayName  string // for pages; "" for static
	// EmailDomains are anchored patterns over the domain part of a verified
	// e-mail address, matched in lower case; empty means no restriction.
	EmailDomains []*regexp.Regexp
	AllowAnyUser bool
	// TrustUnverifiedEmail treats addresses as verified even if the provider does not say
	// so.
	TrustUnverifiedEmail bool
	// Unused are the properties of people that nothing in this configuration uses, so the
	// provider is not asked for them.
	Unused Properties
	// Settings are those of its kind, resolved.
	Settings Settings
}

// Properties are those of a person beside the subject and the e-mail address.
type Properties struct{ Name, Groups bool }

// PolicyID is the provider's id in rules.
func (p *Config) PolicyID() string { return cmp.Or(p.ID, p.Name) }
