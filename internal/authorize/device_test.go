package authorize_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/device"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func devicesOn(f *config.File) { f.Proxy.Hosts[0].DeviceGrant = true }

var deviceURL = servertest.Issuer(servertest.Host) + "/device"

// deviceClient registers an app of a device, which has no redirect URI.
func deviceClient(t *testing.T, s *servertest.Service) *servertest.Client {
	t.Helper()
	return s.NewClient(t, servertest.Host, servertest.Metadata{
		"client_name": "Terminal", "redirect_uris": nil, "grant_types": []string{device.GrantType, "refresh_token"}, "response_types": nil,
	})
}

// onDevice is a device that has begun.
type onDevice struct {
	*servertest.Client
	answer *servertest.Answer
}

func beginDevice(t *testing.T, c *servertest.Client, more ...string) onDevice {
	t.Helper()
	form := url.Values{"client_id": {c.ID}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return onDevice{c, postForm(t, c, "/device_authorization", form)}
}

func postForm(t *testing.T, c *servertest.Client, path string, form url.Values) *servertest.Answer {
	t.Helper()
	return c.Service.Send(t, servertest.Request(t, http.MethodPost, servertest.Issuer(c.Host)+path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func (d onDevice) poll(t *testing.T) *servertest.Answer {
	t.Helper()
	return postForm(t, d.Client, "/token", url.Values{"grant_type": {device.GrantType}, "device_code": {d.answer.String("device_code")}, "client_id": {d.ID}})
}

func (d onDevice) typed(t *testing.T, b *servertest.Browser) *servertest.Page {
	t.Helper()
	page := b.Open(t, deviceURL)
	return b.Submit(t, page, "user_code", d.answer.String("user_code"))
}

func (d onDevice) wants(t *testing.T, code string) {
	t.Helper()
	if a := d.poll(t); a.Status != 400 || a.String("error") != code {
		t.Errorf("the device is told %d %s, want %s", a.Status, a.Body, code)
	}
}

func TestDeviceSignIn(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: devicesOn})
	c := deviceClient(t, s)
	for name, type_ := range map[string]func(string) string{
		"as it stands":          func(s string) string { return s },
		"small, without hyphen": func(s string) string { return " " + strings.ToLower(strings.ReplaceAll(s, "-", "")) },
		"with blanks":           func(s string) string { return strings.ReplaceAll(s, "-", " - ") },
	} {
		t.Run(name, func(t *testing.T) {
			d := beginDevice(t, c, "scope", "notes:read weather:read", "resource", servertest.Resource)
			if d.answer.Status != 200 || d.answer.String("verification_uri") != deviceURL || d.answer.JSON["verification_uri_complete"] != nil ||
				d.answer.JSON["interval"] != 5.0 || d.answer.JSON["expires_in"] != 600.0 || d.answer.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %s", d.answer.Status, d.answer.Body)
			}
			d.wants(t, "authorization_pending")
			b := s.NewBrowser()
			consent := b.Submit(t, b.Open(t, deviceURL), "user_code", type_(d.answer.String("user_code")))
			if text := consent.Text(); !strings.Contains(text, "Terminal") || !strings.Contains(text, d.answer.String("user_code")) || !strings.Contains(text, "signs in their device") {
				t.Fatalf("the page does not say what it is about: %d %s", consent.Status, text)
			}
			login := servertest.Follow(t, b, b.Submit(t, consent, "decision", "allow"))
			done := b.Submit(t, login, "", "")
			if done.Status != 200 || done.Location() != "" || !strings.Contains(done.Text(), "The device is signed in") {
				t.Fatalf("%d %s %s", done.Status, done.Location(), done.Text())
			}
			s.Clock.Advance(5 * time.Second)
			a := d.poll(t)
			if a.Status != 200 || a.String("scope") != "notes:read weather:read" || a.String("refresh_token") == "" {
				t.Fatalf("status %d, want 200: %s", a.Status, a.Body)
			}
			s.MustPass(t, servertest.Resource, a.String("access_token"))
			d.wants(t, "invalid_grant") // it was answered, and that once
		})
	}
	if e := s.Log.Last(audit.DeviceApproved); e["client_name"] != "Terminal" || e["scope"] != "notes:read weather:read" {
		t.Errorf("%v", e)
	}
}

// An answer that takes longer than a usual code lives is there when the device asks.
func TestDeviceAsksLate(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: devicesOn})
	d := beginDevice(t, deviceClient(t, s))
	b := s.NewBrowser()
	b.Submit(t, servertest.Follow(t, b, b.Submit(t, d.typed(t, b), "decision", "allow")), "", "")
	s.Clock.Advance(5 * time.Minute)
	if a := d.poll(t); a.Status != 200 {
		t.Errorf("status %d, want 200: %s", a.Status, a.Body)
	}
}

func TestDeviceIsToldNo(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: devicesOn})
	c := deviceClient(t, s)
	t.Run("declined", func(t *testing.T) {
		d, b := beginDevice(t, c), s.NewBrowser()
		page := d.typed(t, b)
		if done := b.Submit(t, page, "decision", "deny"); done.Status != 200 || done.Location() != "" || !strings.Contains(done.Text(), "You declined") {
			t.Errorf("%d %s", done.Status, done.Text())
		}
		s.Clock.Advance(5 * time.Second)
		d.wants(t, "access_denied")
		if p := d.typed(t, s.NewBrowser()); p.Status != 400 {
			t.Errorf("a code that was answered is taken again: status %d, want 400", p.Status)
		}
	})
	t.Run("given up on the sign-in page", func(t *testing.T) {
		d, b := beginDevice(t, c), s.NewBrowser()
		login := servertest.Follow(t, b, b.Submit(t, d.typed(t, b), "decision", "allow"))
		if p := b.Submit(t, login, "decision", "deny"); p.Location() != "" || p.Form != nil && len(p.Links) > 0 {
			t.Errorf("%d %s", p.Status, p.Location())
		}
		d.wants(t, "access_denied")
	})
	t.Run("expired", func(t *testing.T) {
		d := beginDevice(t, c)
		s.Clock.Advance(device.Lifetime + time.Second)
		if p := d.typed(t, s.NewBrowser()); p.Status != 400 {
			t.Errorf("a code that has expired: status %d, want 400", p.Status)
		}
		d.wants(t, "expired_token")
		s.Clock.Advance(device.Lifetime)
		d.wants(t, "expired_token")
	})
	t.Run("answered after its end", func(t *testing.T) {
		d, b := beginDevice(t, c), s.NewBrowser()
		page := d.typed(t, b)
		s.Clock.Advance(device.Lifetime + time.Second)
		if p := b.Submit(t, page, "decision", "deny"); p.Status != 403 {
			t.Errorf("status %d, want 403: %s", p.Status, p.Text())
		}
	})
}

// A device that asks too often is told to slow down, and has to.
func TestDevicePolls(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: devicesOn})
	d := beginDevice(t, deviceClient(t, s))
	d.wants(t, "authorization_pending")
	d.wants(t, "slow_down")
	s.Clock.Advance(5 * time.Second)
	d.wants(t, "slow_down") // ten now, and fifteen after this
	s.Clock.Advance(15 * time.Second)
	d.wants(t, "authorization_pending")
	s.Clock.Advance(15 * time.Second)
	d.wants(t, "authorization_pending")
}

func TestUserCodesAreBounded(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(devicesOn, func(f *config.File) {
		f.Listen.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} // so that addresses are known
	})})
	c := deviceClient(t, s)
	t.Run("one code, typed again and again", func(t *testing.T) {
		d := beginDevice(t, c)
		for range 5 {
			if p := d.typed(t, s.NewBrowser()); p.Status != 200 {
				t.Fatalf("status %d, want 200: %s", p.Status, p.Text())
			}
		}
		if p := d.typed(t, s.NewBrowser()); p.Status != 400 {
			t.Errorf("the sixth time: status %d, want 400", p.Status)
		}
	})
	t.Run("wrong codes", func(t *testing.T) {
		s.Clock.Advance(time.Minute)
		b := s.NewBrowser()
		d := beginDevice(t, c)
		try := func(code string) *servertest.Page { return b.Post(t, deviceURL, url.Values{"user_code": {code}}) }
		for i := range 10 {
			if p := try("BBBB-BBBB"); p.Status != 400 || !strings.Contains(p.Text(), "No device is waiting with this code") {
				t.Fatalf("try %d: %d %s", i, p.Status, p.Text())
			}
		}
		p := try(d.answer.String("user_code"))
		if p.Status != 429 || p.Header.Get("Retry-After") == "" {
			t.Errorf("after ten wrong codes: status %d, want 429", p.Status)
		}
		s.Clock.Advance(time.Minute)
		if p := try(d.answer.String("user_code")); p.Status != 200 {
			t.Errorf("a minute later: status %d, want 200", p.Status)
		}
	})
}

func TestDeviceRefusals(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{Edit: servertest.Edits(servertest.SecondHost, devicesOn)})
	c := deviceClient(t, s)
	other := s.NewClient(t, servertest.Host, nil)
	for name, tc := range map[string]struct {
		c    *servertest.Client
		more []string
		code string
	}{
		"a client without the grant": {other, nil, "unauthorized_client"},
		"another host's resource":    {c, []string{"resource", "https://evil.example/mcp"}, "invalid_target"},
		"two resources":              {c, []string{"resource", servertest.Resource, "resource", "https://evil.example/mcp"}, "invalid_target"},
		"a malformed scope":          {c, []string{"scope", "\"x\""}, "invalid_scope"},
		"a parameter twice":          {c, []string{"scope", "a", "scope", "b"}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			if a := beginDevice(t, tc.c, tc.more...).answer; a.Status != 400 || a.String("error") != tc.code {
				t.Errorf("%d %s, want %s", a.Status, a.Body, tc.code)
			}
		})
	}
	d := beginDevice(t, c)
	t.Run("the code of another client", func(t *testing.T) {
		thief := deviceClient(t, s)
		stolen := onDevice{thief, d.answer}
		stolen.wants(t, "invalid_grant")
	})
	t.Run("no code", func(t *testing.T) {
		if a := postForm(t, c, "/token", url.Values{"grant_type": {device.GrantType}, "client_id": {c.ID}}); a.String("error") != "invalid_request" {
			t.Errorf("%s", a.Body)
		}
	})
	t.Run("a code in the address is not typed", func(t *testing.T) {
		p := s.NewBrowser().Open(t, deviceURL+"?user_code="+d.answer.String("user_code"))
		if p.Status != 200 || strings.Contains(p.Body, d.answer.String("user_code")) || len(p.Form.Offered) != 0 {
			t.Errorf("%d %s", p.Status, p.Text())
		}
		servertest.CheckPage(t, p)
	})
	t.Run("another site's form", func(t *testing.T) {
		b := s.NewBrowser()
		req := b.FormRequest(t, deviceURL, url.Values{"user_code": {d.answer.String("user_code")}})
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if p := b.Send(t, req); p.Status != 403 {
			t.Errorf("status %d, want 403", p.Status)
		}
	})
	t.Run("a host where it is off", func(t *testing.T) {
		if p := s.NewBrowser().Open(t, servertest.Issuer("other.example.com")+"/device"); p.Status != 404 {
			t.Errorf("status %d, want 404", p.Status)
		}
		c2 := s.NewClient(t, "other.example.com", nil)
		if a := beginDevice(t, c2).answer; a.String("error") != "unauthorized_client" {
			t.Errorf("%s", a.Body)
		}
		for host, want := range map[string]bool{servertest.Host: true, "other.example.com": false} {
			a := s.Get(t, servertest.Issuer(host)+"/.well-known/oauth-authorization-server")
			if got := strings.Contains(a.Body, `"device_authorization_endpoint":"`+servertest.Issuer(host)+`/device_authorization"`); got != want {
				t.Errorf("%s announces the endpoint: %t", host, got)
			}
			if got := strings.Contains(a.Body, device.GrantType); got != want {
				t.Errorf("%s announces the grant: %t", host, got)
			}
		}
	})
	t.Run("a client of devices alone cannot be sent to the browser", func(t *testing.T) {
		p := s.NewBrowser().Open(t, servertest.Issuer(servertest.Host)+"/authorize?response_type=code&client_id="+url.QueryEscape(c.ID)+"&redirect_uri=https://app.example.org/callback")
		if p.Status != 400 || p.Location() != "" {
			t.Errorf("status %d %s; want 400, %q", p.Status, p.Location(), "")
		}
	})
}
