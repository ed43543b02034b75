//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// journeysReport is the line that hack/e2e/journeys.mjs prints.
type journeysReport struct {
	Browser  string             `json:"browser"`
	Journeys map[string]journey `json:"journeys"`
	Error    string             `json:"error"`
}

type journey struct {
	Outcomes []struct {
		Answers     int    `json:"answers"`
		Error       string `json:"error"`
		Description string `json:"description"`
		Iss         string `json:"iss"`
		Token       int    `json:"token"`
	} `json:"outcomes"`
	Again, Afterwards, Consent, Refused, Problem string
	Kept                                         any
	Focused, Said                                string
	Before, Boxes, Presses                       int
	Toggled                                      bool
	// Error is why the journey ended early, on the page At that says Page.
	Error, At, Page string
}

// forwarded is a loopback address whose connections go to what to returns.
func forwarded(t *testing.T, to func() string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to())
			if err != nil {
				here.Close()
				continue
			}
			go func() { io.Copy(there, here); there.Close() }()
			go func() { io.Copy(here, there); here.Close() }()
		}
	}()
	return l.Addr().String()
}

// TestJourneys has a person in Chromium take the ways through a sign-in that are not
// the straight one: six tabs, reload, back, decline, another account, a wrong
// password, pages that are too old, and the keyboard alone on a page with 60 permissions.
func TestJourneys(t *testing.T) {
	track(t)
	chromium := program(t, "chromium", "/usr/bin/chromium")
	var s *servertest.Service
	address := forwarded(t, func() string { return s.Address() })
	s = servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		users := f.Provider.Settings.(*static.Settings)
		users.Users = append(users.Users, static.User{Username: "joe", PasswordHash: users.Users[0].PasswordHash, Email: "joe@elsewhere.example"})
		f.Policy.Rules = []rule.Rule{{Effect: "allow", Anyone: true}, {Effect: "deny", Emails: []string{"joe@elsewhere.example"}}}
		h := &f.Proxy.Hosts[0]
		h.Host, h.Scheme = address, "http"
		for i := range 60 {
			h.Scopes = append(h.Scopes, rule.Scope{Name: fmt.Sprintf("area%02d:use", i), Description: fmt.Sprintf("Use area %d", i), Tools: []string{fmt.Sprintf("area%02d_*", i)}})
		}
	}})
	clock := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.Clock.Advance(31 * time.Minute) }))
	defer clock.Close()
	got := drive[journeysReport](t, "journeys.mjs", []string{
		"CHROMIUM=" + chromium, "CLOCK=" + clock.URL, "LOGIN=" + servertest.Username + ":" + servertest.Password, "OTHER=joe:" + servertest.Password,
	}, "http://"+address+"/mcp")
	if got.Error != "" {
		t.Fatal(got.Error)
	}
	for name, check := range journeyChecks {
		t.Run(name, func(t *testing.T) {
			track(t)
			j, ok := got.Journeys[name]
			if !ok || j.Error != "" {
				t.Fatalf("ended early at %s: %s\n%s", j.At, j.Error, j.Page)
			}
			for _, o := range j.Outcomes {
				if o.Answers > 0 {
					mustEqual(t, "iss", o.Iss, "http://"+address)
				}
			}
			check(t, j)
		})
	}
	mustEqual(t, "number of journeys", len(got.Journeys), len(journeyChecks))
	t.Logf("Chromium %s", got.Browser)
}

// signedIn: the app got one answer, and a token for it.
func (j journey) signedIn(t *testing.T) {
	t.Helper()
	for i, o := range j.Outcomes {
		if o.Answers != 1 || o.Error != "" || o.Token != http.StatusOK {
			t.Errorf("request %d: %+v", i, o)
		}
	}
}

// told: the app got one answer, this error.
func (j journey) told(t *testing.T, code string) {
	t.Helper()
	if o := j.Outcomes[0]; o.Answers != 1 || o.Error != code || o.Token != 0 {
		t.Errorf("the app got %+v", o)
	}
}

func says(t *testing.T, where, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s does not say %q: %s", where, p, text)
		}
	}
}

var journeyChecks = map[string]func(*testing.T, journey){
	"six tabs": func(t *testing.T, j journey) {
		mustEqual(t, "tabs", len(j.Outcomes), 6)
		j.signedIn(t)
	},
	"reload": func(t *testing.T, j journey) {
		j.signedIn(t)
		says(t, "the page of the same request again", j.Again, "You have already signed in")
	},
	"back": func(t *testing.T, j journey) {
		j.signedIn(t)
		says(t, "the page before the sign-in", j.Consent, "Allow Journeys to use")
		if strings.Contains(j.Afterwards, "Back in the app") {
			t.Errorf("the browser did not go back: %s", j.Afterwards)
		}
	},
	"decline": func(t *testing.T, j journey) {
		j.told(t, "access_denied")
		says(t, "the page after going back", j.Afterwards, "You declined")
	},
	"other account": func(t *testing.T, j journey) {
		mustEqual(t, "answers before the person chose", j.Before, 0)
		says(t, "the refusal", j.Refused, "joe@elsewhere.example", "another account")
		j.signedIn(t)
	},
	"refused account": func(t *testing.T, j journey) {
		says(t, "the refusal", j.Refused, "joe@elsewhere.example")
		j.told(t, "access_denied")
		says(t, "error_description", j.Outcomes[0].Description, "reference")
	},
	"wrong password": func(t *testing.T, j journey) {
		says(t, "the page", j.Problem, "do not match an account")
		mustEqual(t, "user name that is kept", fmt.Sprint(j.Kept), servertest.Username)
		mustEqual(t, "where the page puts the person", j.Focused, "password")
		j.signedIn(t)
	},
	"expired consent": func(t *testing.T, j journey) {
		says(t, "the page that was open for too long", j.Said, "open for too long", "Connect again from your app")
		j.signedIn(t)
	},
	"expired sign-in": func(t *testing.T, j journey) {
		mustEqual(t, "answers", j.Outcomes[0].Answers, 0)
		says(t, "the page that was open for too long", j.Said, "app")
	},
	"decline by keys": func(t *testing.T, j journey) {
		if j.Boxes < 60 || j.Presses > 3 {
			t.Errorf("%d presses from the top of a page with %d boxes; at most 3", j.Presses, j.Boxes)
		}
		j.told(t, "access_denied")
		t.Logf("%d key presses, %d boxes", j.Presses, j.Boxes)
	},
	"keys in a box": func(t *testing.T, j journey) {
		mustEqual(t, "answers", j.Outcomes[0].Answers, 0)
		mustEqual(t, "Space toggles", j.Toggled, true)
		mustEqual(t, "the box after Enter is as it was", fmt.Sprint(j.Kept), "true")
		says(t, "the page after Enter", j.Consent, "Allow Journeys to use")
	},
}
