package forwardauth

import (
	"context"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Decide answers q, writes the audit entry of a denial and counts the decision. The
// package comment says what it may wait for.
func (e *Endpoint) Decide(ctx context.Context, q *Request) Decision {
	began := time.Now()
	var d Decision
	var traced func(Outcome)
	if e.Trace != nil {
		ctx, traced = e.Trace(ctx, q.Trace)
	}
	// The checks, in order; the first that does not pass decides.
	switch {
	case !d.pass(e.locate(q, &d)):
	case !d.pass(rightEntrance(q, &d)):
	case d.Resource.Page != nil:
		d.pass(e.page(ctx, q, &d))
	case !d.pass(origin(q, &d)):
	case preflight(q, &d):
		d.Reason = Preflight
	case !d.pass(e.authenticate(ctx, q, &d)):
	default:
		d.proven = true
		if d.pass(e.authorize(ctx, q, &d)) && q.Dialect == Served {
			d.pass(e.readList(ctx, q, &d))
		}
	}
	if d.Reason.asksForMore() && e.Refused != nil {
		e.Refused(d.Resource.URI, d.Token.Client(), d.Token.Subject(), d.needed)
	}
	e.answer(ctx, q, &d)
	if d.Reason.asksForMore() && d.Resource.Rules.RefuseRefresh && e.Challenged != nil {
		e.Challenged(d.Token.part(family))
	}
	if !d.Allowed() {
		e.auditDenial(ctx, audit.AccessDenied, d.Reason, q, &d)
	}
	outcome := Outcome{Reason: d.Reason, Dialect: q.Dialect, Resource: d.Resource, Proven: d.proven, Lookup: d.lookup, Took: time.Since(began), ClientTrace: d.clientTrace}
	e.Count(outcome)
	if traced != nil {
		traced(outcome)
	}
	return d
}

// pass notes the result of a check, and reports whether the next check is to decide.
func (d *Decision) pass(r Reason) bool {
	d.Reason = r
	return r == Allowed
}

// locate finds the resource that the request is for.
func (e *Endpoint) locate(q *Request, d *Decision) Reason {
	if q.Dialect == NoDialect {
		return UnknownDialect
	}
	d.Host = e.Resources.Host(q.Host)
	switch {
	case q.Ambiguous:
		return AmbiguousTarget
	case d.Host == nil:
		return UnknownHost
	case q.AskedAs != "" && !e.mayAskAs(q.AskedAs, d.Host):
		return AmbiguousTarget
	case q.Routed && !strings.EqualFold(hostname(q.RoutedAs), hostname(d.Host.Name)):
		return AmbiguousTarget
	case q.NoPath:
		var ok bool
		if d.Resource, ok = d.Host.Default(); !ok {
			return AmbiguousTarget
		}
		return Allowed
	}
	if d.Resource = d.Host.At(q.Path); d.Resource != nil {
		return Allowed
	}
	if !oauth.PlainPath(q.Path) {
		return AmbiguousTarget
	}
	return UnknownResource
}

// rightEntrance refuses a gateway's question about a served host, and a client's own
// request to a host behind a gateway. Clients reach a served host directly, so a gateway
// that asks about it could be a client that wants to read the identity headers. Questions
// about single messages (ExtMCP) are refused unless the configuration of the host expects
// them.
func rightEntrance(q *Request, d *Decision) Reason {
	if (d.Resource.Serving != nil) != (q.Dialect == Served) || q.Dialect == ExtMCP && !d.Resource.Rules.ExtMCP {
		return NotServedThatWay
	}
	return Allowed
}

// mayAskAs reports whether a gateway that asks about host may call this service by name:
// if name is one of our hosts, it must be the same one. Names are compared without ports,
// because ingress-nginx leaves the port out.
func (e *Endpoint) mayAskAs(name string, host *resource.Host) bool {
	other := e.Resources.Host(name)
	return other == nil || other == host || hostname(other.Name) == hostname(host.Name)
}

// ofGateWatch reports whether q is a test request of the gate watch (package gatewatch),
// of this replica or another: it has the mark, and no token or the well-known wrong one.
func ofGateWatch(q *Request) bool {
	name, _ := one(q.MCPName)
	return name == gatewatch.Mark && (len(q.Authorization) == 0 || len(q.Authorization) == 1 && q.Authorization[0] == "Bearer "+gatewatch.WrongToken)
}

// auditDenial writes the audit entry of a denial, or of what an advisory policy would
// deny. The method and the tool, which the client names, are written only if a good
// credential was presented: a stranger's text must not get into the log.
func (e *Endpoint) auditDenial(ctx context.Context, event audit.Event, reason Reason, q *Request, d *Decision) {
	entry := audit.Entry{Event: event, Reason: slugs[reason], Method: d.refused.method, Tool: d.refused.name, Flow: d.flow, Cause: e.cause(reason, q, d)}
	if entry.Method == "" && d.proven {
		entry.Method, _ = one(q.MCPMethod)
		entry.Tool, _ = one(q.MCPName)
	}
	entry.Watch = !d.proven && ofGateWatch(q)
	if d.Host != nil {
		entry.Host = d.Host.Name
	}
	if d.Resource != nil {
		entry.Resource = d.Resource.URI
	}
	if d.Token != nil {
		entry.Subject, entry.Client, entry.TokenID = d.Token.Subject(), d.Token.Client(), d.Token.ID()
		entry.Actor, entry.Family = d.Token.Actor(), d.Token.Family()
		entry.Scope = d.needed.String()
	}
	e.Audit.Write(ctx, entry)
}
