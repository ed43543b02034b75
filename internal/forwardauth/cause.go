package forwardauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// cause says for the audit log what a reason leaves open: which of several faults it is,
// and which values differ. It is nil where the reason and the entry's other members say
// all. What the client wrote is in it only beside a good token.
func (e *Endpoint) cause(reason Reason, q *Request, d *Decision) error {
	text := d.detail
	switch reason {
	case APIKeyExpired:
		if d.Token != nil && d.Token.Expires > 0 {
			text = "it expired at " + time.Unix(d.Token.Expires, 0).UTC().Format(time.RFC3339)
		}
	case APIKeyWrongSource:
		text = "the gateway did not say which address the request came from"
		if address, told := e.cameFrom(q); told {
			text = fmt.Sprintf("the request came from %s, and the sources of the key are %s", address, joined(d.Token.key().Sources))
		}
	case APIKeyNotEnough:
		text = e.lacks(d)
	case MissingHeader, RepeatedHeader, MalformedHeader:
		text = whichHeader(reason, &q.Headers)
	case HeaderMismatch:
		if op, reason := fromHeaders(&q.Headers); reason == Allowed && len(d.asked) > 0 {
			text = fmt.Sprintf("the headers say %s, and the body %s", op, d.asked[0])
		}
	case OldProtocol:
		text = "the request has no MCP-Protocol-Version"
		if version, _ := atMostOne(q.ProtocolVersion); version != "" {
			text = fmt.Sprintf("MCP-Protocol-Version is %q, and %s or later is needed", version, firstWithHeaders)
		}
	}
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func joined[T fmt.Stringer](list []T) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// String is what an operation does, as messages name it.
func (o operation) String() string {
	if o.name == "" {
		return o.method
	}
	return fmt.Sprintf("%s of %q", o.method, o.name)
}

// lacks says whether an API key lacks a scope or a tool for what was refused.
func (e *Endpoint) lacks(d *Decision) string {
	openers, _ := openersOf(d.refused, &d.Resource.Rules, e.Scopes(d.Resource))
	switch {
	case len(openers) == 0:
		return "no scope opens it, and it may not exist"
	case slices.ContainsFunc(openers, func(s string) bool { return d.grant.opens[s] }):
		return "the scopes of the key open it, and its tools, or the rules of the policy, do not name it"
	}
	return "it needs one of the scopes " + oauth.Scopes(openers).String() + ", and the key has " + d.grant.Scope
}

// whichHeader names the header of MCP that is missing, repeated or malformed.
func whichHeader(reason Reason, h *Headers) string {
	for _, header := range []struct {
		name  string
		lines []string
	}{{"MCP-Protocol-Version", h.ProtocolVersion}, {"Mcp-Method", h.MCPMethod}, {"Mcp-Name", h.MCPName}} {
		_, found := single(header.lines)
		if header.name != "Mcp-Name" && strings.Contains(strings.Join(header.lines, ""), ",") {
			found = RepeatedHeader
		}
		if found == reason && (len(header.lines) > 0 || header.name != "MCP-Protocol-Version") {
			return "it is the header " + header.name
		}
	}
	return "it is the header Mcp-Name" // the other two are what they should be
}
