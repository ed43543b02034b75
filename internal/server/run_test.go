package server

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
)

// endless is a listener with a connection for everyone who accepts.
type endless struct{ accepted atomic.Int64 }

func (l *endless) Accept() (net.Conn, error) {
	l.accepted.Add(1)
	here, _ := net.Pipe()
	return here, nil
}
func (l *endless) Close() error   { return nil }
func (l *endless) Addr() net.Addr { return &net.TCPAddr{} }

// Connections beyond the bound of a listener wait until another is over.
func TestConnectionsAreBounded(t *testing.T) {
	var listeners [3]endless
	bounded := Listeners{Protocol: &listeners[0], Management: &listeners[1], GRPC: &listeners[2]}.bounded(newPlaces())
	for i, tt := range []struct {
		l    net.Listener
		most int
	}{{bounded.Protocol, mostConnections}, {bounded.Management, mostManagementConnections}, {bounded.GRPC, envoy.MostConnections}} {
		var first net.Conn
		for range tt.most {
			conn, err := tt.l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = conn
			}
		}
		next := make(chan struct{})
		go func() {
			if conn, err := tt.l.Accept(); err == nil {
				conn.Close()
			}
			close(next)
		}()
		select {
		case <-next:
			t.Errorf("listener %d takes more than %d", i, tt.most)
		case <-time.After(20 * time.Millisecond): // long enough to see one that takes more; a bounded one never comes
		}
		if n := listeners[i].accepted.Load(); n != int64(tt.most) {
			t.Errorf("listener %d has taken %d", i, n)
		}
		first.Close()
		<-next
	}
	if l := (Listeners{Protocol: &listeners[0], Management: &listeners[1]}).bounded(newPlaces()); l.GRPC != nil {
		t.Error("a listener where there is none")
	}
}

// Where an MCP server comes to be served here, there is room for its streams.
func TestStreamsGetPlaces(t *testing.T) {
	var l endless
	p := newPlaces()
	p.serve()
	p.serve()
	bounded := p.limit(&l)
	for range mostServed {
		if _, err := bounded.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := bounded.Accept()
		done <- err
	}()
	bounded.Close()
	if err := <-done; err == nil || l.accepted.Load() != mostServed {
		t.Errorf("%d connections, and then %v", l.accepted.Load(), err)
	}
}
