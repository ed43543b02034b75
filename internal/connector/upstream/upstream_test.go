package upstream

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// silent never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeouts(t *testing.T) {
	for own, want := range map[time.Duration]time.Duration{0: Timeout, time.Hour: Timeout, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := NewClient(&http.Client{Transport: silent{}, Timeout: own})
			ctx, cancel := c.Context(t.Context())
			defer cancel()
			start := time.Now()
			for range 3 { // together, not each
				_, err := c.Get(ctx, "https://idp.example/", nil, new(any))
				if err = Failed("test", err); !errors.Is(err, connector.ErrUnavailable) {
					t.Error(err)
				}
			}
			if took := time.Since(start); took != want {
				t.Errorf("client with timeout %v: took %v, want %v", own, took, want)
			}
		})
	}
}

func TestBodyBound(t *testing.T) {
	for size, want := range map[int]error{MaxBody: nil, MaxBody + 1: connector.ErrRejected} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`"` + strings.Repeat("x", size-2) + `"`))
		}))
		_, err := NewClient(nil).Get(t.Context(), server.URL, nil, new(string))
		if err != nil {
			err = Failed("test", err)
		}
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
		server.Close()
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := NewClient(nil).Get(t.Context(), server.URL, nil, new(any))
	if err = Failed("test", err); !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("AS-FED-07 connection refused: %v", err)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                         "plain",
		"two\r\nlines\x1b[31m\u2028end": "two  lines [31m end",
		"\xff\xfebad":                   "bad",
		strings.Repeat("ä", 1000):       strings.Repeat("ä", maxText/2),
	} {
		if got := Clip(in); got != want {
			t.Errorf("Clip(%q) = %q", in, got)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("a\r\nb")
	f.Fuzz(func(t *testing.T, in string) {
		out := Clip(in)
		if len(out) > maxText || strings.ContainsAny(out, "\r\n") || Clip(out) != out {
			t.Errorf("Clip(%q) = %q", in, out)
		}
	})
}

func TestErrorTextIsOneShortLine(t *testing.T) {
	_, err := AuthorizationCode(url.Values{"error": {"x\ny"}, "error_description": {strings.Repeat("z\r\n", 5000)}})
	if text := err.Error(); len(text) > 500 || strings.ContainsAny(text, "\r\n") {
		t.Errorf("AS-FED-07 %d bytes: %q", len(text), text)
	}
}
