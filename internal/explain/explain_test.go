package explain

import (
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
		"a line of the log":     line,
		"after a pod's name":    "[pod/a-1/b] " + line,
		"the entry alone":       line[strings.Index(line, `"audit":`)+len(`"audit":`) : len(line)-1],
		"with fields of later":  strings.Replace(line, `"schema"`, `"later":{"a":[1]},"schema"`, 1),
		"with a newline behind": line + "\r\n",
	} {
		e, err := Parse([]byte(text))
		if err != nil || e.Event != audit.AccessDenied || e.Reason != reasons.InsufficientScope || e.Tool != "notes_add" || e.Flow != "mzxw6ytboi2dqmrt" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "text": "level=INFO msg=audit audit.event=access.denied", "another line": `{"level":"INFO","msg":"ready"}`,
		"cut": line[:80], "no object": `[{"event":1}]`, "of a wrong type": `{"event":7}`, "too long": `{"event":"` + strings.Repeat("x", maxLine) + `"}`,
	} {
		if e, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if _, err := Parse([]byte(`{"level":"INFO"}`)); !errors.Is(err, errNoEntry) {
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
		"while the MCP server is down":    {[]Entry{begun, shown}, "has not read the MCP server's list", "bring the MCP server back"},
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
