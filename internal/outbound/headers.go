// Package outbound says what an MCP server gets with an allowed request.
package outbound

import (
	"slices"
	"time"
)

// Headers are the names of the identity headers that an allowed request carries, in
// canonical form. User, Email and Groups are never empty.
type Headers struct {
	User, Email, Groups, Name, Client, Scope string
	JWT                                      string        // "" for none
	JWTLifetime                              time.Duration // at most five minutes
}

// Names lists the headers, the signed one last.
func (h Headers) Names() []string {
	all := []string{h.User, h.Email, h.Groups, h.Name, h.Client, h.Scope, h.JWT}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}
