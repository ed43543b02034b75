// Package kinds is the list of the kinds of identity provider.
package kinds

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/github"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/google"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/microsoft"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oauth2"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
)

// All returns the empty settings of each kind, in the order of the reference.
func All() []connector.Settings {
	return []connector.Settings{
		&google.Settings{},
		&github.Settings{},
		&microsoft.Settings{},
		&oidc.Settings{},
		&oauth2.Settings{},
		&static.Settings{},
	}
}

// Names lists the values of provider.name, in the order of the reference.
func Names() []string {
	var names []string
	for _, k := range All() {
		names = append(names, k.Kind())
	}
	return names
}

// Of returns the empty settings of the kind with this name, nil if there is none.
func Of(name string) connector.Settings {
	for _, k := range All() {
		if k.Kind() == name {
			return k
		}
	}
	return nil
}
