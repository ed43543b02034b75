package forwardauth

import (
	"io"
	"net/http"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Request is what the MCP client asked of the gateway, in no dialect. Every
// dialect makes one, and nothing but a dialect knows where its parts came from.
type Request struct {
	Dialect Dialect
	// Ambiguous says that the gateway's question was incomplete or can be read
	// in two ways. It is denied, whatever the rest holds.
	Ambiguous bool
	// Method is the HTTP method of the client, "" if the gateway does not say.
	Method string
	// Host is the host that the client named, with a port if it named one.
	Host string
	// AskedAs, if not empty, is the Host of the gateway's own question where
	// that differs by nature. If it is one of our hosts it must agree with Host.
	AskedAs string
	// RoutedAs, if Routed, is the host by which the gateway chose where the
	// request goes, without port. It must be Host's.
	RoutedAs string
	Routed   bool
	// Path is the path as the client sent it, percent-encoded, without query.
	Path string
	// Query is what stands behind the path, without "?". No decision looks at it; a
	// person who has to sign in comes back with it.
	Query string
	// NoPath says that the gateway tells no path: the host's only resource is meant.
	NoPath bool

	Headers

	// Peer is the address that the gateway asks from, with its port.
	Peer string

	// Trace is what the gateway's question is part of. No decision looks at it.
	Trace TraceContext
	// Body is the body of the client's request where the gateway forwards it,
	// else nil. It is read only if the configuration of the resource says so.
	Body io.Reader
	// BodyCut says that the gateway forwards only the beginning of the body.
	BodyCut bool
	// Parsed is what the gateway itself read out of the body, nil if it does not
	// say. It is looked at only if the configuration of the resource says so.
	Parsed *Parsed
}

// Parsed is the one JSON-RPC message of a body, as a gateway reads it.
type Parsed struct {
	// Whole says that the gateway read all of the body, and refuses what it could
	// not read; without it the rest says nothing.
	Whole bool
	// Method is "" for a response.
	Method string
	// Name and URI are those of the params, "" where they are not text.
	Name, URI string
}

// TraceContext is the traceparent and tracestate of W3C Trace Context, line by line.
type TraceContext struct{ Parent, State []string }

// Headers are those headers of the client's request that a decision looks at,
// with every line that came: what must not repeat has to be seen repeating.
// No other header has an effect on a decision.
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
	// Other holds at least those of Endpoint.Others, by canonical name. Nothing else
	// is looked up in it.
	Other http.Header
}

// headersOf takes the headers out of h without copying.
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

// Decision is the answer to a Request, in no dialect. A gateway that is not
// told it word by word lets nothing pass.
type Decision struct {
	Reason Reason
	// Host and Resource are what the request was for, nil if that is not ours.
	Host     *resource.Host
	Resource *resource.Resource
	// Token is the verified token, nil if there was none or it is not good.
	Token *Token
	// Status is 200 to allow. Any other is the status of the client's answer.
	Status int
	// Headers of an allowed request are to be set on the request to the MCP
	// server, in place of what the client sent by these names. Headers of a denied
	// one belong to the client's answer. The values must not be changed.
	Headers Lines
	// Remove are headers to take from an allowed request: other spellings of
	// Headers that a server may read as the same. Set Headers before removing.
	Remove []string
	// removeLine is Remove as the one header line that Envoy takes.
	removeLine []string
	// Client are headers for the client's answer to an allowed request, where
	// the gateway can add to what the MCP server answers.
	Client Lines
	// Body of the client's answer: JSON, or a page for a person.
	Body string

	// proven says that a good token stands behind the request, whatever it may do.
	proven bool
	// byDPoP says that the token came with the scheme DPoP, and nextNonce is for the
	// client's next proofs, "" for none.
	byDPoP    bool
	nextNonce string
	// detail is what the reason leaves open, for the audit log; "" for nothing.
	detail string
	// flow is the reference of the page that a person gets, "" for none.
	flow string
	// grant is what the token is good for now.
	grant *Grant
	// lookup says whether the token was known.
	lookup Lookup
	// clientTrace is what Outcome has by this name.
	clientTrace string
	// asked is what the body asks for, where it decides, and id that of the message.
	asked []operation
	id    string
	// refused is the operation that was, and needed the scopes that would open it.
	refused operation
	needed  oauth.Scopes
}

// Outcome is what metrics learn of a decision. It goes by value, so that
// telling costs no memory.
type Outcome struct {
	Reason  Reason
	Dialect Dialect
	// Resource is nil if the request was for no known resource.
	Resource *resource.Resource
	// Proven says that a good token stands behind the request, whatever became of it.
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
	NoLookup Lookup = iota // it did not come to that
	Hit
	Miss
)

// Lines are header lines: canonical names and, in the same order, the one value
// of each. The names of all identity headers are the same, so that a remembered
// token costs its values alone.
type Lines struct{ Names, Values []string }

func (l *Lines) add(name, value string) {
	l.Names, l.Values = append(l.Names, name), append(l.Values, value)
}

// Set puts the lines into h. The slices it puts there are parts of l's, so
// nothing is allocated; net/http does not change them.
func (l *Lines) Set(h http.Header) {
	for i, name := range l.Names {
		h[name] = l.Values[i : i+1 : i+1]
	}
}

// Allowed reports whether the request may pass.
func (d *Decision) Allowed() bool { return d.Status == http.StatusOK }
