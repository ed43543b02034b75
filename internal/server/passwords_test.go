package server_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// Strangers send wrong passwords for names that do not exist, faster than they
// can be checked, while clients of others go on.
func TestPasswordFlood(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("the right one"), 11)
	if err != nil {
		t.Fatal(err)
	}
	const places, flood = 16, 100
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Provider.Settings.(*static.Settings).Users[0].PasswordHash = conf.NewSecret(string(hash))
		f.Limits.RequestsInFlight = places
	}})
	c := s.NewClient(t, servertest.Host, nil)
	var attempts []func() (*servertest.Page, error)
	for i := range flood {
		b := s.NewBrowser()
		page := b.Consent(t, c.Begin().URL())
		page = b.Open(t, servertest.Issuer(servertest.Host)+b.Submit(t, page, "decision", "allow").Location())
		values := page.Form.Values
		values.Set("username", fmt.Sprintf("made-up-%d", i))
		values.Set("password", "wrong")
		form := b.FormRequest(t, servertest.Issuer(servertest.Host)+"/login", values)
		attempts = append(attempts, func() (*servertest.Page, error) { return b.TrySend(form) })
	}

	var wrong, busy, ended atomic.Int32
	var wg sync.WaitGroup
	for _, attempt := range attempts {
		wg.Go(func() {
			defer ended.Add(1)
			switch a, err := attempt(); {
			case err != nil:
				t.Error(err)
			case a.Status == http.StatusUnauthorized:
				wrong.Add(1)
			case a.Status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "":
				busy.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Text())
			}
		})
	}
	asked := 0
	for ; int(ended.Load()) < flood || asked == 0; asked++ {
		if a := c.Token(t, c.Begin().TokenForm("x")); a.String("error") != "invalid_grant" {
			t.Fatalf("/token: %d %s", a.Status, a.Body)
		}
		if p := s.NewBrowser().Open(t, c.Begin().URL()); p.Status != http.StatusOK {
			t.Fatalf("/authorize: %d %s", p.Status, p.Text())
		}
	}
	wg.Wait()
	t.Logf("%d looked at, %d told at once, %d times two requests beside them", wrong.Load(), busy.Load(), asked)
	if wrong.Load() == 0 || busy.Load() == 0 {
		t.Errorf("%d were looked at and %d told to come back", wrong.Load(), busy.Load())
	}
	waitInFlight(t, s, 0)
}
