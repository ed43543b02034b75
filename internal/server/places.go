package server

import (
	"context"
	"net"
	"sync"

	"golang.org/x/sync/semaphore"
)

// places is how many connections the protocol listener may have at once:
// mostConnections, and mostServed once an MCP server is served here.
type places struct {
	all  *semaphore.Weighted
	grow *sync.Once
}

func newPlaces() places {
	p := places{semaphore.NewWeighted(mostServed), new(sync.Once)}
	p.all.TryAcquire(mostServed - mostConnections)
	return p
}

// serve makes room for streams.
func (p places) serve() { p.grow.Do(func() { p.all.Release(mostServed - mostConnections) }) }

// limit returns l with this limit. More connections wait until others end.
func (p places) limit(l net.Listener) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &placed{l, p.all, ctx, cancel}
}

type placed struct {
	net.Listener
	places *semaphore.Weighted
	ctx    context.Context // ends with the listener
	cancel context.CancelFunc
}

// Accept implements net.Listener.
func (l *placed) Accept() (net.Conn, error) {
	if l.places.Acquire(l.ctx, 1) != nil {
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.places.Release(1)
		return nil, err
	}
	return &placedConn{Conn: c, leave: sync.OnceFunc(func() { l.places.Release(1) })}, nil
}

// Close implements net.Listener.
func (l *placed) Close() error {
	l.cancel()
	return l.Listener.Close()
}

type placedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
