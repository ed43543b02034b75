package revocation

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(3, time.Now)
		check := func(f Facts, want reasons.Reason) {
			t.Helper()
			if got := l.Check(f); got != want {
				t.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
		before := l.Version()
		if before == 0 {
			t.Error("version 0 means never asked")
		}
		if l.RevokeToken("x", time.Now().Add(time.Minute)) != nil || l.RevokeFamily("x", time.Now().Add(time.Hour)) != nil {
			t.Fatal("not revoked")
		}
		if l.Version() == before {
			t.Error("the version is the same")
		}
		check(Facts{TokenID: "x"}, reasons.TokenRevoked)
		check(Facts{Family: "x", TokenID: "y"}, reasons.FamilyRevoked)
		check(Facts{TokenID: "y", Family: "y", Subject: "x", Email: "x", Client: "x"}, None)
		check(Facts{}, None)

		// A shorter revocation must not cut a longer one short.
		_ = l.RevokeFamily("x", time.Now().Add(time.Second))
		time.Sleep(time.Minute + 30*time.Second)
		check(Facts{Family: "x"}, reasons.FamilyRevoked)
		check(Facts{TokenID: "x"}, reasons.TokenRevoked) // a little past its death

		for i := range 2 {
			_ = l.RevokeToken(fmt.Sprint(i), time.Now().Add(time.Hour))
		}
		if err := l.RevokeToken("one too many", time.Now().Add(time.Hour)); !errors.Is(err, ErrFull) {
			t.Errorf("a full list said %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := l.RevokeToken("z", time.Now().Add(time.Hour)); err != nil || l.Len() != 1 {
			t.Errorf("%v, %d held", err, l.Len())
		}
		check(Facts{Family: "x"}, None)
	})
}

func TestDenied(t *testing.T) {
	long := "dcr1." + strings.Repeat("x", 300)
	d, err := ParseDenied([]byte("subjects: ['google:1']\nemails: [Jane@Example.com]\nfamilies: [F]\nclients: [short, " + long + "]\n"))
	if err != nil || d.Len() != 5 {
		t.Fatal(d.Len(), err)
	}
	l := New(1, time.Now)
	l.Deny(d)
	for f, want := range map[Facts]reasons.Reason{
		{Subject: "google:1"}:                reasons.DeniedByOperator,
		{Subject: "google:2"}:                None,
		{Subject: "GOOGLE:1"}:                None,
		{Email: "jANE@example.com"}:          reasons.DeniedByOperator,
		{Email: "jane@example.org"}:          None,
		{EmailUnknown: true}:                 reasons.DeniedByOperator, // it may be hers
		{Family: "F", Subject: "google:2"}:   reasons.DeniedByOperator,
		{Family: "google:1"}:                 None,
		{Client: "short"}:                    reasons.DeniedByOperator,
		{Client: Client(long)}:               reasons.DeniedByOperator,
		{Client: Client(long + "x")}:         None,
		{Subject: "", Email: "", Client: ""}: None,
	} {
		if got := l.Check(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	noAddress, err := ParseDenied([]byte("subjects: ['google:1']"))
	if err != nil {
		t.Fatal(err)
	}
	if l.Deny(noAddress); l.Check(Facts{EmailUnknown: true}) != None {
		t.Error("who has an unknown address is denied by a list without addresses")
	}
	if Client(Client(long)) != Client(long) {
		t.Error("an operator cannot name a client as the audit log does")
	}
	for name, text := range map[string]string{
		"empty": "", "comment": "# nobody\n", "unknown key": "subject: [x]", "not a list": "subjects: x", "a list": "- x",
		"empty entry": "emails: ['']", "space": "emails: ['a@b ']", "twice": "emails: [a]\nemails: [b]", "long": "families: [" + strings.Repeat("x", maxEntryBytes+1) + "]",
		"not text": "subjects: [\xff]", "half": "subjects: [a, b", "number": "subjects: [[1]]",
	} {
		if _, err := ParseDenied([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"{}", "subjects: []", `{"emails": ["a@b"]}`} {
		if _, err := ParseDenied([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Ending something again for a shorter time does not shorten it, and for a longer time does.
func TestEndedTwice(t *testing.T) {
	for name, f := range map[string]struct {
		end  func(l *List, until time.Time) error
		what Facts
	}{
		"a family": {func(l *List, until time.Time) error { return l.RevokeFamily("f", until) }, Facts{Family: "f"}},
		"a person": {func(l *List, until time.Time) error {
			return l.EndPerson(BySubject("corp:jane"), until.Add(-time.Hour), until)
		}, Facts{Subject: "corp:jane"}},
	} {
		for _, order := range [][]time.Duration{{time.Hour, 2 * time.Hour}, {2 * time.Hour, time.Hour}} {
			for _, store := range []Store{nil, &memoryStore{}} {
				endTwice(t, fmt.Sprintf("%s, ended for %v, store %T", name, order, store), store, order, f.end, f.what)
			}
		}
	}
}

func endTwice(t *testing.T, name string, store Store, order []time.Duration, end func(l *List, until time.Time) error, what Facts) {
	now := time.Now().Truncate(time.Second)
	start, clock := now, func() time.Time { return now }
	l := New(10, clock)
	if store != nil {
		l = NewShared(10, clock, store)
	}
	for _, life := range order {
		if err := end(l, start.Add(life)); err != nil {
			t.Fatal(err)
		}
	}
	now = start.Add(90 * time.Minute)
	_ = l.RevokeToken("other", now.Add(time.Hour)) // what is dead goes
	if l.Check(what) == None {
		t.Errorf("%s: alive after 90 minutes", name)
	}
	now = start.Add(2*time.Hour + grace + time.Second)
	_ = l.RevokeToken("another", now.Add(time.Hour))
	if got := l.Check(what); got != None {
		t.Errorf("%s: %s after its time", name, got)
	}
}

// A broken list changes nothing.
func TestLoad(t *testing.T) {
	l := New(1, time.Now)
	if n, err := l.Load([]byte("subjects: [a]\nclients: [b, c]")); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for _, broken := range []string{"", "subjects: [b", "subject: [b]", "subjects: ['']", "\xff"} {
		if n, err := l.Load([]byte(broken)); n != 0 || err == nil {
			t.Errorf("%q: %d entries, %v", broken, n, err)
		}
		if l.Check(Facts{Subject: "a"}) != reasons.DeniedByOperator || l.Check(Facts{Subject: "b"}) != None {
			t.Errorf("%q changed the list", broken)
		}
	}
}

func TestTogether(t *testing.T) {
	l := New(1000, time.Now)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				id := fmt.Sprint(i, j)
				_ = l.RevokeToken(id, time.Now().Add(time.Hour))
				if l.Check(Facts{TokenID: id}) != reasons.TokenRevoked {
					t.Error("revoked and yet honoured")
				}
			}
		})
	}
	wg.Wait()
}
