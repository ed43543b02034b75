package authcode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// keeper is a Keeper that may be away.
type keeper struct {
	held map[string]string
	down error
}

func (k *keeper) Keep(_ context.Context, id, value string, _ time.Time) error {
	if k.down == nil {
		k.held[id] = value
	}
	return k.down
}

func (k *keeper) Kept(_ context.Context, id string) (string, error) { return k.held[id], k.down }

func TestSessions(t *testing.T) {
	keys, err := seal.NewKeyring(time.Now, []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("the keeper does not answer")
	for name, tt := range map[string]struct {
		shared   bool
		bytes    int
		down     error
		held     int  // values at the keeper
		lost     bool // the session
		longCode bool
		want     connector.Wanted
		room     int
	}{
		"none":                                         {true, 0, nil, 0, false, false, "", 0},
		"small, in the code":                           {false, 1000, nil, 0, false, true, "", 0},
		"large, at the keeper of this process":         {false, 4000, nil, 1, false, false, "", 0},
		"small, at the keeper of all":                  {true, 1000, nil, 1, false, false, "", 0},
		"large, at the keeper of all":                  {true, MaxSession, nil, 1, false, false, "", 0},
		"too large":                                    {true, MaxSession + 1, nil, 0, true, false, "", 0},
		"small, in the code while the keeper is away":  {true, 1000, away, 0, false, true, "", 0},
		"large, lost while the keeper is away":         {true, 4000, away, 0, true, false, "", 0},
		"large, for a server":                          {true, MaxSession + 1, nil, 1, false, false, connector.WantAccess, 0},
		"largest, for a server":                        {true, maxSupplying, nil, 1, false, false, connector.WantID, 0},
		"too large, for a server":                      {true, maxSupplying + 1, nil, 0, true, false, connector.WantAccess, 0},
		"small, where there is no room in the code":    {false, 1000, nil, 1, false, false, "", 1000},
		"large, lost while the one of here is no more": {false, 4000, away, 0, true, false, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{held: map[string]string{}, down: tt.down}
			codes := NewCodes(keys, k, tt.shared, time.Now)
			session := connector.Session{RefreshToken: strings.Repeat("r", tt.bytes), Want: tt.want}
			raw, lost, err := codes.Issue(t.Context(), "https://a", Authorization{Session: session, Room: tt.room})
			if err != nil || (lost != nil) != tt.lost || len(k.held) != tt.held || (len(raw) > 1500) != tt.longCode {
				t.Fatalf("a code of %d bytes, %d kept, lost: %v, %v", len(raw), len(k.held), lost, err)
			}
			if lost != nil && (tt.down != nil) != errors.Is(lost, away) || tt.down == nil && lost != nil && !errors.Is(lost, ErrSessionTooLarge) || lost != nil && !strings.Contains(lost.Error(), "were dropped") {
				t.Errorf("lost: %v", lost)
			}
			for _, value := range k.held {
				// Sealed text is random: three letters in a row may be there by chance.
				if strings.Contains(value, strings.Repeat("r", 20)) {
					t.Error("the keeper can read it")
				}
			}
			a, err := codes.Open("https://a", raw)
			if err != nil {
				t.Fatal(err)
			}
			if tt.lost {
				session = connector.Session{}
			}
			if got, err := codes.Session(t.Context(), a); err != nil || got != session {
				t.Errorf("got %d bytes, %v", got.Size(), err)
			}
			if a.Held {
				heldApart(t, codes, k, a)
			}
		})
	}
}

// heldApart checks that what k holds of a is missed where k is away, and opens for
// no other code.
func heldApart(t *testing.T, codes *Codes, k *keeper, a Authorization) {
	t.Helper()
	k.down = errors.New("the keeper does not answer")
	if _, err := codes.Session(t.Context(), a); !errors.Is(err, k.down) {
		t.Errorf("while the keeper is away: %v", err)
	}
	k.down = nil
	for _, value := range k.held {
		k.held = map[string]string{sessionID("other"): value}
	}
	a.ID = "other"
	if got, err := codes.Session(t.Context(), a); err != nil || got != (connector.Session{}) {
		t.Errorf("of another code: got %d bytes, %v", got.Size(), err)
	}
}
