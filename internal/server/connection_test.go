package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

func dial(t *testing.T, s *servertest.Service) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, bufio.NewReader(conn)
}

// TestAnnouncedBody: a gateway may copy Content-Length or Transfer-Encoding of
// the client's request to a question that has no body.
func TestAnnouncedBody(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	for name, header := range map[string]string{"Content-Length": "Content-Length: 40", "chunked": "Transfer-Encoding: chunked"} {
		for _, method := range []string{"GET", "POST"} {
			t.Run("RS-FWD-06 ATK-32 "+name+" "+method, func(t *testing.T) {
				t.Parallel()
				conn, answers := dial(t, s)
				began := time.Now()
				fmt.Fprintf(conn, "%s /authenticate HTTP/1.1\r\nHost: mcp.example.com\r\nX-Original-URL: https://mcp.example.com/mcp\r\n%s\r\n\r\n", method, header)
				_ = conn.SetReadDeadline(began.Add(5 * time.Second))
				resp, err := http.ReadResponse(answers, nil)
				if err != nil || resp.StatusCode != 401 || time.Since(began) > 3*time.Second {
					t.Fatalf("%v %v after %v", resp, err, time.Since(began))
				}
				resp.Body.Close()
				// What follows on the connection would be read as the body that never
				// came, and the next person's question with it: a gateway must be
				// told not to send it here.
				if !resp.Close {
					t.Error("the connection is offered for another question")
				}
				fmt.Fprint(conn, "GET /authenticate HTTP/1.1\r\nHost: mcp.example.com\r\nX: "+strings.Repeat("x", 100)+"\r\n\r\n")
				if second, err := http.ReadResponse(answers, nil); err == nil {
					t.Errorf("the connection gave a second answer: %d", second.StatusCode)
				}
			})
		}
	}
	t.Run("without a body the connection is kept", func(t *testing.T) {
		conn, answers := dial(t, s)
		for range 3 {
			fmt.Fprint(conn, "GET /authenticate HTTP/1.1\r\nHost: mcp.example.com\r\nContent-Length: 0\r\n\r\n")
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.StatusCode != 401 || resp.Close {
				t.Fatalf("%v %v", resp, err)
			}
			resp.Body.Close()
			answers.Reset(conn)
		}
	})
}

func TestSlowClient(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	t.Run("ATK-37 headers that never end", func(t *testing.T) {
		t.Parallel()
		conn, answers := dial(t, s)
		fmt.Fprint(conn, "GET /authorize HTTP/1.1\r\nHost: mcp.example.com\r\n")
		began := time.Now()
		_ = conn.SetReadDeadline(began.Add(12 * time.Second))
		for { // whatever is said, the connection ends
			if _, err := answers.ReadByte(); err != nil {
				break
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

// TestDrain: a SIGTERM ends the context of Serve; what is under way is finished.
func TestDrain(t *testing.T) {
	t.Parallel()
	oidc := oauthtest.NewOIDCProvider(t)
	oidc.SignInAs(servertest.Person)
	s := servertest.Start(t, servertest.Options{
		Edit: servertest.Edits(servertest.UseOIDC(oidc), servertest.WithoutConsent), Files: servertest.ProviderFiles, HTTPClient: &http.Client{Timeout: 2 * time.Second},
	})
	if status, _ := s.Management(t, "/readyz"); status != 200 {
		t.Errorf("readyz answers %d", status)
	}
	b := s.NewBrowser()
	page := b.Open(t, s.NewClient(t, servertest.Host, nil).Begin().URL())
	page = b.Open(t, page.Location())
	oidc.Break(oauthtest.Token, oauthtest.Hang)
	req := servertest.Request(t, "GET", page.Location(), "")
	ended := make(chan string, 1)
	go func() {
		p, err := b.TrySend(req)
		if err != nil {
			ended <- err.Error()
			return
		}
		ended <- p.Location()
	}()
	for range 3000 {
		if oidc.Count(oauthtest.Token) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Stop() // fails the test unless the end is clean
	if got := <-ended; !strings.Contains(got, "error=temporarily_unavailable") {
		t.Errorf("the request under way ended with %s", got)
	}
}
