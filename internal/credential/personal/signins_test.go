package personal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// A key is good as long as the provider's last word about its person is young enough,
// and where that cannot be known it is not.
func TestSignIns(t *testing.T) {
	t.Parallel()
	made := time.Unix(1_800_000_000, 0)
	now := made
	var vouched time.Time
	var failure error
	asked := 0
	s := NewSignIns(48*time.Hour, func(context.Context, string) (time.Time, error) {
		asked++
		return vouched, failure
	}, func() time.Time { return now })
	key := &Key{ID: "k", Identity: connector.Identity{Namespace: "corp", Subject: "jane"}, Resource: "r", Made: made.Unix()}
	look := func() error {
		_, err := s.known(key)
		if errors.Is(err, credential.ErrUnknown) {
			_, err = s.ask(t.Context(), key)
		}
		return err
	}
	reason := func(err error) reasons.Reason {
		refused, _ := errors.AsType[credential.Refused](err)
		return refused.Reason
	}
	now = made.Add(48*time.Hour - time.Second)
	if err := look(); err != nil || asked > 0 {
		t.Errorf("a young key: %v, asked %d times", err, asked)
	}
	now = made.Add(48 * time.Hour)
	if err := look(); reason(err) != reasons.APIKeySignInDue {
		t.Errorf("no sign-in is known: %v", err)
	}
	vouched, now = now, now.Add(restsAgain)
	for range 3 {
		if err := look(); err != nil {
			t.Fatalf("after a sign-in: %v", err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	now = vouched.Add(48 * time.Hour)
	if err := look(); reason(err) != reasons.APIKeySignInDue {
		t.Errorf("48 hours later: %v", err)
	}
	failure, now = errors.New("the guard is away"), now.Add(restsAgain)
	if err := look(); reason(err) != reasons.VerifierUnavailable {
		t.Errorf("it cannot be known: %v", err)
	}
	failure, vouched = nil, now
	if err := look(); err != nil {
		t.Errorf("the guard is back: %v", err)
	}
}
