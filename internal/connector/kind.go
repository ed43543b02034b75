package connector

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Settings are one kind of identity provider, such as GitHub: its keys besides those of
// every kind, by their json tags, and their meaning. A kind is a directory below this
// package and one line in package kinds; nothing else knows it.
type Settings interface {
	// Kind is what provider.name says.
	Kind() string
	// Audience says who has an account at the provider, and which keys narrow that.
	Audience() Audience
	// Resolve checks the keys and fills in what follows from them. p holds the keys of
	// every kind.
	Resolve(c conf.Section, p *Config)
	// DisplayName is the provider's name on pages if the operator gives none; "" for the
	// login page of this service.
	DisplayName() string
	// Namespace is how the subjects of its people begin, see Identity.Namespace.
	Namespace() string
	// TellsGroups reports whether people of the provider can have groups here.
	TellsGroups() bool
	// Tokens are the tokens of a person at the provider that an MCP server may get, in
	// the words of the key providerToken.token; none for accounts of our own.
	Tokens() []string
	// Authorities are trusted for the provider's certificates, in PEM; empty for
	// those of the system.
	Authorities() []byte
	// Summary describes the provider to the operator. Each of the conditions
	// completes "accounts …" and says whom the provider's own keys admit.
	Summary() (provider string, conditions []string)
	// New returns one of the two. A nil client means the default transport.
	New(unused Properties, client *http.Client) (Connector, PasswordConnector, error)
}

// Issuer are Settings whose people an authorization server of that issuer URL may
// vouch for elsewhere, too: subjectClaim is the claim with their subjects.
type Issuer interface {
	Issuer() (url, subjectClaim string)
}

// Audience is who has an account at a provider. The zero value is everyone, with no key
// that narrows it: then only allowAnyUser allows that.
type Audience struct {
	// Chosen: the accounts are those of one company, or of the configuration.
	Chosen bool
	// Keys narrow who may sign in; any of them is enough.
	Keys []string
	// Of names the provider in a message, and Where says why keys are needed.
	Of, Where string
	// Instead is a better way than any of the keys, "" for none.
	Instead string
}

// OpenToAll is Audience.Where of a provider with which everyone can register.
const OpenToAll = ", where anyone can have an account"
