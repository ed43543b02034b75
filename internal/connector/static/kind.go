package static

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                        { return "static" }
func (Kind) Settings() connector.Settings        { return new(settings) }
func (Kind) DisplayName(connector.Config) string { return "" }
func (Kind) Namespace(connector.Config) string   { return Namespace }

// TellsGroups implements connector.Kind. A file of accounts may change at any time.
func (Kind) TellsGroups(p connector.Config) bool {
	return p.UsersFile != "" || slices.ContainsFunc(p.Users, func(u connector.User) bool { return len(u.Groups) > 0 })
}

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	if p.UsersFile != "" {
		return fmt.Sprintf("static, %d user(s) in %s now", len(p.Users), p.UsersFile), nil
	}
	return fmt.Sprintf("static, %d user(s)", len(p.Users)), nil
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, _ *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	c, err := New(p)
	return nil, c, err
}

// settings are the keys of provider.name "static".
type settings struct {
	Users     []connector.User `json:"users"`
	UsersFile string           `json:"usersFile"`
}

// Audience implements connector.Settings.
func (s *settings) Audience() connector.Audience { return connector.Audience{Chosen: true} }

// Resolve implements connector.Settings: the accounts are in the configuration,
// or in a file of their own that is read again when it changes.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	at := c.Key("usersFile")
	switch {
	case s.UsersFile == "":
		p.Users = users(c.Check, c.Key("users"), s.Users)
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
	p.Users, p.UsersFile = list, s.UsersFile
}
