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
