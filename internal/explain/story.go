package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Story is what became of one sign-in, or of one request.
type Story struct {
	Flow   string `json:"flow,omitempty"`
	Person string `json:"person,omitempty"`
	App    string `json:"app,omitempty"`
	Server string `json:"server,omitempty"`
	// Trail is what happened, in order.
	Trail []Moment `json:"trail"`
	// Happened says in a sentence how it ended.
	Happened string         `json:"happened"`
	Reason   reasons.Reason `json:"reason,omitempty"`
	// Details are what the entry says of the refusal: the cause, the scope, the tool.
	Details []Detail `json:"details,omitempty"`
	// Remedy is what to do, and who does it.
	Remedy string `json:"remedy,omitempty"`
	// Who names the person as check-config --as wants it; "" where no rule of the
	// policy decided.
	Who string `json:"who,omitempty"`
	// Torn: a line was cut, so there may have been more.
	Torn bool `json:"torn,omitempty"`
}

// Moment is one entry of the audit log.
type Moment struct {
	Time   time.Time      `json:"time"`
	Event  audit.Event    `json:"event"`
	Reason reasons.Reason `json:"reason,omitempty"`
	Count  string         `json:"count,omitempty"`
}

// Detail is one member of the entry that matters.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// byPolicy are the reasons behind which stands a rule of the policy.
var byPolicy = []reasons.Reason{
	reasons.NotAllowedByPolicy, reasons.ClientNotAllowedByPolicy, reasons.NarrowedByPolicy, reasons.PolicyChanged, reasons.InsufficientScope, reasons.InvalidScope, reasons.AccessDenied,
}

// Tell makes the story of entries, which are of one sign-in or one alone.
func Tell(entries ...Entry) *Story {
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	s := &Story{Trail: []Moment{}}
	step := audit.Step("")
	for i := range entries {
		e := &entries[i]
		s.learn(e)
		s.Torn = s.Torn || e.Torn
		s.Trail = append(s.Trail, Moment{e.Time, e.Event, e.Reason, e.Count})
		if slices.Index(audit.Steps, e.Step) > slices.Index(audit.Steps, step) {
			step = e.Step
		}
	}
	if n := len(entries); n > 0 {
		s.end(decisive(entries), step, n == 1)
	}
	return s
}

// decisive returns the entry that says how it ended: the last one, but for pages that the
// person opened again afterwards.
func decisive(entries []Entry) *Entry {
	for i := range entries {
		if e := &entries[len(entries)-1-i]; e.Reason != reasons.UsedTwice {
			return e
		}
	}
	return &entries[len(entries)-1]
}

// learn takes what an entry says of the person, the app and the MCP server.
func (s *Story) learn(e *Entry) {
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	set(&s.Flow, e.Flow)
	set(&s.Server, cmp.Or(e.Resource, e.Host))
	if name := cmp.Or(e.Name, e.Client); name != "" && (e.Name != "" || s.App == "") {
		s.App = name
		if e.Name != "" && e.Client != "" {
			s.App += " (" + e.Client + ")"
		}
	}
	if who := cmp.Or(e.Email, e.Subject); who != "" && (e.Email != "" || s.Person == "") {
		s.Person = who
		if e.Email != "" && e.Subject != "" {
			s.Person += " (" + e.Subject + ")"
		}
	}
}

// end says how it ended, from the entry that decides.
func (s *Story) end(e *Entry, step audit.Step, alone bool) {
	s.Reason = e.Reason
	for _, d := range []Detail{
		{"cause", e.Cause}, {"method", e.Method}, {"tool", e.Tool}, {"scope", e.Scope}, {"withheld", e.Withheld}, {"actor", e.Actor}, {"rules", e.Rules}, {"redirect host", e.Redirect}, {"sign-in", e.Family},
	} {
		if d.Value != "" {
			s.Details = append(s.Details, d)
		}
	}
	switch meaning := e.Reason.Meaning(); {
	case e.Reason != "" && meaning == "":
		s.Happened, s.Remedy = "The reason is not one that this version knows.", "use explain of the version that wrote the log"
	case e.Reason != "":
		s.Happened, s.Remedy = sentence(meaning), e.Reason.Remedy()
		if slices.Contains(byPolicy, e.Reason) {
			s.Who = who(e)
		}
	case e.Event == audit.ConsentDeclined:
		s.Happened, s.Remedy = "The person declined.", "nothing; the person begins again if they want to"
	case alone && e.Step == "":
		s.Happened, s.Remedy = "Nothing was refused.", "nothing"
	default:
		s.Happened, s.Remedy = ended(step)
	}
}

// sentence makes one of a meaning.
func sentence(meaning string) string {
	if r := meaning[0]; r >= 'a' && r <= 'z' {
		meaning = strings.ToUpper(meaning[:1]) + meaning[1:]
	}
	return meaning + "."
}

// who names the person and the client of an entry as check-config --as wants it.
func who(e *Entry) string {
	var parts []string
	for _, p := range []struct{ key, value string }{{"user", e.Subject}, {"email", e.Email}, {"client", e.Client}} {
		if p.value != "" && !strings.Contains(p.value, "…") { // what was shortened names no client
			parts = append(parts, p.key+"="+strings.NewReplacer(`\`, `\\`, ",", `\,`, "|", `\|`).Replace(p.value))
		}
	}
	return strings.Join(parts, ",")
}

// stops says of each step what it means that a sign-in came no further without
// being refused, and what to look for. docs/operations.md has the same table.
var stops = map[audit.Step][2]string{
	"":                     {"The client never came to /authorize.", "see whether the gateway passes the challenge of the 401 on: `doctor URL`"},
	audit.StepAuthorize:    {"The client sent a browser here, and no page was answered.", "the person opens the link again; see whether this service could read what the client says of itself"},
	audit.StepConsentShown: {"The consent page was shown, and never answered.", "ask the person: the page was closed, or its cookie did not come back, as with another host name or http for https"},
	audit.StepApproved:     {"The person agreed, and was not sent to the identity provider.", "see the log lines of the same time: the provider's discovery could not be read, or egress rules stop it"},
	audit.StepProvider:     {"The person went to the identity provider, and did not come back.", "see the provider's own page and log: it refuses the person there, hangs, or does not know this service's redirect URI (/callback)"},
	audit.StepCallback:     {"The person came back from the identity provider, and got no code.", "see the log lines of the same time: the provider's answer could not be checked"},
	audit.StepCodeIssued:   {"The client got a code, and did not redeem it.", "see whether the client reaches /token, and whether the browser reached the client: SSH, a container and another machine need a forwarded port"},
	audit.StepRedeemed:     {"The sign-in is whole: the client has its token.", "nothing; if its requests are refused all the same, explain the line of access.denied"},
}

// ended says how a sign-in ended that was not refused.
func ended(step audit.Step) (happened, remedy string) {
	return stops[step][0], stops[step][1]
}

// maxTrail is how many moments are shown: the first and the last.
const maxTrail = 12

// String is the story on one screen.
func (s *Story) String() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, printable(value))
		}
	}
	line("sign-in", s.Flow)
	line("person", s.Person)
	line("app", s.App)
	line("server", s.Server)
	b.WriteString("\n")
	for i, m := range s.Trail {
		if left := len(s.Trail) - maxTrail; left > 0 && i >= maxTrail/2 && i < len(s.Trail)-maxTrail/2 {
			if i == maxTrail/2 {
				fmt.Fprintf(&b, "  … %d more\n", left)
			}
			continue
		}
		at := "-"
		if !m.Time.IsZero() {
			at = m.Time.UTC().Format("2006-01-02 15:04:05.000Z")
		}
		times := ""
		if m.Count != "" {
			times = "(" + m.Count + " times)"
		}
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("  %s  %-22s %s %s", at, printable(string(m.Event)), printable(string(m.Reason)), times), " "))
	}
	if len(s.Trail) > 0 {
		b.WriteString("\n")
	}
	line("happened", s.Happened)
	for _, d := range s.Details {
		fmt.Fprintf(&b, "%9s %s: %s\n", "", d.Name, printable(d.Value))
	}
	if s.Torn {
		fmt.Fprintf(&b, "%9s the line was cut: this is what could be read of it\n", "")
	}
	line("do", s.Remedy)
	if s.Who != "" {
		fmt.Fprintf(&b, "%9s mcp-forward-auth check-config --config FILE --as '%s'\n", "", strings.ReplaceAll(printable(s.Who), "'", `'\''`))
	}
	return b.String()
}

// printable keeps what apps and providers say of themselves from acting on a terminal.
func printable(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
