// Package doctor looks at a protected MCP server from outside, the way an MCP client
// does, and reports what would break clients: what was seen, which client breaks, what
// to do about it.
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
	"fmt"
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
	// Login lets it sign a user in: Open is given the authorization URL, and
	// the answer is awaited on a loopback port for at most LoginTimeout.
	Login    bool
	ClientID string // used instead of a registration; may be empty
	// Assertion is a JWT that is presented at the token endpoint instead of a sign-in (RFC
	// 7523, section 2.1); "" for none.
	Assertion string
	// Pages are addresses that people sign in for, and Events where events of security are
	// pushed to (RFC 8935); both may be empty.
	Pages        []string
	Events       string
	Open         func(authorizationURL string)
	LoginTimeout time.Duration // 5 minutes if zero
	// Origin is the web page of the CORS checks; MCP Inspector's if empty.
	Origin string
	// Skip leaves checks out, by id or by the part of it before a hyphen.
	Skip    []string
	Version string // for the User-Agent
	// Progress, if set, is called with each check as soon as it is done.
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
	// Warned is a fault that some clients tolerate: the server does not count as faulty.
	Warned Status = "warning"
)

// Report is what the doctor found. Its JSON form is stable.
type Report struct {
	URL      string    `json:"url"`
	OK       bool      `json:"ok"`
	Passed   int       `json:"passed"`
	Faults   int       `json:"faults"`
	Skipped  int       `json:"skipped"`
	Warnings int       `json:"warnings"`
	Origins  []string  `json:"origins"`          // all servers that got requests
	Server   string    `json:"server,omitempty"` // the value of the Server header
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

// steps are the checks in the order in which they run. What a check is called
// and every fault that it can find are in faults.yaml.
var steps = []struct {
	id string
	// needs returns why the check cannot be made, "" if it can.
	needs func(*walk) string
	run   func(*walk, context.Context) outcome
}{
	{"url", nothing, (*walk).checkURL},
	{"reach", goodURL, (*walk).checkReach},
	{"post", reached, (*walk).checkPost},
	{"challenge", gated, (*walk).checkChallenge},
	{"metadata-url", challenged, (*walk).checkMetadataURL},
	{"metadata", gated, (*walk).checkMetadata},
	{"metadata-path", documented, (*walk).checkMetadataPath},
	{"metadata-root", documented, (*walk).checkMetadataRoot},
	{"resource", documented, (*walk).checkResource},
	{"servers", documented, (*walk).checkServers},
	{"as", hasIssuer, (*walk).checkAS},
	{"issuer", hasServer, (*walk).checkIssuer},
	{"endpoints", hasServer, (*walk).checkEndpoints},
	{"authorize", hasServer, (*walk).checkAuthorize},
	{"token", hasServer, (*walk).checkToken},
	{"pkce", hasServer, (*walk).checkPKCE},
	{"iss", hasServer, (*walk).checkIss},
	{"clients", hasServer, (*walk).checkClients},
	{"machines", hasServer, (*walk).checkMachines},
	{"proofs", hasServer, (*walk).checkProofs},
	{"keys", hasServer, (*walk).checkKeys},
	{"register", hasServer, (*walk).checkRegister},
	{"redirects", mayRegister, (*walk).checkRedirects},
	{"state", hasClient, (*walk).checkState},
	{"error-redirect", hasClient, (*walk).checkErrorRedirect},
	{"cors-preflight", gated, (*walk).checkPreflight},
	{"cors-challenge", gated, (*walk).checkCORSChallenge},
	{"cors-documents", documented, (*walk).checkCORSDocuments},
	{"cors-endpoints", hasServer, (*walk).checkCORSEndpoints},
	{"get", gated, (*walk).checkGet},
	{"delete", gated, (*walk).checkDelete},
	{"methods", gated, (*walk).checkOtherMethods},
	{"bad-token", gated, (*walk).checkBadToken},
	{"token-scheme", gated, (*walk).checkScheme},
	{"large-token", gated, (*walk).checkLargeToken},
	{"large-body", gated, (*walk).checkLargeBody},
	{"spoof", gated, (*walk).checkSpoof},
	{"unasked", gated, (*walk).checkUnasked},
	{"pages", hasPages, (*walk).checkPages},
	{"page-mcp", gated, (*walk).checkPageMCP},
	{"account", hasPages, (*walk).checkAccount},
	{"events", hasEvents, (*walk).checkEvents},
	{"assertion", hasAssertion, (*walk).checkAssertion},
	{"login", canLogin, (*walk).checkLogin},
	{"exchange", hasCode, (*walk).checkExchange},
	{"session", hasToken, (*walk).checkSession},
	{"cache", hasSession, (*walk).checkCache},
	{"stream", hasSession, (*walk).checkStream},
	{"step-up", hasSession, (*walk).checkStepUp},
	{"headers", hasSession, (*walk).checkHeaders},
	{"older", hasSession, (*walk).checkOlder},
	{"answers", reached, (*walk).checkAnswers},
}

// outcome is what a check returns.
type outcome struct {
	status Status
	detail string
	faults []Symptom
}

func pass(detail string) outcome { return outcome{status: Passed, detail: detail} }
func skip(reason string) outcome { return outcome{status: Skipped, detail: reason} }

// fail reports the fault of faults.yaml that has this id.
func fail(id, saw string) outcome {
	return outcome{status: Faulty, faults: []Symptom{{fault(id), saw}}}
}

// warn is fail for faults that some clients tolerate.
func warn(id, saw string) outcome {
	return outcome{status: Warned, faults: []Symptom{{fault(id), saw}}}
}

// Run examines opt.URL. It returns an error only if ctx ended; every fault of the
// server is in the report.
func Run(ctx context.Context, opt Options) (Report, error) {
	opt.Origin = cmp.Or(opt.Origin, inspector)
	opt.LoginTimeout = cmp.Or(opt.LoginTimeout, 5*time.Minute)
	opt.Timeout = cmp.Or(opt.Timeout, 10*time.Second)
	opt.StreamTimeout = cmp.Or(opt.StreamTimeout, 5*time.Second)
	w := &walk{opt: opt, probe: newProber(opt)}
	defer w.close()
	report := Report{URL: printable(opt.URL)}
	for i, c := range checks {
		f := w.examine(ctx, c, steps[i].needs, steps[i].run)
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

func (w *walk) examine(ctx context.Context, c Check, needs func(*walk) string, run func(*walk, context.Context) outcome) Finding {
	f := Finding{ID: c.ID, Group: c.Group, Title: c.Title}
	var o outcome
	if w.leftOut(c.ID) {
		o = skip("left out by --skip")
	} else if why := needs(w); why != "" {
		o = skip(why)
	} else if c.ID != "answers" && w.probe.silent() {
		w.missed++
		o = skip("the server has stopped answering")
	} else {
		o = w.unlessLimited(c.ID, func() outcome { return run(w, ctx) })
	}
	f.Status, f.Detail, f.Faults = o.status, printable(o.detail), o.faults
	for i := range f.Faults {
		f.Faults[i].Saw = printable(f.Faults[i].Saw)
	}
	return f
}

// unlessLimited skips a check that a limit on requests stopped, unless that is the
// fault to report: a limit on requests says nothing about what was asked.
func (w *walk) unlessLimited(id string, run func() outcome) outcome {
	before := w.probe.limits()
	o := run()
	told := slices.ContainsFunc(o.faults, func(s Symptom) bool { return strings.HasSuffix(s.ID, "."+string(limited)) })
	w.limitTold = w.limitTold || told
	if w.probe.limits() == before || told || id == "reach" { // post will tell
		return o
	}
	w.limited++
	return skip("429, or 503 of nginx itself: something limits how often one address may ask")
}

// checkAnswers reports that checks could not be made: they may hide faults.
func (w *walk) checkAnswers(context.Context) outcome {
	switch {
	case w.limited > 0 && !w.limitTold:
		return fail("answers.limited", plural(w.limited, "check")+" ended in 429, or in 503 of nginx itself (limit_req)")
	case w.missed > 0:
		return fail("answers.silent", fmt.Sprintf("%d requests in a row got no answer within %s; %s left out", maxSilence, w.opt.Timeout, plural(w.missed, "check")))
	}
	return pass("")
}

func (w *walk) leftOut(id string) bool {
	return slices.ContainsFunc(w.opt.Skip, func(s string) bool { return leaves(s, id) })
}

// leaves reports whether an entry of Options.Skip leaves out the check id.
func leaves(entry, id string) bool { return id == entry || strings.HasPrefix(id, entry+"-") }

// Leaves reports whether an entry of Options.Skip leaves out any check.
func Leaves(entry string) bool {
	return slices.ContainsFunc(checks, func(c Check) bool { return leaves(entry, c.ID) })
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
	case Warned:
		r.Warnings++
	}
}

// walk is what the checks have found so far; each check adds to it.
type walk struct {
	opt   Options
	probe *prober

	url       *url.URL
	anonymous *answer           // to the POST without a token
	bearer    map[string]string // parameters of the Bearer challenge; nil if there is none
	boundOnly bool              // the challenge is one of DPoP
	judged    map[string]string // the same for a bad token, if the server distinguishes it from none
	getOpen   bool              // GET gets to the MCP server without a token

	metadataURL string // named by the challenge and usable, or ""
	resourceAt  string // where the document was found
	resource    *resourceDocument
	issuer      string
	server      *serverDocument
	serverAt    string
	variants    []variant

	client   *registered
	redirect string // what client registered, or ""
	callback *callback
	code     string
	verifier string
	granted  *answer // of the token endpoint, to an assertion
	prover   *prover // nil unless tokens are bound
	token    *tokens
	session  *session

	limited, missed int  // checks that could not be made, because of a limit on requests or of timeouts
	limitTold       bool // a limit is a fault of the report already
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
	if w.opt.Assertion != "" {
		return "an assertion takes its place"
	}
	if !w.opt.Login {
		return "not asked for; --login signs you in and tests the rest"
	}
	if why := hasServer(w); why != "" {
		return why
	}
	return unless(w.client != nil, "there is no client to sign in with; name one with --client-id")
}

func hasAssertion(w *walk) string {
	if w.opt.Assertion == "" {
		return "not asked for; --assertion FILE shows a token of a workload and tests the rest"
	}
	if why := hasServer(w); why != "" {
		return why
	}
	return documented(w)
}

func mayRegister(w *walk) string {
	if why := hasServer(w); why != "" {
		return why
	}
	return unless(w.redirect != "", "needs a registration; --register tries it")
}

func hasClient(w *walk) string { return mayRegister(w) }

func hasCode(w *walk) string    { return unless(w.code != "" || w.granted != nil, "no one signed in") }
func hasToken(w *walk) string   { return unless(w.token != nil, "there is no token") }
func hasSession(w *walk) string { return unless(w.session != nil, "there is no session") }

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}
