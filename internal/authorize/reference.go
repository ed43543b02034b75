package authorize

import (
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// A step that travels through the browser has the reference of its sign-in beside it,
// sealed without the key of the browser: so a page that is opened again, later or in
// another browser, and a browser that lost its cookies, show the reference under which
// the audit log has the whole sign-in. The reference opens nothing.

// reference seals flow, to stand before a step and a dot. Name is what the step is called
// in the clear, "" for nothing.
func (s Steps) reference(host *resource.Host, flow, name string, expires time.Time) (string, error) {
	return s.references.Seal(flow, expires, host.Issuer, name)
}

// step returns the sealed step behind a reference. One of an earlier version has none.
func step(referred string) string {
	if _, behind, found := strings.Cut(referred, "."); found {
		return behind
	}
	return referred
}

// flowOf returns the flow that a step is of, "" if that is not known here, and whether the
// step has expired.
func (s Steps) flowOf(host *resource.Host, name, referred string) (flow string, late bool) {
	sealed, _, found := strings.Cut(referred, ".")
	if !found {
		return "", false
	}
	if flow, err := s.references.Open(sealed, host.Issuer, name); err == nil {
		return flow, false
	}
	flow, err := s.references.Late(sealed, host.Issuer, name)
	return flow, err == nil
}

// flowOfTicket is flowOf for a ticket.
func (s Steps) flowOfTicket(host *resource.Host, ticket string) (flow string, late bool) {
	if len(ticket) < handleSize {
		return "", false
	}
	return s.flowOf(host, ticket[:handleSize], ticket[handleSize:])
}
