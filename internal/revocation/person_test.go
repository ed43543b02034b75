package revocation

import (
	"context"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// What came of a person's sign-ins is ended up to a moment, on every replica, and
// not what comes after it.
func TestEndPerson(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	clock := func() time.Time { return now }
	store := &memoryStore{}
	one, two := NewShared(100, clock, store), NewShared(100, clock, store)
	at := now.Unix()
	until := now.Add(time.Hour)
	for _, p := range []Person{BySubject("corp:jane"), ByEmail("Joe@Example.com"), BrowsersOf("corp:jim"), UnnamedBrowsersOf("corp:jill")} {
		if err := one.EndPerson(p, now, until); err != nil {
			t.Fatal(err)
		}
	}
	session := ProviderSession("corp", "s1")
	if err := one.RevokeProviderSession(session, until); err != nil {
		t.Fatal(err)
	}
	if err := one.RevokeProviderSession(ProviderSession("corp", ""), until); err != nil {
		t.Fatal(err)
	}
	if err := two.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		f    Facts
		want reasons.Reason
	}{
		"before":                {Facts{Subject: "corp:jane", Since: at - 1}, reasons.PersonEnded},
		"in that second":        {Facts{Subject: "corp:jane", Since: at}, reasons.PersonEnded},
		"unknown since when":    {Facts{Subject: "corp:jane"}, reasons.PersonEnded},
		"after":                 {Facts{Subject: "corp:jane", Since: at + 1}, None},
		"another person":        {Facts{Subject: "corp:janet", Since: at - 1}, None},
		"by address":            {Facts{Subject: "corp:joe", Email: "joe@example.COM", Since: at - 1}, reasons.PersonEnded},
		"no address":            {Facts{Subject: "corp:joe", Since: at - 1}, None},
		"a browser":             {Facts{Subject: "corp:jim", Browser: true, Since: at - 1}, reasons.PersonEnded},
		"an app, not a browser": {Facts{Subject: "corp:jim", Since: at - 1}, None},
		"no one":                {Facts{Family: "f"}, None},
		"a session":             {Facts{Subject: "corp:x", Browser: true, AtProvider: session, Since: at + 1}, reasons.FamilyRevoked},
		"another's session":     {Facts{Subject: "corp:x", Browser: true, AtProvider: ProviderSession("corp", "s2")}, None},
		"another provider's":    {Facts{Subject: "x:x", Browser: true, AtProvider: ProviderSession("x", "s1")}, None},
		"a browser, unnamed":    {Facts{Subject: "corp:jill", Browser: true, Since: at}, reasons.PersonEnded},
		"another's, unnamed":    {Facts{Subject: "corp:x", Browser: true, Since: at}, None},
		"not a browser":         {Facts{Subject: "corp:jill", Since: at}, None},
		"a browser, named":      {Facts{Subject: "corp:jill", Browser: true, AtProvider: session[1:] + "x", Since: at}, None},
	} {
		for i, l := range []*List{one, two} {
			if got := l.Check(tt.f); got != tt.want {
				t.Errorf("%s at replica %d: %q, want %q", name, i+1, got, tt.want)
			}
		}
	}
	// An older event does not take back a newer one, and the entry dies.
	_ = one.EndPerson(BySubject("corp:jane"), now.Add(-time.Hour), until)
	if one.Check(Facts{Subject: "corp:jane", Since: at}) == None {
		t.Error("an older event takes back a newer one")
	}
	now = now.Add(2 * time.Hour)
	_ = one.RevokeToken("x", now.Add(time.Hour))
	if one.Check(Facts{Subject: "corp:jane", Since: at}) != None {
		t.Error("the entry outlives what it is about")
	}
	if one.EndPerson(BySubject(""), now, until) == nil || one.EndPerson(ByEmail(""), now, until) == nil {
		t.Error("an empty name ends someone")
	}
}
