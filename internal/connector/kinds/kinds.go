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

// all is in the order of the reference.
var all = []connector.Kind{
	google.Kind{},
	github.Kind{},
	microsoft.Kind{},
	oidc.Kind{},
	oauth2.Kind{},
	static.Kind{},
}

// Names lists the values of provider.name, in the order of the reference.
func Names() []string {
	var names []string
	for _, k := range all {
		names = append(names, k.Name())
	}
	return names
}

// Of returns the kind with this name, nil if there is none.
func Of(name string) connector.Kind {
	for _, k := range all {
		if k.Name() == name {
			return k
		}
	}
	return nil
}
