package static

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Settings are the keys of provider.name "static".
type Settings struct {
	// The accounts. Required unless usersFile is set: at least one.
	Users []User `json:"users" max:"1000"`
	// File that holds the accounts, as a YAML document with the one key users. It is read again when it changes; content with a mistake changes nothing and is logged. Required unless users is set.
	UsersFile string `json:"usersFile"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string        { return "static" }
func (*Settings) DisplayName() string { return "" }
func (*Settings) Namespace() string   { return Namespace }
func (*Settings) Tokens() []string    { return nil }
func (*Settings) Authorities() []byte { return nil }

// TellsGroups implements connector.Settings. A file of accounts may change at any time.
func (s *Settings) TellsGroups() bool {
	return s.UsersFile != "" || slices.ContainsFunc(s.Users, func(u User) bool { return len(u.Groups) > 0 })
}

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	if s.UsersFile != "" {
		return fmt.Sprintf("static, %d user(s) in %s now", len(s.Users), s.UsersFile), nil
	}
	return fmt.Sprintf("static, %d user(s)", len(s.Users)), nil
}

// New implements connector.Settings.
func (s *Settings) New(connector.Properties, *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	c, err := New(s.Users)
	return nil, c, err
}

// Audience implements connector.Settings.
func (s *Settings) Audience() connector.Audience { return connector.Audience{Chosen: true} }

// Resolve implements connector.Settings: the accounts are in the configuration,
// or in a file of their own that is read again when it changes.
func (s *Settings) Resolve(c conf.Section, _ *connector.Config) {
	at := c.Key("usersFile")
	switch {
	case s.UsersFile == "":
		checkUsers(c.Check, c.Key("users"), s.Users)
		return
	case len(s.Users) > 0:
		c.Add(at, "excludes users; set one of the two")
		return
	}
	content, ok := c.SecretFile(at, s.UsersFile)
	if !ok {
		return
	}
	list, err := ParseUsers([]byte(content))
	if mistakes, ok := errors.AsType[conf.Errors](err); ok {
		for _, m := range mistakes {
			c.Add(at, "in the file: %s", m)
		}
	}
	s.Users, s.UsersFile = list, c.Path(s.UsersFile)
}
