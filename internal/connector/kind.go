package connector

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Kind is one kind of identity provider, such as GitHub. A kind is a directory
// below this package and one line in package kinds; nothing else knows it.
type Kind interface {
	// Name is what provider.name says.
	Name() string
	// Settings returns a pointer to an empty struct. Its json tags are the keys that
	// have a meaning for this kind, besides those of every kind; a key that it lacks
	// is a mistake.
	Settings() Settings
	// DisplayName is what pages call the provider where the operator gives no name;
	// "" for the login page of this service.
	DisplayName(p Config) string
	// Namespace is how the subjects of its people begin, see Identity.Namespace.
	Namespace(p Config) string
	// TellsGroups reports whether people of the provider can have groups here.
	TellsGroups(p Config) bool
	// Summary describes the provider to the operator. Each of the conditions
	// completes "accounts …" and says whom the provider's own keys admit.
	Summary(p Config) (provider string, conditions []string)
	// New returns one of the two. A nil client means the default transport.
	New(p Config, client *http.Client) (Connector, PasswordConnector, error)
}

// Settings are the keys of one kind of provider.
type Settings interface {
	// Audience says who has an account at the provider, and which keys narrow that.
	Audience() Audience
	// Resolve checks the keys, fills in defaults and stores the result in p, which
	// has what the keys of every kind say.
	Resolve(c conf.Section, p *Config)
}

// Audience is who has an account at a provider. The zero value is everyone, and
// no key narrows it: then only allowAnyUser says that this is meant.
type Audience struct {
	// Chosen: the accounts are those of one company, or of the configuration.
	Chosen bool
	// Keys narrow who may sign in; any of them is enough.
	Keys []string
	// Of names the provider in a message, and Where says why keys are needed.
	Of, Where string
	// Instead is what is better than any of the keys, "" for nothing.
	Instead string
}

// OpenToAll is Audience.Where of a provider at which everyone can register.
const OpenToAll = ", where anybody can have an account"
