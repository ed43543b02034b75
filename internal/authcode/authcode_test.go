package authcode

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

func TestIssueAndOpen(t *testing.T) {
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	codes := NewCodes(keys, &keeper{}, false, time.Now)
	want := Authorization{Flow: "f", Identity: connector.Identity{Namespace: "n", Subject: "s"}, Session: connector.Session{RefreshToken: "refresh-token"}}
	issued, lost, err := codes.Issue(t.Context(), "https://a.example", want)
	if err != nil || lost != nil {
		t.Fatal(err)
	}
	got, err := codes.Open("https://a.example", issued)
	if err != nil || got.Flow != "f" || got.Identity.Subject != "s" {
		t.Errorf("%+v %v", got, err)
	}
	if session, err := codes.Session(t.Context(), got); err != nil || session != want.Session {
		t.Errorf("session: %v", err)
	}
	if got, err := codes.Open("https://b.example", issued); err == nil {
		t.Errorf("it opens for another issuer: %+v", got)
	}
	again, _, err := codes.Issue(t.Context(), "https://a.example", want)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := codes.Open("https://a.example", again); err != nil || other.ID == got.ID || len(other.ID) < 26 {
		t.Errorf("two codes have the ids %q and %q (%v): each is spent once", got.ID, other.ID, err)
	}
}

// Groups that a code has no room for make the rest unknown, and none else does.
func TestGroups(t *testing.T) {
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	codes := NewCodes(keys, &keeper{}, false, time.Now)
	fits := strings.Repeat("g", maxGroupBytes-2*3-1) // beside "a", with quotes and commas
	for name, tt := range map[string]struct {
		groups  []string
		kept    int
		unknown bool
	}{
		"none":         {nil, 0, false},
		"just enough":  {[]string{"a", fits}, 2, false},
		"one too long": {[]string{"a", fits + "g", "b"}, 1, true},
		"one too many": {[]string{"a", fits, ""}, 2, true},
	} {
		issued, _, err := codes.Issue(t.Context(), "https://a.example", Authorization{Identity: connector.Identity{Groups: tt.groups}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := codes.Open("https://a.example", issued)
		if err != nil || len(got.Identity.Groups) != tt.kept || got.Identity.Unknown.Groups != tt.unknown {
			t.Errorf("%s: %d groups, the rest unknown: %v, %v", name, len(got.Identity.Groups), got.Identity.Unknown.Groups, err)
		}
	}
}

// The length of a code must not say whether what a client wrote is in the
// provider's token too.
func TestLengthSaysNothingOfTheSession(t *testing.T) {
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	const token = "1//0gJw8sYxq2mZkPcVbNhTrLdFu5aXe9Ko7Ri3Qy6"
	size := func(challenge string) (n int) {
		issued, _, err := NewCodes(keys, &keeper{}, false, time.Now).Issue(t.Context(), "https://a.example", Authorization{Challenge: challenge, Session: connector.Session{RefreshToken: token}})
		if err != nil {
			t.Fatal(err)
		}
		return len(issued)
	}
	// The id is random, so lengths differ by a few bytes; repeating the token would save forty.
	if same, other := size(token), size("9QyRi3Ko7aXe5FuLdTrVbNhPcmZk2sYxqJw8g0Zz1A6"); other-same > 16 {
		t.Errorf("%d bytes with the token's own text, %d with another", same, other)
	}
}
