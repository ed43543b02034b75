package forwardauth

import (
	"io"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Request is what the MCP client asked of the gateway, in no dialect. Only the dialects
// know which part of the gateway's question each field came from.
type Request struct {
	Dialect Dialect
	// Ambiguous says that the gateway's question was incomplete, or can be read in two
	// ways. The request is then denied, whatever the other fields hold.
	Ambiguous bool
	// Method is the HTTP method of the client, "" if the gateway does not say.
	Method string
	// Host is the host that the client named, with a port if it named one.
	Host string
	// AskedAs is the Host of the gateway's own question, if the dialect names the
	// client's host elsewhere; else "". If it is one of our hosts, it must be the same as
	// Host.
	AskedAs string
	// RoutedAs, if Routed, is the host by which the gateway chose the server that the
	// request goes to, without port. It must be the same as Host.
	RoutedAs string
	Routed   bool
	// Path is the path as the client sent it, percent-encoded, without query.
	Path string
	// Query is what follows the path, without "?". No decision depends on it. A person
	// who is sent to sign in comes back to it.
	Query string
	// NoPath says that the gateway does not tell the path. It then means the only
	// resource of the host.
	NoPath bool

	Headers

	// Peer is the address that the gateway asks from, with its port.
	Peer string

	// Trace is the trace that the gateway's question is part of. No decision depends on
	// it.
	Trace TraceContext
	// Body is the body of the client's request where the gateway forwards it,
	// else nil. It is read only if the configuration of the resource says so.
	Body io.Reader
	// BodyCut says that the gateway forwarded only the beginning of the body.
	BodyCut bool
	// Parsed is what the gateway itself read out of the body, nil if it does not say. It
	// is used only if the configuration of the resource says so.
	Parsed *Parsed
}

// Parsed is the one JSON-RPC message of a body, as a gateway reads it.
type Parsed struct {
	// Whole says that the gateway read all of the body and refuses what it cannot read.
	// Without it the other fields prove nothing.
	Whole bool
	// Method is "" for a response.
	Method string
	// Name and URI are members of the params, "" if they are missing or not text.
	Name, URI string
}

// TraceContext holds the lines of the headers traceparent and tracestate (W3C Trace
// Context).
type TraceContext struct{ Parent, State []string }

// Headers are the headers of the client's request that a decision depends on. Each field
// has all lines that came, because some headers must not repeat.
type Headers struct {
	Authorization   []string
	Proof           []string // DPoP
	Origin          []string
	PreflightMethod []string // Access-Control-Request-Method
	ProtocolVersion []string // MCP-Protocol-Version
	MCPMethod       []string // Mcp-Method
	MCPName         []string // Mcp-Name
	// ContentType and ContentEncoding say how a server will read the body.
	ContentType     []string
	ContentEncoding []string
	// Other holds at least the headers that Endpoint.Others names, by canonical name.
	Other http.Header
}

// headersOf returns the Headers of h. It does not copy the lines.
func headersOf(h http.Header) Headers {
	return Headers{
		Authorization:   h["Authorization"],
		Proof:           h["Dpop"],
		Origin:          h["Origin"],
		PreflightMethod: h["Access-Control-Request-Method"],
		ProtocolVersion: h["Mcp-Protocol-Version"],
		MCPMethod:       h["Mcp-Method"],
		MCPName:         h["Mcp-Name"],
		ContentType:     h["Content-Type"],
		ContentEncoding: h["Content-Encoding"],
		Other:           h,
	}
}

// Decision is the answer to a Request, in no dialect. The zero value denies. A transport
// must carry out all of it, or deny.
type Decision struct {
	Reason Reason
	// Host and Resource are those that the request is for, nil if they are not
	// configured.
	Host     *resource.Host
	Resource *resource.Resource
	// Token is the verified credential, nil if there is none or it is not valid.
	Token *Token
	// Status is 200 if the request may pass. Otherwise it is the status of the client's
	// answer.
	Status int
	// Headers are set on the request to the MCP server if it may pass, in place of what
	// the client sent by these names. Otherwise they belong to the client's answer. The
	// values must not be changed.
	Headers Lines
	// Remove names headers to remove from a request that may pass: other spellings of
	// Headers, and credentials. Set Headers first, then remove.
	Remove []string
	// removeLine is Remove as the one header line that Envoy takes.
	removeLine []string
	// Client are headers for the client's answer to a request that may pass, for
	// transports that can add to the answer of the MCP server.
	Client Lines
	// Body is the body of the client's answer to a denial: JSON, or a page for a person.
	Body string

	// proven says that the request has a valid credential, whether or not it may pass.
	proven bool
	// byDPoP says that the token came with the scheme DPoP. nextNonce is the nonce for
	// the client's next proof, "" for none.
	byDPoP    bool
	nextNonce string
	// detail is what the reason leaves open, for the audit log; "" for nothing.
	detail string
	// flow is the reference of the page that a person gets, "" for none.
	flow string
	// grant is what the token is good for by the catalogue known now.
	grant *Grant
	// lookup says whether the token was remembered.
	lookup Lookup
	// clientTrace is Outcome.ClientTrace.
	clientTrace string
	// asked is what the body asks for, if the body was read, and id is the id of its
	// message.
	asked []operation
	id    string
	// refused is the operation that was denied, and needed the scopes that would open it.
	refused operation
	needed  oauth.Scopes
}

// Outcome is what metrics and traces are told about a decision. It is passed by value, to
// allocate nothing.
type Outcome struct {
	Reason  Reason
	Dialect Dialect
	// Resource is nil if the request was for no known resource.
	Resource *resource.Resource
	// Proven says that the request had a valid credential, whether or not it could pass.
	Proven bool
	Lookup Lookup
	Took   time.Duration
	// ClientTrace is the traceparent inside the request's body, as the client
	// wrote it; "" where the body is not read.
	ClientTrace string
}

// Lookup says whether a token was among those verified before.
type Lookup uint8

// Lookups.
const (
	NoLookup Lookup = iota // the decision needed no token
	Hit
	Miss
)

// Lines are header lines: canonical names and, in the same order, the one value of each.
// All tokens share the names of the identity headers, so a remembered token holds only
// values.
type Lines struct{ Names, Values []string }

func (l *Lines) add(name, value string) {
	l.Names, l.Values = append(l.Names, name), append(l.Values, value)
}

// Set puts the lines into h. It allocates nothing: the slices in h are parts of l's,
// which net/http does not change.
func (l *Lines) Set(h http.Header) {
	for i, name := range l.Names {
		h[name] = l.Values[i : i+1 : i+1]
	}
}

// Allowed reports whether the request may pass.
func (d *Decision) Allowed() bool { return d.Status == http.StatusOK }
