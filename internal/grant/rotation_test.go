package grant

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
)

// mixedUp is a guard whose store gives a family what it keeps for another one.
type mixedUp struct {
	guard.Guard
	kept, answer string
	err          error
}

func (g mixedUp) Rotate(_ context.Context, r guard.Rotation, _ guard.Next) (string, error) {
	r.Resume(g.kept)
	return g.answer, g.err
}

// What the guard keeps of an exchange is sealed for one family: a store that mixes them
// up, or is made to, gives no one the session or the tokens of another person.
func TestKeptIsOfOneFamily(t *testing.T) {
	r := newRevoker(t, 10)
	r.Policy = policy.New(r.host.Resources, nil, nil)
	own := refreshToken{Family: "jane", Resource: r.host.Issuer + "/mcp", AuthTime: time.Now().Unix(), Session: connector.Session{RefreshToken: "jane's"}}
	for family, other := range map[string]bool{"jane": false, "joe": true} {
		at := refreshToken{Family: family, AuthTime: own.AuthTime}
		kept, ok := r.Refresh.kept(at, connector.Session{RefreshToken: family + "'s next"})
		if !ok {
			t.Fatal("the session is not kept")
		}
		answer, err := r.Refresh.answers.Seal(refreshAnswer{Token: family + "'s token"}, time.Now().Add(time.Minute), family)
		if err != nil {
			t.Fatal(err)
		}
		refresh := func(g mixedUp) (refreshToken, string, error) {
			r.Guard = g
			asked := &refreshing{call: &call{Request: httptest.NewRequest(http.MethodPost, Path, nil), host: r.host, client: &registration.Client{ID: r.clientID}}, token: own}
			token, err := r.exchange(asked)
			return asked.token, token, err
		}
		failed := errors.New("the exchange failed")
		resumed, _, err := refresh(mixedUp{kept: kept, err: failed})
		if took := resumed.Session.RefreshToken == family+"'s next"; !errors.Is(err, failed) || took == other {
			t.Errorf("the session kept for %s: resumed with %q, %v", family, resumed.Session.RefreshToken, err)
		}
		if _, token, err := refresh(mixedUp{answer: answer}); (err == nil) == other || (token != "") == other {
			t.Errorf("the answer kept for %s: %q, %v", family, token, err)
		}
	}
}
