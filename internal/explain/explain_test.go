package explain

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const line = `{"time":"2026-01-02T03:04:05.6Z","level":"INFO","msg":"audit","audit":{"schema":"1","event":"access.denied","reason":"insufficient_scope","flow":"mzxw6ytboi2dqmrt","subject":"google:1","email":"jane@example.com","client":"https://app.example.com/c.json","client_name":"App","resource":"https://mcp.example.com/mcp","scope":"notes:write","mcp_tool":"notes_add"}}`

func TestParse(t *testing.T) {
	for name, text := range map[string]string{
		"a line of the log":          line,
		"after a pod's name":         "[pod/a-1/b] " + line,
		"the entry alone":            line[strings.Index(line, `"audit":`)+len(`"audit":`) : len(line)-1],
		"with fields of later":       strings.Replace(line, `"schema"`, `"later":{"a":[1]},"schema"`, 1),
		"with a newline behind":      line + "\r\n",
		"after journald's date":      "Jan 02 03:04:05 vm1 mcp-forward-auth[123]: " + line,
		"after labels of Loki":       `2026-01-02T03:04:05Z {app="mcp", pod="x-1"} ` + line,
		"in a list":                  line + " ,",
		"in quotes":                  "'" + line + "'",
		"of docker's file":           `{"log":` + quoted(line+"\n") + `,"stream":"stdout","time":"2026-01-02T03:04:05.7Z"}`,
		"of journalctl -o json":      `{"__CURSOR":"s=1","MESSAGE":` + quoted(line) + `,"_PID":"12"}`,
		"of logcli":                  `{"labels":{"app":"x"},"line":` + quoted(line) + `,"timestamp":"2026-01-02T03:04:05Z"}`,
		"of Elasticsearch":           `{"_index":"a","_source":{"@timestamp":"2026-01-02T03:04:05Z","message":` + quoted(line) + `}}`,
		"of Cloud Logging":           `{"insertId":"x","jsonPayload":` + line + `,"timestamp":"2026-01-02T03:04:05Z"}`,
		"of CloudWatch, from docker": `{"events":[{"message":` + quoted(`{"log":`+quoted(line)+`}`) + `}]}`,
	} {
		e, err := Parse([]byte(text))
		if err != nil || e.Event != audit.AccessDenied || e.Reason != reasons.InsufficientScope || e.Tool != "notes_add" || e.Flow != "mzxw6ytboi2dqmrt" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "text": "level=INFO msg=audit audit.event=access.denied", "another line": `{"level":"INFO","msg":"ready"}`,
		"cut": line[:80], "cut before the event's end": line[:105], "no object": `[{"event":1}]`, "an event of another program": `{"event":"user.login","reason":"access_denied"}`,
		"another program's, cut": `{"event":"user.login","reason":"access_denied","x":"`, "the gateway's": `192.0.2.1 "GET /callback?event=login.refused HTTP/1.1" 400`, "of a wrong type": `{"event":7}`, "too long": `{"event":"` + strings.Repeat("x", maxLine) + `"}`,
	} {
		if e, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if _, err := Parse([]byte(`{"level":"INFO"}`)); !errors.Is(err, errNoEntry) {
		t.Error(err)
	}
	if _, err := Parse([]byte(`{"level":"ERROR","msg":"an identity provider cannot be used"}`)); err == nil || !strings.Contains(err.Error(), "an identity provider cannot be used") {
		t.Error(err)
	}
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// A line that was cut says what is left of it, and that it is not whole.
func TestTorn(t *testing.T) {
	long := strings.Replace(line, `"mcp_tool"`, `"cause":"Get \"https://x\": no route","mcp_tool"`, 1)
	for name, tt := range map[string]struct{ text, cause, email string }{
		"at its end":             {long[:strings.Index(long, `,"client"`)], "", "jane@example.com"},
		"within a value":         {long[:strings.Index(long, "example.com\",\"client")], "", ""},
		"within the cause":       {long[:strings.Index(long, ": no route")], `Get "https://x"…`, "jane@example.com"},
		"at its beginning":       {long[strings.Index(long, `"schema"`):], `Get "https://x": no route`, "jane@example.com"},
		"with its backslashes":   {strings.Trim(quoted(long), `"`), `Get "https://x": no route`, "jane@example.com"},
		"and wrapped, at an end": {quoted(quoted(long))[:590], `Get "https://x": no route`, "jane@example.com"},
	} {
		e, err := Parse([]byte(tt.text))
		if err != nil || !e.Torn || e.Event != audit.AccessDenied || e.Reason != reasons.InsufficientScope || e.Cause != tt.cause || e.Email != tt.email {
			t.Errorf("%s: %+v, %v\n%s", name, e, err, tt.text)
		}
	}
	e, _ := Parse([]byte(long[:300]))
	if text := Tell(e).String(); !strings.Contains(text, "the line was cut") {
		t.Error(text)
	}
	if text := Tell(Entry{Event: audit.AccessDenied}).String(); strings.Contains(text, "cut") {
		t.Error(text)
	}
}

// What people copy from a page and from a log is taken for what it is.
func TestWhatIsMeant(t *testing.T) {
	for text, flow := range map[string]string{
		"mzxw6ytboi2dqmrt": "mzxw6ytboi2dqmrt", "MZXW6YTBOI2DQMRT\n": "mzxw6ytboi2dqmrt", "flow mzxw6ytboi2dqmrt": "mzxw6ytboi2dqmrt", "Reference: mzxw6ytboi2dqmrt.": "mzxw6ytboi2dqmrt",
		`"flow":"mzxw6ytboi2dqmrt",`: "mzxw6ytboi2dqmrt", "flow=mzxw6ytboi2dqmrt": "mzxw6ytboi2dqmrt", "mzxw6ytboi2dqmr": "", "mzxw6ytboi2dqmrt2": "", "": "",
	} {
		if got := FlowID(text); got != flow {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, reason := range map[string]reasons.Reason{
		"wrong_client_secret": reasons.WrongClientSecret, "WRONG_CLIENT_SECRET": reasons.WrongClientSecret, `"reason":"wrong_client_secret",`: reasons.WrongClientSecret,
		"reason=wrong_client_secret": reasons.WrongClientSecret, "no_such": "", "login.refused": "", "": "",
	} {
		if got := Reason(text); got != reason {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestLast(t *testing.T) {
	other := strings.Replace(line, "notes_add", "notes_last", 1)
	if e, err := Last(strings.NewReader("banner\n" + line + "\n" + other + "\n{\"msg\":\"ready\"}\n")); err != nil || e.Tool != "notes_last" {
		t.Errorf("%+v, %v", e, err)
	}
	for text, want := range map[string]string{"": "no line", "\n\n": "no line", `{"level":"INFO","msg":"ready"}` + "\n\n": "ready"} {
		if _, err := Last(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Last(iotestErr{}); err == nil || err.Error() != "disk" {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	other := strings.ReplaceAll(line, "mzxw6ytboi2dqmrt", "aaaaaaaaaaaaaaaa")
	log := strings.Join([]string{`{"msg":"ready"}`, other, strings.Repeat("z", 3*maxLine), line, "", strings.Replace(line, "03:04:05", "03:09:05", 1)}, "\n")
	var seen Searched
	found, err := Find(strings.NewReader(log), "mzxw6ytboi2dqmrt", &seen)
	if err != nil || len(found) != 2 || seen.Entries != 3 || seen.Last.Sub(seen.First) != 5*time.Minute {
		t.Fatalf("%d found, %v, %v", len(found), &seen, err)
	}
	if _, err := Find(iotestErr{}, "x", &seen); err == nil {
		t.Error("an error of the reader is lost")
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("disk") }

func TestTell(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	step := func(event audit.Event, s audit.Step, r reasons.Reason) Entry {
		at = at.Add(time.Second)
		return Entry{Time: at, Event: event, Step: s, Reason: r, Flow: "f"}
	}
	begun, shown := step(audit.AuthorizeRequested, audit.StepAuthorize, ""), step(audit.ConsentShown, audit.StepConsentShown, reasons.CatalogueUnavailable)
	given, gone := step(audit.ConsentGiven, audit.StepApproved, ""), step(audit.LoginStarted, audit.StepProvider, "")
	refused := step(audit.LoginRefused, "", reasons.EmailDomainNotAllowed)
	refused.Email, refused.Subject, refused.Cause = "jane@example.com", "google:1", "the domain is example.com"
	for name, tt := range map[string]struct {
		entries  []Entry
		happened string
		do       string
	}{
		"stopped at the provider":         {[]Entry{begun, shown, given, gone}, "did not come back", "hangs"},
		"while the MCP server is down":    {[]Entry{begun, shown}, "has not read the MCP server's list", "make the MCP server available"},
		"refused":                         {[]Entry{begun, given, gone, refused}, "domain of the account's e-mail address", "provider.allowedEmailDomains"},
		"in another order":                {[]Entry{refused, gone, begun}, "domain of the account's e-mail address", "provider.allowedEmailDomains"},
		"declined":                        {[]Entry{begun, step(audit.ConsentDeclined, "", "")}, "The person declined", "nothing"},
		"whole":                           {[]Entry{begun, refused, step(audit.TokenIssued, audit.StepRedeemed, "")}, "The sign-in is whole", "nothing"},
		"one line without a refusal":      {[]Entry{{Event: audit.KeyGenerated}}, "Nothing was refused", "nothing"},
		"of a later version":              {[]Entry{{Event: "new.event", Reason: "new_reason"}}, "not one that this version knows", "version"},
		"a person who was sent elsewhere": {[]Entry{begun}, "no page was answered", "again"},
	} {
		s := Tell(tt.entries...)
		if !strings.Contains(s.Happened, tt.happened) || !strings.Contains(s.Remedy, tt.do) {
			t.Errorf("%s: %q, %q", name, s.Happened, s.Remedy)
		}
	}
	text := Tell(begun, given, refused).String()
	for _, want := range []string{"sign-in   f", "jane@example.com (google:1)", "2026-01-02 03:04:06.000Z  authorize.requested", "cause: the domain is example.com"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// What apps say of themselves must not act on a terminal, and a story fits on a screen.
func TestStoryOnAScreen(t *testing.T) {
	var entries []Entry
	for range 500 {
		entries = append(entries, Entry{Event: audit.LoginRefused, Reason: reasons.WrongPassword, Name: "evil\x1b[2J\u202e", Cause: "a\nb"})
	}
	text := Tell(entries...).String()
	if n := strings.Count(text, "\n"); n > 24 || !strings.Contains(text, "488 more") || strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

// Every reason says what to do, in text that a table can hold.
func TestEveryReasonHasARemedy(t *testing.T) {
	keys := map[string]bool{}
	reference, err := os.ReadFile("../../docs/reference/config.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("\\| `([A-Za-z\\[\\].]+)` \\|").FindAllSubmatch(reference, -1) {
		keys[string(m[1])] = true
	}
	path := regexp.MustCompile("`([a-z][A-Za-z]*(?:\\[\\])?(?:\\.[a-zA-Z]+(?:\\[\\])?)+)`")
	for _, r := range reasons.All() {
		if r.Meaning() == "" || r.Remedy() == "" || strings.ContainsAny(r.Meaning()+r.Remedy(), "|\n") {
			t.Errorf("%s: %q, %q", r, r.Meaning(), r.Remedy())
		}
		for _, m := range path.FindAllStringSubmatch(r.Remedy(), -1) {
			event := false
			for _, e := range audit.Events {
				event = event || string(e) == m[1]
			}
			if !keys[m[1]] && !event {
				t.Errorf("%s: %s is no key of the configuration and no event", r, m[1])
			}
		}
	}
}

// The table of docs/operations.md has a row for each step.
func TestStepsOfTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range audit.Steps {
		if stops[step][0] == "" || stops[step][1] == "" || !strings.Contains(string(manual), "\n| `"+string(step)+"` |") {
			t.Errorf("%s has no text, or no row in docs/operations.md", step)
		}
	}
}
