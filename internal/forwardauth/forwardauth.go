// Package forwardauth answers a gateway's question: may this request pass to the MCP
// server?
//
// A dialect reads the gateway's question into a Request. Decide finds the resource that
// the request is for (locate), checks the credential (authenticate), and checks what the
// credential allows there (authorize). The Decision is in no dialect again. ServeHTTP,
// package envoy and package relay carry it out; nothing else here knows a gateway.
//
// A decision uses memory alone: no network, no file, and no lock that another request can
// hold for long. It waits for three things only, each for a bounded time and for a
// bounded number of requests: the body that the gateway announced, a kind of credential
// that must ask another server about one it does not know, and the list of an MCP server
// that was never read. What cannot be placed or verified is denied.
package forwardauth

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Path is the prefix of every dialect's endpoint.
const Path = "/authenticate"

// Scopes is what an MCP server is known to advertise.
type Scopes interface {
	// Advertised returns the scopes that clients may be told to ask for.
	Advertised() []string
	// ScopeNames returns the scopes that can be granted, in a stable order.
	ScopeNames() []string
	// ScopesForTool returns the scopes that open the tool; each of them is enough. It
	// returns none if no scope does.
	ScopesForTool(name string) []string
	// Knows reports whether ScopesForTool has the word of the server or the operator on
	// the tool. It is false while the server's list has not been read, and then no scope
	// opens the tool.
	Knows(tool string) bool
	// ToolNames returns the names of the tools that the server lists.
	ToolNames() []string
	// Lists reports whether the server lists the tool.
	Lists(tool string) bool
	// Agrees reports whether the tool is still as it was when the person agreed to it.
	// agreed is Principal.Agreed.
	Agrees(agreed, tool string) bool
}

// Endpoint serves Path.
type Endpoint struct {
	Resources *resource.Table
	// Credentials are the kinds of credential that a request may use.
	Credentials credential.Kinds
	// Proofs verifies DPoP proofs, and UsedProofs remembers them. If one is nil, no proof
	// is accepted.
	Proofs     *dpop.Verifier
	UsedProofs *dpop.Memory
	// Scopes returns the known scopes of a resource, without I/O. The value is
	// replaced, never changed, so == tells whether it is still current.
	Scopes func(r *resource.Resource) Scopes
	// Learn, if set, is called when a decision needs the list of an MCP server that has
	// not been read: after a start, or when a host is new. It waits a few seconds at
	// most, and not at all for a server that has just failed. It reports whether Scopes
	// knows the server now.
	Learn func(ctx context.Context, r *resource.Resource) bool
	// Policy are the operator's rules, which bound what a token is good for beyond its
	// scopes.
	Policy  *policy.Policy
	Headers outbound.Headers
	// Additions are further headers for MCP servers, by the URI of the resource.
	Additions map[string][]Addition
	// Identities signs the value of the header Headers.JWT; nil if there is no such
	// header.
	Identities *token.Identities
	// TrustedProxies are the networks whose X-Forwarded-For is believed. It matters for
	// API keys that may be used from some networks only.
	TrustedProxies []netip.Prefix
	// Ended lists what was revoked and who is denied; nil means that nothing is.
	Ended *revocation.List
	// Session finds the session of a browser in the Cookie lines of a request: value is
	// "" if there is none, and several is true if there is more than one. Session is set
	// if there are pages.
	Session func(lines []string, host *resource.Host) (value string, several bool)
	// Refusal, if set, renders the page for a person whom the rules keep out of the page
	// at target, a path of host. It gets the Cookie and Accept-Language lines of the
	// request. ok is false if the request has no session. Refusal is called only for
	// navigations of a browser.
	Refusal func(host *resource.Host, target string, cookies, languages []string) (page Refusal, ok bool)
	// Used, if set, is called when a token is used here for the first time, with its
	// family, the generation of the refresh token that came with it, and the time it was
	// issued. It must not wait.
	Used func(family string, generation int, issued time.Time)
	// Challenged, if set, is called with the family of a token that lacked a scope, at
	// resources with Rules.RefuseRefresh. It must not wait.
	Challenged func(family string)
	Audit      *audit.Log
	// MostTokens bounds how many verified tokens are remembered, at some 450 bytes each.
	// A token that is not remembered costs one signature check per request.
	MostTokens int
	// Refused, if set, is called with the scopes that a client lacked. It must not wait.
	Refused func(resource, client, subject string, scopes oauth.Scopes)
	// Count, if set, is called with the outcome of each decision, for metrics.
	Count func(Outcome)
	// Trace, if set, is called before each decision; the function it returns is
	// called with the outcome.
	Trace func(context.Context, TraceContext) (context.Context, func(Outcome))
	Now   func() time.Time

	verified *cache
	grants   *grants
	asking   asking
	learning *atomic.Int32 // requests that wait in Learn
	names    []string      // of the identity headers, canonical
	upstream []upstream    // by resource.Resource.Index
}

// Refusal is a page that tells a person why they may not see another one.
type Refusal struct {
	Header http.Header
	Body   string
	// Flow is the reference that the page shows and that the audit log has.
	Flow string
}

// upstream is what every allowed request to a resource gets, and loses, on its way to the
// MCP server.
type upstream struct {
	names, unknown []string // the headers that are set, and their values if no user is known
	removal        *removal // the headers that are removed
}

// New returns e ready to serve.
func New(e Endpoint) *Endpoint {
	for _, name := range e.Headers.Names() {
		e.names = append(e.names, http.CanonicalHeaderKey(name)) // once here, not for each request
	}
	if e.Count == nil {
		e.Count = func(Outcome) {}
	}
	if e.Ended == nil {
		e.Ended = revocation.New(0, e.Now)
	}
	e.upstream = make([]upstream, len(e.Resources.All()))
	for _, r := range e.Resources.All() {
		up := &e.upstream[r.Index]
		up.names = append(slices.Clone(r.ProviderToken.Names()), e.names...)
		up.unknown = append(providerHeaders(&credential.Principal{}, r.ProviderToken), e.values(&credential.Principal{}, maxIdentityBytes)...)
		up.removal = e.removalOf(r)
	}
	e.verified, e.grants, e.asking, e.learning = newCache(e.MostTokens), new(grants), make(asking, len(e.Credentials)), new(atomic.Int32)
	return &e
}

// Traced reports whether Decide looks at Request.Trace.
func (e *Endpoint) Traced() bool { return e.Trace != nil }

// Remembered returns how many verified tokens are remembered.
func (e *Endpoint) Remembered() int { return e.verified.len() }

// Forget empties the memory of verified tokens, to free it. The next request of a token
// verifies it again.
func (e *Endpoint) Forget() { e.verified.clear() }

// aliases returns other spellings of names that CGI-like servers take for the same
// header, because they read hyphens and underscores alike (RFC 3875, section 4.1.18). A
// name with many hyphens gives only the spelling with underscores alone.
func aliases(names ...string) []string {
	const most = 4
	var out []string
	for _, name := range names {
		parts := strings.Split(strings.ToLower(name), "-")
		if len(parts)-1 > most {
			out = append(out, strings.Join(parts, "_"))
			continue
		}
		spellings := parts[:1]
		for _, part := range parts[1:] {
			var longer []string
			for _, s := range spellings {
				longer = append(longer, s+"-"+part, s+"_"+part)
			}
			spellings = longer
		}
		out = append(out, spellings[1:]...) // the first is the name itself
	}
	return out
}

// Owns reports whether the raw request target belongs to this endpoint. It must be asked
// before a multiplexer that cleans paths: a gateway may append the original path to the
// endpoint's, and the redirect to the clean path would reach the MCP client.
func Owns(target string) bool {
	rest, ok := strings.CutPrefix(target, Path)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

var (
	noStore         = []string{"no-store"}
	closeConnection = []string{"close"}
)

// ServeHTTP answers a gateway's question over HTTP. To allow is always 200 without a body,
// because some gateways turn every other success into a 500.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := read(r)
	q.Peer = r.RemoteAddr
	h := w.Header()
	var body *patientBody
	if r.ContentLength != 0 {
		// A gateway may announce a body that it never sends. Without full duplex
		// net/http would wait for it before it writes the answer.
		conn := http.NewResponseController(w)
		_ = conn.EnableFullDuplex()
		if traits[q.Dialect].body {
			body = &patientBody{Reader: r.Body, conn: conn}
			q.Body = body
		}
	}
	if e.Trace != nil {
		q.Trace = TraceContext{r.Header["Traceparent"], r.Header["Tracestate"]}
	}
	d := e.Decide(r.Context(), &q)
	if r.ContentLength != 0 && (body == nil || !body.ended) {
		// The next bytes on the connection are either the rest of the body or, if the gateway
		// never sends it, the next question. They cannot be told apart.
		h["Connection"] = closeConnection
	}
	d.Headers.Set(h)
	d.Client.Set(h)
	h["Cache-Control"] = noStore
	if d.Allowed() {
		if q.Dialect == EnvoyHTTP && len(d.Remove) > 0 {
			h["X-Envoy-Auth-Headers-To-Remove"] = d.removeLine
		}
		w.WriteHeader(d.Status)
		return
	}
	w.WriteHeader(d.Status)
	_, _ = io.WriteString(w, d.Body)
}
