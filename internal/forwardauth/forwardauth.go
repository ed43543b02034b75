// Package forwardauth answers the gateway's question: may this request pass to
// the MCP server? It decides from memory alone: no network, no file, no lock
// that another request could hold for long, and it never waits for a body that
// does not come. A kind of credential may ask over the network about one that it
// sees for the first time, and an MCP server that was never read may be asked for
// its list; only such requests wait, and not many of them. What it cannot place or
// verify is denied.
//
// A gateway's dialect becomes a Request, Decide makes a Decision of it, and the
// transport writes that down; nothing else knows a gateway.
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
	// ScopesForTool returns the scopes any one of which opens the tool; none if
	// no scope does.
	ScopesForTool(name string) []string
	// Knows reports whether that is the server's or the operator's word. It is
	// false while the server's list has not been read, and then no scope opens the tool.
	Knows(tool string) bool
	// ToolNames returns the names of the tools that the server lists.
	ToolNames() []string
	// Lists reports whether the server lists the tool.
	Lists(tool string) bool
	// Agrees reports whether the tool is as it was when the person agreed to what
	// Principal.Agreed holds.
	Agrees(agreed, tool string) bool
}

// Endpoint serves Path.
type Endpoint struct {
	Resources *resource.Table
	// Credentials are what a request may prove itself with.
	Credentials credential.Kinds
	// Proofs verifies DPoP proofs, and UsedProofs remembers them. Without both none is accepted.
	Proofs     *dpop.Verifier
	UsedProofs *dpop.Memory
	// Scopes returns the known scopes of a resource, without I/O. The value is
	// replaced, never changed, so == tells whether it is still current.
	Scopes func(r *resource.Resource) Scopes
	// Learn, if set, is called where a request can only be decided by what its MCP
	// server advertises, and that has not been read: after a start, or when a host is
	// new. It waits for it a few seconds at most, and not at all for a server that
	// failed a moment ago. It reports whether Scopes knows the server now.
	Learn func(ctx context.Context, r *resource.Resource) bool
	// Policy bounds what a token is good for beyond its scopes.
	Policy  *policy.Policy
	Headers outbound.Headers
	// Additions are further headers, by the URI of the resource whose server gets them.
	Additions map[string][]Addition
	// Identities signs the header of Headers.JWT; nil if there is none.
	Identities *token.Identities
	// TrustedProxies are the networks whose X-Forwarded-For is believed, for API keys
	// that may come from some networks only.
	TrustedProxies []netip.Prefix
	// Ended is what was revoked and who is denied; nil means that nothing is.
	Ended *revocation.List
	// Session takes a browser's session out of the Cookie lines of a request, "" for
	// none; two are none. It is set where there are pages.
	Session func(lines []string, host *resource.Host) (value string, several bool)
	// Refusal, if set, renders what a person reads whom the rules keep out of a page: the
	// one at target, a path of host. It gets the Cookie and Accept-Language lines of the
	// request. ok is false where there is no person. It is called only for requests that
	// a window of a browser made.
	Refusal func(host *resource.Host, target string, cookies, languages []string) (page Refusal, ok bool)
	// Used, if set, is called when a token is first used here, with its family, the
	// generation of the refresh token that came with it, and when it was issued. It
	// must not wait.
	Used func(family string, generation int, issued time.Time)
	// Challenged, if set, is called with the family of a token that is asked for more
	// scopes, where Rules.RefuseRefresh says so. It must not wait.
	Challenged func(family string)
	Audit      *audit.Log
	// MostTokens bounds how many verified tokens are remembered, at some 450 bytes
	// each. A token beyond costs one more signature check per request.
	MostTokens int
	// Refused, if set, is told whose client lacked which scopes. It must not wait.
	Refused func(resource, client, subject string, scopes oauth.Scopes)
	// Count, if set, is told of each decision, for metrics.
	Count func(Outcome)
	// Trace, if set, is called before each decision; the function it returns is
	// called with the outcome.
	Trace func(context.Context, TraceContext) (context.Context, func(Outcome))
	Now   func() time.Time

	verified *cache
	grants   *grants
	asking   asking
	learning *atomic.Int32 // requests that wait in Learn
	names    []string      // of the identity headers
	out      []out         // by resource.Resource.Index
}

// Refusal is a page for a person.
type Refusal struct {
	Header http.Header
	Body   string
	// Flow is what the page gives for a reference, and the audit log has.
	Flow string
}

// out is what is set on every request to a resource that passes, and taken from it.
type out struct {
	names, unknown []string // of the headers, and their values where no user is known
	removal        *removal
}

// New returns e ready to serve.
func New(e Endpoint) *Endpoint {
	for _, name := range e.Headers.Names() {
		e.names = append(e.names, http.CanonicalHeaderKey(name)) // so that setting them costs no lookup per request
	}
	if e.Count == nil {
		e.Count = func(Outcome) {}
	}
	if e.Ended == nil {
		e.Ended = revocation.New(0, e.Now)
	}
	e.out = make([]out, len(e.Resources.All()))
	for _, r := range e.Resources.All() {
		o := &e.out[r.Index]
		o.names = append(slices.Clone(r.ProviderToken.Names()), e.names...)
		o.unknown = append(provided(&credential.Principal{}, r.ProviderToken), e.values(&credential.Principal{}, maxIdentityBytes)...)
		o.removal = e.removalOf(r)
	}
	e.verified, e.grants, e.asking, e.learning = newCache(e.MostTokens), new(grants), make(asking, len(e.Credentials)), new(atomic.Int32)
	return &e
}

// Traced reports whether Request.Trace is looked at.
func (e *Endpoint) Traced() bool { return e.Trace != nil }

// Remembered returns how many verified tokens are held.
func (e *Endpoint) Remembered() int { return e.verified.len() }

// Forget drops what is held of tokens, to free its memory. It is looked up again
// where a token is still asked about.
func (e *Endpoint) Forget() { e.verified.clear() }

// aliases returns the spellings of names that CGI-like servers (RFC 3875,
// section 4.1.18) take for the same header: underscores in place of hyphens. A
// name with many hyphens gives only the spelling without any.
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

// Owns reports whether the raw request target belongs to this endpoint. It is
// asked before any multiplexer that cleans paths, because a gateway may append
// the original path, and a redirect would reach the MCP client.
func Owns(target string) bool {
	rest, ok := strings.CutPrefix(target, Path)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// Header lines shared by all answers; net/http does not change the slices it
// is given.
var (
	noStore         = []string{"no-store"}
	closeConnection = []string{"close"}
)

// ServeHTTP answers with exactly 200 and no body, or a denial: at some gateway
// every other success turns into a 500.
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
		// What comes next on the connection could be the body or, if that never comes, the
		// next question, which must not be read as the body.
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
