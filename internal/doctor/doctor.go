// Package doctor looks at a protected MCP server from outside, the way an MCP
// client does, and names what a client would trip over: what was seen, which
// client breaks, what to do about it.
//
// Its invariant: it changes nothing at the server unless told to (Register,
// Login), follows no redirect, reads a bounded part of each answer, and talks
// only to the origin it was given and to those that this one names. Tokens and
// codes never reach a report.
package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options say what to look at and how far to go.
type Options struct {
	URL string // of the MCP server, as a person would give it to a client
	// Register lets the doctor register a client, which some servers store.
	Register bool
	// Login lets it sign somebody in: Open is given the authorization URL, and
	// the answer is awaited on a loopback port for at most LoginTimeout.
	Login        bool
	ClientID     string // used instead of a registration; may be empty
	Open         func(authorizationURL string)
	LoginTimeout time.Duration // 5 minutes if zero
	// Origin is the web page that the CORS checks speak for; MCP Inspector's if empty.
	Origin string
	// Skip leaves checks out, by id or by the part of it before a hyphen.
	Skip    []string
	Version string // for the User-Agent
	// Progress, if set, is told of each check as soon as it is done.
	Progress func(Finding)
	// Dial and Roots replace the network and the system's trust, for tests.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool
	// Timeout bounds each request and StreamTimeout the wait for a stream to
	// begin; 10 and 5 seconds if zero.
	Timeout, StreamTimeout time.Duration
}

// inspector is where MCP Inspector's pages come from: the browser client that
// most people meet first.
const inspector = "http://localhost:6274"

// Status is the outcome of a check.
type Status string

// Outcomes. Skipped means that nothing can be said, with the reason.
const (
	Passed  Status = "pass"
	Faulty  Status = "fault"
	Skipped Status = "skip"
)

// Report is what the doctor found. Its JSON form is stable.
type Report struct {
	URL      string    `json:"url"`
	OK       bool      `json:"ok"`
	Passed   int       `json:"passed"`
	Faults   int       `json:"faults"`
	Skipped  int       `json:"skipped"`
	Origins  []string  `json:"origins"`          // everything that was talked to
	Server   string    `json:"server,omitempty"` // what the Server header calls itself
	Gateway  string    `json:"gateway,omitempty"`
	Findings []Finding `json:"checks"`
}

// Finding is the outcome of one check.
type Finding struct {
	ID     string    `json:"id"`
	Group  string    `json:"group"`
	Title  string    `json:"title"`
	Status Status    `json:"status"`
	Detail string    `json:"detail,omitempty"` // of a pass or a skip
	Faults []Symptom `json:"faults,omitempty"`
}

// Symptom is a fault that was seen.
type Symptom struct {
	Fault
	Saw string `json:"saw"`
}

// Check is one question, and every fault that can be its answer.
type Check struct {
	ID, Group, Title string
	// needs returns why the check would mean nothing, "" if it means something.
	needs  func(*walk) string
	run    func(*walk, context.Context) outcome
	Faults []Fault
}

// Checks lists every check in the order in which they run.
func Checks() []Check { return slices.Clone(checks) }

// The groups of checks, in order.
const (
	door    = "The way in"
	papers  = "Resource metadata"
	signOn  = "Authorization server"
	browser = "Browser-based clients"
	attack  = "What should be refused"
	login   = "Sign-in"
)

var checks = []Check{
	{"url", door, "the URL is one that clients accept", nothing, (*walk).checkURL, []Fault{urlForm, urlInsecure}},
	{"reach", door, "a connection can be made", goodURL, (*walk).checkReach, []Fault{reachDNS, reachTLS, reachConnect, reachTimeout}},
	{"post", door, "a POST without a token gets 401", reached, (*walk).checkPost, postFaults},
	{"challenge", door, "the 401 says where to look", gated, (*walk).checkChallenge, challengeFaults},
	{"metadata-url", door, "the address it names is usable", challenged, (*walk).checkMetadataURL, metadataURLFaults},

	{"metadata", papers, "the metadata document is there", gated, (*walk).checkMetadata, metadataFaults.all()},
	{"metadata-path", papers, "it is also where clients look by themselves", documented, (*walk).checkMetadataPath, metadataPathFaults.all()},
	{"metadata-root", papers, "the document at the root of the host", documented, (*walk).checkMetadataRoot, nil},
	{"resource", papers, "it speaks of exactly this URL", documented, (*walk).checkResource, resourceFaults},
	{"servers", papers, "it names an authorization server", documented, (*walk).checkServers, serversFaults},

	{"as", signOn, "the server's own metadata is there", hasIssuer, (*walk).checkAS, asFaults.all()},
	{"issuer", signOn, "it calls itself what the resource calls it", hasServer, (*walk).checkIssuer, []Fault{issuerMismatch}},
	{"endpoints", signOn, "its endpoints are named and safe to use", hasServer, (*walk).checkEndpoints, []Fault{endpointsMissing, endpointsInsecure}},
	{"authorize", signOn, "the authorization endpoint answers", hasServer, (*walk).checkAuthorize, authorizeFaults.all()},
	{"token", signOn, "the token endpoint answers", hasServer, (*walk).checkToken, tokenFaults.all()},
	{"pkce", signOn, "PKCE with S256 is offered", hasServer, (*walk).checkPKCE, []Fault{pkceMissing}},
	{"iss", signOn, "answers say who they are from", hasServer, (*walk).checkIss, nil},
	{"clients", signOn, "a client can introduce itself", hasServer, (*walk).checkClients, []Fault{clientsNone}},
	{"keys", signOn, "the signing keys are in order", hasServer, (*walk).checkKeys, append(keysFaults.all(), keysPrivate, keysWeak, keysUnusable)},
	{"register", signOn, "a client can register", hasServer, (*walk).checkRegister, registerFaults},

	{"cors-preflight", browser, "a preflight passes without a token", gated, (*walk).checkPreflight, preflightFaults},
	{"cors-challenge", browser, "a script may read the 401", gated, (*walk).checkCORSChallenge, []Fault{corsChallengeHidden}},
	{"cors-documents", browser, "a script may read the metadata", documented, (*walk).checkCORSDocuments, []Fault{corsDocumentsHidden, corsDocumentsGated}},
	{"cors-endpoints", browser, "a script may use the endpoints", hasServer, (*walk).checkCORSEndpoints, []Fault{corsEndpointsHidden, corsEndpointsGated}},

	{"get", attack, "GET without a token", gated, (*walk).checkGet, []Fault{getOpen}},
	{"delete", attack, "DELETE without a token", gated, (*walk).checkDelete, []Fault{deleteOpen}},
	{"bad-token", attack, "a token that is no good", gated, (*walk).checkBadToken, badTokenFaults},
	{"large-token", attack, "a large token, for its contents and not its size", gated, (*walk).checkLargeToken, []Fault{largeTokenRejected}},
	{"spoof", attack, "headers that only the gateway may set", gated, (*walk).checkSpoof, []Fault{spoofAdmitted, spoofReflected}},

	{"login", login, "a person can sign in", canLogin, (*walk).checkLogin, loginFaults},
	{"exchange", login, "the code becomes a token", hasCode, (*walk).checkExchange, []Fault{exchangeRefused, exchangeMalformed}},
	{"session", login, "the token opens the MCP server", hasToken, (*walk).checkSession, []Fault{sessionDenied, sessionFailed}},
	{"stream", login, "events arrive at once", hasSession, (*walk).checkStream, []Fault{streamBuffered}},
	{"step-up", login, "a refusal says which scope is missing", hasSession, (*walk).checkStepUp, []Fault{stepUpBare, stepUpVague}},
	{"headers", login, "what the headers say is what the body says", hasSession, (*walk).checkHeaders, []Fault{headersUnchecked}},
}

// outcome is what a check returns.
type outcome struct {
	status Status
	detail string
	faults []Symptom
}

func pass(detail string) outcome { return outcome{status: Passed, detail: detail} }
func skip(reason string) outcome { return outcome{status: Skipped, detail: reason} }
func fail(f Fault, saw string) outcome {
	return outcome{status: Faulty, faults: []Symptom{{f, saw}}}
}

// Run examines opt.URL. It returns an error only if it could not go on, because
// ctx ended; everything wrong with the server is in the report.
func Run(ctx context.Context, opt Options) (Report, error) {
	opt.Origin = cmp.Or(opt.Origin, inspector)
	opt.LoginTimeout = cmp.Or(opt.LoginTimeout, 5*time.Minute)
	opt.Timeout = cmp.Or(opt.Timeout, 10*time.Second)
	opt.StreamTimeout = cmp.Or(opt.StreamTimeout, 5*time.Second)
	w := &walk{opt: opt, probe: newProber(opt)}
	defer w.close()
	report := Report{URL: printable(opt.URL)}
	for _, c := range checks {
		f := w.examine(ctx, c)
		if err := ctx.Err(); err != nil {
			return report, err
		}
		report.add(f)
		if opt.Progress != nil {
			opt.Progress(f)
		}
	}
	report.OK = report.Faults == 0
	report.Origins = w.probe.contacted()
	if w.anonymous != nil {
		report.Server = printable(w.anonymous.header.Get("Server"))
	}
	return report, nil
}

func (w *walk) examine(ctx context.Context, c Check) Finding {
	f := Finding{ID: c.ID, Group: c.Group, Title: c.Title}
	var o outcome
	if w.leftOut(c.ID) {
		o = skip("left out by --skip")
	} else if why := c.needs(w); why != "" {
		o = skip(why)
	} else {
		o = c.run(w, ctx)
	}
	f.Status, f.Detail, f.Faults = o.status, printable(o.detail), o.faults
	for i := range f.Faults {
		f.Faults[i].Saw = printable(f.Faults[i].Saw)
	}
	return f
}

func (w *walk) leftOut(id string) bool {
	return slices.ContainsFunc(w.opt.Skip, func(s string) bool { return id == s || strings.HasPrefix(id, s+"-") })
}

func (r *Report) add(f Finding) {
	r.Findings = append(r.Findings, f)
	switch f.Status {
	case Passed:
		r.Passed++
	case Faulty:
		r.Faults += len(f.Faults)
	case Skipped:
		r.Skipped++
	}
}

// walk is what has been learnt so far; each check adds to it.
type walk struct {
	opt   Options
	probe *prober

	url       *url.URL
	anonymous *answer           // to the POST without a token
	bearer    map[string]string // parameters of the Bearer challenge; nil if there is none

	metadataURL string // named by the challenge and usable, or ""
	resourceAt  string // where the document was found
	resource    *resourceDocument
	issuer      string
	server      *serverDocument
	serverAt    string
	variants    []variant

	client   *registered
	callback *callback
	code     string
	verifier string
	token    *tokens
	session  *session
}

func (w *walk) close() {
	if w.callback != nil {
		w.callback.close()
	}
	if w.session != nil {
		w.session.Close()
	}
	w.probe.close()
}

// What a check can depend on. Each returns the reason to leave it out.

func nothing(*walk) string { return "" }

func goodURL(w *walk) string {
	return unless(w.url != nil, "the URL cannot be used")
}

func reached(w *walk) string {
	return unless(w.anonymous != nil, "there is no connection to the server")
}

func gated(w *walk) string {
	if why := reached(w); why != "" {
		return why
	}
	return unless(w.anonymous.status == 401, "the server does not answer 401, so there is nothing to compare with")
}

func challenged(w *walk) string {
	if why := gated(w); why != "" {
		return why
	}
	return unless(w.bearer["resource_metadata"] != "", "the challenge names no address")
}

func documented(w *walk) string {
	return unless(w.resource != nil, "no resource metadata could be read")
}

func hasIssuer(w *walk) string {
	return unless(w.issuer != "", "no authorization server is known")
}

func hasServer(w *walk) string {
	return unless(w.server != nil, "no authorization server metadata could be read")
}

func canLogin(w *walk) string {
	if !w.opt.Login {
		return "not asked for; --login signs you in and tests the rest"
	}
	if why := hasServer(w); why != "" {
		return why
	}
	return unless(w.client != nil, "there is no client to sign in with; name one with --client-id")
}

func hasCode(w *walk) string    { return unless(w.code != "", "nobody signed in") }
func hasToken(w *walk) string   { return unless(w.token != nil, "there is no token") }
func hasSession(w *walk) string { return unless(w.session != nil, "there is no session") }

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}
